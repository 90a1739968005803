"""PACT's own sensors before the emulated machine in this very process, on one manual clock."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import tempfile
import time
from pathlib import Path

import pytest

from bench import on_disk
from pactmeter.bench import cpuinfo, nvml
from pactmeter.bench.corsair import CorsairFirmware
from pactmeter.bench.faults import FaultBoard
from pactmeter.bench.nzxt import NzxtFirmware
from pactmeter.bench.rapl import Powercap, make_zones
from pactmeter.bench.sysfs import add_frame
from pactmeter.bench.topology import topology
from pactmeter.bench.tree import Tree
from pactmeter.model.psu import Protocol
from pactmeter.sensors import nvml as gpu_sensor
from pactmeter.sensors import psu_scan, rapl
from pactmeter.sensors.base import Request
from pactmeter.sensors.psu_device import PsuDevice
from support.faulty_usb import FaultyHidapi
from unit.psu_fakes import Machine as Transport

FIRMWARE = {Protocol.CORSAIR: CorsairFirmware, Protocol.NZXT: NzxtFirmware}
RAPL_READ_S = 5e-5
"""How long reading one counter of the processor takes."""
_PORTS = 8
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the files of a machine are made: hundreds of times, and for nobody to keep."""


class Told:
    """A device of which something learns just before it is opened and before each reading."""

    def __init__(self, device, before):
        self._device = device
        self._before = before
        self.name, self.channels = device.name, device.channels
        self.close = device.close

    def open(self):
        self._before()
        self._device.open()

    def read(self):
        self._before()
        return self._device.read()


@functools.cache
def own_gpus():
    """Let the library of this process look at a file of its own, whoever else has been started."""
    folder = tempfile.TemporaryDirectory(dir=MEMORY)
    os.environ[nvml.ENVIRONMENT] = f"{folder.name}/gpus"
    return folder  # it goes with the process


def gpu_environment(folder, number=0):
    """Return the environment of a process that sees emulated GPUs, for `support.children`."""
    nvml.build_library(folder)
    return {
        "LD_LIBRARY_PATH": str(folder),
        "CUDA_VISIBLE_DEVICES": None,
        nvml.ENVIRONMENT: f"{folder}/gpus{number}",
    }


def open_gpus(models, lines, faults, clock):
    """Open GPUs of some P(t), in a process with `gpu_environment`."""
    path = Path(os.environ[nvml.ENVIRONMENT])
    publisher = nvml.Publisher(path, models, lines, time.monotonic(), faults)

    def tell():
        publisher.publish(clock())
        publisher.set_virtual_now(clock())

    tell()
    devices = gpu_sensor.discover(Request()).devices
    assert len(devices) == len(models)
    for device in devices:
        device.open()
    return [Told(device, tell) for device in devices]


class Bench:
    """The devices of a machine; `clock` is that of the machine, of PACT and of the test.

    GPUs are there in a process with `gpu_environment` only.
    """

    def __init__(self, machine, folder, patch, *, start_s=20.0, topology=None, gpus=(), orders=()):
        self.machine = machine
        self.transport = Transport(folder, patch)
        self.clock = self.transport.clock
        self.clock.now_s = start_s
        self.faults = FaultBoard(self.clock)
        for order in orders:
            self.faults.add(order)
        self.transport.hidapi = FaultyHidapi(self.clock, self.faults)
        patch.setattr("liquidctl.driver.usb.hid", self.transport.hidapi)
        self._plugs, self._out = {}, set()
        self.psus = self._open_psus()
        self.zones = []
        self.rapl = self._open_rapl(topology, folder / "cpuinfo") if topology else []
        lines = [machine.timelines[f"gpu{n}"] for n in range(len(gpus))]
        self.gpus = open_gpus(gpus, lines, self.faults, self.clock) if gpus else []
        # the quick ones first: here one waits for the other, in a sampler each has its thread
        self.devices = [*self.rapl, *self.gpus, *self.psus]

    def _open_psus(self):
        for number, supply in enumerate(self.machine.supplies):
            firmware = FIRMWARE[supply.model.protocol](supply, self.faults, self.clock)
            self._plugs[number] = supply, firmware
            self._plug(number)
        opened = []
        for number, found in enumerate(psu_scan.scan()):
            prefix = f"psu{number or ''}"
            device = PsuDevice(found, prefix, clock=self.clock, sleep=self.clock.sleep)
            opened.append(Told(device, self._replug))
            opened[-1].open()
        assert len(opened) == len(self.machine.supplies)
        return opened

    def _plug(self, number):
        """Plug a supply in under a number that none had before; it stays in its port."""
        supply, firmware = self._plugs[number]
        ids, port = (supply.model.vid, supply.model.pid), f"usb-{number % _PORTS}/input0"
        self.transport.plug(ids, firmware, number=number, serial=supply.serial, port=port)

    def _replug(self):
        """Unplug and plug in, as the faults that hold now want it."""
        for number, (supply, firmware) in list(self._plugs.items()):
            is_in = f"{self.transport.dev}/hidraw{number}" in self.transport.hidapi.plugged
            is_out = self.faults.active(supply.name, "unplug") is not None
            if is_in and is_out:
                self.transport.unplug(number)
                self._out.add(number)
            elif number in self._out and not is_out:  # who else has unplugged one plugs it in
                firmware.reset()
                self._out.remove(number)
                del self._plugs[number]
                self._plugs[number + _PORTS] = supply, firmware
                self._plug(number + _PORTS)

    def _open_rapl(self, spec, processors):
        """Write the zones out as files, which are brought up to date before every reading."""
        found = topology(spec)
        self.zones = make_zones(found, self.machine.sources, self.faults, self.clock)
        tree = Tree()
        add_frame(tree)
        Powercap(tree, self.zones, mode=0o644)
        root = self.transport.sys
        root.mkdir(exist_ok=True)
        on_disk._write(tree.root.children["sys"], root)
        processors.write_text(cpuinfo.text(found.vendor, 8, found.sockets))
        base = root / "class/powercap"
        self._files = [os.open(base / z.spec.path / "energy_uj", os.O_WRONLY) for z in self.zones]
        self._folders = [(base / z.spec.path).resolve() for z in self.zones]
        devices = rapl.discover(Request(), cpuinfo=processors, clock=self.clock).devices
        for device in devices:
            self._count()
            device.open()
        return [Told(device, self._count) for device in devices]

    def _count(self):
        for zone, file, folder in zip(self.zones, self._files, self._folders, strict=True):
            away = folder.with_name(f"{folder.name} away")
            if zone.ordered("vanish"):
                if folder.exists():
                    folder.rename(away)
                os.pwrite(file, f"{os.strerror(errno.ENODEV):<20}\n".encode(), 0)
                continue
            if away.exists():
                away.rename(folder)
            try:
                shown = zone.energy_uj() if zone.spec.control == "intel-rapl" else "not to be read"
            except OSError as error:  # a plain file has no errors of its own
                shown = error.strerror
            os.pwrite(file, f"{shown:<20}\n".encode(), 0)
        self.clock.now_s += RAPL_READ_S * len(self.zones)

    def close(self):
        """Let go of everything."""
        for device in self.devices:
            device.close()
        for file in self._files if self.zones else ():
            os.close(file)


@contextlib.contextmanager
def benched(machine, **options):
    """Give the devices of a machine; see `Bench`."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        bench = Bench(machine, Path(folder), patch, **options)
        try:
            yield bench
        finally:
            bench.close()
