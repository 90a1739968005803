"""What the emulated sysfs and /proc show of power supplies and processors."""

import errno
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.on_disk import Moment, shown, write_out
from pactmeter.bench import cpuinfo, hwmon
from pactmeter.bench.corsair import CorsairFirmware
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.hidbus import HidBus
from pactmeter.bench.hidraw import HidIdentity, HidrawNode
from pactmeter.bench.hwmon import CorsairDriver
from pactmeter.bench.loop import Loop
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.sysfs import SUBTREES, add_frame
from pactmeter.bench.topology import topology
from pactmeter.bench.tree import Tree
from pactmeter.bench.usb import HidUnit, port
from pactmeter.model import rapl as model_rapl
from pactmeter.model.channel import Domain, Origin
from pactmeter.sensors import psu_scan, sysfs
from pactmeter.sensors.psu_hwmon import HwmonReader
from pactmeter.sensors.psu_pmbus import linear11

HID = "sys/devices/pci00fe:00/00fe:00:14.0/usb9/9-1/9-1:1.0/0003:1B1C:1C1F.0001"
HWMON = "sys/class/hwmon/hwmon4"


class Bus:
    """A bus with the supplies of a machine, on a clock that the test sets."""

    def __init__(self, *specs, dev=None, load="steady:100"):
        self.clock = Moment()
        self.faults = FaultBoard(self.clock)
        self.loop = Loop(self.clock)
        self.tree = Tree()
        add_frame(self.tree)
        self.bus = HidBus(self.tree, self.faults, dev)
        asked = sorted(map(parse_psu, specs), key=lambda one: one.order)
        self.machine = Machine(asked, load=load)
        for spec, supply in zip(asked, self.machine.supplies, strict=True):
            self.add(supply, bound=spec.hwmon)

    def add(self, supply, *, bound):
        model = supply.model
        firmware = CorsairFirmware(supply, self.faults, self.clock)
        where = port(supply.name)
        unit = HidUnit(supply.name, model.vid, model.pid, model.name, supply.serial, where, bound)
        identity = HidIdentity(unit.vid, unit.pid, unit.name, unit.phys, unit.serial)

        def make_node():
            firmware.reset()
            return HidrawNode(firmware, self.loop, identity, self.faults)

        driver = CorsairDriver(firmware, self.faults, self.clock) if bound else None
        self.bus.add(unit, make_node, driver.probe if driver else None)

    def order(self, name, value=None, *, device="psu0", **options):
        self.faults.add(Fault(device, name, value, **options))
        self.bus.update()

    def clear(self, device="psu0"):
        self.faults.clear(device)
        self.bus.update()

    def hwmon(self, file):
        """Return the integer that a file of the hwmon directory holds now."""
        return int(shown(self.tree, f"{HWMON}/{file}"))

    def paths(self):
        return everything(self.tree)


def everything(tree):
    """Return every path of a tree."""

    def below(directory, path):
        for name, entry in directory.children.items():
            yield f"{path}{name}"
            if hasattr(entry, "children"):
                yield from below(entry, f"{path}{name}/")

    return set(below(tree.root, ""))


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """Let the product's own scanner look at a bus."""
    (tmp_path / "root").mkdir()
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(psu_scan, "DEV", tmp_path / "dev")

    def look(bus):
        monkeypatch.setenv("PACTMETER_SYSFS", str(write_out(bus.tree, tmp_path / "root")))
        return psu_scan.scan()

    return look


# --- power supplies at the USB ------------------------------------------------------------------


def test_the_product_finds_a_supply_with_all_it_wants_to_know(scan):
    (found,) = scan(Bus("hx1500i,serial=ABC1"))
    assert found.model.name == "Corsair HX1500i"
    assert (found.serial, found.port) == ("ABC1", "usb-00fe:00:14.0-1/input0")
    assert (found.bound, found.hwmon, found.node.name) == (False, None, "hidraw0")
    assert found.synthetic == "emulated"


def test_the_product_finds_what_the_kernel_driver_holds(scan):
    (found,) = scan(Bus("hx1500i,serial=ABC1,hwmon"))
    assert found.bound
    assert found.hwmon.name == "hwmon4"
    assert found.node.name == "hidraw0"


def test_a_supply_without_a_serial_is_told_by_its_port(scan):
    bus = Bus("hx1500i", "hx1500i")
    found = scan(bus)
    assert [one.serial for one in found] == ["", ""]
    assert len({one.port for one in found}) == 2
    assert not [path for path in bus.paths() if path.endswith(("9-1/serial", "9-2/serial"))]


def test_every_directory_that_udev_looks_at_has_uevent_and_subsystem():
    bus = Bus("hx1500i,serial=ABC1,hwmon")
    paths = bus.paths()
    usb = HID.rsplit("/", 2)[0]
    for path in (usb, f"{usb}/9-1:1.0", HID, f"{HID}/hidraw/hidraw0", f"{HID}/hwmon/hwmon4"):
        assert {f"{path}/uevent", f"{path}/subsystem"} <= paths
    assert "DEVTYPE=usb_device\n" in shown(bus.tree, f"{usb}/uevent")
    assert shown(bus.tree, f"{usb}/idVendor") == "1b1c\n"
    uevent = shown(bus.tree, f"{HID}/uevent").splitlines()
    assert "HID_ID=0003:00001B1C:00001C1F" in uevent
    assert "HID_UNIQ=ABC1" in uevent
    assert "DRIVER=corsair-psu" in uevent


def test_all_that_is_shown_in_sys_lies_in_the_parts_that_are_mounted():
    bus = Bus("hx1500i,serial=ABC1,hwmon")
    roots = tuple(f"sys/{path}" for path in SUBTREES)
    for path in bus.paths():
        if path.startswith("sys/"):
            assert path.startswith(roots) or any(root.startswith(f"{path}/") for root in roots)


def test_a_replug_shows_another_number_and_the_product_finds_the_unit_again(scan):
    bus = Bus("hx1500i,serial=ABC1", "hx1500i,serial=ABC2")
    before = scan(bus)[0]
    node = bus.bus.node("psu0")

    bus.order("unplug")
    assert [one.serial for one in scan(bus)] == ["ABC2"]
    assert not node.plugged
    assert bus.bus.number("psu0") is None

    bus.clear()
    scan(bus)
    again = psu_scan.find_again(before)
    assert (again.serial, again.port) == (before.serial, before.port)
    assert again.node.name == "hidraw2"
    assert bus.bus.number("psu0") == 2
    assert bus.bus.node("psu0").plugged


@pytest.mark.parametrize("spec", ["hx1500i,serial=A", "hx1500i,serial=A,hwmon", "hx1500i"])
def test_unplugging_leaves_nothing_behind(spec, tmp_path):
    bus = Bus(spec, dev=tmp_path)
    empty = Bus().paths()
    assert (tmp_path / "hidraw0").is_symlink()

    bus.order("unplug")

    assert [path for path in bus.paths() - empty if "driver" not in path and path != "dev"] == []
    assert list(tmp_path.iterdir()) == []


def test_links_in_dev_follow_every_plug(tmp_path):
    bus = Bus("hx1500i,serial=A", dev=tmp_path)
    bus.order("unplug")
    bus.clear()
    (link,) = tmp_path.iterdir()
    assert link.name == "hidraw1"
    assert str(link.readlink()) == "pactmeter/fuse/dev/hidraw1"
    assert bus.tree.exists("dev/hidraw1")


def test_a_denied_node_is_roots_alone_while_the_fault_holds():
    bus = Bus("hx1500i,serial=A")
    modes = [bus.tree._find("dev/hidraw0").mode & 0o777]
    bus.order("deny")
    modes.append(bus.tree._find("dev/hidraw0").mode & 0o777)
    bus.clear()
    modes.append(bus.tree._find("dev/hidraw0").mode & 0o777)
    assert modes == [0o666, 0o600, 0o666]


def test_a_unit_that_does_not_answer_the_driver_has_neither_node_nor_hwmon(scan):
    bus = Bus("hx1500i,serial=A,hwmon")
    bus.order("unplug", duration_s=1.0)
    bus.order("late")  # 0.4 s, and the driver waits 0.25
    bus.clock.now_s = 2.0
    bus.bus.update()
    assert scan(bus) == ()
    assert any(path.endswith("0003:1B1C:1C1F.0002/uevent") for path in bus.paths())
    assert not [path for path in bus.paths() if "/hidraw0" in path or "/hwmon4" in path]


def test_a_replayed_unit_says_so():
    assert port("psu1", replay=True).startswith("pactmeter-replay")
    assert not port("psu1").startswith("pactmeter-replay")


# --- the kernel's driver ------------------------------------------------------------------------


def test_hwmon_has_the_files_of_the_driver():
    bus = Bus("hx1500i,serial=A,hwmon")
    files = set(bus.tree._find(f"{HID}/hwmon/hwmon4").children)
    inputs = {
        *(f"power{n}" for n in range(1, 5)),
        *(f"in{n}" for n in range(4)),
        *(f"curr{n}" for n in range(2, 5)),
        *("temp1", "temp2", "fan1"),
    }
    assert {name[:-6] for name in files if name.endswith("_input")} == inputs
    assert {name[:-6] for name in files if name.endswith("_label")} == inputs
    limits = {"in1", "in2", "in3", "curr2", "curr3", "curr4", "temp1", "temp2"}
    assert {name[:-5] for name in files if name.endswith("_crit")} == limits
    assert {name[:-6] for name in files if name.endswith("_lcrit")} == {"in1", "in2", "in3"}
    assert shown(bus.tree, f"{HWMON}/name") == "corsairpsu\n"
    assert shown(bus.tree, f"{HWMON}/power1_label") == "power total\n"


def test_an_old_hxi_has_an_input_current_too():
    assert Bus("hx850i,serial=A,hwmon").hwmon("curr1_input") > 0


def test_the_product_reads_through_the_driver_what_the_sensors_see(scan):
    bus = Bus("hx1500i,serial=A,hwmon", load="steady:101")
    bus.clock.now_s = 5.0
    (found,) = scan(bus)
    reader = HwmonReader(found.hwmon)
    supply = bus.machine.supplies[0]
    true_w = supply.dc_output_w(5.0)
    assert reader.total_w() == pytest.approx(true_w, abs=1.0)
    assert reader.total_w() % 2.0 == 0.0  # its steps
    assert reader.rails_w() == pytest.approx(supply.rails_w(5.0), abs=1.0)
    assert reader.input_v() == 230.0
    assert reader.temp_c() == pytest.approx(supply.temp_c(5.0), abs=0.13)
    reader.close()


def test_integers_are_floored_as_in_the_kernel():
    assert hwmon.integer(bytes.fromhex("41d1"), 1000) == 5015  # 5.015625 V
    assert hwmon.integer(bytes.fromhex("ffff"), 1_000_000) == -500_000
    assert hwmon.integer(bytes.fromhex("ffd7"), 1000) == -16  # -1/64 V


def test_garbage_wraps_in_32_bits_as_in_the_kernel():
    assert hwmon.integer(bytes.fromhex("ff7b"), 1_000_000) == -555_745_280


@given(word=st.integers(0, 0xFFFF), scale=st.sampled_from([1, 1000]))
def test_small_scales_give_the_floored_value(word, scale):
    data = word.to_bytes(2, "little")
    exact = linear11(data) * scale
    if abs(exact) < 2**31:
        assert hwmon.integer(data, scale) == exact // 1


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("eio", errno.EIO),
        ("etimedout", errno.ETIMEDOUT),
        ("eopnotsupp", errno.EOPNOTSUPP),
        ("enodev", errno.ENODEV),
        ("drop", errno.ETIMEDOUT),
        ("late", errno.ETIMEDOUT),
        ("short", errno.ETIMEDOUT),
        ("wrong_echo", errno.EOPNOTSUPP),
        ("foreign", errno.EOPNOTSUPP),
        ("uninitialised", errno.EOPNOTSUPP),
    ],
)
def test_a_fault_is_the_error_that_the_driver_makes_of_it(name, number):
    bus = Bus("hx1500i,serial=A,hwmon")
    bus.order(name, start_s=1.0)
    bus.hwmon("power1_input")
    bus.clock.now_s = 1.5
    with pytest.raises(OSError) as raised:
        bus.hwmon("power1_input")
    assert raised.value.errno == number
    assert shown(bus.tree, f"{HWMON}/power1_label") == "power total\n"  # the driver knows it


def test_a_reading_is_frozen_as_it_was():
    bus = Bus("hx1500i,serial=A,hwmon", load="ramp:20-120@0-100")
    bus.order("frozen", start_s=10.0, duration_s=60.0)
    read = functools.partial(bus.hwmon, "power1_input")
    seen = []
    for now_s in (10.0, 45.0, 69.0, 71.0):
        bus.clock.now_s = now_s
        seen.append(read())
    assert seen[0] == seen[1] == seen[2] != seen[3]


def test_zero_is_total_and_rails():
    bus = Bus("hx1500i,serial=A,hwmon")
    bus.order("zero")
    assert [bus.hwmon(f"power{n}_input") for n in range(1, 5)] == [0, 0, 0, 0]
    assert bus.hwmon("in0_input") == 230_000


def test_a_file_says_what_was_ordered_so_often():
    bus = Bus("hx1500i,serial=A,hwmon")
    good = bus.hwmon("power1_input")
    bus.order("raw", "power1_input:-555745280", count=2)
    bus.order("raw", "in0_input:0")
    assert [bus.hwmon("power1_input") for _ in range(3)] == [-555745280, -555745280, good]
    assert bus.hwmon("in0_input") == 0
    assert bus.hwmon("temp1_input") > 0


def test_a_register_with_garbage_reaches_the_file():
    bus = Bus("hx1500i,serial=A,hwmon")
    bus.order("raw", "ee:ff7b")
    assert bus.hwmon("power1_input") == -555_745_280


def test_hwmon_gets_another_number_and_its_own_back(scan):
    bus = Bus("hx1500i,serial=A,hwmon")
    bus.order("renumber")
    (found,) = scan(bus)
    assert found.hwmon.name == "hwmon44"
    assert not bus.tree.exists(HWMON)
    bus.clear()
    assert scan(bus)[0].hwmon.name == "hwmon4"


def test_others_at_the_node_overhear_the_driver():
    bus = Bus("hx1500i,serial=A")
    firmware = CorsairFirmware(bus.machine.supplies[0], bus.faults, bus.clock)
    heard = []
    driver = CorsairDriver(firmware, bus.faults, bus.clock, heard.append)
    files = driver.probe()
    heard.clear()
    files["power2_input"]()
    assert [report[:2].hex() for report in heard] == ["0200", "0396"]
    assert firmware.writes() == []


# --- processors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "origin"), [("2x", Origin.MEASURED), ("amd", Origin.MODELLED)])
def test_the_product_knows_the_processor(spec, origin, tmp_path):
    found = topology(spec)
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo.text(found.vendor, 16, found.sockets))
    fields = sysfs.cpuinfo(path)
    assert not sysfs.is_virtual(fields)
    assert "pactmeter-bench" in fields["model name"]
    assert model_rapl.trueness(fields, Domain.PACKAGE).origin is origin


@pytest.mark.parametrize(("cpus", "packages"), [(2, 1), (16, 2), (3, 2), (1, 4), (256, 8)])
def test_there_is_a_block_for_every_cpu_of_the_real_machine(cpus, packages):
    blocks = cpuinfo.text("intel", cpus, packages).strip().split("\n\n")
    fields = [dict(line.partition("\t")[::2] for line in block.splitlines()) for block in blocks]
    assert [int(one["processor"].strip("\t: ")) for one in fields] == list(range(cpus))
    ids = {int(one["physical id"].strip("\t: ")) for one in fields}
    assert ids == set(range(min(cpus, packages)))
