"""Bins of sampled counters through the life of a run: pauses, failures, the end."""

import os
import subprocess
import sys
import time

import pytest

from pactmeter.clock import now_s
from pactmeter.counters.backends import open_counters
from pactmeter.counters.records import Grid
from pactmeter.kernel import ring
from pactmeter.sampling.sampled import SampledCounting
from support.counters import touch
from support.events import until

pytestmark = pytest.mark.perf("kernel")


@pytest.fixture
def counting():
    counters = open_counters([["FAULTS"]], pid=os.getpid(), scope="tree", backend="ring")
    counting = SampledCounting(counters, 0.01, 1.0)
    yield counting
    counting.close()


def call(counting, zero_s):
    counting.begin()
    counting.start(now_s(), zero_s)
    bytearray(5_000_000)
    counting.end()


def cells(counting):
    return [int(line.split(",")[2]) for line in "".join(counting.lines()).splitlines()]


def test_calls_in_quick_succession_and_far_apart_keep_sums_and_rest_in_between(counting):
    zero_s, rows, bins = now_s(), 0, 0
    for number in range(12):
        call(counting, zero_s)
        rows += counting.row(fresh=False)[0]
        if number % 3 == 0:
            until(lambda: counting._paused)
            assert counting.resting
        bins += sum(cells(counting))
    until(lambda: counting.resting)

    assert bins + sum(cells(counting)) == rows > 0, counting.notes


def test_the_end_of_a_run_waits_for_the_bins_of_its_last_call(counting):
    call(counting, now_s())
    counted = counting.row(fresh=False)[0]

    counting.stop()

    assert sum(cells(counting)) == counted
    assert counting.notes == []


def test_a_thread_that_fails_is_told_and_holds_nothing_up(counting, monkeypatch):
    def fail(_):
        raise KeyError(7)

    monkeypatch.setattr(counting._counters, "collect", fail)
    call(counting, now_s())
    until(lambda: counting.problem is not None)
    for _ in range(50):
        call(counting, now_s())

    assert counting.notes == ["bins of counters end early: KeyError: 7"]
    assert counting.resting
    assert not counting._marks
    assert counting.row(fresh=False)[0] is not None


def test_what_is_sampled_while_nothing_is_measured_is_not_kept(counting):
    call(counting, now_s())
    until(lambda: counting._paused)
    counting._counters.resume()  # as a thread that was being started when all was switched off
    for _ in range(200):
        os.sched_yield()
    with counting._laying:
        counting._spans = [(0, 1, (), (), (), 1.0)]
        counting._settle()

        assert counting._spans == []
    assert counting._paused


def test_a_row_lays_out_what_is_little_and_its_failure_is_told(counting, monkeypatch):
    call(counting, now_s())
    until(lambda: counting.resting)
    counting.begin()
    counting.row(fresh=True)
    assert not counting._marks

    monkeypatch.setattr(counting._counters, "collect", lambda _: 1 / 0)
    counting.row(fresh=True)

    assert counting.notes == ["bins of counters end early: ZeroDivisionError: division by zero"]
    assert counting.resting
    counting._thread.join(5)
    assert not counting._thread.is_alive()
    counting.row(fresh=True)
    touch(2000)
    assert counting.row(fresh=True)[0] >= 2000  # they count on, in this call and the next
    counting.end()
    counting.begin()
    touch(2000)
    counting.end()
    assert counting.row(fresh=False)[0] >= 2000


def test_small_rings_are_emptied_in_time(monkeypatch):
    monkeypatch.setattr(ring, "_MOST_PAGES", 8)
    counters = open_counters(
        [["FAULTS"], ["MIGRATIONS"]], pid=os.getpid(), scope="tree", backend="ring", period_s=0.002
    )
    counting = SampledCounting(counters, 0.002, 1.0)
    counting.begin()
    counting.start(now_s(), now_s())
    end_s = now_s() + 1.2
    while now_s() < end_s:
        sum(range(10_000))
    counting.end()
    counting.close()

    assert counting.health["lost_records"] == 0


def test_rows_further_apart_than_a_second_leave_the_reading_to_the_thread():
    counters = open_counters([["FAULTS"]], pid=os.getpid(), scope="tree", backend="ring")
    counting = SampledCounting(counters, 0.01, 10.0)
    zero_s = now_s()
    counting.begin()
    counting.start(now_s(), zero_s)
    bytearray(5_000_000)
    until(lambda: now_s() > zero_s + 1.0 and counting.lines())
    counting.close()


def test_samples_that_pile_up_are_laid_out_at_once(counting):
    counting.begin()
    counting.start(now_s(), now_s())
    with counting._laying:
        counting._settle()
        counting._spans = [(0, 1, (), (), (), 1.0)] * 60_000
        counting._settle()

    assert counting._read_s == 0.0
    counting._wake()
    until(lambda: len(counting._spans) < 1000)
    counting.end()
    until(lambda: counting._paused)
    with counting._laying:
        counting._spans = [(0, 1, (), (), (), 1.0)] * 60_000
        counting._settle()
    assert counting._read_s == float("inf")


STORM = """
import _thread, os, sys, time
sys.stdin.readline()
for _ in range(2 * os.cpu_count()):
    if not os.fork():
        end_s = time.monotonic() + 2.0
        while time.monotonic() < end_s:
            _thread.start_new_thread(int, ())
        while time.monotonic() < end_s + 0.5:
            pass
        os._exit(0)
for _ in range(2 * os.cpu_count()):
    os.wait()
"""


def test_a_ring_outlives_the_ends_of_thousands_of_threads():
    grid, told_s = Grid(), {}
    with (
        subprocess.Popen([sys.executable, "-c", STORM], stdin=subprocess.PIPE) as storm,
        open_counters([["FAULTS"]], pid=storm.pid, scope="tree", backend="ring") as counters,
    ):
        storm.stdin.close()
        while storm.poll() is None:
            time.sleep(0.01)
            for cpu, each in enumerate(counters.rings):
                data = each.drain()  # past the budget: here all is to be sampled
                if data:
                    told_s[cpu] = now_s()
                list(counters._opened.records.feed(data, grid))
        silent_s = [now_s() - told_s[cpu] for cpu in range(len(counters.rings))]
    assert len(grid.ended_ns) > 2_000  # some 20 000 where nothing else runs
    assert max(silent_s) < 0.4, "a ring fell silent while all CPUs were busy"
