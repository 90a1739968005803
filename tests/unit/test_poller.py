"""One thread a device: edges, grid, tail, failures and reopening."""

import itertools
import threading

import pytest

from pactmeter.clock import now_s
from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Kind
from pactmeter.sampling import polling as module
from pactmeter.sampling.poller import Poller
from pactmeter.units import Unit

CHANNEL = Channel("test", Unit.WATT, Kind.POWER, "a test")


class Scripted:
    """A device whose readings a test decides."""

    name = "scripted"
    channels = (CHANNEL,)

    def __init__(self, read):
        self._read = read
        self.reads = self.opened = self.closed = 0
        self.seen = threading.Condition()

    def open(self):
        self.opened += 1
        if isinstance(self._read, DeviceError):
            raise self._read

    def read(self):
        with self.seen:
            self.reads += 1
            self.seen.notify_all()
            number = self.reads
        return self._read(number)

    def close(self):
        self.closed += 1

    def wait(self, reads):
        with self.seen:
            assert self.seen.wait_for(lambda: self.reads >= reads, 5)


@pytest.fixture
def polled():
    made = []

    def make(read, period_s=0.01):
        device = Scripted(read)
        made.append(Poller(device, period_s))
        return device, made[-1]

    yield make
    for each in made:
        each.close(1.0)


def until_resting(poller):
    end = now_s() + 5
    while not poller.resting and now_s() < end:
        poller.wait_edge(now_s() + 0.01)
        threading.Event().wait(0.002)
    assert poller.resting


def test_nothing_is_read_before_a_call_and_after_it_rests(polled):
    device, poller = polled(lambda _n: (1.0,))
    assert device.reads == 0
    poller.begin(1, now_s())
    device.wait(4)
    poller.end(now_s())
    until_resting(poller)
    after = device.reads
    threading.Event().wait(0.05)
    assert device.reads == after


def test_a_call_has_an_edge_at_both_ends_and_polls_on_its_grid_and_a_tail(polled):
    device, poller = polled(lambda _n: (1.0,))
    start = now_s()
    poller.begin(7, start)
    device.wait(6)
    poller.end(now_s())
    assert poller.wait_edge(now_s() + 2)
    until_resting(poller)
    batches = list(poller.batches)
    edges = [i for i, batch in enumerate(batches) if batch.edge]
    assert edges[0] == 0
    assert len(edges) == 2
    assert len(batches) - 1 - edges[1] == module.TAIL_POLLS
    assert {batch.call for batch in batches} == {7}
    assert all(a.time_s <= b.time_s for a, b in itertools.pairwise(batches))


def test_a_failed_read_has_no_value_but_a_reason_and_the_next_is_good(polled):
    def read(number):
        if number == 3:
            raise ReadError("no answer")
        return (5.0,)

    device, poller = polled(read)
    poller.begin(1, now_s())
    device.wait(6)
    poller.end(now_s())
    until_resting(poller)
    batches = list(poller.batches)
    assert [batch.reason for batch in batches if batch.values is None] == ["no answer"]
    assert batches[2].poll(0, 0.01).value is None
    assert batches[-1].values == (5.0,)


def test_a_device_that_fails_is_opened_again(polled):
    device, poller = polled(lambda number: (1.0,) if number > 3 else 1 / 0)
    poller.begin(1, now_s())
    device.wait(5)
    assert device.opened >= 1
    assert "ZeroDivisionError" in poller.batches[0].reason


def test_a_counter_that_started_again_marks_the_next_good_reading(polled):
    def read(number):
        if number == 2:
            raise CounterResetError("back to 0")
        return (1.0,)

    device, poller = polled(read)
    poller.begin(1, now_s())
    device.wait(4)
    lost = [batch.lost for batch in list(poller.batches)[:3]]
    assert lost == [False, False, True]


def test_a_device_that_hangs_holds_nobody_up(polled):
    release = threading.Event()

    def read(_number):
        release.wait(5)
        return (1.0,)

    device, poller = polled(read)
    poller.begin(1, now_s())
    device.wait(1)
    before = now_s()
    poller.end(now_s())
    assert not poller.wait_edge(before + 0.02)
    poller.begin(2, now_s())
    assert now_s() - before < 1.0
    release.set()
    device.wait(3)
    assert poller.batches[0].call == 1
    assert poller.batches[1].call == 2


def test_a_device_that_cannot_be_opened_again_says_why():
    device = Scripted(lambda _n: 1 / 0)
    poller = Poller(device, 0.01)
    poller.begin(1, now_s())
    device.wait(1)
    device._read = DeviceError("unplugged")
    end = now_s() + 3
    while now_s() < end and not any(b.reason == "unplugged" for b in list(poller.batches)):
        threading.Event().wait(0.01)
    poller.close(1.0)
    assert any(batch.reason == "unplugged" for batch in poller.batches)
    assert device.closed >= 1


def test_a_reading_of_no_known_moment_is_none():
    clock = [0.0]

    def read(_number):
        clock[0] += 3.0  # the sampler was stopped meanwhile, or the device hung
        return (1.0,)

    batch = module.Polling(Scripted(read), 0.1, lambda: clock[0]).poll(1, edge=False)
    assert (batch.values, batch.reason) == (None, "scripted took 3.0 s to answer")
    assert batch.time_s == 1.5


@pytest.mark.parametrize(("is_open", "opened"), [(True, 0), (False, 1)])
def test_a_device_that_refused_at_the_start_is_opened_at_its_first_poll(is_open, opened):
    device = Scripted(lambda _number: (1.0,))
    polling = module.Polling(device, 0.1, lambda: 5.0, is_open=is_open)
    assert polling.poll(1, edge=True).values == (1.0,)
    assert polling.poll(1, edge=False).values == (1.0,)
    assert device.opened == opened
