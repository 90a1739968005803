"""The process that answers for the emulated machine: its files, its faults, its truth."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.bench import cpuinfo, faults
from pactmeter.bench.corsair import CorsairFirmware
from pactmeter.bench.faults import FaultBoard
from pactmeter.bench.follow import PERIOD_S as FOLLOW_S
from pactmeter.bench.follow import Follower
from pactmeter.bench.fuse import FuseServer
from pactmeter.bench.hidbus import HidBus
from pactmeter.bench.hidraw import HidIdentity, HidrawNode
from pactmeter.bench.hwmon import CorsairDriver
from pactmeter.bench.loads import FOLLOW
from pactmeter.bench.loop import Loop
from pactmeter.bench.mounts import inhabitants
from pactmeter.bench.nvml import Publisher
from pactmeter.bench.nzxt import NzxtFirmware
from pactmeter.bench.rapl import Powercap, make_zones, presets
from pactmeter.bench.replay import ReplayFirmware
from pactmeter.bench.sysfs import add_frame
from pactmeter.bench.tree import Tree
from pactmeter.bench.truth import check_free, truth_of
from pactmeter.bench.usb import HidUnit, port
from pactmeter.errors import PactError
from pactmeter.model.psu import Protocol

if TYPE_CHECKING:
    import socket

    from pactmeter.bench.firmware import Firmware
    from pactmeter.bench.machine import PsuSpec
    from pactmeter.bench.options import Spec
    from pactmeter.bench.supply import Supply

NVML_STATE = "nvml"
"""Name of the file, in the run directory, that the NVML library reads."""

_TICK_S = 0.02
"""How soon a fault that changes what is plugged in shows."""
_AHEAD_S = 20.0
"""How far ahead P(t) of the GPUs is told: their figures do not depend on this process."""
_PUBLISH_S = 0.5
_ENDINGS = 5
"""How often it is looked who has been started meanwhile."""


class Clock:
    """Seconds since the command's start, the same in this process and in those forked from it."""

    def __init__(self) -> None:
        self._zero = memoryview(mmap.mmap(-1, 8)).cast("d")
        self.start()

    def start(self) -> float:
        """Let it be 0 now; returns CLOCK_MONOTONIC in seconds."""
        self._zero[0] = now_s = time.monotonic()
        return now_s

    @property
    def zero_s(self) -> float:
        """CLOCK_MONOTONIC at 0, in seconds."""
        return float(self._zero[0])

    def __call__(self) -> float:
        """Return the seconds since the command's start."""
        return time.monotonic() - self.zero_s


class Server:
    """Everything the machine consists of, in one loop.

    Args:
        spec: The machine.
        run: The run directory.
        clock: Seconds since the command's start.
        fuse: Descriptor of the mounted filesystem.
        control: Socket of orders.
    """

    def __init__(
        self, spec: Spec, run: Path, clock: Clock, fuse: int, control: socket.socket
    ) -> None:
        self._spec = spec
        self._clock = clock
        self._control = control
        self._loop = Loop()
        self._tree = Tree()
        self._faults = FaultBoard(clock)
        for fault in spec.orders:
            self._faults.add(fault)
        add_frame(self._tree)
        machine = spec.machine
        self._powercap: Powercap | None = None
        if spec.rapl:
            begin_uj = presets(spec.rapl, machine.seed)
            zones = make_zones(spec.rapl, machine.sources, self._faults, clock, begin_uj)
            self._powercap = Powercap(self._tree, zones)
        vendor, sockets = (spec.rapl.vendor, spec.rapl.sockets) if spec.rapl else ("intel", 1)
        processors = cpuinfo.text(vendor, os.cpu_count() or 1, sockets)
        self._tree.add_text("proc/cpuinfo", processors)
        self._bus = HidBus(self._tree, self._faults, Path("/dev"))
        self._firmware: dict[str, Firmware] = {}
        for supply, psu in zip(machine.supplies, spec.psus, strict=True):
            self._plug(supply, psu)
        self._publisher: Publisher | None = None
        if spec.gpus:
            lines = [machine.timelines[f"gpu{n}"] for n in range(len(spec.gpus))]
            zero_s = clock.zero_s
            path = run / NVML_STATE
            self._publisher = Publisher(path, spec.gpus, lines, zero_s, self._faults)
        self._follower: Follower | None = None
        self._follow_s = self._publish_s = 0.0
        self._talking: set[str] = set()
        self._loop.add_reader(control.fileno(), self._receive)
        FuseServer(fuse, self._tree, self._loop)

    def _plug(self, supply: Supply, psu: PsuSpec) -> None:
        firmware = self._make_firmware(supply, is_replay=psu.replayed)
        self._firmware[supply.name] = firmware
        model = supply.model
        unit = HidUnit(
            supply.name,
            model.vid,
            model.pid,
            model.name,
            psu.serial,
            port(supply.name, replay=psu.replayed),
            bound=psu.hwmon,
        )
        identity = HidIdentity(unit.vid, unit.pid, unit.name, unit.phys, unit.serial)

        def make_node() -> HidrawNode:
            firmware.reset()
            return HidrawNode(firmware, self._loop, identity, self._faults)

        driver = CorsairDriver(
            firmware, self._faults, self._clock, partial(self._tell, supply.name)
        )
        self._bus.add(unit, make_node, driver.probe if psu.hwmon else None)
        if isinstance(firmware, CorsairFirmware):
            firmware.ready = True  # as on a machine that has been up: something has asked before

    def _make_firmware(self, supply: Supply, *, is_replay: bool) -> Firmware:
        if is_replay:
            return ReplayFirmware(
                self._spec.replay or [],
                self._clock,
                device=supply.name,
                faults=self._faults,
                model=supply.model,
            )
        corsair = supply.model.protocol is Protocol.CORSAIR
        return (CorsairFirmware if corsair else NzxtFirmware)(supply, self._faults, self._clock)

    def _tell(self, device: str, report: bytes) -> None:
        """Let all openers of a node see what the kernel's driver was answered."""
        node = self._bus.node(device)
        if node is not None:
            node.inject(report)

    def end_with(self, bench: int) -> None:
        """End when the process of a pidfd does, and with it all that runs on the machine.

        Killed, the bench cannot do it, and what is left of the command would go on without a
        machine.
        """

        def end() -> None:
            for _ in range(_ENDINGS):  # who waits for us to answer ends only when we do
                for pid in inhabitants():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(_TICK_S)
            os._exit(1)

        self._loop.add_reader(bench, end)

    def serve(self) -> None:
        """Answer until told to stop, or until the filesystem is gone."""
        self._tick()
        self._loop.run_forever()

    # --- what goes on by itself ---------------------------------------------------------------

    def _tick(self) -> None:
        self._loop.call_later(_TICK_S, self._tick)
        now_s = time.monotonic()
        if self._spec.follows and self._follower and now_s >= self._follow_s:
            self._follow_s = now_s + FOLLOW_S
            share = self._follower.busy_share(now_s)
            for name in self._spec.follows:
                self._spec.machine.set_share(name, share, self._clock())
            self._publish()
        if self._faults.all():
            self._bus.update()
            if self._powercap:
                self._powercap.update()
            self._talk()
        if now_s >= self._publish_s:
            self._publish()

    def _publish(self) -> None:
        self._publish_s = time.monotonic() + _PUBLISH_S
        if self._publisher:
            self._publisher.publish(self._clock() + _AHEAD_S)

    def _talk(self) -> None:
        """Play another program that asks supplies for everything, each at a rate of its own."""
        for device in self._firmware.keys() - self._talking:
            if self._faults.active(device, "chatter"):
                self._talking.add(device)
                self._ask(device, 0)

    def _ask(self, device: str, number: int) -> None:
        fault, node = self._faults.active(device, "chatter"), self._bus.node(device)
        if fault is None:
            self._talking.remove(device)
            return
        if node is not None:
            requests = self._firmware[device].status_requests()
            node.request(requests[number % len(requests)].ljust(64, b"\0"))
        rate_hz = max(0.01, float(fault.value or 20.0))
        self._loop.call_later(1.0 / rate_hz, partial(self._ask, device, number + 1))

    # --- orders -------------------------------------------------------------------------------

    def _receive(self) -> None:
        data, sender = self._control.recvfrom(65536)
        try:
            answer = self._obey(json.loads(data))
        except (PactError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            answer = {"error": str(error)}
        if sender:
            with contextlib.suppress(OSError):  # who asked may be gone
                self._control.sendto(json.dumps(answer).encode(), sender)

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        now_s = self._clock()
        if load := order.get("load"):
            names = self._spec.machine.matching(load["component"])
            self._spec.machine.set_load(load["component"], load["spec"], now_s)
            others = [name for name in self._spec.follows if name not in names]
            self._spec.follows = others + (names if load["spec"] == FOLLOW else [])
            self._publish()
        if text := order.get("fault"):
            self._faults.add(self._spec.fault(text, now_s))
            self._update()
        if clear := order.get("clear"):
            device = faults.device_of(clear["device"], self._spec.devices)
            self._faults.clear(device, clear.get("name"))
            self._update()
        if self._publisher and (pids := order.get("pids")):
            for index in range(len(self._spec.gpus)):
                self._publisher.set_pids(index, [int(pid) for pid in pids])
        if root := order.get("follow"):
            self._follower = Follower(int(root), frozenset({os.getpid()}))
        if order.get("zero") and self._publisher:
            self._publisher.set_zero(self._clock.zero_s)
        answer: dict[str, Any] = {"t_s": now_s, "zero_s": self._clock.zero_s}
        if window := order.get("energy"):
            from_s, to_s = (t_s - self._clock.zero_s for t_s in window)
            answer["energy_j"] = self._spec.machine.true_energy(from_s, to_s)
        if order.get("truth"):
            path = Path(order["truth"]["path"])
            check_free(path)  # the command may have made it meanwhile
            path.write_text(json.dumps(self.truth(*order["truth"]["window_s"])) + "\n")
        return answer

    def _update(self) -> None:
        self._bus.update()
        if self._powercap:
            self._powercap.update()
        self._publish()

    def truth(self, from_s: float, to_s: float) -> dict[str, Any]:
        """Return what the truth file holds, for a window on CLOCK_MONOTONIC."""
        writes = [
            {"device": name, **write}
            for name, firmware in self._firmware.items()
            for write in firmware.writes()
        ]
        return {
            **truth_of(self._spec.machine, from_s, to_s, self._clock.zero_s),
            "faults": [fault.to_dict() for fault in self._faults.all()],
            "psu_writes": writes,
        }
