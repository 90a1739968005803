from __future__ import annotations

import csv
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.errors import DeviceError, ReadError
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.sensors import cpu_estimate
from pactmeter.sensors.base import Request


def cpuinfo_text(name="AMD EPYC 7742 64-Core Processor", sockets=1, flags="fpu vme"):
    blocks = [
        f"processor\t: {index}\nmodel name\t: {name}\nphysical id\t: {index}\nflags\t\t: {flags}\n"
        for index in range(sockets)
    ]
    return "\n".join(blocks) + "\n"


@pytest.fixture
def files(tmp_path):
    cpuinfo, stat = tmp_path / "cpuinfo", tmp_path / "stat"
    cpuinfo.write_text(cpuinfo_text())
    stat.write_text("cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    return cpuinfo, stat


def discover(files, **request):
    cpuinfo, stat = files
    return cpu_estimate.discover(Request(**request), cpuinfo=cpuinfo, stat=stat)


@pytest.mark.parametrize(
    ("busy", "idle", "power_w"),
    [(0, 100, 67.5), (100, 0, 225.0), (50, 50, 146.25)],
)
def test_power_is_idle_share_plus_utilisation(files, busy, idle, power_w):
    (device,) = discover(files).devices
    device.open()

    files[1].write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")

    assert device.read() == pytest.approx((power_w,))


def test_guest_time_is_not_added_again_and_waiting_for_io_is_idle(files):
    (device,) = discover(files).devices
    device.open()

    files[1].write_text("cpu  50 0 0 25 25 0 0 0 50 0\n")

    assert device.read() == pytest.approx((225 * (0.3 + 0.7 * 0.5),))


def test_without_a_tick_the_figure_before_stands_and_at_first_there_is_none(files):
    (device,) = discover(files).devices
    device.open()

    first = device.read()
    files[1].write_text("cpu  100 0 0 0 0 0 0 0\n")
    second, third = device.read(), device.read()

    assert first == (None,)
    assert second == third == pytest.approx((225.0,))


def test_two_sockets_draw_twice(files):
    files[0].write_text(cpuinfo_text(sockets=2))
    (device,) = discover(files).devices
    device.open()

    files[1].write_text("cpu  10 0 0 0 0 0 0 0\n")

    assert device.read() == pytest.approx((450.0,))
    assert "2 x 225 W TDP" in device.channels[0].description


def test_the_channel_says_that_it_is_an_estimate(files):
    (device,) = discover(files).devices
    (channel,) = device.channels

    assert (channel.name, channel.kind, channel.domain) == (
        "cpu.estimate",
        Kind.POWER,
        Domain.PACKAGE,
    )
    assert (channel.origin, channel.accuracy_pct) == (Origin.ESTIMATED, 60.0)


def test_it_is_made_only_where_nothing_measures_the_cpu_or_where_it_is_asked_for(files):
    package = frozenset({Domain.PACKAGE})

    assert discover(files, measured=package).devices == ()
    assert len(discover(files, measured=package, estimate_cpu=True).devices) == 1
    assert len(discover(files, measured=frozenset({Domain.GPU, Domain.DC})).devices) == 1


def test_an_unknown_processor_is_unknown(files):
    files[0].write_text(cpuinfo_text("AMD EPYC"))

    found = discover(files)

    assert found.devices == ()
    assert (
        found.findings[0].detail
        == "'AMD EPYC' is not in the TDP table: unknown rather than a guess"
    )


def test_a_virtual_machine_is_not_estimated(files):
    files[0].write_text(cpuinfo_text(flags="fpu hypervisor lahf_lm"))

    found = discover(files)

    assert found.devices == ()
    assert "virtual machine" in found.findings[0].detail


@pytest.mark.parametrize("text", ["processor : 0\nCPU implementer : 0x41\n", None])
def test_a_processor_without_a_model_name_is_unknown(files, text):
    files[0].unlink()
    if text is not None:
        files[0].write_text(text)

    assert "no model name" in discover(files).findings[0].detail


@pytest.mark.parametrize("text", ["", "intr 1 2 3\n", "cpu  1 2 3\n", "cpu  a b c d e f g h\n"])
def test_unreadable_times_are_errors_and_never_a_power(files, text):
    (device,) = discover(files).devices
    device.open()

    files[1].write_text(text)

    with pytest.raises(ReadError, match="CPU times"):
        device.read()
    with pytest.raises(DeviceError, match="CPU times"):
        device.open()


def test_a_closed_device_forgets_its_last_reading(files):
    (device,) = discover(files).devices
    device.open()
    device.close()

    files[1].write_text("cpu  100 0 0 0 0 0 0 0\n")

    assert device.read() == (None,)


@pytest.mark.parametrize(
    ("name", "tdp_w"),
    [
        ("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", 150.0),
        ("11th Gen Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", 28.0),
        ("13th Gen Intel(R) Core(TM) i9-13900K", 125.0),
        ("AMD Ryzen 9 5950X 16-Core Processor", 105.0),
        ("AMD Ryzen 7 5800U with Radeon Graphics", 15.0),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", 45.0),
        ("AMD EPYC", None),
        ("Intel Core i7-9750", None),
        ("", None),
    ],
)
def test_names_match_exactly_once_normalised(name, tdp_w):
    assert cpu_estimate.tdp_w(name) == tdp_w


def test_no_two_rows_of_the_table_mean_one_processor_with_two_powers():
    with cpu_estimate.TDP_TABLE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(itertools.dropwhile(lambda line: line.startswith("#"), lines)))
    powers = {}
    for row in rows:
        powers.setdefault(cpu_estimate.normalised(row["cpu_name"]), set()).add(float(row["tdp_w"]))

    assert {name: tdps for name, tdps in powers.items() if len(tdps) > 1} == {}
    assert len(rows) > 4000


def test_the_table_keeps_its_sources_and_licence():
    head = cpu_estimate.TDP_TABLE.read_text(encoding="utf-8")[:1000]

    assert "MIT licence" in head


def test_looking_a_name_up_in_vain_is_cheap():
    start = time.process_time()
    cpu_estimate.tdp_w("no such processor")

    assert time.process_time() - start < 0.5


ticks = st.lists(st.integers(0, 10**9), min_size=8, max_size=8)


@given(before=ticks, after=ticks)
def test_utilisation_lies_between_nothing_and_all(before, after):
    share = cpu_estimate.busy_share(before, after)

    assert share is None or 0.0 <= share <= 1.0
