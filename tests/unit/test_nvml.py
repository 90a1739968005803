"""The GPU sensor under the real nvidia-ml-py, on a libnvidia-ml.so.1 of our own.

A test marked `in_child` runs in a process of its own: whichever process has loaded the fake library
once has an NVIDIA driver for good.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Domain, Kind
from pactmeter.sensors import nvml
from pactmeter.sensors.base import Request
from pactmeter.units import Unit

SOURCE = Path(__file__).parents[1] / "support" / "fake_nvml.c"
LIBRARY = "libnvidia-ml.so.1"
KEYS = re.search(r"enum \{\s*(INIT_ERROR.*?)\};", SOURCE.read_text(), re.DOTALL)[1]
KEYS = re.findall(r"\b[A-Z_]{2,}\b", re.sub(r"/\*.*?\*/", "", KEYS))

NOT_SUPPORTED, DRIVER_NOT_LOADED, GPU_IS_LOST, MISMATCH = 3, 9, 15, 18


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake_nvml")
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run([*command, "-o", folder / LIBRARY, SOURCE], check=True)
    return folder


SCENARIOS = {}


def in_child(scenario):
    SCENARIOS[scenario.__name__] = scenario

    @functools.wraps(scenario)
    def test(library_folder, tmp_path):
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library_folder),
            "PACTMETER_SYSFS": str(tmp_path),
        }
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        environment.pop("CUDA_DEVICE_ORDER", None)
        done = subprocess.run(
            [sys.executable, __file__, scenario.__name__],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    del test.__wrapped__  # pytest would ask for the scenario's arguments
    return test


class Machine:
    """The fake library, loaded as pynvml will load it."""

    def __init__(self):
        self.library = ctypes.CDLL(LIBRARY)

    def set(self, device=0, **values):
        for key, value in values.items():
            self.library.fake_set(device, KEYS.index(key.upper()), ctypes.c_longlong(value))

    def pci(self, bus, *, vendor="0x10de", kind="0x030000", status="active"):
        folder = Path(os.environ["PACTMETER_SYSFS"]) / "bus" / "pci" / "devices" / bus
        (folder / "power").mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(kind + "\n")
        (folder / "power" / "runtime_status").write_text(status + "\n")


def devices():
    return nvml.discover(Request()).devices


def details(found):
    return " | ".join(finding.detail for finding in found.findings)


def names(device):
    return [channel.name for channel in device.channels]


@in_child
def test_n_gpus_give_n_channels_and_each_its_own_joules(machine):
    machine.set(count=3)
    for index in range(3):
        machine.set(index, energy_mj=1000 * index, power_mw=1)
    found = devices()
    for device in found:
        device.open()

    for index in range(3):
        machine.set(index, energy_mj=1000 * index + 250_000 * (index + 1), sm=10, memory=5)

    assert [device.channels[0].name for device in found] == ["gpu0", "gpu1", "gpu2"]
    assert [device.read()[0] for device in found] == [250.0, 500.0, 750.0]
    channel = found[1].channels[0]
    assert (channel.kind, channel.unit, channel.domain) == (Kind.ENERGY, Unit.JOULE, Domain.GPU)
    assert (channel.accuracy_pct, channel.resolution) == (5.0, 0.001)
    assert channel.synthetic is None
    assert "GPU-1a000000" in channel.description
    assert found[1].name == "gpu1 NVIDIA Fake 0"


@in_child
def test_instant_and_average_power_and_utilisation_stand_beside_the_energy(machine):
    machine.set(count=1, instant_mw=410_500, average_mw=400_000, power_mw=1, sm=97, memory=40)
    (device,) = devices()
    device.open()

    assert names(device) == [
        "gpu0",
        "gpu0.instant_w",
        "gpu0.average_w",
        "gpu0.util_sm_pct",
        "gpu0.util_mem_pct",
    ]
    assert device.read() == (0.0, 410.5, 400.0, 97.0, 40.0)
    assert {channel.kind for channel in device.channels[1:]} == {Kind.QUANTITY}
    assert device.channels[1].columns == ("gpu0.instant_w",)
    assert {channel.domain for channel in device.channels[1:]} == {None}


@in_child
def test_power_usage_is_named_for_what_it_is_on_each_generation(machine):
    seen = {}
    for capability in (70, 80, 86, 90, 0):
        machine.set(count=1, power_mw=100_000, capability=capability)
        (device,) = devices()
        seen[capability] = names(device)[1]
        device.close()

    assert seen == {
        70: "gpu0.instant_w",
        80: "gpu0.instant_w",
        86: "gpu0.average_w",
        90: "gpu0.average_w",
        0: "gpu0.power_w",
    }


@in_child
def test_a_gpu_without_energy_counter_gives_power(machine):
    machine.set(count=1, energy_error=NOT_SUPPORTED, power_mw=123_456, util_error=NOT_SUPPORTED)
    (device,) = devices()
    device.open()

    assert names(device) == ["gpu0", "gpu0.util_sm_pct", "gpu0.util_mem_pct"]
    assert (device.channels[0].kind, device.channels[0].unit) == (Kind.POWER, Unit.WATT)
    assert device.read() == (123.456, None, None)

    machine.set(power_mw=4_000_000_000)
    with pytest.raises(ReadError, match="no power of a GPU"):
        device.read()
    machine.set(power_error=GPU_IS_LOST)
    with pytest.raises(ReadError, match="NVMLError_GpuIsLost"):
        device.read()


@in_child
def test_a_gpu_that_gives_nothing_is_left_out(machine):
    machine.set(count=2, power_mw=1)
    machine.set(1, energy_error=NOT_SUPPORTED, power_error=NOT_SUPPORTED)

    found = nvml.discover(Request())

    assert [names(device)[0] for device in found.devices] == ["gpu0"]
    assert "GPU 1 (NVIDIA Fake 0) gives no power" in details(found)


@in_child
def test_utilisation_and_fields_that_fail_are_none_and_cost_no_energy(machine):
    machine.set(count=1, instant_mw=100_000, sm=50)
    (device,) = devices()
    device.open()

    machine.set(energy_mj=7000, util_error=NOT_SUPPORTED, field_error=999)
    broken = device.read()
    machine.set(util_error=0, field_error=0, value_type=99)

    assert broken == (7.0, None, None, None)
    assert device.read() == (7.0, None, 50.0, 0.0)


@in_child
def test_a_counter_reset_is_told_once_and_the_total_goes_on(machine):
    machine.set(count=1, energy_mj=1_000_000)
    (device,) = devices()
    device.open()
    machine.set(energy_mj=1_500_000)
    assert device.read()[0] == 500.0

    machine.set(energy_mj=2_000)
    with pytest.raises(CounterResetError, match="fell from 1500000 to 2000 mJ"):
        device.read()
    machine.set(energy_mj=12_000)

    assert device.read()[0] == 510.0


@in_child
def test_a_counter_that_rises_by_more_than_a_gpu_draws_is_no_energy(machine):
    machine.set(count=1, energy_mj=1_000_000, power_mw=1)
    (device,) = devices()
    device.open()
    machine.set(energy_mj=265_000_000)
    with pytest.raises(CounterResetError, match="rose from 1000000 to 265000000 mJ"):
        device.read()
    machine.set(energy_mj=265_020_000)

    assert device.read()[0] == 20.0


@in_child
def test_a_power_beside_the_energy_that_cannot_be_is_none(machine):
    machine.set(count=1, energy_mj=1000, instant_mw=410_500, average_mw=4_000_000_000)
    (device,) = devices()
    device.open()

    assert device.read()[:3] == (0.0, 410.5, None)


@in_child
def test_a_lost_gpu_is_a_read_error_and_its_total_goes_on_when_it_is_back(machine):
    machine.set(count=1, energy_mj=1000)
    (device,) = devices()
    device.open()
    machine.set(energy_error=GPU_IS_LOST)
    with pytest.raises(ReadError, match="NVMLError_GpuIsLost"):
        device.read()
    device.close()
    machine.set(handle_error=GPU_IS_LOST)
    with pytest.raises(DeviceError, match="NVMLError_GpuIsLost"):
        device.open()
    machine.set(init_error=DRIVER_NOT_LOADED)
    with pytest.raises(DeviceError, match="NVMLError_DriverNotLoaded") as error:
        device.open()
    with pytest.raises(ReadError, match="not open"):
        device.read()

    machine.set(init_error=0, handle_error=0, energy_error=0, energy_mj=4000)
    device.open()

    assert error.value.fix == "sudo modprobe nvidia"
    assert device.read()[0] == 3.0


@in_child
def test_nvml_starts_once_and_stops_behind_the_last_gpu(machine):
    machine.set(count=2)
    first, second = devices()
    first.open()
    second.open()
    first.close()
    first.close()
    held = machine.library.fake_shutdown_calls()
    second.close()

    assert machine.library.fake_init_calls() == 1
    assert (held, machine.library.fake_shutdown_calls()) == (0, 1)


@in_child
def test_a_first_reading_that_fails_is_no_anchor(machine):
    machine.set(count=1, energy_mj=5_000)
    (device,) = devices()
    machine.set(energy_error=GPU_IS_LOST)
    device.open()
    machine.set(energy_error=0, energy_mj=900_000)

    assert device.read()[0] == 0.0


@in_child
def test_only_the_gpus_that_cuda_shows_are_read(machine):
    machine.set(count=3)
    seen = {}
    for setting in ("1", "GPU-2", "GPU-0a000000-0000-0000-0000-000000000000,1", "", "-1", "7,0"):
        os.environ["CUDA_VISIBLE_DEVICES"] = setting
        found = nvml.discover(Request())
        seen[setting] = [names(device)[0] for device in found.devices]
        last = details(found)

    assert seen == {
        "1": ["gpu1"],
        "GPU-2": ["gpu2"],
        "GPU-0a000000-0000-0000-0000-000000000000,1": ["gpu0", "gpu1"],
        "": [],
        "-1": [],
        "7,0": [],
    }
    assert "'7' is no GPU" in last


@in_child
def test_a_mig_slice_is_read_as_the_whole_gpu_and_said_to_be(machine):
    machine.set(count=3)
    for setting in ("MIG-1", "MIG-GPU-1a000000-0000-0000-0000-000000000000/3/0"):
        os.environ["CUDA_VISIBLE_DEVICES"] = setting
        (device,) = devices()
        assert names(device)[0] == "gpu1"
        assert "whole GPU, not the MIG slice" in device.channels[0].description
    os.environ["CUDA_VISIBLE_DEVICES"] = "MIG-9"
    assert devices() == ()


@in_child
def test_unlike_gpus_named_by_index_are_told(machine):
    machine.set(count=2)
    machine.set(1, product=7)
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    fixes = [finding.fix for finding in nvml.discover(Request()).findings]
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    without = [finding.fix for finding in nvml.discover(Request()).findings]

    assert any("CUDA_DEVICE_ORDER" in (fix or "") for fix in fixes)
    assert not any(without)


@in_child
def test_an_emulated_driver_marks_every_channel(machine):
    machine.set(count=1, driver_emulated=1, instant_mw=1)
    (device,) = devices()

    assert {channel.synthetic for channel in device.channels} == {"emulated"}


@in_child
def test_a_sleeping_gpu_is_not_touched(machine):
    machine.set(count=2)
    machine.pci("0000:01:00.0", status="suspended")
    machine.pci("0000:02:00.0")
    machine.pci("0000:03:00.0", vendor="0x8086")
    machine.pci("0000:04:00.0", kind="0x040300")

    found = nvml.discover(Request())

    assert [names(device)[0] for device in found.devices] == ["gpu1"]
    assert machine.library.fake_handle_calls(0) == 0
    assert "not woken" in details(found)


@in_child
def test_where_all_gpus_sleep_nvml_is_not_started(machine):
    machine.set(count=1)
    machine.pci("0000:01:00.0", status="suspended")

    found = nvml.discover(Request())

    assert found.devices == ()
    assert machine.library.fake_init_calls() == 0
    assert "pynvml" not in sys.modules


@in_child
def test_a_driver_that_does_not_start_is_a_finding_with_its_fix(machine):
    machine.set(init_error=MISMATCH)
    (mismatch,) = nvml.discover(Request()).findings
    machine.set(init_error=DRIVER_NOT_LOADED)
    (not_loaded,) = nvml.discover(Request()).findings

    assert "NVMLError_LibRmVersionMismatch" in mismatch.detail
    assert "reboot" in mismatch.fix
    assert not_loaded.fix == "sudo modprobe nvidia"


@in_child
def test_gpus_that_cannot_be_counted_are_a_finding_and_nvml_is_let_go(machine):
    machine.set(count_error=999)

    (finding,) = nvml.discover(Request()).findings

    assert "does not list the GPUs" in finding.detail
    assert machine.library.fake_shutdown_calls() == 1


@in_child
def test_one_gpu_that_does_not_answer_costs_no_other(machine):
    machine.set(count=3)
    machine.set(0, handle_error=GPU_IS_LOST)
    machine.set(2, energy_error=GPU_IS_LOST)

    found = nvml.discover(Request())

    assert [names(device)[0] for device in found.devices] == ["gpu1"]
    assert "GPU 0: NVMLError_GpuIsLost" in details(found)
    assert "GPU 2: NVMLError_GpuIsLost" in details(found)


@in_child
def test_without_nvidia_ml_py_the_extra_is_named(machine):
    sys.modules["pynvml"] = None

    (finding,) = nvml.discover(Request()).findings

    assert finding.fix == "pip install 'pactmeter[nvml]'"


@pytest.fixture
def no_library(monkeypatch, tmp_path):
    """Make no libnvidia-ml loadable, as on a machine without the driver, whatever this one has."""
    monkeypatch.setattr(nvml, "_LIBRARY", "libnvidia-ml-is-not-here.so.1")
    monkeypatch.setenv("PACTMETER_SYSFS", str(tmp_path))
    return tmp_path


def test_a_machine_without_gpu_and_library_is_a_finding_without_a_fix(no_library):
    found = nvml.discover(Request())

    (finding,) = found.findings
    assert found.devices == ()
    assert "no NVIDIA GPU" in finding.detail
    assert finding.fix is None


def test_a_gpu_without_its_library_is_told_with_the_fix(no_library):
    folder = no_library / "bus" / "pci" / "devices" / "0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text("0x10de\n")
    (folder / "class").write_text("0x030200\n")

    (finding,) = nvml.discover(Request()).findings

    assert "0000:01:00.0" in finding.detail
    assert "install the NVIDIA driver" in finding.fix


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Machine())
