"""Faults of GPUs: what each costs, and no more.

The real nvidia-ml-py loads the emulated library, which needs a process of its own for each case;
its clock stands where that process puts it.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pactmeter.bench import gpu, nvml
from pactmeter.bench.faults import KINDS, FaultBoard, parse
from pactmeter.bench.timeline import Piece, Source, Timeline
from support import children
from support.faulty import (
    BEGIN_S,
    CALL_S,
    OPEN_S,
    POLL_S,
    REOPEN_S,
    Watched,
)
from support.judge import COLUMNS, TITLE, Case, judge
from support.virtual import VirtualRun

TO_THE_END_S = CALL_S - 5.03
RESET_S = 2 * POLL_S
BACK_S = REOPEN_S + POLL_S

OF_COUNTERS = [
    # the counter goes on while the GPU does not answer: nothing is lost
    Case("gpu0:lost@5.03+3", 0.0, reason="GpuIsLost"),
    Case("gpu0:gone@5.03+3", 0.0, reason="GpuIsLost"),
    Case("gpu0:reset_required@5.03+3", 0.0, reason="ResetRequired"),
    Case("gpu0:no_permission@5.03+3", 0.0, reason="NoPermission"),
    Case("gpu0:unknown@5.03+3", 0.0, reason="Unknown"),
    Case("gpu0:unknown*1@5.03", 0.0, reason="Unknown"),
    Case("gpu0:not_supported=energy@5.03+3", 0.0, reason="NotSupported"),
    Case(
        "gpu0:lost@5.03+1 gpu0:function=nvmlDeviceGetHandleByUUID@5.03+4", 0.0, reason="GpuIsLost"
    ),
    Case("gpu0:lost@5.03", TO_THE_END_S, reason="GpuIsLost"),
    # what lies beside the counter
    Case("gpu0:not_supported=power@5.03+5", 0.0),
    Case("gpu0:not_supported=utilisation@5.03+5", 0.0),
    Case("gpu0:function=nvmlDeviceGetFieldValues@5.03+5", 0.0),
    Case("gpu0:garbage@5.03+5", 0.0),
    # it was set, as when the driver is loaded again
    Case("gpu0:energy_reset@5.03", RESET_S, reason="fell from"),
    Case("gpu0:lost@5.03+1 gpu0:energy_reset@5.5", 1.0 + RESET_S, reason="GpuIsLost"),
    Case("gpu0:frozen@5.03+5", 5.0, reason="stuck", repeats=True),
]
OF_GAUGES = [
    Case("gpu0:lost@5.03+3", 3.0, BACK_S, reason="GpuIsLost"),
    Case("gpu0:gone@5.03+3", 3.0, BACK_S, reason="GpuIsLost"),
    Case("gpu0:unknown*1@5.03", POLL_S, reason="Unknown"),
    Case("gpu0:not_supported=power@5.03+3", 3.0, reason="NotSupported"),
    Case("gpu0:function=nvmlDeviceGetPowerUsage@5.03+3", 3.0, reason="FunctionNotFound"),
    Case("gpu0:garbage@5.03+5", 5.0, reason="no power of a GPU"),
    Case("gpu0:frozen@5.03+5", 5.0, reason="stuck", repeats=True),
]
ALONE = [
    Case(f"gpu0:lost@5.03+1 gpu0:driver={code}@5.03+4", 4.0, BACK_S, reason="GpuIsLost")
    for code in (9, 18)
]
COUNTER_ALONE = [
    Case(
        "gpu0:function=nvmlDeviceGetTotalEnergyConsumption@5.03+3", 0.0, reason="FunctionNotFound"
    ),
]
FROM_THE_START = [
    # without a counter, what is read is its power
    Case("gpu0:not_supported=energy@0+99", 0.0),
    Case("gpu0:function=nvmlDeviceGetTotalEnergyConsumption@0+99", 0.0),
]
MACHINES = {
    "A100 (counter)": ("a100,h100", BEGIN_S, OF_COUNTERS),
    "P100 (power)": ("p100,h100", BEGIN_S, OF_GAUGES),
    "P100 alone": ("p100", BEGIN_S, ALONE),
    "A100 alone (counter)": ("a100", BEGIN_S, COUNTER_ALONE),
    "A100 without a counter": ("a100", 0.0, FROM_THE_START),
}
CASES = [
    pytest.param(name, spec, zero_s, case, id=f"{name}: {case.id}")
    for name, (spec, zero_s, cases) in MACHINES.items()
    for case in cases
]


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    nvml.build_library(folder, cache=tmp_path_factory.getbasetemp() / "cache")
    return folder


@pytest.fixture
def environment(library_folder, tmp_path):
    """Give what makes a child find the emulated GPUs, whatever this process hides."""
    return {
        "LD_LIBRARY_PATH": str(library_folder),
        nvml.ENVIRONMENT: str(tmp_path / "gpus"),
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def legs(low_w, high_w, length_s):
    while True:
        yield Piece(length_s, low_w, high_w)
        yield Piece(length_s, high_w, low_w)


class Machine:
    """GPUs on a clock that stands, as `support.faulty.judge` wants a machine."""

    update_s = 0.125  # a power of the A100 is the mean of the last 25 of 100 ms
    asked = 0

    def __init__(self, spec):
        self.models = gpu.parse_gpus(spec)
        self.lines = [
            Timeline(legs(m.idle_w, m.busy_w, 2.9 + 0.8 * n)) for n, m in enumerate(self.models)
        ]
        self._now_s = 0.0
        self.faults = FaultBoard(self.clock)
        path = Path(os.environ[nvml.ENVIRONMENT])
        self.publisher = nvml.Publisher(
            path, self.models, self.lines, time.monotonic(), self.faults
        )
        self.now_s = 0.0
        self.devices = []

    def clock(self):
        return self._now_s

    __call__ = clock

    @property
    def now_s(self):
        return self._now_s

    @now_s.setter
    def now_s(self, t_s):
        self._now_s = t_s
        self.publisher.publish(t_s)
        self.publisher.set_virtual_now(t_s)

    def order(self, text, zero_s):
        fault = parse(text, ["gpu0"])
        self.faults.add(replace(fault, start_s=fault.start_s + zero_s))
        self.publisher.publish(self._now_s)

    def source(self, channel):
        return Source((self.lines[int(channel.removeprefix("gpu"))], 1.0))

    def measure(self):
        from pactmeter.sensors import nvml as sensor
        from pactmeter.sensors.base import Request

        self.now_s = OPEN_S
        found = sensor.discover(Request(), clock=self.clock).devices
        self.devices = [Watched(device, self) for device in found]
        for device in self.devices:
            device.open()
        self.now_s = BEGIN_S
        run = VirtualRun(self.devices, self)
        run.call(CALL_S)
        for device in self.devices:
            device.close()
        return run


def judged(spec, zero_s, case):
    """In a child: measure, and return the row of the table and the highest power on the side."""
    case = Case(**case)
    machine = Machine(spec)
    for order in case.faults.split():
        machine.order(order, zero_s)
    run = machine.measure()
    assert machine.publisher.sets == 0
    columns = run.recorded().columns
    sides = [name for name in columns if name.startswith("gpu0.") and name.endswith("_w")]
    most_w = max((w or 0.0 for name in sides for w in columns[name]), default=0.0)
    return judge(machine, run, "gpu0", case), most_w


def found_with(order):
    """In a child: return what is found where a fault holds from the start."""
    from pactmeter.sensors import nvml as sensor
    from pactmeter.sensors.base import Request

    machine = Machine("a100")
    machine.order(order, 0.0)
    found = sensor.discover(Request())
    return len(found.devices), [finding.detail for finding in found.findings]


@pytest.mark.parametrize(("name", "spec", "zero_s", "case"), CASES)
def test_a_fault_costs_what_it_took_and_no_more(name, spec, zero_s, case, environment, figures):
    row, most_w = children.run(__file__, "judged", spec, zero_s, asdict(case), env=environment)
    figures(TITLE, *COLUMNS).add(name, case.id, *row)
    assert most_w < 1000.0  # beside the energy nothing is made up either


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("gpu0:driver=18@0", "LibRmVersionMismatch"),
        ("gpu0:driver=9@0", "DriverNotLoaded"),
        ("gpu0:lost@0", "GpuIsLost"),
        ("gpu0:function=nvmlInitWithFlags@0", "FunctionNotFound"),
    ],
)
def test_a_gpu_that_cannot_be_opened_is_told_with_its_reason(order, reason, environment):
    count, details = children.run(__file__, "found_with", order, env=environment)
    assert count == 0
    assert any(reason in detail for detail in details)


def test_every_fault_of_a_gpu_is_here():
    named = {
        order.partition(":")[2]
        for *_, cases in MACHINES.values()
        for c in cases
        for order in c.faults.split()
    }
    named = {name.partition("@")[0].partition("=")[0].partition("*")[0] for name in named}
    assert named | {"hang"} == set(KINDS["gpu"])  # that one takes real time: test_faults_live


if __name__ == "__main__":
    children.answer(globals())
