"""The emulated RAPL: which zones there are, and counters that tick, wrap and fail."""

import errno
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.on_disk import Moment, write_out
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.machine import Machine
from pactmeter.bench.rapl import TICK_S, Powercap, RaplZone, make_zones, presets
from pactmeter.bench.sysfs import add_frame
from pactmeter.bench.topology import DRAM_BITS, INTEL_BITS, ZoneSpec, topology
from pactmeter.bench.tree import Tree
from pactmeter.errors import ConfigError
from pactmeter.sensors import rapl
from pactmeter.sensors.base import Request

PACKAGE = ZoneSpec("intel-rapl:0", "package-0", "cpu.package0")
ZONE = "sys/class/powercap/intel-rapl:0"
FOLDER = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0"
A_LONG_TIME_S = 1e6

bits = st.sampled_from([INTEL_BITS, DRAM_BITS])
energies_j = st.floats(0.0, 1e9)


class Consumed:
    """A source of which it is known how much has come."""

    def __init__(self, total_j=0.0):
        self.total_j = total_j

    def energy_j(self, from_s, to_s):
        return self.total_j


class Steady:
    """A source of constant power."""

    def __init__(self, power_w):
        self.power_w = power_w

    def energy_j(self, from_s, to_s):
        return self.power_w * (to_s - from_s)


class Counter:
    """A zone that counts 100 W, and what is ordered for it."""

    def __init__(self, spec=PACKAGE, power_w=100.0, **options):
        self.clock = Moment()
        self.faults = FaultBoard(self.clock)
        self.zone = RaplZone(spec, Steady(power_w), self.faults, self.clock, **options)

    def at(self, now_s):
        self.clock.now_s = now_s
        return self.zone.energy_uj()

    def order(self, name, value=None, *, device="cpu.package0", start_s=0.0, **options):
        self.faults.add(Fault(device, name, value, start_s=start_s, **options))


def zone_of(source, bits=INTEL_BITS, **options):
    clock = Moment(A_LONG_TIME_S)
    spec = ZoneSpec("intel-rapl:0", "package-0", "cpu.package0", bits)
    return RaplZone(spec, source, FaultBoard(clock), clock, **options)


def step_uj(zone):
    return rapl.counter_step_uj(zone.range_uj)


# --- the counter --------------------------------------------------------------------------------


def test_ranges_are_those_of_real_machines():
    assert zone_of(Consumed(), 14).range_uj == 262143328850
    assert zone_of(Consumed(), 16).range_uj == 65532610987


@given(bits=bits, total_j=energies_j, preset_uj=st.integers(0, 65532610987))
def test_a_counter_never_leaves_its_range(bits, total_j, preset_uj):
    zone = zone_of(Consumed(total_j), bits, preset_uj=preset_uj)
    assert 0 <= zone.energy_uj() <= zone.range_uj


@given(bits=bits, before_j=energies_j, used_j=st.floats(0.0, 65000.0), preset=st.floats(0.0, 1.0))
def test_the_difference_modulo_range_and_step_is_the_energy(bits, before_j, used_j, preset):
    source = Consumed(before_j)
    zone = zone_of(source, bits, preset_uj=int(preset * zone_of(source, bits).range_uj))
    first_uj = zone.energy_uj()

    source.total_j += used_j
    modulus = zone.range_uj + step_uj(zone)
    seen_uj = rapl.wrapped_difference(first_uj, zone.energy_uj(), modulus)

    # The kernel cuts a step to whole nanojoules: 15.258 uJ for 15.2588.
    short_of_uj = used_j * 1e6 * (1e9 / 2**bits % 1) / (1e9 / 2**bits)
    true_uj = (source.total_j - before_j) * 1e6 - short_of_uj
    off_uj = (seen_uj - true_uj + modulus / 2) % modulus - modulus / 2
    assert abs(off_uj) <= step_uj(zone) + 2


@given(bits=bits, steps=st.integers(0, 2**34))
def test_a_counter_starts_again_exactly_one_step_behind_its_range(bits, steps):
    source = Consumed(steps / 2**bits)
    zone = zone_of(source, bits)
    here_uj = zone.energy_uj()

    source.total_j = (steps + 1) / 2**bits

    if here_uj == zone.range_uj:
        assert zone.energy_uj() == 0
    else:
        assert 0 < zone.energy_uj() - here_uj <= step_uj(zone) + 1


@pytest.mark.parametrize("bits", [INTEL_BITS, DRAM_BITS])
def test_behind_the_range_comes_0(bits):
    source = Consumed()
    zone = zone_of(source, bits)
    source.total_j = (2**32 - 1) / 2**bits
    assert zone.energy_uj() == zone.range_uj
    source.total_j = 2**32 / 2**bits
    assert zone.energy_uj() == 0


def test_a_preset_is_shown_at_0_and_counts_on():
    counter = Counter(preset_uj=1_000_000)
    assert counter.at(0.0) == pytest.approx(1_000_000, abs=62)
    assert counter.at(1000.5 * TICK_S) == pytest.approx(98_600_000, abs=400)


def test_before_the_start_the_counter_comes_up_to_its_preset():
    counter = Counter(preset_uj=0)
    assert counter.at(-TICK_S) > counter.zone.range_uj - 100_000
    assert counter.at(0.0) == 0


def test_a_counter_stands_still_between_two_ticks():
    counter = Counter()
    tick_s = 1000 * TICK_S
    values = [counter.at(tick_s + share * TICK_S) for share in (0.01, 0.3, 0.6, 0.99)]
    assert len(set(values)) == 1
    assert counter.at(tick_s + 1.01 * TICK_S) - values[0] == pytest.approx(97_600, abs=62)


# --- faults of the counter ----------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu.package0", "rapl"])
def test_eio_fails_a_read_while_it_holds(device):
    counter = Counter()
    counter.order("eio", device=device, start_s=1.0, duration_s=1.0)
    counter.at(0.9)
    with pytest.raises(OSError) as raised:
        counter.at(1.5)
    assert raised.value.errno == errno.EIO
    assert counter.at(2.1) == pytest.approx(210_000_000, abs=100_000)


@pytest.mark.parametrize("device", ["cpu.package0", "rapl"])
def test_eio_that_is_counted_fails_so_many_reads(device):
    counter = Counter()
    counter.order("eio", device=device, start_s=1.0, count=2)
    counter.at(0.9)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            counter.at(1.5)
    assert counter.at(1.6) == pytest.approx(160_000_000, abs=100_000)


def test_a_fault_of_another_zone_is_none_of_this_one():
    counter = Counter()
    counter.order("eio", device="cpu.package1")
    assert counter.at(1.0)


def test_a_frozen_counter_goes_on_with_all_that_was_used():
    counter = Counter()
    counter.order("frozen", start_s=10.0, duration_s=60.0)
    before = counter.at(10.0)
    assert counter.at(69.0) == before == pytest.approx(1_000_000_000, abs=100_000)
    assert counter.at(70.5) == pytest.approx(7_050_000_000, abs=100_000)


def test_a_counter_set_back_starts_at_0_once():
    counter = Counter()
    counter.order("back", start_s=10.0)
    assert counter.at(9.9) == pytest.approx(990_000_000, abs=100_000)
    # Nobody read it then; it is a matter of time, not of reads.
    assert counter.at(12.0) == pytest.approx(200_000_000, abs=200_000)
    assert counter.at(13.0) == pytest.approx(300_000_000, abs=200_000)


def test_a_counter_set_back_twice_starts_at_0_twice():
    counter = Counter()
    for start_s in (20.0, 10.0):
        counter.order("back", start_s=start_s, duration_s=1.0)
    assert counter.at(15.0) == pytest.approx(500_000_000, abs=200_000)
    assert counter.at(25.0) == pytest.approx(500_000_000, abs=200_000)


def test_a_counter_that_jumps_wraps_after_so_many_joules():
    counter = Counter()
    counter.order("jump", "50", start_s=1.0)
    assert counter.at(1.49) > counter.zone.range_uj - 2_000_000
    assert counter.at(1.51) < 2_000_000


def test_a_jump_that_was_called_off_in_time_does_not_come():
    counter = Counter()
    counter.order("jump", "50", start_s=5.0)
    counter.clock.now_s = 3.0
    counter.faults.clear("cpu.package0")
    assert counter.at(10.0) == pytest.approx(1_000_000_000, abs=100_000)


def test_a_wrap_is_no_event_to_the_product(tmp_path, monkeypatch):
    """Preset to 50 J below the range, at 150 W: the trial that real figures exist of."""
    counter = Counter(power_w=150.0)
    counter.order("jump", "50")
    tree = Tree()
    Powercap(tree, [counter.zone], mode=0o444)
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path / "sys"))
    counter.clock.now_s = 0.0
    write_out(tree, tmp_path)
    zone = rapl.Zone(tmp_path / ZONE, "package-0")
    seen = []
    for second in range(10):
        counter.clock.now_s = second / 10
        (tmp_path / ZONE / "energy_uj").write_text(str(counter.zone.energy_uj()))
        seen.append(zone.read(counter.clock))
    assert seen[-1] == pytest.approx(150.0 * 0.9, abs=0.5)
    assert seen == sorted(seen)


# --- what is shown ------------------------------------------------------------------------------


class Shown:
    """A topology in a tree, fed by a machine whose components draw 100 W each."""

    def __init__(self, spec, **options):
        self.clock = Moment()
        self.faults = FaultBoard(self.clock)
        self.tree = Tree()
        add_frame(self.tree)
        found = topology(spec)
        sources = Machine(packages=found.packages, load="steady:100").sources
        zones = make_zones(found, sources, self.faults, self.clock)
        self.powercap = Powercap(self.tree, zones, **options)

    def order(self, device, name):
        self.faults.add(Fault(device, name))
        self.powercap.update()

    def clear(self, device):
        self.faults.clear(device)
        self.powercap.update()


def discovered(shown, folder, monkeypatch):
    """Return what the product finds: channel names with their zones."""
    root = write_out(shown.tree, folder)
    monkeypatch.setenv("PACTMETER_SYSFS", str(root))
    found = rapl.discover(Request(), cpuinfo=folder / "none")
    return {
        channel.name: zone.name
        for device in found.devices
        for channel, zone in zip(device.channels, device._zones, strict=True)
    }


PARTS = ("core", "uncore", "dram")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("1x", ["package0", "core0", "uncore0", "dram0"]),
        ("1x,nodram", ["package0", "core0", "uncore0"]),
        ("1x,psys,mmio", ["package0", "core0", "uncore0", "dram0", "psys"]),
        ("2x,nocore,nouncore", ["package0", "dram0", "package1", "dram1"]),
        ("amd", ["package0", "core0"]),
        ("2x,amd", ["package0", "core0", "package1", "core1"]),
        ("1x,die2,nocore,nouncore", ["package0", "dram0", "package1", "dram1"]),
        ("4x", [f"{kind}{n}" for n in range(4) for kind in ("package", *PARTS)]),
    ],
)
def test_the_product_finds_the_zones_of_a_topology(spec, expected, tmp_path, monkeypatch):
    found = discovered(Shown(spec), tmp_path, monkeypatch)
    assert list(found) == [f"cpu.{name}" for name in expected]


def test_reversed_sockets_keep_their_names(tmp_path, monkeypatch):
    found = discovered(Shown("2x,reversed"), tmp_path, monkeypatch)
    assert found["cpu.package0"] == "package-0"
    names = tmp_path / "sys/class/powercap"
    assert (names / "intel-rapl:0/name").read_text() == "package-1\n"
    assert (names / "intel-rapl:1/name").read_text() == "package-0\n"


def test_dies_are_named_as_the_kernel_does(tmp_path, monkeypatch):
    found = discovered(Shown("2x,die2"), tmp_path, monkeypatch)
    packages = {name: zone for name, zone in found.items() if "package" in name}
    assert packages == {
        "cpu.package0": "package-0-die-0",
        "cpu.package1": "package-0-die-1",
        "cpu.package2": "package-1-die-0",
        "cpu.package3": "package-1-die-1",
    }


def test_dram_has_a_range_of_its_own(tmp_path):
    base = write_out(Shown("1x").tree, tmp_path) / "class/powercap"
    ranges = {
        (base / zone / "name").read_text(): int((base / zone / "max_energy_range_uj").read_text())
        for zone in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:0:2")
    }
    assert ranges.pop("dram\n") == 65532610987
    assert set(ranges.values()) == {262143328850}


def test_the_tree_is_nested_and_linked_as_in_sysfs(tmp_path):
    base = write_out(Shown("1x,mmio").tree, tmp_path) / "class/powercap"
    top = tmp_path / "sys/devices/virtual/powercap"
    assert (base / "intel-rapl:0:0").resolve() == top / "intel-rapl/intel-rapl:0/intel-rapl:0:0"
    assert (base / "intel-rapl-mmio:0/name").read_text() == "package-0\n"
    assert (base / "intel-rapl-mmio:0").resolve().parent == top / "intel-rapl-mmio"
    for zone in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:1"):
        assert (base / zone / "subsystem").resolve() == base
        assert (base / zone / "enabled").read_text() == "1\n"
        assert (base / zone / "uevent").read_text() == ""
    assert (base / "intel-rapl:0/energy_uj").stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("seed", range(3))
def test_counters_begin_apart_and_far_from_their_end(seed):
    """There are programs that take counters with the same value for one."""
    begin_uj = presets(topology("8x,psys,mmio"), seed)
    values = sorted(begin_uj.values())
    assert min(b - a for a, b in itertools.pairwise(values)) > 1_000_000
    for zone in make_zones(topology("8x,psys,mmio"), dict.fromkeys(begin_uj), None, None, begin_uj):
        assert 0 <= begin_uj[zone.spec.component] < zone.range_uj / 2


def test_mmio_repeats_package_0():
    powercap = Shown("1x,mmio").powercap
    package, *_, mmio = powercap._zones
    package._clock.now_s = 5.0
    assert mmio.energy_uj() == package.energy_uj() > 0


def test_zones_count_what_the_machine_uses():
    shown = Shown("2x,psys")
    shown.clock.now_s = 10.0
    used = {z.spec.component: z.energy_uj() / 1e6 for z in shown.powercap._zones}
    assert used["cpu.package1"] == pytest.approx(1000.0, abs=0.2)
    assert used["cpu.core1"] + used["cpu.uncore1"] < used["cpu.package1"]
    assert used["cpu.psys"] > used["cpu.package0"] + used["cpu.package1"]


def test_a_package_that_vanishes_takes_its_parts_along_and_they_come_back():
    shown = Shown("2x")
    before = {path for path in everything(shown.tree) if "intel-rapl:1" in path}

    shown.order("cpu.package1", "vanish")
    assert not [path for path in everything(shown.tree) if "intel-rapl:1" in path]
    assert shown.tree.exists(ZONE)

    shown.clear("cpu.package1")
    assert {path for path in everything(shown.tree) if "intel-rapl:1" in path} == before


def test_a_part_vanishes_alone():
    shown = Shown("1x")
    shown.order("cpu.core0", "vanish")
    assert not shown.tree.exists(f"{ZONE}:0")
    assert shown.tree.exists(FOLDER)
    assert shown.tree.exists(f"{ZONE}:1")


def test_no_range_takes_one_file_away_and_gives_it_back():
    shown = Shown("1x")
    shown.order("rapl", "no_range")
    assert not shown.tree.exists(f"{FOLDER}/max_energy_range_uj")
    assert shown.tree.exists(f"{FOLDER}/energy_uj")
    shown.clear("rapl")
    assert shown.tree.exists(f"{FOLDER}/max_energy_range_uj")


@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_a_denied_counter_is_nobodys_until_the_fault_ends(mode):
    shown = Shown("1x", mode=mode)
    shown.order("cpu.package0", "deny")
    assert mode_of(shown) == 0
    shown.clear("cpu.package0")
    assert mode_of(shown) == mode


def mode_of(shown):
    return shown.tree._find(f"{FOLDER}/energy_uj").mode & 0o777


def everything(tree):
    """Return every path of a tree."""

    def below(directory, path):
        for name, entry in directory.children.items():
            yield f"{path}{name}"
            if hasattr(entry, "children"):
                yield from below(entry, f"{path}{name}/")

    return set(below(tree.root, ""))


# --- names --------------------------------------------------------------------------------------


def test_each_topology_names_only_components_that_the_machine_has():
    for spec in ("1x,psys", "2x,psys,die2", "4x,amd", "8x,reversed"):
        found = topology(spec)
        sources = Machine(packages=found.packages).sources
        assert {zone.component for zone in found.zones} <= set(sources)


@pytest.mark.parametrize(
    ("spec", "message", "fix"),
    [
        ("2x,psis", "unknown RAPL option 'psis'", "'psys'"),
        ("2die", "unknown RAPL option '2die'", "'die2'"),
        ("9x", "unknown RAPL option '9x'", "4x"),
        ("", "unknown RAPL option ''", "2x"),
        ("1x,amd,psys", "AMD processors have no psys", "leave out psys"),
        ("amd,mmio", "AMD processors have no mmio", "leave out mmio"),
        ("1x,reversed", "one package has no order", "2x,reversed"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(spec, message, fix):
    with pytest.raises(ConfigError) as raised:
        topology(spec)
    assert message in raised.value.message
    assert fix in raised.value.fix


def test_errors_have_the_texts_of_the_kernel():
    counter = Counter()
    counter.order("eio")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        counter.at(1.0)
