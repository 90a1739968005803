"""Each way of counting is right, and says which it is and why no better one serves."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pactmeter.analysis.run import load
from pactmeter.store.table import read_table
from support import refuse_perf
from support.rights import NOBODY

PACT = (sys.executable, "-m", "pactmeter")

TREE = """
import json, mmap, os, resource, sys, threading
def touch(pages):
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as fresh:
        for page in range(pages):
            fresh[page * mmap.PAGESIZE] = 1
def churn():
    for _ in range(50):
        one = threading.Thread(target=touch, args=(40,))
        one.start(); one.join()
threads = [threading.Thread(target=churn) for _ in range(4)]
for one in threads: one.start()
if os.fork() == 0:
    touch(5000)
    os._exit(0)
os.wait()
for one in threads: one.join()
if len(sys.argv) > 1:
    os.execv(sys.executable, [sys.executable, "-c", "bytearray(9_000_000)"])
"""


PING_PONG = """
import json, os, resource
there, back = os.pipe(), os.pipe()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if os.fork() == 0:
    while os.read(there[0], 1) == b"x":
        os.write(back[1], b"x")
    os._exit(0)
for _ in range(100_000):
    os.write(there[1], b"x")
    os.read(back[0], 1)
os.write(there[1], b"!")
os.wait()
uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
with open("switches.json", "w") as file:
    json.dump(sum(use.ru_nvcsw + use.ru_nivcsw for use in uses), file)
"""


def measure(folder, *options, program=TREE, arguments=(), launcher=()):
    """Measure a Python program; return its run, its rusage and standard error."""
    words = [*launcher, *PACT, "run", "--psu", "none", "-o", "p.csv", *options, "--"]
    command = [*words, sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load(folder / "p.csv"), done.stderr


def bins_of(run):
    """Return {event: counts of its bins}, with the bins' edges as `start_s` and `dt_s`."""
    header, rows = read_table(run.files.counters)
    assert rows, run.manifest["notes"]
    columns = zip(*rows, strict=True)
    return {
        name: [float(cell) if name in ("start_s", "dt_s") else int(cell) for cell in cells]
        for name, cells in zip(header, columns, strict=True)
        if not name.endswith("_running")
    }


@pytest.mark.perf("kernel")
@pytest.mark.parametrize("backend", ["ring", "poll"])
@pytest.mark.parametrize("arguments", [(), ("exec",)])
def test_bins_sum_to_the_rows_and_lie_end_to_end(tmp_path, backend, arguments):
    events = ("-e", "faults", "-e", "context-switches,cpu-clock", "--counter-backend", backend)

    run, _ = measure(tmp_path, *events, arguments=arguments)

    bins = bins_of(run)
    for event in ("faults", "context-switches", "cpu-clock"):
        assert sum(bins[event]) == sum(run.columns[event])
    assert sum(bins["faults"]) > 13_000
    assert run.manifest["used"]["counter_backend"] == backend
    assert {event["backend"] for event in run.manifest["events"]} == {backend}
    edges = zip(bins["start_s"], bins["dt_s"], bins["start_s"][1:], strict=False)
    assert all(abs(start + length - after) < 3e-6 for start, length, after in edges)


@pytest.mark.perf("kernel")
@pytest.mark.root
def test_what_another_users_rights_keep_from_being_counted_is_told_before_and_after(tmp_path):
    program = tmp_path / "raised"
    shutil.copy(shutil.which("true"), program)
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)
    words = [*PACT, "run", "--psu", "none", "-e", "faults", "-o", "p.csv", "--", "./raised"]

    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pactmeter: raised takes on the rights of another user")
    (note,) = load(tmp_path / "p.csv").manifest["notes"]
    assert "the kernel counts no events" in note


@pytest.mark.perf("kernel")
def test_a_program_that_switches_all_the_time_is_left_alone_and_counted_right(tmp_path):
    run, errors = measure(tmp_path, "-e", "context-switches,faults", program=PING_PONG)

    bins = bins_of(run)
    used = run.manifest["used"]
    assert used["counter_backend"] == "ring"
    assert 0.0 < run.manifest["sampler"]["unsampled_s"] < 60.0
    assert "too many context switches to sample each" in errors
    for event in ("faults", "context-switches"):
        assert sum(bins[event]) == sum(run.columns[event])
    switches = json.loads((tmp_path / "switches.json").read_text())
    assert sum(bins["context-switches"]) == pytest.approx(switches, rel=0.02)
    # while nothing is sampled they are read every period: not a second's worth, laid out evenly
    quarter = len(bins["context-switches"]) // 4
    within = bins["context-switches"][quarter:-quarter]
    assert len(set(within)) > len(within) / 10


@pytest.mark.perf("kernel")
def test_the_kernel_samples_by_default_and_no_bin_is_missing(tmp_path):
    run, _ = measure(tmp_path, "-e", "faults", program="import time; time.sleep(0.3)")

    bins = bins_of(run)

    assert run.manifest["used"]["counter_backend"] == "ring"
    assert run.manifest["used"]["counter_backend_why"] is None
    assert set(bins["dt_s"][:-1]) == {0.01}
    assert 0 < bins["dt_s"][-1] <= 0.01
    assert bins["start_s"][-1] + bins["dt_s"][-1] == pytest.approx(run.duration_s, abs=0.005)


BURSTS = """
import json, mmap, threading, time
went = []
def bursts():
    for _ in range(10):
        with mmap.mmap(-1, 1500 * mmap.PAGESIZE) as fresh:
            start_s = time.monotonic()
            for page in range(1500):
                fresh[page * mmap.PAGESIZE] = 1
            went.append((start_s, time.monotonic()))
        time.sleep(0.04)
threads = [threading.Thread(target=bursts) for _ in range(4)]
for one in threads: one.start()
for one in threads: one.join()
json.dump(went, open("went.json", "w"))
"""


@pytest.mark.perf("kernel")
def test_events_lie_in_the_bins_of_the_time_they_took_place_in(tmp_path):
    run, _ = measure(tmp_path, "-e", "faults", program=BURSTS)

    bins = bins_of(run)
    zero_s = run.manifest["zero_monotonic_s"]
    went = [(a - zero_s, b - zero_s) for a, b in json.loads((tmp_path / "went.json").read_text())]
    outside = sum(
        count
        for start_s, length_s, count in zip(
            bins["start_s"], bins["dt_s"], bins["faults"], strict=True
        )
        if went[0][0] < start_s + length_s  # the interpreter's own start is before
        and not any(a < start_s + length_s and b > start_s for a, b in went)
    )
    assert outside <= 0.03 * 4 * 10 * 1500


def test_proc_counts_where_perf_events_are_refused_and_says_so(tmp_path):
    launcher = refuse_perf.launcher(errno.EACCES)

    run, _ = measure(tmp_path, "-e", "faults,cycles", launcher=launcher)

    used = run.manifest["used"]
    assert (used["counter_backend"], used["counter_backend_why"]) == (
        "proc",
        "ring and poll: no perf event opens",
    )
    faults, cycles = run.manifest["events"]
    assert (faults["status"], faults["backend"]) == ("ok", "proc")
    assert cycles["status"] != "ok"
    bins = read_table(run.files.counters)[1]
    assert sum(int(row[2]) for row in bins) == sum(run.columns["faults"]) > 13_000


@pytest.mark.perf("kernel")
def test_a_forced_backend_that_does_not_serve_is_an_error_before_the_command_starts(tmp_path):
    launcher = refuse_perf.launcher(errno.EINVAL)
    words = [*PACT, "run", "--counter-backend", "ring", "--", "touch", "started"]

    done = subprocess.run(
        [*launcher, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "the counter backend 'ring' does not serve here" in done.stderr
    assert "counter_backend='auto'" in done.stderr
    assert not (tmp_path / "started").exists()


def test_an_unknown_backend_is_told_with_the_known_ones(tmp_path):
    words = [*PACT, "run", "--counter-backend", "rings", "--", "true"]

    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "use one of: auto, ring, poll, proc" in done.stderr


@pytest.mark.perf("kernel")
def test_a_sampler_that_is_held_up_for_a_second_loses_nothing(tmp_path):
    spin = "import time\nend = time.monotonic() + 2.5\nwhile time.monotonic() < end: pass"
    words = [*PACT, "run", "--psu", "none", "-e", "cpu-clock", "--perf-period", "0.001"]
    command = [*words, "-o", "p.csv", "--", sys.executable, "-c", spin]

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as measuring:
        counters = tmp_path / "p.counters.csv"
        end_s = time.monotonic() + 30
        while not (counters.exists() and counters.stat().st_size > 5000):
            assert time.monotonic() < end_s
            time.sleep(0.01)
        sampler = json.loads((tmp_path / "p.json").read_text())["sampler"]["pid"]
        os.kill(sampler, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(sampler, signal.SIGCONT)

    run = load(tmp_path / "p.csv")
    bins = bins_of(run)
    assert measuring.returncode == 0
    assert run.manifest["sampler"]["lost_records"] == 0
    assert sum(bins["cpu-clock"]) == sum(run.columns["cpu-clock"])
    assert len(bins["dt_s"]) == pytest.approx(1000 * sum(bins["dt_s"]), abs=1)


MANY = """
import json, mmap, resource, threading
from pactmeter import PACT

gate, met = threading.Event(), threading.Barrier(601)
def one():
    met.wait()
    gate.wait()
    with mmap.mmap(-1, 30 * mmap.PAGESIZE) as fresh:
        for page in range(30):
            fresh[page * mmap.PAGESIZE] = 1
threading.stack_size(256 * 1024)
threads = [threading.Thread(target=one) for _ in range(600)]
for thread in threads: thread.start()
met.wait()

@PACT(events_groups=[["FAULTS"]], PSU=None)
def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gate.set()
    for thread in threads: thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(work())
"""


@pytest.mark.perf("kernel")
def test_six_hundred_threads_that_were_there_before_are_counted_whole(program):
    done = program(MANY)

    assert done.code == 0, done.err
    faults = int(done.out)
    run = done.run()
    assert faults > 18_000
    assert abs(sum(run.columns["faults"]) - faults) <= max(5, faults / 1000)
    assert run.manifest["used"]["counter_backend"] == "poll"
    assert "more than 1000" in run.manifest["used"]["counter_backend_why"]


@pytest.mark.perf("kernel")
def test_nothing_is_sampled_where_nothing_is_counted(tmp_path):
    nowhere = "NODE-PREFETCHES"  # in the kernel's table of names, and in that of no processor here
    run, _ = measure(tmp_path, "-e", nowhere, "--warn", program="pass")

    assert run.manifest["events"][0]["status"] != "ok"
    assert run.manifest["sampler"]["rows"] >= 1
    assert list(read_table(run.files.counters)[1]) == []
