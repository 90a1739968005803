"""PACT's own sensors before the emulated machine in this very process, on one manual clock."""

from __future__ import annotations

import contextlib
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
from unit.psu_fakes import Machine as Transport

FIRMWARE = {Protocol.CORSAIR: CorsairFirmware, Protocol.NZXT: NzxtFirmware}
RAPL_READ_S = 5e-5
"""How long reading one counter of the processor takes."""


class Told:
    """A device of which something learns just before each reading."""

    def __init__(self, device, before):
        self._device = device
        self._before = before
        self.name, self.channels = device.name, device.channels
        self.open, self.close = device.open, device.close

    def read(self):
        self._before()
        return self._device.read()


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
            ids = supply.model.vid, supply.model.pid
            port = f"usb-{number}/input0"
            self.transport.plug(ids, firmware, number=number, serial=supply.serial, port=port)
        opened = []
        for number, found in enumerate(psu_scan.scan()):
            prefix = f"psu{number or ''}"
            opened.append(PsuDevice(found, prefix, clock=self.clock, sleep=self.clock.sleep))
            opened[-1].open()
        assert len(opened) == len(self.machine.supplies)
        return opened

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
        devices = rapl.discover(Request(), cpuinfo=processors, clock=self.clock).devices
        for device in devices:
            self._count()
            device.open()
        return [Told(device, self._count) for device in devices]

    def _count(self):
        for zone, file in zip(self.zones, self._files, strict=True):
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
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        bench = Bench(machine, Path(folder), patch, **options)
        try:
            yield bench
        finally:
            bench.close()
