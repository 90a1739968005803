"""Regions of real programs: whoever marks, and however it ends, the run has them, each once."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import pactmeter
from pactmeter.bench.truth import within
from support.bench import bench_program, require
from support.programs import program_file, settled, start_program

HEAD = """
    import json, multiprocessing, os, signal, subprocess, sys, threading, time
    import pactmeter
    from pactmeter import PACT, Session, region
    def manifest():
        with open("PACT.json") as file: return json.load(file)
"""
PACTMETER = (sys.executable, "-m", "pactmeter")


def marked(folder, name="PACT.csv"):
    """Return the regions in the file that are no calls, once the run has ended and left nothing."""
    run = settled(folder / name)
    assert not Path(run.manifest["marks"]).exists()
    with run.files.regions.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["name"] != "call"]


def counted(folder, name="PACT.csv"):
    """Return how often each name and index was marked."""
    return Counter((row["name"], row["index"]) for row in marked(folder, name))


def test_a_program_marks_what_its_calls_and_sessions_do_and_nothing_before_or_after(program):
    done = program(
        HEAD
        + """
    with region("before"): pass
    with Session() as session:
        with region("epoch", 3):
            for batch in region.over("step", "ab"): pass
    with region("between"): pass
    @region("train")
    @PACT
    def train(): return 5
    assert train() == 5
    assert "PACTMETER_RUN" in os.environ
    pactmeter.read("PACT.csv")  # waits until the call is whole on disk
    with region("last"): pass
    """
    )
    assert done.code == 0, done.err
    rows = marked(done.folder)
    assert [(row["name"], row["index"]) for row in rows] == [
        ("step", "0"),
        ("step", "1"),
        ("epoch", "3"),
        ("between", ""),
        ("train", ""),
        ("last", ""),
    ]
    step, _, epoch, *_ = rows
    assert 0 <= float(epoch["start_s"]) <= float(step["start_s"])
    assert float(step["end_s"]) <= float(epoch["end_s"])


def test_marks_of_threads_are_told_apart(program):
    done = program(
        HEAD
        + """
    def work(n):
        for i in region.over(f"thread {n}", range(500)): pass
    @PACT
    def call():
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    call()
    """
    )
    assert done.code == 0, done.err
    rows = marked(done.folder)
    expected = Counter({(f"thread {n}", str(i)): 1 for n in range(4) for i in range(500)})
    assert Counter((row["name"], row["index"]) for row in rows) == expected
    assert len({row["tid"] for row in rows}) == 4


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_forked_child_that_leaves_at_once_keeps_its_marks_and_repeats_none(program, end):
    done = program(
        HEAD
        + f"""
    @PACT
    def call():
        with region("parent", 1): pass
        with region("around"):
            pid = os.fork()
            if pid == 0:
                for i in region.over("child", range(10)): pass
                {end}
            os.waitpid(pid, 0)
    call()
    """
    )
    assert done.code == 0, done.err
    expected = {("child", str(i)): 1 for i in range(10)}
    assert counted(done.folder) == {("parent", "1"): 1, ("around", ""): 1, **expected}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_marks_of_workers_of_a_pool_that_is_terminated_arrive(program, method):
    done = program(
        f"""
        import multiprocessing
        from pactmeter import PACT, region
        @region("function")
        def work(i):
            with region("task", i): return i
        @PACT
        def call():
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                return pool.map(work, range(200), chunksize=1)
        if __name__ == "__main__":
            assert call() == list(range(200))
        """
    )
    assert done.code == 0, done.err
    expected = {("task", str(i)): 1 for i in range(200)}
    assert counted(done.folder) == {("function", ""): 200, **expected}
    run = done.run()
    tids = {row["tid"] for row in marked(done.folder)}
    assert str(run.manifest["sampler"]["pid"]) not in tids


def test_a_worker_forked_between_two_calls_marks_into_the_run(program):
    done = program(
        HEAD
        + """
    @PACT
    def call(): pass
    def child():
        with region("worker"): pass
    call()
    worker = multiprocessing.get_context("fork").Process(target=child)
    worker.start(); worker.join()
    call()
    """
    )
    assert done.code == 0, done.err
    assert counted(done.folder) == {("worker", ""): 1}


def test_programs_started_by_a_call_mark_into_its_run_and_those_started_before_do_not(program):
    done = program(
        HEAD
        + """
    code = "from pactmeter import region\\nfor i in region.over('started', range(3)): pass"
    words = [sys.executable, "-c", code]
    subprocess.run(words, check=True)
    @PACT
    def call(): subprocess.run(words, check=True)
    call()
    """
    )
    assert done.code == 0, done.err
    assert counted(done.folder) == {("started", str(i)): 1 for i in range(3)}


def test_a_program_under_pactmeter_run_marks_into_that_run_and_in_a_call_into_its_own(tmp_path):
    code = """
        import os
        from pactmeter import Session, region
        with region("outside", 1): pass
        with Session(tracker_file_name="own.csv"):
            with region("inside"): pass
            if os.fork() == 0:
                with region("child"): pass
                os._exit(0)
            os.wait()
        for i in region.over("many", range(20_000)): pass
        os._exit(0)
    """
    path = program_file(code, tmp_path)
    words = [*PACTMETER, "run", "-o", "outer.csv", "--", sys.executable, str(path)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outer = counted(tmp_path, "outer.csv")
    assert outer.pop(("outside", "1")) == 1
    # until the program ends its own run is open, and that is where marks go
    assert outer == {}
    own = counted(tmp_path, "own.csv")
    assert own.pop(("inside", "")) == own.pop(("child", "")) == 1
    assert own == {("many", str(i)): 1 for i in range(20_000)}


def test_the_warning_of_a_taken_name_does_not_blame_pactmeter_run_for_a_run_of_our_own(program):
    done = program(
        HEAD
        + """
    with Session(measure_period=0.5):
        with Session(measure_period=0.4): pass
    """
    )
    assert done.code == 0, done.err
    assert "another run is writing PACT.csv" in done.err


@pytest.mark.usefixtures("gauge")
def test_after_sigkill_of_the_program_all_its_marks_are_there(tmp_path):
    process = start_program(
        HEAD
        + """
    @PACT
    def call():
        for i in region.over("step", range(5000)): pass
        with region("open"):
            print("marked", flush=True)
            time.sleep(60)
    call()
    """,
        tmp_path,
    )
    assert process.stdout.readline() == "marked\n"
    process.kill()
    process.communicate()
    assert counted(tmp_path) == {("step", str(i)): 1 for i in range(5000)}


@pytest.mark.usefixtures("gauge")
def test_after_sigkill_of_the_sampler_what_it_had_not_taken_is_read_all_the_same(program):
    done = program(
        HEAD
        + """
    @PACT(measure_period=0.1)
    def call():
        for i in region.over("step", range(5000)): pass
        taken = False
        while not taken:  # some are in the file by now
            with open("PACT.regions.csv") as file: taken = len(file.readlines()) > 4000
        os.kill(manifest()["sampler"]["pid"], signal.SIGSTOP)
        for i in region.over("late", range(5000)): pass
        os.kill(manifest()["sampler"]["pid"], signal.SIGKILL)
        return "value"
    assert call() == "value"
    with region("after"): pass
    """
    )
    assert done.code == 0, done.err
    run = done.run()
    frame = pactmeter.read(run.files.power).regions
    found = Counter(zip(frame["name"], frame["index"], strict=True))
    for path in Path(run.manifest["marks"]).iterdir():
        path.unlink()
    Path(run.manifest["marks"]).rmdir()
    assert run.status == "incomplete"
    assert found == {(name, i): 1 for name in ("step", "late") for i in range(5000)}


@pytest.mark.usefixtures("gauge")
def test_a_reader_in_the_program_sees_every_mark_at_once(program):
    done = program(
        HEAD
        + """
    with Session():
        for i in region.over("step", range(100)):
            if i % 20 == 0: time.sleep(0.1)
            frame = pactmeter.read("PACT.csv").regions if i % 10 == 9 else None
            assert frame is None or len(frame) == i, (i, len(frame))
    """
    )
    assert done.code == 0, done.err


@pytest.mark.root
def test_a_full_disk_neither_stops_the_program_nor_tears_a_line(small_disk):
    folder = small_disk("300k")
    process = start_program(
        HEAD
        + """
    @PACT(measure_period=0.1)
    def call():
        for i in region.over("step, \\"quoted\\"", range(200_000)): pass
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for i in region.over("more", range(50)): pass
            time.sleep(0.01)
        return 1
    assert call() == 1
    """,
        folder,
    )
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    run = settled(folder / "PACT.csv")
    assert any("regions could not be written" in text for text in run.manifest["problems"])
    assert not Path(run.manifest["marks"]).exists()
    rows = list(csv.reader(run.files.regions.read_text().splitlines()))
    assert len(rows) > 1000
    assert {len(row) for row in rows} == {5}


def test_a_call_with_a_hundred_thousand_marks_loses_none_and_names_are_safe(program):
    done = program(
        HEAD
        + """
    @PACT
    def call():
        for i in range(100_000):
            with region("a,b\\n\\"c\\"" + "x" * 10_000, i): pass
    call()
    """
    )
    assert done.code == 0, done.err
    rows = marked(done.folder)
    assert sorted(int(row["index"]) for row in rows) == list(range(100_000))
    assert {row["name"] for row in rows} == {'a,b "c"' + "x" * 193}


def test_cuda_is_synchronised_at_the_edges_of_regions_of_a_run_that_allows_it(program):
    done = program(
        HEAD
        + """
    import types
    torch = types.ModuleType("torch")
    class Cuda:
        calls = 0
        def is_initialized(self): return True
        def synchronize(self): self.calls += 1
    torch.cuda = Cuda()
    sys.modules["torch"] = torch
    def more(**options):
        before = torch.cuda.calls
        with region("x", **options): pass
        return torch.cuda.calls - before
    found = [more()]
    with Session(): found += [more(), more(sync=False)]
    with Session(sync=False, tracker_file_name="b.csv"): found += [more()]
    print(json.dumps(found))
    """
    )
    assert done.code == 0, done.err
    assert json.loads(done.out) == [0, 2, 0, 0]


LOADS = """
import time
from pactmeter import PACT, region
from pactmeter.bench.control import tell

def rest(watts):
    tell({"load": {"component": "rest", "spec": f"steady:{watts}"}})

@PACT(measure_period=0.2, events_groups=[["FAULTS"]])
def work():
    time.sleep(0.73)
    with region("low"):
        rest(200)
        time.sleep(4.0)
    rest(100)
    time.sleep(0.5)
    for _ in region.over("high", range(2)):
        rest(500)
        time.sleep(4.0)
        with region("short"):
            time.sleep(0.05)
    rest(100)
    time.sleep(0.5)

time.sleep(2.0)  # all that was started has come to rest
work()
"""


@pytest.mark.slow
def test_two_regions_of_known_power_are_given_their_joules(tmp_path, figures):
    require()
    options = ("--psu", "hx1500i", "--rapl", "1x", "--load", "steady:0", "--load", "cpu=steady:60")
    done = bench_program(tmp_path, *options, "--load", "rest=steady:100", code=LOADS)
    assert done.code == 0, done.err
    zero_s = json.loads((tmp_path / "PACT.json").read_text())["zero_monotonic_s"]
    told = {each["name"]: each for each in done.report()["regions"]}
    assert told["high"]["count"] == 2
    for found in told["short"]["energy"].values():
        assert "least that is resolved" in found["refused"]
    for name in ("low", "high"):
        rows = [row for row in marked(tmp_path) if row["name"] == name]
        spans = [(zero_s + float(r["start_s"]), zero_s + float(r["end_s"])) for r in rows]
        truth = within(done.truth, spans)
        for channel in ("psu.dc_output", "cpu.package0"):
            found, true_j = told[name]["energy"][channel], truth[channel]
            error_j = found["energy_j"] - true_j
            figures("Energy of regions in real time", "region", "channel", "error %", "U %").add(
                name, channel, 100 * error_j / true_j, 100 * (found["u_j"] or 0) / true_j
            )
            assert abs(error_j) <= 0.02 * true_j
            assert found["u_j"] is None or abs(error_j) <= found["u_j"]


def test_report_prints_the_regions_and_refuses_a_name_that_is_none(program):
    done = program(
        HEAD
        + """
    with Session():
        for i in region.over("step", range(3)): time.sleep(0.02)
    """
    )
    assert done.code == 0, done.err

    def report(*words):
        line = [*PACTMETER, "report", "PACT.csv", *words]
        return subprocess.run(
            line, cwd=done.folder, env=os.environ, capture_output=True, text=True, check=False
        )

    assert "step    3" in report("--regions").stdout
    assert "step 2  1" in report("--each", "step").stdout
    (step,) = json.loads(report("--json").stdout)["regions"]
    assert (step["name"], step["count"]) == ("step", 3)
    assert step["mean_s"] == pytest.approx(0.02, abs=0.02)
    each = json.loads(report("--json", "--each", "step").stdout)["regions_each"]
    assert [one["index"] for one in each] == [0, 1, 2]
    refused = report("--each", "nothing")
    assert refused.returncode == 2
    assert "no region 'nothing'" in refused.stderr
