"""Every load of the stress suite as a user starts it, on a little emulated machine."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pactmeter.analysis.run import load as load_run
from pactmeter.analysis.summary import summarize
from pactmeter.study import work
from support.machine import Machine
from support.programs import SRC
from support.rights import refuse

ROOT = Path(__file__).parents[2]
STRESS = ROOT / "stress"
FRAMEWORKS = Path(os.environ.get("PACTMETER_FRAMEWORKS", ROOT / ".venv/frameworks/bin/python"))
BURN = """#!{python}
import os, sys, time
args = sys.argv[1:]
open({seen!r}, "w").write(os.getcwd() + "|" + " ".join(args))
assert os.path.exists("compare.ptx"), "couldn't find compare kernel"
end = time.monotonic() + float(args[-1])
while time.monotonic() < end: pass
line = "\\r%d.0%%  proc'd: %d (100 Gflop/s) - %d (90 Gflop/s)   errors: 0 - %d   temps: 65 C - -- "
print(line % (50, 4, 3, 0), end="")
print(line % (100, 8, 6, {errors}))
print("Killing processes with SIGTERM (soft kill)\\ndone\\n")
print("Tested 2 GPUs:\\n\\tGPU 0: OK\\n\\tGPU 1: {state}")
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Give all tests one machine, of steady 100 W."""
    with Machine(tmp_path_factory.mktemp("machine") / "sys") as one:
        yield one


@pytest.fixture
def env(machine):
    return {**os.environ, **machine.env, "PYTHONPATH": str(SRC)}


@pytest.fixture
def start(env, tmp_path):
    """Start a script of the suite in a folder of its own; none is left behind."""
    started = []

    def begin(script, *words, **more):
        process = subprocess.Popen(
            [sys.executable, str(STRESS / script), *map(str, words)],
            cwd=tmp_path,
            env={**env, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with process, contextlib.suppress(ProcessLookupError):
            process.kill()


@pytest.fixture
def done(start):
    """Run a script to its end; return its exit code, standard output and standard error."""

    def run(*words, **more):
        process = start(*words, **more)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


def need(*tools):
    for tool in tools:
        try:
            subprocess.run([tool, "--version"], capture_output=True, check=False)
        except FileNotFoundError:
            refuse(f"needs {tool}: apt-get install {tool}")


def program(folder, name, text):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def gpu_burn(folder, tmp_path, state="OK", errors=0):
    """Write a gpu_burn of a folder of its own, with its kernel beside it."""
    text = BURN.format(
        python=sys.executable, seen=str(tmp_path / "seen"), state=state, errors=errors
    )
    path = program(folder, "gpu_burn", text)
    (folder / "compare.ptx").write_text("")
    return path


def energy_j(power):
    run = load_run(power)
    assert run.status == "complete"
    (source,) = [s for s in summarize(run)["sources"] if s["channel"] == "cpu.package0"]
    return source["energy_j"], run.duration_s


def running(word):
    """Processes with a word in their command line or in their environment, that are no zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if word.encode() in told and state not in "ZX" and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def wait_for(what, limit_s=20):
    end = time.monotonic() + limit_s
    while not (value := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return value


# --- one load ------------------------------------------------------------------------------------

SMALL = ("--vm-bytes", "16M", "--hdd-bytes", "8M")


@pytest.mark.parametrize("tool", ["stress", "stress-ng"])
@pytest.mark.parametrize("kind", ["cpu", "io", "vm", "hdd"])
def test_each_load_runs_its_time_with_energy_and_work(done, tmp_path, tool, kind):
    need(tool)
    code, out, err = done("load.py", kind, "--workers", 2, "--seconds", 1, "--tool", tool, *SMALL)
    assert code == 0, err
    told = work.find(out)
    assert told["workers"] == 2
    assert told["load"] == kind
    assert told["tool"].split()[0] == tool
    assert 1 <= told["seconds"] < 30
    assert told["cpu_s"] > 0
    assert ("bogo_ops" in told) == (tool == "stress-ng")
    assert told.get("bogo_ops", 1) > 0
    assert "dispatching hogs" in out
    joules, seconds = energy_j(tmp_path / "PACT.csv")
    assert joules == pytest.approx(100 * seconds, rel=0.25)  # it lags where all CPUs work
    assert seconds >= told["seconds"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("PACT.counters.csv", "PACT.csv", "PACT.json", "PACT.regions.csv"),
    ]


def test_idle_does_nothing_for_its_time(done, tmp_path):
    code, out, err = done("load.py", "idle", "--seconds", 1)
    assert code == 0, err
    assert work.find(out) == {"seconds": 1.0, "load": "idle"}
    joules, seconds = energy_j(tmp_path / "PACT.csv")
    assert joules == pytest.approx(100 * seconds, rel=0.25)  # it lags where all CPUs work
    assert seconds == pytest.approx(1, abs=0.5)


def test_a_command_of_ones_own_is_measured_as_it_stands(done):
    need("stress")
    words = ("load.py", "command", "--", "stress", "-c", "1", "-i", "1", "-t", "1s")
    code, out, err = done(*words)
    assert code == 0, err
    told = work.find(out)
    assert (told["workers"], told["load"]) == (2, "cpu+io")


def test_more_memory_or_disk_than_there_is_is_refused_before_anything_starts(done, tmp_path):
    need("stress")
    code, _, err = done("load.py", "vm", "--workers", 50, "--vm-bytes", "1000G")
    assert code == 1
    assert "50 vm workers" in err
    assert "fix: at most" in err
    code, _, err = done("load.py", "hdd", "--workers", 50, "--hdd-bytes", "1000G")
    assert code == 1
    assert "by --hdd-bytes" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cpu", "--workers", 0), "0 workers do no work"),
        (("cpu", "--seconds", 1.5), "whole seconds"),
        (("idle", "--seconds", -1), "--seconds -1 is no time"),
        (("vm", "--vm-bytes", "much"), "no size such as 64M"),
        (("hdd", "--temp-path", "/nowhere"), "/nowhere is no folder to write to"),
        (("command",), "belong together"),
        (("cpu", "--", "stress"), "belong together"),
        (("command", "--", "/nowhere/x"), "/nowhere/x is not installed"),
        (("disk",), "invalid choice"),
    ],
)
def test_what_cannot_be_a_load_is_told_before_anything_starts(done, tmp_path, words, told):
    code, _, err = done("load.py", *words)
    assert code in {1, 2}
    assert told in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", ["stress", "stress-ng"])
def test_a_missing_tool_is_told_with_the_line_that_installs_it(done, tmp_path, tool):
    code, _, err = done("load.py", "cpu", "--tool", tool, PATH="/nowhere")
    assert code == 1
    assert f"{tool} is not installed\n  fix: sudo apt-get install {tool}\n" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("stress", "exit 1", "exit code 1"),
        ("stress", "exit 0", "ended after"),
        ("stress-ng", "exit 3", "no memory or disk"),
        ("stress-ng", "sleep 1; exit 0", "tells of no work"),
        ("stress", "kill -9 $$", "exit code 137"),
    ],
)
def test_a_tool_that_did_not_do_its_work_fails_the_load(done, tmp_path, name, text, told):
    fake = f"#!/bin/sh\n[ $1 = --version ] && {{ echo {name} 1.0; exit; }}\n{text}\n"
    program(tmp_path / "bin", name, fake)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    code, out, err = done("load.py", "cpu", "--seconds", 1, "--tool", name, PATH=path)
    assert code == 1
    assert told in err
    assert work.find(out) is None


def test_stress_ng_that_can_take_no_memory_fails_although_it_exits_with_0(done, tmp_path):
    need("stress-ng")
    real = shutil.which("stress-ng")
    program(tmp_path / "bin", "stress-ng", f'#!/bin/sh\nulimit -v 300000\nexec {real} "$@"\n')
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    words = ("load.py", "vm", "--vm-bytes", "1G", "--seconds", 1, "--tool", "stress-ng")
    code, out, err = done(*words, PATH=path)
    assert code == 1
    assert "vm did no work (0 bogo-ops)" in err
    assert work.find(out) is None


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("tool", ["stress", "stress-ng"])
def test_no_worker_and_no_file_is_left_however_a_load_is_ended(start, tmp_path, tool, number):
    need(tool)
    mark = f"mark-{number}-{tool}-{os.getpid()}"
    words = ("load.py", "hdd", "--workers", 2, "--seconds", 60, "--hdd-bytes", "8M", "--tool", tool)
    process = start(*words, STRESS_MARK=mark)
    wait_for(lambda: len([p for p in running(mark) if is_tool(p, tool)]) >= 3)
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not running(mark))
    if number == signal.SIGKILL:
        return
    assert load_run(tmp_path / "PACT.csv").status == "complete"
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def is_tool(pid, tool):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith(tool)
    return False


def test_a_load_that_does_not_end_is_ended_and_has_failed(done, tmp_path):
    code, _, err = done("load.py", "command", "--limit", 1, "--", "sleep", "60")
    assert code == 1
    assert "did not end within 1 s" in err


# --- the GPU -------------------------------------------------------------------------------------


def test_gpu_burn_runs_in_its_own_folder_without_its_sleep(done, tmp_path):
    path = gpu_burn(tmp_path / "burner", tmp_path)
    code, out, err = done("load.py", "gpu", "--seconds", 1, "--gpu-burn", path)
    assert code == 0, err
    assert (tmp_path / "seen").read_text() == f"{tmp_path / 'burner'}|-stts 1 1"
    told = work.find(out)
    assert (told["gpus"], told["products"]) == (2, 14)
    assert told["gflop"] == pytest.approx(14 * 1100.05, rel=1e-4)
    assert told["tool"] == "gpu-burn"


def test_a_faulty_gpu_is_a_failed_trial_although_gpu_burn_exits_with_0(done, tmp_path):
    path = gpu_burn(tmp_path / "burner", tmp_path, state="FAULTY", errors=3)
    code, out, err = done("load.py", "gpu", "--seconds", 1, "--gpu-burn", path)
    assert code == 1
    assert "GPU 1: FAULTY" in err
    assert work.find(out) is None


def test_a_gpu_burn_that_is_not_there_is_told(done):
    code, _, err = done("load.py", "gpu", "--gpu-burn", "/nowhere/gpu_burn")
    assert code == 1
    assert "/nowhere/gpu_burn is not there" in err


@pytest.fixture
def torch_done(done, monkeypatch):
    """Run a script where there is torch: in the environment of the frameworks."""
    if not FRAMEWORKS.exists():
        refuse("needs the environment of the frameworks: make .venv/frameworks.stamp")
    monkeypatch.setattr(sys, "executable", str(FRAMEWORKS))
    return done


def test_torch_burns_where_there_is_no_gpu_burn(torch_done):
    words = ("load.py", "gpu", "--device", "cpu", "--seconds", 1)
    code, out, err = torch_done(*words, OMP_NUM_THREADS="1")
    assert code == 0, err
    told = work.find(out)
    assert told["tool"].startswith("torch ")
    assert told["products"] > 0
    assert told["gflop"] == pytest.approx(told["products"] * 2 * 1024**3 / 1e9, rel=1e-3)


def test_a_gpu_that_is_not_there_is_told_before_anything_is_measured(torch_done, tmp_path):
    code, _, err = torch_done("load.py", "gpu", "--seconds", 1)  # CUDA_VISIBLE_DEVICES is empty
    assert code == 1
    assert "no GPU here" in err
    assert "fix:" in err
    assert list(tmp_path.iterdir()) == []


def test_without_gpu_burn_and_torch_both_are_named(done, tmp_path):
    block = program(tmp_path / "block", "torch.py", "raise ImportError('no torch')")
    code, _, err = done("load.py", "gpu", PYTHONPATH=f"{block.parent}:{SRC}")
    assert code == 1
    assert "torch" in err
    assert "gpu-burn" in err
    assert not (tmp_path / "PACT.csv").exists()


# --- the suite of rows ---------------------------------------------------------------------------

ROWS = """name,trial#,cmd
idle_1,1,1
bad_1,1,stress --cpu 0 --timeout 1
cpu_1_1,1,stress --cpu 1 --timeout 1
cpu_1_1,2,stress --cpu 1 --timeout 1"""


def test_the_originals_suite_goes_on_after_a_row_that_fails_and_keeps_earlier_results(
    done, tmp_path
):
    need("stress")
    (tmp_path / "input.txt").write_text(ROWS)
    code, out, err = done("stress.py", "1", "0.01")
    assert code == 1, err
    results = tmp_path / "PACTData"
    for stem in ("idle_1_1", "cpu_1_1_1", "cpu_1_1_2"):
        joules, seconds = energy_j(results / f"{stem}_PACT.csv")
        assert joules == pytest.approx(100 * seconds, rel=0.25)  # it lags where all CPUs work
        assert work.find((results / f"{stem}_out.csv").read_text())["seconds"] >= 1
    assert "successful run completed" in (results / "cpu_1_1_1_out.csv").read_text()
    assert out.count("Time:  ") == 4
    assert "1 of 4 failed" in out
    assert "bad_1 trial 1: stress ended with exit code 1" in out
    assert not (results / "bad_1_1_PACT.csv").exists()
    assert (results / "failed/bad_1_1_out.csv").exists()
    before = {p.name: p.read_bytes() for p in results.glob("*") if p.is_file()}
    (tmp_path / "input.txt").write_text("name,trial#,cmd\nidle_1,1,1\n")
    code, out, err = done("stress.py")
    assert code == 0, err
    after = {p.name: p.read_bytes() for p in results.glob("*") if p.is_file()}
    assert set(before.values()) <= set(after.values())
    assert len(after) == len(before) + 5
    assert load_run(results / "idle_1_1_PACT.csv").manifest["calls"] == 1


def test_a_row_of_gpu_burn_runs_the_users_own_and_fails_with_it(done, tmp_path):
    path = gpu_burn(tmp_path / "burner", tmp_path, state="FAULTY", errors=1)
    (tmp_path / "input.txt").write_text(f"name,trial#,cmd\ngpu_1,1,{path} 1")
    code, out, _ = done("stress.py")
    assert code == 1
    assert "gpu_1 trial 1: GPU 1: FAULTY" in out
    assert (tmp_path / "seen").read_text().endswith("|-stts 1 1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,trial#,cmd\ncpu_1", "line 2 is no row"),
        ("name,trial#,cmd\ncpu_1,x,stress", "line 2 is no row"),
        ("name,trial#,cmd\n../up,1,stress", "a name for files"),
        ("name,trial#,cmd\ncpu_1,1,stress 'a", "line 2 is no row"),
        ("name,trial#,cmd\na,1,stress\na,1,stress", "has trial 1 already"),
        ("name,trial#,cmd\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_what_is_wrong_in_the_rows_is_told_with_its_line_before_any_runs(
    done, tmp_path, text, told
):
    (tmp_path / "input.txt").write_text(text)
    code, _, err = done("stress.py")
    assert code == 2
    assert told in err
    assert not (tmp_path / "PACTData").exists()


def test_from_another_folder_the_rows_beside_the_script_are_run_and_results_lie_beside_them(
    done, tmp_path
):
    suite = tmp_path / "suite"
    shutil.copytree(STRESS, suite, ignore=shutil.ignore_patterns("PACTData"))
    (suite / "input.txt").write_text("name,trial#,cmd\nidle_1,1,0.2")
    (suite / "PACTData/.running").mkdir(parents=True)
    (suite / "PACTData/.running/idle_1_1_PACT.csv").write_text("of a suite that was killed")
    code, _, err = done(suite / "stress.py", "1", "0.01")
    assert code == 0, err
    assert load_run(suite / "PACTData/idle_1_1_PACT.csv").status == "complete"
    (killed,) = (suite / "PACTData/failed").iterdir()
    assert (killed / "idle_1_1_PACT.csv").read_text() == "of a suite that was killed"


def test_of_two_suites_in_one_folder_the_second_is_refused(start, done, tmp_path):
    (tmp_path / "input.txt").write_text("name,trial#,cmd\nidle_1,1,5")
    first = start("stress.py")
    assert first.stdout.readline().startswith("[1/1]")
    code, _, err = done("stress.py")
    assert code == 1
    assert "another suite is running" in err
    first.terminate()
    first.communicate(timeout=30)
    assert first.returncode == 143


def test_a_row_of_gpu_burn_goes_to_torch_where_there_is_no_gpu_burn(done, tmp_path):
    (tmp_path / "input.txt").write_text("name,trial#,cmd\ngpu_1,1,./gpu_burn 1")
    block = program(tmp_path / "block", "torch.py", "raise ImportError('no torch')")
    code, out, _ = done("stress.py", PYTHONPATH=f"{block.parent}:{SRC}")
    assert code == 1
    assert "no ./gpu_burn here" in out
    assert "gpu_1 trial 1: neither gpu-burn nor torch is here" in out


def test_the_suite_of_the_paper_is_as_it_was():
    lines = (STRESS / "input.txt").read_text().split("\n")
    assert lines[0] == "name,trial#,cmd"
    assert len(lines) == 71
    assert "cpu_1_200,1,stress --cpu 1 --timeout 200" in lines
    assert "idle_200,5,200" in lines
    assert lines[-1] == "gpu_200,5,./gpu_burn 200"


def test_ctrl_c_ends_the_suite_and_its_load_and_keeps_what_there_is_as_failed(start, tmp_path):
    need("stress")
    text = "name,trial#,cmd\nidle_1,1,1\ncpu_60,1,stress --cpu 2 --timeout 60\nidle_1,2,1"
    (tmp_path / "input.txt").write_text(text)
    mark = f"mark-suite-{os.getpid()}"
    process = start("stress.py", STRESS_MARK=mark)
    wait_for(lambda: [p for p in running(mark) if is_tool(p, "stress")], 60)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_for(lambda: not running(mark))
    results = tmp_path / "PACTData"
    assert load_run(results / "idle_1_1_PACT.csv").status == "complete"
    assert load_run(results / "failed/cpu_60_1_PACT.csv").status == "complete"
    assert not (results / "cpu_60_1_PACT.csv").exists()
    assert json.loads((results / "idle_1_1_PACT.json").read_text())["schema"] == 1
