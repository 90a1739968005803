"""A powercap tree of files, for the tests of the RAPL sensor."""

from __future__ import annotations

from pactmeter.sensors import rapl
from pactmeter.sensors.base import Request

RANGE_UJ = 262143328850  # 61 uJ a step
DRAM_RANGE_UJ = 65532610987  # 15.3 uJ a step

HASWELL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 63\nflags\t\t: fpu vme\n\n"
IVY_BRIDGE = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 58\nflags\t\t: fpu\n\n"
AMD = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nflags\t\t: fpu\n\n"
VIRTUAL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor\n\n"


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Machine:
    """A powercap tree, a cpuinfo and a clock."""

    def __init__(self, root):
        self.base = root / "sys" / "class" / "powercap"
        self.cpuinfo = root / "cpuinfo"
        self.cpuinfo.write_text(HASWELL)
        self.clock = Clock()

    def zone(self, path, name, energy_uj=0, range_uj=RANGE_UJ):
        folder = self.base / path
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        if range_uj is not None:
            (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.set(path, energy_uj)

    def set(self, path, energy_uj):
        file = self.base / path / "energy_uj"
        file.write_text(f"{energy_uj}\n")  # the same inode: an open file sees it

    def discover(self):
        return rapl.discover(Request(), cpuinfo=self.cpuinfo, clock=self.clock)

    def device(self):
        (device,) = self.discover().devices
        return device


def names(device):
    return [channel.name for channel in device.channels]
