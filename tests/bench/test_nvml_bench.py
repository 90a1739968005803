"""The emulated GPUs under the real nvidia-ml-py, against the exact integral of their P(t).

A test marked `in_child` runs in a process of its own, which has the emulated library loaded; its
clock stands where the test puts it, unless it says otherwise.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pactmeter.bench import gpu, nvml
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.timeline import Piece, Timeline
from pactmeter.errors import ConfigError, CounterResetError, DeviceError, ReadError
from support.rights import ordinary_user

NOT_SUPPORTED = 3
PEERS_CALL = """
    InitWithFlags Shutdown ErrorString SystemGetDriverVersion SystemGetCudaDriverVersion
    SystemGetNVMLVersion DeviceGetCount_v2 DeviceGetHandleByIndex_v2 DeviceGetHandleByUUID
    DeviceGetHandleByPciBusId_v2 DeviceGetIndex DeviceGetName DeviceGetUUID DeviceGetPciInfo_v3
    DeviceGetArchitecture DeviceGetCudaComputeCapability DeviceGetPowerUsage
    DeviceGetTotalEnergyConsumption DeviceGetFieldValues DeviceGetSamples
    DeviceGetEnforcedPowerLimit DeviceGetPowerManagementLimit
    DeviceGetPowerManagementDefaultLimit DeviceGetPowerManagementLimitConstraints
    DeviceGetUtilizationRates DeviceGetProcessUtilization DeviceGetEncoderUtilization
    DeviceGetDecoderUtilization DeviceGetMemoryInfo DeviceGetMemoryInfo_v2
    DeviceGetBAR1MemoryInfo DeviceGetTemperature DeviceGetTemperatureV DeviceGetFanSpeed
    DeviceGetClockInfo DeviceGetMaxClockInfo DeviceGetPerformanceState DeviceGetComputeMode
    DeviceGetPersistenceMode DeviceGetDisplayMode DeviceGetDisplayActive DeviceGetMigMode
    DeviceIsMigDeviceHandle DeviceGetMaxMigDeviceCount DeviceGetTotalEccErrors DeviceGetSerial
    DeviceGetPcieThroughput DeviceGetC2cModeInfoV DeviceGetDriverModel_v2
    DeviceGetComputeRunningProcesses_v3
    DeviceGetComputeRunningProcesses_v2 DeviceGetGraphicsRunningProcesses_v3
    DeviceGetMPSComputeRunningProcesses_v3 DeviceSetPowerManagementLimit
    DeviceSetPersistenceMode DeviceSetGpuLockedClocks DeviceResetGpuLockedClocks
    DeviceSetMemoryLockedClocks DeviceResetMemoryLockedClocks
"""
"""What CodeCarbon 3.3.2, carbontracker 2.4.7, perun 1.0.0, zeus 0.16 and nvitop 1.7 call."""


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    nvml.build_library(folder, cache=tmp_path_factory.getbasetemp() / "cache")
    return folder


def in_child(scenario):
    @functools.wraps(scenario)
    def test(library_folder, tmp_path):
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library_folder),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            nvml.ENVIRONMENT: str(tmp_path / "gpus"),
        }
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        done = subprocess.run(
            [sys.executable, __file__, scenario.__name__],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    test.scenario = scenario
    del test.__wrapped__  # pytest would ask for the scenario's arguments
    return test


class Machine:
    """GPUs on a clock that stands, and the library that this process loads."""

    def __init__(self, spec="a100", pieces=None, *, runs=False):
        self.models = gpu.parse_gpus(spec)
        given = pieces if callable(pieces) else lambda: pieces
        self.lines = [Timeline(iter(given() or wild(n))) for n in range(len(self.models))]
        self.now_s = 0.0
        self.faults = FaultBoard(lambda: self.now_s)
        path = Path(os.environ[nvml.ENVIRONMENT])
        path.unlink(missing_ok=True)
        self.publisher = nvml.Publisher(
            path, self.models, self.lines, time.monotonic(), self.faults
        )
        if not runs:
            self.at(0.0)
        import pynvml

        self.nvml = pynvml
        pynvml.nvmlInit()

    def at(self, t_s):
        """Put the clock to a time, with P(t) told up to there."""
        self.now_s = t_s
        self.publisher.publish(t_s)
        self.publisher.set_virtual_now(t_s)

    def order(self, name, value=None, start_s=5.0, duration_s=3.0, device="gpu0", count=None):
        self.faults.add(Fault(device, name, value, start_s, duration_s, count))

    def gpu(self, index=0):
        return self.nvml.nvmlDeviceGetHandleByIndex(index)

    def energy_j(self, index=0):
        return self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu(index)) / 1000

    def power_w(self, index=0):
        return self.nvml.nvmlDeviceGetPowerUsage(self.gpu(index)) / 1000

    def fields(self, *wanted, index=0):
        return self.nvml.nvmlDeviceGetFieldValues(self.gpu(index), list(wanted))

    def field_w(self, number, index=0):
        (value,) = self.fields(number, index=index)
        return value.value.uiVal / 1000 if value.nvmlReturn == 0 else None


def wild(seed):
    """Yield pieces without end: steps and ramps of all lengths."""
    chance = random.Random(seed)
    while True:
        length_s = chance.choice([0.001, 0.03, 0.4, 5.0]) * chance.uniform(0.5, 2.0)
        yield Piece(length_s, chance.uniform(20, 700), chance.uniform(20, 700))


def square():
    """Yield 120 W on average, in phase with sensors that are updated every 100 ms."""
    return itertools.cycle([Piece(0.05, 180.0, 180.0), Piece(0.05, 60.0, 60.0)])


def tick_s(t_s, period_s):
    return math.floor(t_s / period_s + 1e-9) * period_s


def fails(pynvml, name, call, *arguments):
    """Tell whether a call fails with the error of that name."""
    try:
        call(*arguments)
    except pynvml.NVMLError as error:
        return type(error).__name__ == f"NVMLError_{name}"
    return False


@in_child
def test_the_energy_counter_of_every_generation_is_the_exact_integral():
    machine = Machine(",".join(gpu.PRESETS))
    chance = random.Random(1)
    times_s = sorted(chance.uniform(0, 300) for _ in range(60))
    seen = []
    for t_s in times_s:
        machine.at(t_s)
        counters = (index for index, model in enumerate(machine.models) if model.counts_energy)
        seen.append({index: machine.energy_j(index) for index in counters})

    assert len(seen[0]) == len(gpu.PRESETS) - 1  # Pascal has no counter
    for (first, from_s), (last, to_s) in itertools.combinations(zip(seen, times_s, strict=True), 2):
        for index in first:
            line, period_s = machine.lines[index], machine.models[index].energy_period_s
            counted_j = last[index] - first[index]
            ticks_j = line.energy_j(tick_s(from_s, period_s), tick_s(to_s, period_s))
            assert counted_j == pytest.approx(ticks_j, rel=0, abs=0.0011)
            assert abs(counted_j - line.energy_j(from_s, to_s)) <= 700 * period_s


@in_child
def test_power_of_every_generation_is_the_mean_over_its_window_at_the_last_tick():
    machine = Machine(",".join(gpu.PRESETS))
    chance = random.Random(2)
    for t_s in (*(chance.uniform(2, 100) for _ in range(20)), 100.0, 100.1, 100.3):
        machine.at(t_s)
        for index, model in enumerate(machine.models):
            line, at_s = machine.lines[index], tick_s(t_s, model.update_period_s)
            instant_w = line.mean_w(at_s - model.window_s, at_s)
            assert machine.field_w(186, index) == pytest.approx(instant_w, rel=0, abs=0.0006)
            usage_w = machine.power_w(index)
            if model.average_window_s is None:
                assert (usage_w, None) == (machine.field_w(186, index), machine.field_w(185, index))
                continue
            average_w = line.mean_w(at_s - model.average_window_s, at_s)
            assert usage_w == pytest.approx(average_w, rel=0, abs=0.0006)
            assert machine.field_w(185, index) == usage_w


@in_child
def test_25_of_100_ms_see_half_of_a_square_wave_in_phase():
    machine = Machine("a100,h100,v100", square)
    seen = {}
    for t_s in (10.012, 10.52, 11.3, 20.0, 33.333, 59.999):
        machine.at(t_s)
        seen[t_s] = machine.power_w(0), machine.field_w(186, 1), machine.power_w(1)
    machine.at(10.0)
    before_j = machine.energy_j()
    machine.at(20.0)

    assert set(seen.values()) == {(60.0, 60.0, 120.0)}
    assert machine.energy_j() - before_j == 1200.0


@in_child
def test_the_last_power_holds_where_nobody_published_on():
    machine = Machine("a100", [Piece(2.0, 100.0, 300.0), Piece(1e-3, 50.0, 50.0)])
    machine.publisher.publish(0.0)
    machine.publisher.set_virtual_now(12.0)

    # One piece is told, from 100 to 300 W over 2 s; 300 W hold for ten more.
    assert machine.energy_j() == pytest.approx(1e6 + 400 + 3000)
    machine.at(12.0)
    assert machine.energy_j() == pytest.approx(1e6 + 400 + 10 * 50)


@in_child
def test_before_its_start_the_power_is_that_of_the_start():
    machine = Machine("a100,h100", [Piece(100.0, 200.0, 400.0)])
    machine.at(0.0)

    assert (machine.power_w(0), machine.power_w(1)) == (200.0, 200.0)
    assert machine.energy_j() == 1e6


@in_child
def test_a_switched_load_is_seen_and_what_was_before_stays():
    machine = Machine("a100,a100", square)
    machine.at(20.0)
    machine.publisher.publish(30.0)
    machine.lines[0].switch(20.0, iter([Piece(100.0, 500.0, 500.0)]))
    machine.lines[1].switch(25.0, square())
    machine.lines[1].switch(15.0, iter([Piece(1.0, 0.0, 0.0), Piece(9.0, 10.0, 10.0)]))
    machine.at(30.0)

    assert machine.energy_j(0) == pytest.approx(1e6 + 20 * 120 + 10 * 500, rel=0, abs=0.0011)
    assert machine.energy_j(1) == pytest.approx(2e6 + 15 * 120 + 14 * 10, rel=0, abs=0.0011)
    assert (machine.power_w(0), machine.power_w(1)) == (500.0, 10.0)


@in_child
def test_no_reader_sees_a_load_half_switched():
    machine = Machine("a100", [Piece(100.0, 100.0, 100.0)])
    machine.at(10.0)
    seen, done = set(), threading.Event()

    def read():
        handle = machine.gpu()
        while not done.is_set():
            seen.add(machine.nvml.nvmlDeviceGetTotalEnergyConsumption(handle))

    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for watts in itertools.islice(itertools.cycle([300.0, 700.0]), 400):
        length_s = 0.01 if watts == 300.0 else 0.013
        machine.lines[0].switch(5.0, itertools.cycle([Piece(length_s, watts, watts)]))
        machine.publisher.publish(10.0)
    done.set()
    reader.join()

    assert seen <= {10**9 + joules * 1000 for joules in (1000, 500 + 1500, 500 + 3500)}
    assert len(seen) >= 2


@in_child
def test_the_ring_of_pieces_never_ends():
    nvml._CAPACITY = 8192
    ramps = [Piece(0.05, 60.0, 180.0), Piece(0.03, 400.0, 0.0)]
    machine = Machine("v100", lambda: itertools.cycle(ramps))
    (line,) = machine.lines
    for t_s in (100.0, 300.0, 1000.0, 1000.1, 2000.0, 2000.013):
        machine.at(t_s)
        for back_s in (0.0, 0.07, 3.33, 99.99):
            machine.publisher.set_virtual_now(t_s - back_s)
            expected_j = 1e6 + line.energy_j(0, tick_s(t_s - back_s, 0.02))
            assert machine.energy_j() == pytest.approx(expected_j, rel=0, abs=0.0011)
    line.switch(2000.0, iter([Piece(1.0, 500.0, 500.0)]))
    machine.at(2001.0)

    assert machine.power_w() == 500.0
    expected_j = 1e6 + line.energy_j(0, 2000.0) + 500
    assert machine.energy_j() == pytest.approx(expected_j, rel=0, abs=0.0011)


@in_child
def test_figures_do_not_wait_for_the_publisher():
    machine = Machine("v100", [Piece(1e6, 250.0, 250.0)], runs=True)
    machine.publisher.publish(10.0)
    before_s, before_j = time.monotonic(), machine.energy_j()
    time.sleep(0.3)
    counted_j = machine.energy_j() - before_j
    spent_s = time.monotonic() - before_s

    assert counted_j == pytest.approx(250 * spent_s, abs=250 * 0.04)


@in_child
def test_faults_of_a_whole_gpu_fail_every_call_as_long_as_they_hold():
    machine = Machine("a100,a100")
    codes = {
        "lost": "GpuIsLost",
        "reset_required": "ResetRequired",
        "no_permission": "NoPermission",
        "unknown": "Unknown",
    }
    pynvml, handle = machine.nvml, machine.gpu()
    for index, name in enumerate(codes):
        machine.order(name, start_s=10.0 * index + 5)
    calls = (
        (pynvml.nvmlDeviceGetTotalEnergyConsumption, handle),
        (pynvml.nvmlDeviceGetPowerUsage, handle),
        (pynvml.nvmlDeviceGetFieldValues, handle, [186]),
        (pynvml.nvmlDeviceGetUtilizationRates, handle),
        (pynvml.nvmlDeviceGetName, handle),
        (pynvml.nvmlDeviceGetHandleByIndex, 0),
        (pynvml.nvmlDeviceGetHandleByUUID, gpu.uuid_of(0)),
    )
    for index, code in enumerate(codes.values()):
        start_s = 10.0 * index + 5
        for t_s, holds in ((-0.01, False), (0.0, True), (2.99, True), (3.0, False)):
            machine.at(start_s + t_s)
            assert {fails(pynvml, code, *call) for call in calls} == {holds}, (code, t_s)
        machine.at(start_s)
        assert pynvml.nvmlDeviceGetCount() == 2
        assert machine.power_w(1) > 0


@in_child
def test_a_cleared_fault_ends_and_one_without_end_does_not():
    machine = Machine()
    machine.order("lost", duration_s=None)
    machine.at(1e6)
    assert fails(machine.nvml, "GpuIsLost", machine.gpu)
    machine.faults.clear("gpu0")
    machine.at(1e6)

    assert machine.energy_j() > 0


@in_child
def test_a_quantity_that_is_not_supported_leaves_the_others():
    machine = Machine("h100", [Piece(100.0, 300.0, 300.0)])
    pynvml = machine.nvml
    found = {}
    for index, quantity in enumerate(("power", "energy", "utilisation")):
        machine.order("not_supported", quantity, start_s=10.0 * index + 5)
        machine.at(10.0 * index + 5)
        handle = machine.gpu()
        found[quantity] = [
            fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetPowerUsage, handle),
            fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetSamples, handle, 0, 0),
            fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetUtilizationRates, handle),
            *(value.nvmlReturn for value in machine.fields(185, 186, 83)),
        ]
    assert found == {
        "power": [True, True, False, False, 3, 3, 0],
        "energy": [False, False, True, False, 0, 0, 3],
        "utilisation": [False, False, False, True, 0, 0, 0],
    }


@in_child
def test_a_frozen_gpu_stands_still_and_then_catches_up():
    machine = Machine("h100")
    machine.order("frozen", start_s=5.05)
    machine.at(5.05)
    before = machine.energy_j(), machine.power_w(), machine.field_w(186)
    machine.at(8.0)
    frozen = machine.energy_j(), machine.power_w(), machine.field_w(186)
    machine.at(8.06)

    assert frozen == before
    assert machine.energy_j() == pytest.approx(1e6 + machine.lines[0].energy_j(0, 8.0), abs=0.001)


@in_child
def test_a_gpu_off_the_bus_is_counted_no_more_and_comes_back():
    machine = Machine("2xv100")
    held, uuid = machine.gpu(1), machine.nvml.nvmlDeviceGetUUID(machine.gpu(1))
    machine.order("gone", device="gpu1")
    machine.at(6.0)
    count_while_gone = machine.nvml.nvmlDeviceGetCount()
    is_found = not fails(machine.nvml, "NotFound", machine.nvml.nvmlDeviceGetHandleByUUID, uuid)
    is_lost = fails(machine.nvml, "GpuIsLost", machine.nvml.nvmlDeviceGetPowerUsage, held)
    machine.at(9.0)

    assert (count_while_gone, is_found, is_lost) == (1, False, True)
    assert machine.nvml.nvmlDeviceGetCount() == 2
    assert machine.energy_j(1) > 1e6


@in_child
def test_a_frozen_gpu_can_still_be_lost():
    machine = Machine()
    machine.order("frozen", duration_s=None)
    machine.order("lost", start_s=7.0)
    machine.order("not_supported", "energy", start_s=20.0)
    machine.at(8.0)
    assert fails(machine.nvml, "GpuIsLost", machine.power_w)
    machine.at(21.0)
    assert fails(machine.nvml, "NotSupported", machine.energy_j)


@in_child
def test_a_reset_counter_starts_at_0_and_goes_on_counting():
    machine = Machine("v100")
    machine.order("energy_reset", start_s=5.007)
    machine.order("energy_reset", start_s=50.0)
    machine.at(5.0)
    assert machine.energy_j() > 1e6
    machine.at(5.01)
    assert machine.energy_j() == 0.0
    for t_s, since_s in ((5.04, 5.007), (30.0, 5.007), (60.0, 50.0)):
        machine.at(t_s)
        expected_j = machine.lines[0].energy_j(since_s, t_s)
        assert machine.energy_j() == pytest.approx(expected_j, rel=0, abs=0.0011)


@in_child
def test_garbage_is_4_megawatt_and_leaves_the_energy():
    machine = Machine()
    machine.order("garbage")
    machine.at(6.0)

    assert (machine.power_w(), machine.field_w(186)) == (4e6, 4e6)
    assert machine.energy_j() == pytest.approx(1e6 + machine.lines[0].energy_j(0, 6), abs=0.0011)


@in_child
def test_a_driver_fault_fails_the_start_alone():
    machine = Machine()
    pynvml = machine.nvml
    machine.order("driver", start_s=5.0)
    machine.order("driver", "9", start_s=15.0)
    for t_s, code in ((6.0, "LibRmVersionMismatch"), (16.0, "DriverNotLoaded")):
        machine.at(t_s)
        assert fails(pynvml, code, pynvml.nvmlInit)
        assert machine.power_w() > 0
    machine.at(30.0)
    pynvml.nvmlInit()


@in_child
def test_a_function_can_be_missing_from_the_library():
    machine = Machine("a100,a100")
    pynvml, handle = machine.nvml, machine.gpu()
    machine.order("function", "nvmlDeviceGetTotalEnergyConsumption", device="gpu1")
    machine.order("function", "nvmlDeviceGetMemoryInfo")
    machine.order("function", "nvmlDeviceGetCount")
    machine.order("function", "nvmlDeviceGet")
    machine.at(6.0)

    energy = pynvml.nvmlDeviceGetTotalEnergyConsumption
    assert fails(pynvml, "FunctionNotFound", energy, handle)
    assert fails(pynvml, "FunctionNotFound", pynvml.nvmlDeviceGetMemoryInfo, handle)
    assert fails(pynvml, "FunctionNotFound", pynvml.nvmlDeviceGetCount)  # with its version
    assert machine.power_w() > 0
    machine.at(10.0)
    assert machine.energy_j() > 0


@in_child
def test_a_hanging_gpu_answers_late():
    machine = Machine("a100,a100")
    handle = machine.gpu()
    machine.order("hang", "0.2")
    machine.at(6.0)
    times_s = []
    for call in (machine.power_w, machine.energy_j):
        start_s = time.monotonic()
        call(1)
        times_s.append(time.monotonic() - start_s)
    start_s = time.monotonic()
    machine.nvml.nvmlDeviceGetPowerUsage(handle)

    assert time.monotonic() - start_s >= 0.2
    assert max(times_s) < 0.2


@in_child
def test_a_fault_with_a_count_strikes_so_often():
    machine = Machine()
    handle = machine.gpu()
    power = machine.nvml.nvmlDeviceGetPowerUsage
    machine.order("lost", start_s=0.0, duration_s=None, count=2)
    machine.at(1.0)
    machine.order("garbage", start_s=100.0)
    found = []
    for t_s in (1.0, 1.0, 1.0, 2.0):
        machine.at(t_s)  # told again, which does not renew its strikes
        found.append(fails(machine.nvml, "GpuIsLost", power, handle))

    assert found == [True, True, False, False]


@in_child
def test_fields_answer_each_for_itself():
    machine = Machine("h100,p100", [Piece(100.0, 300.0, 300.0)])
    machine.at(50.0)
    wanted = [83, 185, 186, 999, (186, 0), (186, 1), (185, 2)]
    modern = machine.fields(*wanted)
    old = machine.fields(*wanted, index=1)

    assert [value.nvmlReturn for value in modern] == [0, 0, 0, 3, 0, 3, 3]
    assert [value.nvmlReturn for value in old] == [3, 3, 0, 3, 0, 3, 3]
    assert (modern[0].valueType, modern[0].value.ullVal) == (3, 1_000_000_000 + 50 * 300_000)
    assert (modern[1].valueType, modern[1].value.uiVal) == (1, 300_000)


@in_child
def test_samples_are_those_of_the_ticks():
    machine = Machine("a100", square)
    machine.at(30.04)
    kind, samples = machine.nvml.nvmlDeviceGetSamples(machine.gpu(), 0, 0)
    steps = {b.timeStamp - a.timeStamp for a, b in itertools.pairwise(samples)}
    _, newer = machine.nvml.nvmlDeviceGetSamples(machine.gpu(), 0, samples[-4].timeStamp)

    assert kind == 1
    assert len(samples) == 100
    assert {sample.sampleValue.uiVal for sample in samples} == {60_000}
    assert all(99_999 <= step <= 100_001 for step in steps)
    assert len(newer) == 3
    assert samples[-1].timeStamp / 1e6 == pytest.approx(
        time.clock_gettime(time.CLOCK_REALTIME) + 30, abs=10
    )
    newest = samples[-1].timeStamp
    assert fails(
        machine.nvml, "NotFound", machine.nvml.nvmlDeviceGetSamples, machine.gpu(), 0, newest
    )


@in_child
def test_eight_gpus_have_their_own_joules_names_and_places():
    machine = Machine("7xh100,rtx4090")
    machine.at(77.7)
    pynvml = machine.nvml
    for index in range(8):
        handle = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid_of(index))
        assert pynvml.nvmlDeviceGetIndex(handle) == index
        bus = pynvml.nvmlDeviceGetPciInfo(handle).busId
        for place in (bus, bus[4:].lower(), bus[9:]):
            found = pynvml.nvmlDeviceGetHandleByPciBusId(place)
            assert pynvml.nvmlDeviceGetUUID(found) == gpu.uuid_of(index)
        expected_j = 1e6 * (1 + index) + machine.lines[index].energy_j(0, 77.7)
        assert machine.energy_j(index) == pytest.approx(expected_j, rel=0, abs=0.0011)

    assert len({machine.power_w(index) for index in range(8)}) == 8
    assert "4090" in pynvml.nvmlDeviceGetName(machine.gpu(7))
    assert fails(pynvml, "NotFound", pynvml.nvmlDeviceGetHandleByUUID, "GPU-nobody")
    assert fails(pynvml, "NotFound", pynvml.nvmlDeviceGetHandleByPciBusId, "0000:7f:00.0")
    assert fails(pynvml, "InvalidArgument", pynvml.nvmlDeviceGetHandleByPciBusId, "here")
    assert fails(pynvml, "InvalidArgument", pynvml.nvmlDeviceGetHandleByIndex, 8)
    assert fails(pynvml, "InvalidArgument", pynvml.nvmlDeviceGetName, None)


@in_child
def test_what_goes_with_power_follows_it():
    machine = Machine("h100,rtx4090", [Piece(60.0, 70.0, 70.0), Piece(60.0, 680.0, 680.0)])
    pynvml = machine.nvml
    seen = []
    for t_s in (59.0, 119.0):
        machine.at(t_s)
        handle = machine.gpu()
        rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
        seen.append(
            (
                rates.gpu,
                rates.memory,
                pynvml.nvmlDeviceGetPerformanceState(handle),
                pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
                pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            )
        )

    assert seen == [(0, 0, 8, 210, 35), (100, 50, 0, 1980, 79)]
    assert pynvml.nvmlDeviceGetTemperatureV(machine.gpu(), pynvml.NVML_TEMPERATURE_GPU) == 79
    assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetFanSpeed, machine.gpu(0))
    assert pynvml.nvmlDeviceGetFanSpeed(machine.gpu(1)) > 0
    assert pynvml.nvmlDeviceGetMigMode(machine.gpu(0)) == [0, 0]
    assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetMigMode, machine.gpu(1))


@in_child
def test_processes_share_the_gpu():
    machine = Machine("a100", [Piece(60.0, 385.0, 385.0)])
    pynvml, handle = machine.nvml, machine.gpu()
    use = pynvml.nvmlDeviceGetProcessUtilization
    machine.at(10.0)
    alone = pynvml.nvmlDeviceGetMemoryInfo(handle)
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(handle) == []
    assert fails(pynvml, "NotFound", use, handle, 0)
    machine.publisher.set_pids(0, [17, 4711])

    for listed in (
        pynvml.nvmlDeviceGetComputeRunningProcesses(handle),
        pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle),
    ):
        assert [process.pid for process in listed] == [17, 4711]
    assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle) == []
    assert [(sample.pid, sample.smUtil) for sample in use(handle, 0)] == [(17, 50), (4711, 50)]
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    assert memory.used - alone.used == 2 << 30
    assert memory.total == memory.used + memory.free
    exact = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    assert exact.total == exact.used + exact.free + exact.reserved


@in_child
def test_nothing_can_be_set_and_who_tries_is_counted():
    machine = Machine()
    pynvml, handle = machine.nvml, machine.gpu()

    assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceSetPowerManagementLimit, handle, 100_000)
    assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceSetPersistenceMode, handle, 1)
    assert machine.publisher.sets == 2
    assert pynvml.nvmlDeviceGetPowerManagementLimit(handle) == 400_000


@in_child
def test_everything_that_known_meters_call_is_there():
    machine = Machine()
    library = ctypes.CDLL(nvml.LIBRARY)
    pynvml = machine.nvml

    assert [name for name in PEERS_CALL.split() if not hasattr(library, f"nvml{name}")] == []
    assert pynvml.nvmlSystemGetDriverVersion() == "560.35 pactmeter-bench"
    assert pynvml.nvmlSystemGetCudaDriverVersion() == 12060
    assert pynvml.nvmlErrorString(15) == "GPU is lost"
    assert pynvml.nvmlErrorString(999) == "Unknown Error"
    assert pynvml.nvmlDeviceGetArchitecture(machine.gpu()) == pynvml.NVML_DEVICE_ARCH_AMPERE
    assert pynvml.nvmlDeviceGetCudaComputeCapability(machine.gpu()) == (8, 0)
    assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceGetC2cModeInfoV, machine.gpu())


@in_child
def test_without_start_or_file_there_is_no_driver():
    import pynvml

    assert fails(pynvml, "DriverNotLoaded", pynvml.nvmlInit)
    machine = Machine()
    pynvml.nvmlShutdown()
    assert fails(pynvml, "Uninitialized", pynvml.nvmlDeviceGetCount)
    assert fails(pynvml, "Uninitialized", pynvml.nvmlShutdown)
    machine.publisher._state.layout = 99
    assert fails(pynvml, "LibRmVersionMismatch", pynvml.nvmlInit)
    machine.publisher._state.magic = 0
    assert fails(pynvml, "DriverNotLoaded", pynvml.nvmlInit)
    del os.environ[nvml.ENVIRONMENT]
    assert fails(pynvml, "DriverNotLoaded", pynvml.nvmlInit)


@in_child
def test_a_file_that_cannot_be_written_is_read_all_the_same():
    machine = Machine()
    pynvml = machine.nvml
    machine.order("lost", start_s=0.0, duration_s=None, count=0)
    machine.at(1.0)
    with tempfile.TemporaryDirectory() as name:
        closed = Path(name) / "gpus"
        shutil.copyfile(os.environ[nvml.ENVIRONMENT], closed)
        closed.chmod(0o444)
        closed.parent.chmod(0o755)
        os.environ[nvml.ENVIRONMENT] = str(closed)
        with ordinary_user():  # for root no file is closed
            pynvml.nvmlInit()
        handle = machine.gpu()

        assert pynvml.nvmlDeviceGetPowerUsage(handle) > 0
        assert fails(pynvml, "NotSupported", pynvml.nvmlDeviceSetPersistenceMode, handle, 1)
        assert machine.publisher.sets == 0


@in_child
def test_our_own_sensor_finds_the_gpus_emulated_and_counts_the_true_joules():
    from pactmeter.sensors import nvml as sensor
    from pactmeter.sensors.base import Request

    machine = Machine("a100,p100,h100")
    machine.at(3.0)
    devices = sensor.discover(Request(), clock=lambda: machine.now_s).devices
    for device in devices:
        device.open()
    machine.at(63.0)
    readings = [device.read() for device in devices]

    assert [device.channels[0].name for device in devices] == ["gpu0", "gpu1", "gpu2"]
    assert {c.synthetic for device in devices for c in device.channels} == {"emulated"}
    for index in (0, 2):
        expected_j = machine.lines[index].energy_j(3.0, 63.0)
        assert readings[index][0] == pytest.approx(expected_j, rel=0, abs=0.0021)
    expected_w = machine.lines[1].mean_w(62.99, 63.0)
    assert readings[1][0] == pytest.approx(expected_w, abs=0.001)  # Pascal: power only

    machine.order("energy_reset", start_s=70.0)
    machine.order("lost", start_s=90.0)
    machine.order("garbage", start_s=70.0, device="gpu1")
    machine.at(71.0)
    with pytest.raises(CounterResetError):
        devices[0].read()
    with pytest.raises(ReadError, match="no power of a GPU"):
        devices[1].read()
    machine.at(91.0)
    with pytest.raises(ReadError, match="GpuIsLost"):
        devices[0].read()
    for device in devices:
        device.close()


def test_the_library_is_legal_c_without_a_warning(tmp_path):
    words = ["gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-shared"]
    words += ["-fPIC", "-o", tmp_path / "library", nvml._SOURCE, "-lm"]
    subprocess.run(words, check=True)


def test_both_sides_lay_the_file_out_alike():
    asserted = {
        name: f"sizeof(struct {name}) == {ctypes.sizeof(kind)}"
        for name, kind in {"fault": nvml._Fault, "gpu": nvml._Gpu}.items()
    }
    head = nvml._State.faults.offset
    asserted["state"] = f"sizeof(struct state) == {head} + FAULTS * 104 + GPUS * 384"
    source = nvml._SOURCE.read_text()

    assert [name for name, text in asserted.items() if text not in source] == []
    assert ctypes.sizeof(nvml._State) == head + 1024 * 104 + 16 * 384


def test_a_build_is_kept_and_needs_no_compiler_again(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = nvml.build_library(tmp_path, cache).read_bytes()
    (tmp_path / nvml.LIBRARY).unlink()
    monkeypatch.setenv("PATH", str(tmp_path))

    assert nvml.build_library(tmp_path, cache).read_bytes() == first
    with pytest.raises(DeviceError, match="no C compiler") as error:
        nvml.build_library(tmp_path, tmp_path / "other")
    assert "gcc" in error.value.fix
    monkeypatch.setattr(nvml.os, "geteuid", lambda: 12345)
    with pytest.raises(DeviceError, match="no C compiler"):
        nvml.build_library(tmp_path, cache)  # somebody else's


def test_a_build_that_fails_says_why(tmp_path, monkeypatch):
    broken = tmp_path / "nvml.c"
    broken.write_text("int nvml(;\n")
    monkeypatch.setattr(nvml, "_SOURCE", broken)

    with pytest.raises(DeviceError, match=r"nvml\.c:1"):
        nvml.build_library(tmp_path, tmp_path / "cache")


def test_a_build_without_a_place_to_be_kept_is_good(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert nvml.build_library(tmp_path).exists()


def test_gpus_are_named_by_count_and_type():
    def names(spec):
        return [model.name.split()[-1] for model in gpu.parse_gpus(spec)]

    assert names("1") == ["A100-SXM4-40GB"]
    assert names("2") == ["A100-SXM4-40GB"] * 2
    assert names("2xT4") == ["T4", "T4"]
    assert names("t4, rtx4090,2xrtx2080") == ["T4", "4090", "2080", "2080"]
    with pytest.raises(ConfigError, match="h200") as error:
        gpu.parse_gpus("2xh200")
    assert "h100" in error.value.fix
    for wrong in ("0", "17", "", "x", "2x", "a100,"):
        with pytest.raises(ConfigError):
            gpu.parse_gpus(wrong)


def test_too_many_faults_are_refused_and_the_file_is_let_go(tmp_path):
    board = FaultBoard(lambda: 0.0)
    line = Timeline(iter([Piece(1.0, 1.0, 1.0)]))
    publisher = nvml.Publisher(tmp_path / "gpus", gpu.parse_gpus("1"), [line], 0.0, board)
    for number in range(1025):
        board.add(Fault("gpu0", "lost", None, float(number)))
    board.add(Fault("psu0", "unplug"))
    with pytest.raises(ConfigError, match="1024"):
        publisher.publish(0.0)
    publisher.publish(0.0)  # said once, it does not end whoever serves the machine
    publisher.close()


if __name__ == "__main__":
    globals()[sys.argv[1]].scenario()
