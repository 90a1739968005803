"""The emulated NZXT firmware answers as real units do, and goes wrong by order."""

from __future__ import annotations

import statistics
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.machine import Machine as Load
from pactmeter.bench.machine import parse_psu
from pactmeter.bench.nzxt import NzxtFirmware, crc8, pec
from pactmeter.errors import ReadError
from pactmeter.model import psu
from pactmeter.sensors import psu_nzxt, psu_pmbus
from unit.psu_fakes import NZXT_E850, Machine

RAILS_W = (10.0, 40.0, 11.1875, 5.0, 2.5)
TOTAL_W = sum(RAILS_W)


def supply(**values):
    seen = {
        "rails_w": RAILS_W,
        "rails_v": (11.90625, 12.0, 12.0390625, 5.0, 3.2265625),
        "temp_c": 48.0,
        "fan_rpm": 0.0,
    } | values
    fixed = {key: lambda _, value=value: value for key, value in seen.items()}
    return SimpleNamespace(name="psu0", model=psu.match("e850").model, **fixed)


def made(which=None, board=None, **options):
    return NzxtFirmware(which or supply(), board or FaultBoard(lambda: 0.0), lambda: 0.0, **options)


def paged(page, register):
    length = 3 if register == 0x20 else 4
    return bytes((0xAD, 0, length, 4, 0x60, 6, 2, page, register)).ljust(64, b"\0")


def plain(register):
    return bytes((0xAD, 0, 3, 1, 0x60, register)).ljust(64, b"\0")


def answer(firmware, request):
    ((_, report),) = firmware.handle(request)
    return report


@pytest.fixture
def machine(tmp_path, monkeypatch):
    fake = Machine(tmp_path, monkeypatch)
    yield fake
    fake.close()


@pytest.fixture
def board(machine):
    return FaultBoard(machine.clock)


@pytest.fixture
def firmware(machine, board):
    return NzxtFirmware(supply(), board, machine.clock)


@pytest.fixture
def reader(machine, firmware):
    """Return the product's own reader of the emulated supply."""
    return machine.open(NZXT_E850, firmware)._reader


@pytest.fixture
def liquidctl(machine, firmware, reader):
    """Return liquidctl's own driver, connected to the supply that the product has open."""
    from liquidctl.driver.nzxt_epsu import NzxtEPsu

    (driver,) = NzxtEPsu.find_supported_devices()
    driver.connect()
    yield driver
    driver.disconnect()


def by_page(page, value):
    return tuple(value if index == page else 0.0 for index in range(5))


# Replies of real E850 and E500 units, as quoted in liquidctl's threads 44, 55, 96 and 166.
@pytest.mark.parametrize(
    ("page", "register", "values", "reply"),
    [
        (2, 0x8C, {"rails_w": by_page(2, 118 / 128), "rails_v": (1.0,) * 5}, "aa040276c86e"),
        (2, 0x96, {}, "aa0402ccd20a"),
        (3, 0x20, {}, "aa03011929"),
        (4, 0x20, {}, "aa03011900"),
        (0, 0x20, {}, "aa0301198f"),
        (2, 0x20, {}, "aa0301194b"),
        (4, 0x8B, {}, "aa04029d0114"),
        (4, 0x8C, {"rails_w": by_page(4, 6 / 128), "rails_v": (1.0,) * 5}, "aa040206c83a"),
        (2, 0x8B, {"rails_v": (1541 / 128,) * 5}, "aa04020506be"),
        (2, 0x8B, {"rails_v": (1543 / 128,) * 5}, "aa0402070694"),
        (0, 0x8B, {"rails_v": (1524 / 128,) * 5}, "aa0402f405e4"),
        (2, 0x8C, {"rails_w": (0.0,) * 5}, "aa040200c8b2"),
        (2, 0x96, {"rails_w": (0.0,) * 5}, "aa040200c85d"),
        (None, 0x8E, {}, "aa033000b5"),
        (None, 0x90, {}, "aa030000ef"),
    ],
)
def test_a_reply_is_that_of_a_real_unit(page, register, values, reply):
    request = plain(register) if page is None else paged(page, register)

    assert answer(made(supply(**values)), request) == bytes.fromhex(reply).ljust(64, b"\0")


@given(power_w=st.floats(0.0, 1100.0))
@example(power_w=8.0)  # just too much for the finest exponent
def test_a_power_is_within_half_a_step_and_a_step_is_fine(power_w):
    report = answer(made(supply(rails_w=by_page(1, power_w))), paged(1, 0x96))

    step = 2.0 ** psu_pmbus.signed(report[4] >> 3, 5)
    assert abs(psu_pmbus.linear11(report[3:5]) - power_w) <= step / 2
    assert step <= max(1 / 128, power_w / 500)


@given(page=st.integers(0, 4), data=st.binary(min_size=2, max_size=2))
def test_the_checksum_is_that_of_the_product(page, data):
    request = paged(page, 0x96)
    body = b"\x02" + data

    reply = bytes((0xAA, 4)) + body + bytes((pec(request, body),))

    assert psu_nzxt.is_answer(request[:9], reply)
    assert crc8(data) == psu_pmbus.crc8(data)


def test_what_no_chip_answers_is_all_ones():
    firmware = made()

    assert answer(firmware, plain(0x8D))[:6].hex() == "aa03ffffff00"
    assert answer(firmware, paged(5, 0x96))[:7].hex() == "aa04ffffffff00"
    assert [(entry.request[5], entry.is_write) for entry in firmware.log] == [
        (0x8D, False),
        (6, False),
    ]


@pytest.mark.parametrize("request_hex", ["fe03", "020001", "ad000302603b32", "ad0004045906020296"])
def test_what_is_no_read_that_is_known_is_logged_as_a_write(request_hex):
    firmware = made()

    assert firmware.handle(bytes.fromhex(request_hex)) == []
    assert firmware.writes() == [
        {"t_s": 0.0, "request": bytes.fromhex(request_hex).ljust(3, b"\0").hex()}
    ]


def test_a_request_without_a_reply_has_none_to_spoil():
    board = FaultBoard(lambda: 0.0)
    board.add(Fault("psu0", "bad_pec"))

    assert made(board=board).handle(b"\xfe\x03") == []


def test_latencies_are_those_of_real_units_with_a_rare_outlier():
    firmware = made()
    drawn_s = sorted(firmware.handle(plain(0x8E))[0][0] for _ in range(4000))

    assert statistics.median(drawn_s) == pytest.approx(1.48e-3, abs=1e-5)
    assert drawn_s[3800] == pytest.approx(2.2e-3, abs=1e-5)
    assert drawn_s[-3] < 2.9e-3
    assert drawn_s[-2:] == [36.5e-3] * 2


def test_the_product_reads_what_the_sensors_see(reader, firmware):
    assert reader.rails_w() == RAILS_W
    assert reader.total_w() == TOTAL_W
    assert reader.temp_c() == 48.0
    assert firmware.writes() == []


def test_the_product_reads_the_load_of_the_machine(machine):
    load = Load([parse_psu("e850")], load="steady:100").supplies[0]
    device = machine.open(
        NZXT_E850, NzxtFirmware(load, FaultBoard(machine.clock), machine.clock), rails=True
    )

    values = device.read()

    assert values[0] == pytest.approx(load.dc_output_w(0.0), rel=0.002)
    assert values[-5:] == pytest.approx(load.rails_w(0.0), rel=0.002)


# --- liquidctl ------------------------------------------------------------------------------------


def test_liquidctl_reads_all_its_rows(liquidctl):
    rows = {name: (value, unit) for name, value, unit in liquidctl.get_status()}

    assert len(rows) == 18
    assert rows["Temperature"] == (48.0, "°C")
    assert rows["Fan speed"] == (0.0, "rpm")
    assert rows["Firmware version"] == ("A017/40983", "")
    assert rows["+12V peripherals output voltage"] == (11.90625, "V")
    assert rows["+12V motherboard/PCI-e output voltage"] == (12.0390625, "V")
    assert rows["+12V EPS/ATX12V output current"] == (pytest.approx(40.0 / 12.0, abs=0.005), "A")
    assert rows["+12V EPS/ATX12V output power"] == (40.0, "W")
    assert rows["+5V combined output power"] == (5.0, "W")
    assert rows["+3.3V combined output voltage"] == (3.2265625, "V")


def test_another_programs_status_is_what_liquidctl_asks(liquidctl, firmware):
    seen = []
    handle = firmware.handle
    firmware.handle = lambda request: seen.append(request) or handle(request)

    liquidctl.get_status()

    assert seen == firmware.status_requests()
    assert len(seen) == 23


def test_initialize_of_liquidctl_writes_nothing(liquidctl, firmware):
    liquidctl.initialize()

    assert firmware.total == 0


def test_liquidctl_refuses_a_mode_that_it_does_not_know(liquidctl, board):
    board.add(Fault("psu0", "raw", "20:40"))

    with pytest.raises(AssertionError):
        liquidctl.get_status()


def test_a_crossed_reply_deceives_liquidctl_but_not_the_product(liquidctl, board, reader):
    from liquidctl.pmbus import CommandCode

    board.add(Fault("psu0", "foreign"))

    assert liquidctl._get_float(CommandCode.READ_POUT, page=1) == 11.1875
    assert reader.rails_w()[1] == 40.0


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drop", "late", "short", "empty", "wrong_echo", "bad_pec"])
def test_a_spoilt_reply_is_no_reading_and_the_next_one_is_good(reader, board, name):
    board.add(Fault("psu0", name, count=1))

    with pytest.raises(ReadError, match="no valid reply"):
        reader.total_w()
    assert reader.total_w() == TOTAL_W


@pytest.mark.parametrize("name", ["long", "foreign", "delay"])
def test_a_reply_that_can_be_used_is_used(reader, board, name):
    board.add(Fault("psu0", name))

    assert reader.rails_w() == RAILS_W
    assert reader.temp_c() == 48.0


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_busy_supply_is_busy_as_often_as_ordered(reader, board, times):
    board.add(Fault("psu0", "busy", count=times))

    if times == 3:
        with pytest.raises(ReadError, match="busy 3 times"):
            reader.total_w()
    assert reader.total_w() == TOTAL_W


@pytest.mark.parametrize(
    ("name", "value", "request_", "replies"),
    [
        ("busy", None, paged(2, 0x96), ["aa04ffffffff"]),
        ("busy", None, paged(2, 0x20), ["aa03ffffff"]),
        ("bad_pec", None, paged(2, 0x96), ["aa0402ccd20b"]),
        ("short", "3", paged(2, 0x96), ["aa0402"]),
        (
            "raw",
            "20:40",
            paged(3, 0x20),
            [f"aa030140{crc8(bytes.fromhex('c006020320c10140')):02x}"],
        ),
        ("raw", "20:40", paged(2, 0x96), ["aa0402ccd20a"]),
        (
            "zero",
            None,
            paged(2, 0x96),
            [f"aa040200d0{crc8(bytes.fromhex('c006020296c10200d0')):02x}"],
        ),
        ("zero", None, paged(2, 0x8B), ["aa04020506be"]),
        ("wrong_echo", None, paged(2, 0x20), ["aa03011929"]),
        ("wrong_echo", None, plain(0x8E), [f"aa033000{crc8(bytes.fromhex('c090c13000')):02x}"]),
        ("foreign", None, paged(1, 0x96), ["aa0402ccd20a", None]),
        ("foreign", None, plain(0x8E), ["aa030000ef", "aa033000b5"]),
    ],
)
def test_what_a_fault_makes_of_a_reply(name, value, request_, replies):
    board = FaultBoard(lambda: 0.0)
    firmware = made(supply(rails_v=(1541 / 128,) * 5), board)
    board.add(Fault("psu0", name, value))

    reports = [report for _, report in firmware.handle(request_)]

    assert len(reports) == len(replies)
    for report, wanted in zip(reports, replies, strict=True):
        assert wanted is None or report.rstrip(b"\0").hex() == wanted


def test_rails_stuck_at_zero_are_a_gap(machine, firmware, board):
    device = machine.open(NZXT_E850, firmware)
    board.add(Fault("psu0", "zero"))

    with pytest.raises(ReadError, match="0 W on every rail"):
        device.read()
