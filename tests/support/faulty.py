"""PACT's own sensors on an emulated machine in this very process, on one clock that stands.

What the sensors read are files of a real FUSE filesystem, with the errors of real system calls. It
is mounted where only this process sees it. hidapi alone is played: while it opens a device it
holds the interpreter, and so the server that is to answer it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import threading
from dataclasses import replace
from pathlib import Path

from pactmeter.bench import cpuinfo
from pactmeter.bench.corsair import CorsairFirmware
from pactmeter.bench.faults import FaultBoard, parse
from pactmeter.bench.fuse import FuseServer, mount_fuse, open_fuse
from pactmeter.bench.hidbus import HidBus
from pactmeter.bench.hidraw import HidIdentity, HidrawNode
from pactmeter.bench.hwmon import CorsairDriver
from pactmeter.bench.loads import Span
from pactmeter.bench.loop import Loop
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.bench.nzxt import NzxtFirmware
from pactmeter.bench.rapl import Powercap, make_zones
from pactmeter.bench.sysfs import add_frame
from pactmeter.bench.timeline import Piece
from pactmeter.bench.topology import topology
from pactmeter.bench.tree import Tree
from pactmeter.bench.usb import HidUnit, port
from pactmeter.model.psu import Protocol
from pactmeter.sensors import psu_hid, psu_scan, rapl
from pactmeter.sensors.base import Request
from pactmeter.sensors.psu_device import PsuDevice
from support.rights import refuse
from support.virtual import VirtualRun

OPEN_S, BEGIN_S = 5.0, 10.0
"""When the devices are opened, and when the measured call begins."""
CALL_S = 20.0

POLL_S = 0.1
LOST_S = 0.25
"""What a reply that never comes takes: the time-out of its own that the reader has."""
WAIT_S = 0.3
"""So often a supply that does not answer is asked: the time-out, on the grid of the polls."""
REOPEN_S = 1.0
"""So often a device that cannot be opened is tried again."""

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000
_MNT_FORCE, _MNT_DETACH = 1, 2

# Legs of power up and down, in watts: every moment has a code of its own, so that a reading that
# is old, another's or made up shows as one.
_LEGS = {
    "cpu.package0": (2.1, 40.0, 140.0),
    "cpu.package1": (2.6, 30.0, 90.0),
    "cpu.dram0": (1.7, 5.0, 12.0),
    "cpu.dram1": (1.9, 4.0, 9.0),
    "gpu0": (3.3, 60.0, 260.0),
}


def legs(name):
    """Yield the pieces of a component's power."""
    length_s, low_w, high_w = _LEGS[name]
    while True:
        yield Piece(length_s, low_w, high_w)
        yield Piece(length_s, high_w, low_w)


class Clock:
    """The machine's clock and PACT's: whoever moves it lets everything happen that is due."""

    def __init__(self):
        self._now_s = 0.0
        self.loop = Loop(self)
        self.lock = threading.RLock()

    def __call__(self):
        return self._now_s

    @property
    def now_s(self):
        return self._now_s

    @now_s.setter
    def now_s(self, until_s):
        while self.step(until_s):
            pass
        self._now_s = max(self._now_s, until_s)

    def step(self, until_s):
        """Let what is due next happen, if it is due by then; return whether there was something."""
        with self.lock:
            left_s = self.loop.run_due()
            if left_s is None or self._now_s + left_s > until_s:
                return False
            self._now_s = max(self._now_s + left_s, math.nextafter(self._now_s, math.inf))
            self.loop.run_due()
            return True

    def sleep(self, duration_s):
        self.now_s = self._now_s + duration_s


class _LockedLoop(Loop):
    def __init__(self, lock):
        super().__init__()
        self._lock = lock

    def add_reader(self, fd, call):
        def locked():
            with self._lock:
                call()

        super().add_reader(fd, locked)


@functools.cache
def _own_namespace():
    """Have mounts of our own from now on; they go with this process, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(
        None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None
    ):
        refuse(f"needs a mount namespace of its own: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def mounted(tree, folder, lock):
    """Mount a tree for a while; give the folder it is seen in."""
    _own_namespace()
    target = Path(folder) / "machine"
    target.mkdir()
    try:
        fd = open_fuse()
        mount_fuse(fd, target)
    except OSError as error:
        refuse(f"needs FUSE: {error}")
    loop = _LockedLoop(lock)
    FuseServer(fd, tree, loop)

    def serve():
        try:
            loop.run_forever()
        finally:
            os.close(fd)  # whoever waits for an answer fails, even if this one has failed

    server = threading.Thread(target=serve, name="emulated machine")
    server.start()
    try:
        yield target
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(target), _MNT_FORCE | _MNT_DETACH)
        server.join(10.0)
        assert not server.is_alive()


class Hidapi:
    """What liquidctl needs of the module `hidraw`, before the nodes of an emulated bus."""

    def __init__(self, machine):
        self.machine = machine

    def enumerate(self, vendor, product):
        return [
            {
                "path": os.fsencode(path),
                "vendor_id": supply.model.vid,
                "product_id": supply.model.pid,
                "serial_number": supply.serial,
                "release_number": 0x100,
                "interface_number": 0,
                "usage_page": 0xFF00,
                "usage": 1,
            }
            for path, supply, _ in self.machine.nodes()
            if vendor in (0, supply.model.vid) and product in (0, supply.model.pid)
        ]

    def device(self):
        return HidapiDevice(self.machine)


class HidapiDevice:
    def __init__(self, machine):
        self.machine, self.clock = machine, machine.clock
        self.node = self.opener = None
        self.blocking = True

    def open_path(self, path):
        try:
            os.close(os.open(path, os.O_RDWR))  # mode and ordered errors, as the kernel has them
            with self.clock.lock:
                found = {os.fsencode(p): node for p, _, node in self.machine.nodes()}
                self.node = found[path]
                self.opener = self.node.open(lambda *_: None, lambda *_: None)
        except (OSError, KeyError) as error:
            raise OSError("open failed") from error

    def close(self):
        with self.clock.lock:
            if self.opener is not None:
                self.opener.close()
            self.node = self.opener = None

    def set_nonblocking(self, flag):
        self.blocking = not flag
        return 0

    def write(self, report):
        if self.node is None:
            raise ValueError("not open")
        self.machine.asked += 1
        with self.clock.lock:
            try:
                return self.node.write(bytes(report))
            except OSError:
                return -1

    def read(self, max_length, timeout_ms=0):
        if self.opener is None:
            raise ValueError("not open")
        until_s = self.clock.now_s + (timeout_ms / 1e3 if self.blocking else 0.0)
        while True:
            try:
                with self.clock.lock:
                    self.clock.loop.run_due()
                    return list(self.opener.read(0, max_length, nonblocking=True))
            except BlockingIOError:
                assert timeout_ms or not self.blocking, "a read without a time-out waits for ever"
                if not self.clock.step(until_s):
                    self.clock.now_s = until_s
                    return []
            except OSError as error:
                raise OSError("read error") from error


class Emulated:
    """A machine with power supplies and RAPL; `devices` are PACT's."""

    update_s = 0.002  # of RAPL, at most

    def __init__(self, folder, patch, *, psus=(), zones=None, short_reports=False):
        self.clock = Clock()
        self.faults = FaultBoard(self.clock)
        self.short_reports = short_reports
        self.asked = 0
        self.root = self.powercap = None
        self.devices = []
        self.firmware = {}
        self._patch, self._folder, self._chat = patch, folder, 0
        specs = sorted(map(parse_psu, psus), key=lambda one: one.order)
        found = topology(zones) if zones else None
        packages = found.packages if found else 1
        self.machine = Machine(specs, packages=packages, gpus=[Span(60.0, 260.0)])
        for name in _LEGS.keys() & self.machine.timelines.keys():
            self.machine.timelines[name].switch(0.0, legs(name))
        self.tree = Tree()
        add_frame(self.tree)
        self.bus = HidBus(self.tree, self.faults)
        for supply, spec in zip(self.machine.supplies, specs, strict=True):
            self._plug(supply, bound=spec.hwmon)
        if found:
            self.zones = make_zones(found, self.machine.sources, self.faults, self.clock)
            self.powercap = Powercap(self.tree, self.zones)
            self.tree.add_text("proc/cpuinfo", cpuinfo.text(found.vendor, 2, found.sockets))

    def _plug(self, supply, *, bound):
        model, name = supply.model, supply.name
        kind = CorsairFirmware if model.protocol is Protocol.CORSAIR else NzxtFirmware
        self.firmware[name] = firmware = kind(supply, self.faults, self.clock)
        unit = HidUnit(name, model.vid, model.pid, model.name, supply.serial, port(name), bound)
        identity = HidIdentity(unit.vid, unit.pid, unit.name, unit.phys, unit.serial)

        def make_node():
            firmware.reset()
            node = HidrawNode(firmware, self.clock.loop, identity, self.faults)
            node.short_reports = self.short_reports
            return node

        def overheard(report):
            if (node := self.bus.node(name)) is not None:
                node.inject(report)

        driver = CorsairDriver(firmware, self.faults, self.clock, overheard)
        self.bus.add(unit, make_node, driver.probe if bound else None)

    def nodes(self):
        """Return path, supply and node of what is plugged in now."""
        return [
            (self.root / f"dev/hidraw{self.bus.number(s.name)}", s, self.bus.node(s.name))
            for s in self.machine.supplies
            if self.bus.node(s.name) is not None
        ]

    # --- faults -------------------------------------------------------------------------------

    def order(self, text, zero_s=BEGIN_S):
        """Order a fault, as of the command line; its time counts from the begin of the call."""
        fault = parse(text, [text.partition(":")[0]])
        fault = replace(fault, start_s=fault.start_s + zero_s)
        self.faults.add(fault)
        for at_s in (fault.start_s, fault.start_s + (fault.duration_s or math.inf)):
            if math.isfinite(at_s):
                self.clock.loop.call_at(at_s, self._update)
        if fault.name == "chatter":
            self.clock.loop.call_at(fault.start_s, functools.partial(self._talk, fault.device))

    def _update(self):
        self.bus.update()
        if self.powercap:
            self.powercap.update()

    def _talk(self, device):
        """Play another program that asks a supply for everything, as the bench's server does."""
        fault, node = self.faults.active(device, "chatter"), self.bus.node(device)
        if fault is None:
            return
        if node is not None:
            requests = self.firmware[device].status_requests()
            node.request(requests[self._chat % len(requests)].ljust(64, b"\0"))
            self._chat += 1
        later_s = 1.0 / float(fault.value or 20.0)
        self.clock.loop.call_later(later_s, functools.partial(self._talk, device))

    # --- PACT ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self, *, rails=False):
        """Mount it and find its devices; in the end nothing may have been written to a supply."""
        with mounted(self.tree, self._folder, self.clock.lock) as self.root:
            self._patch.setenv("PACTMETER_SYSFS", str(self.root / "sys"))
            self._patch.setattr(psu_scan, "DEV", self.root / "dev")
            psu_hid.require()
            self._patch.setattr("liquidctl.driver.usb.hid", Hidapi(self))
            try:
                self._find(rails=rails)
                yield self
            finally:
                for device in self.devices:
                    device.close()
        assert [firmware.writes() for firmware in self.firmware.values()] == [[]] * len(
            self.firmware
        )

    def _find(self, *, rails):
        for number, found in enumerate(psu_scan.scan()):
            clock = {"clock": self.clock, "sleep": self.clock.sleep}
            device = PsuDevice(found, f"psu{number or ''}", rails=rails, **clock)
            self.devices.append(Watched(device, self))
        if self.powercap:
            processor = self.root / "proc/cpuinfo"
            found = rapl.discover(Request(), cpuinfo=processor, clock=self.clock)
            self.devices += [Watched(device, self) for device in found.devices]

    def measure(self, call_s=CALL_S, *, poll_s=POLL_S):
        """Open all devices and measure one call; return the run."""
        self.clock.now_s = OPEN_S
        for device in self.devices:
            device.open()
        self.clock.now_s = BEGIN_S
        run = VirtualRun(self.devices, self.clock, poll_s=poll_s)
        run.call(call_s)
        return run

    def source(self, channel):
        """Return the true power behind a channel."""
        name, _, rest = channel.partition(".")
        if rest != "dc_output":
            return self.machine.sources[channel]
        return self.machine.supplies[int(name.removeprefix("psu") or 0)]._load


class Watched:
    """A device whose readings are kept: begin, end, values, and how often a supply was asked."""

    def __init__(self, device, machine):
        self._device, self._machine = device, machine
        self.name, self.channels = device.name, device.channels
        self.open, self.close = device.open, device.close
        self.readings = []

    def read(self):
        clock, asked = self._machine.clock, self._machine.asked
        from_s, values = clock(), None
        try:
            values = self._device.read()
        finally:
            self.readings.append((from_s, clock(), values, self._machine.asked - asked))
        return values
