"""The counters' thread: rows end to end, sums that agree, failures that are told."""

import itertools
import threading
import time

import pytest

from pactmeter.counters.groups import Sample
from pactmeter.sampling.polled import PolledCounting


class Scripted:
    """Counters whose readings a test decides."""

    columns = ("a", "b")
    groups = ("a", "b")

    def __init__(self, unknown=0):
        self.unknown = unknown
        self.reads = 0
        self.fail = False
        self.closed = False
        self.seen = threading.Condition()

    def read(self):
        with self.seen:
            self.reads += 1
            self.seen.notify_all()
            if self.fail:
                raise OSError(5, "Input/output error")
            n = self.reads
        first = None if n <= self.unknown else 10 * n
        return Sample(time.monotonic(), (first, None), ((n * 1.0, n * 0.5), None))

    def describe(self):
        return [{"status": "ok"}, {"status": "missing"}]

    def wait(self, reads):
        with self.seen:
            assert self.seen.wait_for(lambda: self.reads >= reads, 5)

    def close(self):
        self.closed = True


@pytest.fixture
def counting():
    counting = PolledCounting(Scripted(), 0.005)
    yield counting
    counting.close()
    assert counting._counters.closed


def test_counters_that_cannot_be_read_at_first_are_read_all_the_same():
    """A group that waits for the hardware, or threads that end just then."""
    counting = PolledCounting(Scripted(unknown=1), 0.005)
    start = counting.begin()
    counting.start(start, zero_s=start)
    counting._counters.wait(10)
    counting.end()
    counted = [int(line.split(",")[2]) for line in counting.lines()]
    counting.close()

    assert len(counted) > 5
    assert sum(counted) == 10 * (counting._counters.reads - 2)


def test_the_rows_of_a_call_lie_end_to_end_and_add_up_to_its_counts(counting):
    start = counting.begin()
    counting.start(start, zero_s=start)
    counting._counters.wait(10)
    middle = counting.row(fresh=True)
    counting._counters.wait(20)
    end = counting.end()
    last = counting.row(fresh=False)
    rows = [line.rstrip("\n").split(",") for line in counting.lines()]
    assert counting.columns == ("start_s", "dt_s", "a", "b", "a_running", "b_running")
    assert float(rows[0][0]) == 0.0
    for row, following in itertools.pairwise(rows):
        assert float(row[0]) + float(row[1]) == pytest.approx(float(following[0]), abs=2e-6)
    assert sum(float(row[1]) for row in rows) == pytest.approx(end - start, abs=1e-4)
    assert sum(int(row[2]) for row in rows) == middle[0] + last[0]
    assert middle[1] is last[1] is None
    assert {(row[3], row[4], row[5]) for row in rows} == {("", "0.5", "")}
    assert counting.running_shares == {"a": 0.5, "b": None}


def test_between_calls_nothing_is_read(counting):
    start = counting.begin()
    counting.start(start, zero_s=start)
    counting._counters.wait(5)
    counting.end()
    after = counting._counters.reads
    threading.Event().wait(0.05)
    assert counting._counters.reads == after


def test_a_reading_that_fails_counts_nothing_and_is_told(counting):
    start = counting.begin()
    counting.start(start, zero_s=start)
    counting._counters.fail = True
    counting._counters.wait(counting._counters.reads + 3)
    assert counting.row(fresh=True)[0] >= 0
    counting._counters.fail = False
    counting.end()
    assert "Input/output error" in counting.problem
    assert all(int(line.split(",")[2]) >= 0 for line in counting.lines())


def test_a_group_that_waits_for_the_hardware_is_unknown_and_made_up_for_later(counting):
    waiting = threading.Event()
    real = counting._counters.read

    def read():
        sample = real()
        return sample._replace(totals=(None, None)) if waiting.is_set() else sample

    counting._counters.read = read
    start = counting.begin()
    counting.start(start, zero_s=start)
    first = counting._last.totals[0]
    counting._counters.wait(5)
    waiting.set()
    counting._counters.wait(counting._counters.reads + 5)
    assert counting.row(fresh=True) == [None, None]
    waiting.clear()
    counting._counters.wait(counting._counters.reads + 5)
    counting.end()
    whole = counting._last.totals[0] - first

    cells = [line.split(",")[2] for line in counting.lines()]
    assert "" in cells
    assert sum(int(cell) for cell in cells if cell) == whole
    assert counting.row(fresh=False)[0] == whole
