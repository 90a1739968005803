"""Group reads that fail, and the arithmetic of shared counters."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters.reading import Pool, Section
from pactmeter.counters.scaling import Part, combine, whole_ns
from pactmeter.kernel import perf


class Readings:
    """Stands for a `GroupReader`: gives readings and errors in turn, the last for ever."""

    def __init__(self, *readings) -> None:
        self._left = list(readings)

    def read(self):
        reading = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(reading, int):
            raise OSError(reading, os.strerror(reading))
        return reading


def pool(*readings) -> Pool:
    made = Pool(1)
    made.add(-1, [0])
    made._readers = [Readings(*readings)]
    return made


def test_echild_is_tried_again_and_the_last_value_stands_if_it_persists():
    section = Section([0], shared=False)
    section.pools[1] = pool(errno.ECHILD, errno.ECHILD, (1, 10, 10, 7), errno.ECHILD)

    assert section.read() == ([7], (1e-8, 1e-8))
    assert section.read() == ([7], (1e-8, 1e-8))
    assert section.pools[1].stale == 1


def test_what_was_never_read_is_unknown():
    section = Section([0], shared=False)
    section.pools[1] = pool((1, 10, 10, 7))
    section.pools[2] = pool(errno.ECHILD)

    assert section.read() == (None, None)
    assert Section([0], shared=True).read() == (None, None)


def test_a_dead_descriptor_is_an_error():
    with pytest.raises(OSError, match="Bad file"):
        pool(errno.EBADF).refresh()


def test_the_core_pmus_of_a_hybrid_cpu_add_up():
    both = Pool(2)
    both.add(-1, [0, 1])
    both.add(-1, [1, None])
    both._readers = [Readings((2, 100, 60, 5, 6)), Readings((2, 100, 40, 10, 99))]

    both.refresh()

    assert both.counts == [5, 16]
    assert (both.enabled_ns, both.running_ns) == (100, 100)


counts = st.integers(0, 2**62)
times_ns = st.integers(0, 10**15)


@given(count=counts, enabled=times_ns, late=st.integers(0, 1_000_000))
def test_an_unshared_count_is_exact(count, enabled, late):
    part = Part((count,), enabled, enabled, enabled + late)

    scaled = combine([part])

    assert scaled.counts == (count if enabled else 0,)
    assert scaled.enabled_ns == scaled.running_ns


@given(
    rate=st.integers(0, 10),
    shares=st.lists(st.tuples(times_ns, st.integers(1, 10**15)), min_size=1, max_size=8),
)
def test_a_steady_rate_is_recovered_from_any_shares(rate, shares):
    parts = [
        Part((rate * running,), running, running, running + hidden) for hidden, running in shares
    ]

    scaled = combine(parts)

    truth = rate * sum(whole_ns(p.enabled_ns, p.running_ns, p.reference_ns) for p in parts)
    assert scaled.counts == (truth,)


@given(
    st.lists(
        st.tuples(counts, times_ns, times_ns, times_ns).map(lambda t: Part((t[0],), *t[1:])),
        min_size=1,
    )
)
def test_scaling_never_loses_a_count_that_was_made(parts):
    scaled = combine(parts)

    if scaled.counts is None:
        assert all(part.running_ns == 0 for part in parts)
    else:
        assert scaled.counts[0] >= sum(part.counts[0] for part in parts if part.running_ns)
        assert scaled.running_ns <= scaled.enabled_ns


def test_running_0_is_unknown_but_a_target_that_slept_is_0():
    assert combine([Part((0,), 5_000_000, 0, 5_000_000)]).counts is None
    assert combine([Part((0,), 0, 0, 0)]).counts == (0,)


def test_a_target_never_counted_is_taken_to_be_like_the_others():
    seen, unseen = Part((10,), 10**9, 10**9, 10**9), Part((0,), 10**9, 0, 10**9)

    assert combine([seen, unseen]).counts == (20,)


def test_an_unknown_machine_has_no_system_call(monkeypatch):
    monkeypatch.setattr(perf.platform, "machine", lambda: "vax")

    with pytest.raises(OSError, match="not known for vax"):
        perf.open_event(perf.counting_attr(1, 0), pid=0, cpu=-1)


def test_a_short_group_read_is_an_error():
    null = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(OSError, match="short read"):
        perf.GroupReader(null, 1).read()

    os.close(null)
