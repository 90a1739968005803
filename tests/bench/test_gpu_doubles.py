"""The stand-ins for nvidia-smi and gpu_burn, on the emulated NVML."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from pactmeter.bench import gpu, gpu_doubles, nvml
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.timeline import Piece, Timeline


@pytest.fixture(scope="module")
def library_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    nvml.build_library(folder, cache=tmp_path_factory.getbasetemp() / "cache")
    return folder


class Machine:
    """Two unlike GPUs at 100 and 200 W, a bench that listens, and its commands."""

    def __init__(self, folder, library_folder, control):
        lines = [Timeline(iter([Piece(1e6, watts, watts)])) for watts in (100.0, 200.0)]
        self.faults = FaultBoard(lambda: 0.0)
        models = gpu.parse_gpus("a100,rtx4090")
        self.publisher = nvml.Publisher(
            folder / "gpus", models, lines, time.monotonic(), self.faults
        )
        self.publisher.set_virtual_now(50.0)
        self.control = control
        self.environment = {
            **os.environ,
            nvml.ENVIRONMENT: str(folder / "gpus"),
            gpu_doubles.CONTROL: control.getsockname(),
            "LD_LIBRARY_PATH": str(library_folder),
        }

    def order(self, name, value=None):
        self.faults.add(Fault("gpu1", name, value))
        self.publisher.publish(50.0)

    def start(self, *words, text=True):
        return subprocess.Popen(
            [sys.executable, "-m", "pactmeter.bench.gpu_doubles", *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=text,
        )

    def run(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def smi(self, *words):
        return self.run("nvidia-smi", *words)

    def told(self):
        """Return the next two loads that the bench is told."""
        messages = (json.loads(self.control.recv(1000))["load"] for _ in range(2))
        return [(message["component"], message["spec"]) for message in messages]


@pytest.fixture
def machine(tmp_path, library_folder):
    with (
        tempfile.TemporaryDirectory() as folder,  # a socket's path must be short
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control,
    ):
        control.bind(f"{folder}/control")
        control.settimeout(20.0)
        yield Machine(tmp_path, library_folder, control)


def test_the_commands_are_written_and_run_by_name(machine, tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    gpu_doubles.write(folder)
    environment = {**machine.environment, "PATH": f"{folder}:{os.environ['PATH']}"}
    listed = subprocess.run(
        ["nvidia-smi", "-L"], env=environment, check=True, capture_output=True, text=True
    )

    assert listed.stdout.splitlines() == [
        f"GPU 0: NVIDIA A100-SXM4-40GB (UUID: {gpu.uuid_of(0)})",
        f"GPU 1: NVIDIA GeForce RTX 4090 (UUID: {gpu.uuid_of(1)})",
    ]
    help_text = subprocess.check_output(["gpu_burn", "-h"], env=environment, text=True)
    assert help_text.startswith("GPU Burn\nUsage:")


def test_a_query_gives_what_nvml_gives(machine):
    fields = "index,name,power.draw,power.limit,utilization.gpu,temperature.gpu,fan.speed"
    code, out, _ = machine.smi(f"--query-gpu={fields},memory.total", "--format=csv")

    assert code == 0
    head, *rows = out.splitlines()
    assert head == (
        "index, name, power.draw [W], power.limit [W], utilization.gpu [%], temperature.gpu, "
        "fan.speed [%], memory.total [MiB]"
    )
    assert rows == [
        "0, NVIDIA A100-SXM4-40GB, 100.00 W, 400.00 W, 14 %, 43, [N/A], 40960 MiB",
        "1, NVIDIA GeForce RTX 4090, 200.00 W, 450.00 W, 44 %, 52, 52 %, 24564 MiB",
    ]


def test_a_query_can_leave_out_header_units_and_gpus(machine):
    style = "--format=csv,noheader,nounits"
    fields = "--query-gpu=power.draw.instant, power.draw.average,gpu_uuid"
    both = machine.smi(fields, style)[1].splitlines()
    one = machine.smi("-i", "1", "--query-gpu=driver_version,compute_cap,pci.bus_id", style)[1]
    by_uuid = machine.smi(f"--id={gpu.uuid_of(1)}", "--query-gpu=index,pstate", style)[1]

    assert both == [
        f"100.00, [N/A], {gpu.uuid_of(0)}",
        f"200.00, 200.00, {gpu.uuid_of(1)}",
    ]
    assert one == "560.35 pactmeter-bench, 8.9, 00000000:02:00.0\n"
    assert by_uuid == "1, P0\n"
    assert machine.smi("-i", "7", "-L")[:2] == (6, "No devices were found\n")


def test_every_field_has_a_value(machine):
    fields = ",".join(gpu_doubles.FIELDS)
    code, out, _ = machine.smi(f"--query-gpu={fields}", "--format=csv,noheader", "-i", "1")

    assert code == 0
    assert len(out.split(", ")) == len(gpu_doubles.FIELDS)
    assert "[" not in out


def test_the_table_shows_every_gpu(machine):
    code, out, _ = machine.smi()

    assert code == 0
    assert "560.35 pactmeter-bench" in out
    for words in ("RTX 4090", "200.00W / 450.00W", "24564MiB", "A100-SXM4-40GB"):
        assert words in out
    assert {len(line) for line in out.splitlines()[1:]} == {91}


def test_what_is_asked_wrongly_ends_with_2(machine):
    assert machine.smi("--query-gpu=power.draw,power", "--format=csv")[:2] == (
        2,
        'Field "power" is not a valid field to query.\n\n',
    )
    code, out, _ = machine.smi("--reset")
    assert (code, "--reset is not recognized" in out) == (2, True)
    code, out, _ = machine.smi("-l", "abc")
    assert (code, "interval of a loop" in out) == (2, True)
    code, _, err = machine.run("gpu_burn", "-i", "x", "1")
    assert (code, "Traceback" in err) == (19, False)
    assert machine.smi("--help")[0] == 0  # CodeCarbon finds a GPU by it


def test_a_loop_repeats_and_stops_when_nobody_reads(machine):
    process = machine.start(
        "nvidia-smi", "--query-gpu=power.draw", "--format=csv", "-i", "0", "-lms", "10"
    )
    lines = [process.stdout.readline() for _ in range(4)]
    process.stdout.close()

    assert lines == ["power.draw [W]\n", *["100.00 W\n"] * 3]
    assert process.wait(20) == -signal.SIGPIPE
    process.stderr.close()


def test_faults_show(machine):
    machine.order("not_supported", "power")
    query = ("--query-gpu=power.draw", "--format=csv,noheader")
    assert machine.smi(*query)[:2] == (0, "100.00 W\n[N/A]\n")
    machine.order("function", "nvmlDeviceGetPowerUsage")
    assert machine.smi(*query)[:2] == (0, "[Function Not Found]\n" * 2)
    machine.order("lost")
    code, out, _ = machine.smi()
    assert (code, "GPU is lost" in out) == (15, True)
    machine.order("driver", "18")
    code, out, _ = machine.smi("-L")
    assert (code, "version mismatch" in out) == (18, True)


def test_without_driver_both_commands_fail(machine):
    del machine.environment[nvml.ENVIRONMENT]
    assert machine.smi()[:2] == (9, "NVIDIA-SMI has failed: Driver Not Loaded\n")
    code, _, err = machine.run("gpu_burn", "1")
    assert (code, "No CUDA devices" in err) == (19, True)
    del machine.environment["LD_LIBRARY_PATH"]
    assert machine.smi()[0] == 9


def test_gpu_burn_prints_as_documented_and_loads_the_gpus(machine):
    process = machine.start("gpu_burn", "-stts", "0", "-m", "50%", "-d", "1", text=False)
    start = machine.told()
    start_s = time.monotonic()
    end = machine.told()
    burnt_s = time.monotonic() - start_s
    out = process.communicate(timeout=30)[0].decode()  # as text, each \r would be a \n

    assert start == [("gpu0", "busy"), ("gpu1", "busy")]
    assert end == [("gpu0", "idle"), ("gpu1", "idle")]
    assert burnt_s >= 0.9
    assert process.returncode == 0
    head, _, rest = out.partition("\r")
    assert head.splitlines()[:2] == ["Using compare file: compare.fatbin", "Burning for 1 seconds."]
    assert head.splitlines()[-1].startswith("Initialized device 1 with 24564 MB of memory")
    assert head.endswith("using DOUBLES\n")
    number = r"\d+ \(\d+ Gflop/s\) "
    progress = rf"\d+\.\d%  proc'd: {number}- {number}  errors: 0 - 0   temps: 43 C - 52 C "
    assert all(re.match(progress, line) for line in rest.split("\r"))
    assert "\n\tSummary at:   " in rest
    assert out.endswith(
        "\nKilling processes with SIGTERM (soft kill)\ndone\n\n"
        "Tested 2 GPUs:\n\tGPU 0: OK\n\tGPU 1: OK\n"
    )


def test_gpu_burn_loads_one_gpu_and_waits_idle_behind_it(machine):
    process = machine.start("gpu_burn", "-i", "1", "-stts", "1", "-c", "my.ptx", "0")
    told = machine.told()
    start_s = time.monotonic()
    out, _ = process.communicate(timeout=30)

    assert told == [("gpu1", "busy"), ("gpu1", "idle")]
    assert time.monotonic() - start_s >= 0.9
    assert out.startswith("Using compare file: my.ptx\nBurning for 0 seconds.\n")
    assert out.endswith("Tested 1 GPUs:\n\tGPU 0: OK\n")


def test_a_killed_gpu_burn_lets_go_of_the_gpus(machine):
    process = machine.start("gpu_burn", "60")
    assert machine.told() == [("gpu0", "busy"), ("gpu1", "busy")]
    process.terminate()

    assert machine.told() == [("gpu0", "idle"), ("gpu1", "idle")]
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM


def test_gpu_burn_without_a_bench_just_prints(machine):
    for control in (None, "/nobody/listens"):
        machine.environment.pop(gpu_doubles.CONTROL, None)
        if control:
            machine.environment[gpu_doubles.CONTROL] = control
        code, out, _ = machine.run("gpu_burn", "-tc", "-stts", "0", "0")
        assert (code, out.count("OK")) == (0, 2)


def test_gpu_burn_lists_and_knows_its_gpus(machine):
    assert machine.run("gpu_burn", "-l")[1] == machine.smi("-L")[1]
    assert machine.run("gpu_burn", "-i", "2", "0")[0] == 19


def test_the_program_needs_nothing_but_the_standard_library(machine):
    words = [sys.executable, "-IS", gpu_doubles.__file__, "nvidia-smi", "-L"]
    done = subprocess.run(
        words, env=machine.environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("GPU-") == 2
