"""Group reads that fail, and the arithmetic of shared counters."""

import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters.reading import AlwaysOn, Shared
from pactmeter.counters.scaling import Turns, clocked_ns, combine, whole_ns
from pactmeter.kernel import perf


class Kernel:
    """Stands for the kernel: each descriptor gives its readings and errors in turn."""

    def __init__(self, **readings) -> None:
        self._left = {int(fd.removeprefix("fd")): list(each) for fd, each in readings.items()}

    def readv(self, fd, buffers):
        left = self._left[fd]
        reading = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reading, int):
            raise OSError(reading, os.strerror(reading))
        data = struct.pack(f"={len(reading)}Q", *reading)
        buffers[0][: len(data)] = data
        return len(data)


@pytest.fixture
def kernel(monkeypatch):
    def use(**readings):
        monkeypatch.setattr(os, "readv", Kernel(**readings).readv)

    return use


@pytest.mark.parametrize("kind", [AlwaysOn, Shared])
def test_echild_is_tried_again_and_the_last_value_stands_if_it_persists(kernel, kind):
    kernel(fd3=[errno.ECHILD, errno.ECHILD, (1, 10, 10, 7), errno.ECHILD])
    section = kind([0])
    section.add(1, 3, [0])

    first, second = section.read(), section.read()

    assert list(first[0]) == list(second[0]) == [7]
    assert first[1] == second[1] == (1e-8, 1e-8)
    assert section.stale == 1


@pytest.mark.parametrize("kind", [AlwaysOn, Shared])
def test_what_was_never_read_is_unknown(kernel, kind):
    kernel(fd3=[(1, 10, 10, 7)], fd4=[errno.ECHILD], fd5=[()])
    section = kind([0])

    assert section.read() == (None, None)  # no target at all
    section.add(1, 3, [0])
    assert list(section.read()[0]) == [7]
    section.add(2, 4, [0])
    assert section.read() == (None, None)
    short = kind([0])
    short.add(1, 5, [0])
    assert short.read() == (None, None)


@pytest.mark.parametrize("kind", [AlwaysOn, Shared])
@pytest.mark.parametrize("readings", [[errno.EBADF], [errno.ECHILD, errno.EBADF]])
def test_a_dead_descriptor_is_an_error(kernel, kind, readings):
    kernel(fd3=readings)
    section = kind([0])
    section.add(1, 3, [0])

    with pytest.raises(OSError, match="Bad file"):
        section.read()


def test_the_targets_add_up(kernel):
    kernel(fd3=[(2, 10, 10, 7, 1)], fd4=[(2, 30, 30, 5, 2)])
    section = AlwaysOn([4, 8])
    section.add(1, 3, [0, 1])
    section.add(2, 4, [0, 1])

    assert section.read() == ([12, 3], (4e-8, 4e-8))
    assert section.enabled_ns() == {1: 10, 2: 30}


def test_the_core_pmus_of_a_hybrid_cpu_add_up(kernel):
    kernel(fd3=[(2, 100, 60, 5, 6)], fd4=[(2, 100, 40, 10, 99)])
    section = Shared([0, 1])
    section.add(1, 3, [0, 1])
    section.add(1, 4, [1, None])

    assert section.read() == ((5, 16), (1e-7, 1e-7))


def test_a_shared_group_is_scaled_by_the_reference_of_the_same_reading(kernel):
    second = 10**9
    kernel(
        fd3=[(1, second, second, 0), (1, 9 * second, 9 * second, 0)],
        fd4=[(1, second // 2, second // 4, 50), errno.ECHILD],
    )
    always, shared = AlwaysOn([]), Shared([0])
    always.add(1, 3, [None])
    shared.add(1, 4, [0])
    shared.reference = always

    for _ in range(2):  # the second time the count is stale, so its time must be too
        assert always.read()[0] == []
        assert shared.read() == ((200,), (1.0, 0.25))


def test_a_pmu_of_some_cores_is_not_scaled_and_unknown_where_it_never_ran(kernel):
    kernel(fd3=[(1, 100, 0, 0), (1, 140, 40, 9)])
    section = Shared([0], scaled=False)
    section.add(1, 3, [0])

    assert section.read() == (None, (1e-7, 0.0))
    assert section.read() == ((9,), (1.4e-7, 4e-8))


counts = st.integers(0, 2**62)
times_ns = st.integers(0, 10**15)
MS = 1_000_000


def turned(*readings):
    """Return a target whose group counted one event; cumulative counts, running, whole time."""
    turns = Turns(1)
    for count, running_ns, enabled_ns in readings:
        turns.take([count], running_ns, enabled_ns)
    return turns


def total(*readings):
    return combine([turned(*readings)]).counts[0]


@given(st.lists(st.tuples(counts, times_ns, st.integers(0, MS)), min_size=1, max_size=8))
def test_an_unshared_count_is_exact_at_every_reading(stretches):
    turns, count, ran = Turns(1), 0, 0
    for more, longer, late in stretches:
        count, ran = count + more, ran + longer
        turns.take([count], ran, whole_ns(ran, ran, ran + late))

        scaled = combine([turns])

        assert scaled.counts == (count if ran else 0,) or not ran
        assert scaled.enabled_ns == scaled.running_ns


@given(
    rate=st.integers(0, 10),
    shares=st.lists(st.tuples(times_ns, st.integers(MS, 10**15)), min_size=1, max_size=8),
)
def test_a_steady_rate_is_recovered_from_any_shares(rate, shares):
    targets = [turned((rate * ran, ran, ran + waited)) for waited, ran in shares]
    truth = sum(rate * (ran + waited) for waited, ran in shares)

    assert combine(targets).counts[0] == pytest.approx(truth, rel=1e-9, abs=len(shares))


@given(
    rate=st.integers(0, 10),
    turns=st.lists(st.tuples(times_ns, times_ns), min_size=1, max_size=20),
    last=st.tuples(times_ns, st.integers(MS, 10**15)),
)
def test_a_steady_rate_is_recovered_however_the_turns_are_cut(rate, turns, last):
    target, ran, whole = Turns(1), 0, 0
    for waits, runs in [*turns, last]:
        ran, whole = ran + runs, whole + waits + runs
        target.take([rate * ran], ran, whole)

    assert combine([target]).counts[0] == pytest.approx(rate * whole, rel=1e-9, abs=1)


@given(
    st.lists(
        st.tuples(counts, times_ns, times_ns).map(lambda t: (t[0], t[1], t[1] + t[2])),
        min_size=1,
        max_size=8,
    )
)
def test_totals_only_grow_and_hold_all_that_was_counted(stretches):
    first, second = Turns(1), turned((7, 10, 20))
    count = ran = whole = before = 0
    for more, runs, lasts in stretches:
        count, ran, whole = count + more, ran + runs, whole + lasts
        first.take([count], ran, whole)

        scaled = combine([first, second])

        assert scaled.counts[0] >= max(before, count + 7)
        assert scaled.running_ns <= scaled.enabled_ns
        before = scaled.counts[0]


def test_a_stretch_is_scaled_by_itself_and_not_by_what_was_before():
    alone = (1_000_000, 1000 * MS, 1000 * MS)
    halved = (1_005_000, 1500 * MS, 2000 * MS)
    assert total(alone, halved) - total(alone) == 10_000

    halved = (500_000, 500 * MS, 1000 * MS)
    alone = (510_000, 1500 * MS, 2000 * MS)
    assert total(halved, alone) - total(halved) == 10_000


def test_a_turn_cut_by_a_reading_does_not_stand_for_a_long_wait():
    """Of the first 10 us no rate is made: they and what came before are less than a turn."""
    steady = (1000, 10 * MS, 20 * MS)
    cut = (1100, 10 * MS + 10_000, 120 * MS)

    assert total(steady, cut) == pytest.approx(2100 + 100 * 100, rel=0.15)


def test_of_a_sliver_no_estimate_is_made_before_the_first_turn():
    assert total((50, 10_000, 1000 * MS)) == 50
    assert total((50, 10_000, 1000 * MS), (50 + 100 * 10, 10 * MS, 1010 * MS)) == pytest.approx(
        1050 + 105 * 1000, rel=0.01
    )


def test_running_0_is_unknown_but_a_target_that_slept_is_0():
    assert combine([turned((0, 0, 5 * MS))]).counts is None
    assert combine([turned((0, 0, 0))]).counts == (0,)


def test_a_target_never_counted_is_taken_to_be_like_the_others_until_it_is():
    seen, unseen = turned((10, 1000 * MS, 1000 * MS)), turned((0, 0, 1000 * MS))
    assert combine([seen, unseen]).counts == (20,)

    unseen.take(
        [
            500,
        ],
        500 * MS,
        1500 * MS,
    )
    assert combine([seen, unseen]).counts == (520,)


def test_what_waited_before_anything_was_counted_takes_the_first_rate():
    assert total((0, 0, 90 * MS), (10, 10 * MS, 100 * MS)) == 100


def test_the_clock_alone_tells_what_a_group_missed():
    assert clocked_ns(1000 * MS, 1001 * MS) == 1000 * MS
    assert clocked_ns(1000 * MS, 2000 * MS) == 2000 * MS


def test_an_unknown_machine_has_no_system_call(monkeypatch):
    monkeypatch.setattr(perf.platform, "machine", lambda: "vax")

    with pytest.raises(OSError, match="not known for vax"):
        perf.open_event(perf.counting_attr(1, 0), pid=0, cpu=-1)


def test_a_short_group_read_is_an_error():
    null = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(OSError, match="short read"):
        perf.GroupReader(null, 1).read()

    os.close(null)
