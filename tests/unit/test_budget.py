"""Samples a program is made to take are few, however often it switches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters import budget
from pactmeter.counters.budget import MOST_HZ, OFF_S, Budget
from pactmeter.kernel import perf

CLOCK_HZ = 100.0
BOTH = MOST_HZ + CLOCK_HZ


@pytest.fixture
def switched(monkeypatch):
    """Return what was switched, instead of switching it."""
    done = []
    monkeypatch.setattr(perf, "enable", lambda fd: done.append(("on", fd)))
    monkeypatch.setattr(perf, "disable", lambda fd: done.append(("off", fd)))
    return done


def test_a_program_within_the_rate_is_sampled_on(switched):
    kept = Budget([7, 8], 2, CLOCK_HZ, now_s=0.0)

    for second in range(1, 100):
        kept.saw([int(BOTH), 0], float(second))

    assert not kept.spent
    assert switched == []


def test_beyond_it_on_one_cpu_all_sampling_goes_off_and_on_again_later(switched):
    kept = Budget([7, 8], 2, CLOCK_HZ, now_s=0.0)

    kept.saw([0, int(BOTH) + 20], 0.01)
    assert kept.spent
    assert switched == [("off", 7), ("off", 8)]
    kept.saw([0, 0], 0.01 + OFF_S - 0.001)
    assert kept.spent
    kept.saw([0, 0], 0.01 + OFF_S)

    assert not kept.spent
    assert switched[2:] == [("on", 7), ("on", 8)]
    assert kept.off_s == pytest.approx(OFF_S)
    kept.restore(99.0)
    assert len(switched) == 4


def test_a_thread_that_ended_does_not_keep_the_others_from_being_switched(monkeypatch):
    def fail(fd):
        if fd == 7:
            raise OSError(9, "Bad file descriptor")
        done.append(fd)

    done = []
    monkeypatch.setattr(budget.perf, "disable", fail)
    Budget([7, 8], 1, CLOCK_HZ, now_s=0.0).saw([10**6], 1.0)

    assert done == [8]


@given(
    st.lists(
        st.tuples(st.floats(0.001, 2.0), st.integers(0, 50_000)),
        max_size=100,
    )
)
def test_what_is_sampled_is_bounded_but_for_what_was_not_seen_yet(steps):
    """All that comes while it samples, less the batch that ends it, is a second's worth more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perf, "enable", lambda _: None)
        patch.setattr(perf, "disable", lambda _: None)
        kept, now_s, taken = Budget([7], 1, CLOCK_HZ, now_s=0.0), 0.0, 0
        for elapsed_s, number in steps:
            now_s += elapsed_s
            sampling = not kept.spent
            kept.saw([number if sampling else 0], now_s)
            if sampling and not kept.spent:
                taken += number
        assert taken <= BOTH * (now_s + 1)
