"""Bins hold what the totals say, to the unit, and lie where the samples put them."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pactmeter.counters.bins import Bins
from pactmeter.counters.records import Grid

MS = 1_000_000


class Bin(NamedTuple):
    start_ns: int
    length_ns: int
    counts: tuple


def listed(filled):
    """Return bins one by one."""
    edges = zip(filled.starts_ns, filled.lengths_ns, strict=True)
    return [
        Bin(*edge, tuple(column[number] for column in filled.columns))
        for number, edge in enumerate(edges)
    ]


def one(start_ns, end_ns, count, column=0):
    """Return a span of one column."""
    return start_ns, end_ns, ((column, 0),), [count + 3], [3], 1.0


def fill(windows, period_ns=10 * MS, shared=False, start_ns=0, base=0):
    """Fill bins of one column from (moment, total, spans) readings; return bins and leftovers."""
    bins = Bins(start_ns, period_ns, [base], [shared])
    found, left = [], []
    for number, (at_ns, total, spans) in enumerate(windows, 1):
        spans = [*left, *(one(*span) for span in spans)]
        made, left = bins.fill(at_ns, [total], spans, last=number == len(windows))
        found += listed(made)
    return found, left


def counts(bins):
    return [one.counts[0] for one in bins]


def test_spans_lie_in_their_bins():
    spans = [(0, 10 * MS, 5), (12 * MS, 14 * MS, 7), (20 * MS, 30 * MS, 9)]

    found, left = fill([(30 * MS, 21, spans)])

    assert counts(found) == [5, 7, 9]
    assert [one.start_ns for one in found] == [0, 10 * MS, 20 * MS]
    assert left == []


def test_a_span_over_bins_is_shared_out_by_time():
    found, _ = fill([(40 * MS, 400, [(5 * MS, 25 * MS, 400)])])

    assert counts(found) == [100, 200, 100, 0]


def test_a_span_without_length_lies_at_its_end():
    found, _ = fill([(30 * MS, 6, [(0, 0, 1), (10 * MS, 10 * MS, 2), (15 * MS, 15 * MS, 3)])])

    assert counts(found) == [3, 3, 0]


def test_what_no_sample_tells_of_yet_lies_in_the_last_period_and_what_is_more_than_that_evenly():
    spans = [(0, 10 * MS, 30), (20 * MS, 30 * MS, 10)]

    assert counts(fill([(40 * MS, 55, spans)])[0]) == [30, 0, 10, 15]
    assert counts(fill([(45 * MS, 54, spans)])[0]) == [30, 0, 10, 7, 7]
    assert counts(fill([(40 * MS, 80, spans)])[0]) == [35, 5, 15, 25]
    assert counts(fill([(40 * MS, 80, [])])[0]) == [20, 20, 20, 20]
    assert counts(fill([(5 * MS, 8, [])])[0]) == [8]


def test_what_no_sample_tells_of_yet_lies_behind_the_last_sample_of_each_cpu():
    for ends, expected in [
        ([36 * MS], [10, 10, 10, 10]),
        ([36 * MS, 36 * MS, 9 * MS], [10, 10, 10, 10]),  # the third has been idle since
        ([29 * MS, 37 * MS], [10, 10, 10, 10]),
    ]:
        grid = Grid(sampled_ns=ends)
        bins = Bins(0, 10 * MS, [0], [False], grid)
        seen = [one(0, 10 * MS, 10), one(10 * MS, 20 * MS, 10)]
        if ends[0] == 29 * MS:  # a rate of 0.5 a ms on each
            seen += [one(20 * MS, 29 * MS, 4.5), one(20 * MS, 37 * MS, 8.5)]
        else:
            seen += [one(20 * MS, 36 * MS, 16)]
        assert counts(listed(bins.fill(40 * MS, [40], seen, last=True)[0])) == expected


def test_what_no_sample_tells_of_lies_where_threads_ended():
    grid = Grid(ended_ns=[3 * MS, 25 * MS, 28 * MS, 41 * MS])
    bins = Bins(0, 10 * MS, [0], [False], grid)

    first, _ = bins.fill(40 * MS, [30], [], last=False)
    second, _ = bins.fill(50 * MS, [37], [], last=True)

    assert counts(listed(first)) == [10, 0, 20, 0]
    assert counts(listed(second)) == [7]


def test_what_no_sample_tells_of_a_shared_group_lies_as_the_samples_do():
    spans = [(0, 10 * MS, 30), (20 * MS, 30 * MS, 10)]

    assert counts(fill([(40 * MS, 80, spans)], shared=True)[0]) == [60, 0, 20, 0]


def test_samples_that_tell_more_than_the_total_are_cut_to_it():
    assert counts(fill([(20 * MS, 10, [(0, 10 * MS, 15), (10 * MS, 20 * MS, 5)])])[0]) == [8, 2]


def test_a_reading_within_a_bin_leaves_the_bin_whole():
    windows = [(15 * MS, 30, [(0, 20 * MS, 40)]), (32 * MS, 44, [(20 * MS, 32 * MS, 4)])]

    found, _ = fill(windows)

    assert counts(found) == [20, 20, 3, 1]
    assert [one.length_ns for one in found] == [10 * MS, 10 * MS, 10 * MS, 2 * MS]


def test_what_is_told_late_is_not_counted_twice():
    windows = [(20 * MS, 20, []), (40 * MS, 40, [(10 * MS, 30 * MS, 20)])]

    assert sum(counts(fill(windows)[0])) == 40


def test_a_total_that_is_not_known_is_no_figure_and_later_ones_are():
    bins = Bins(0, 10 * MS, [None, 0], [False, False])

    first, _ = bins.fill(20 * MS, [7, 4], [])
    second, _ = bins.fill(40 * MS, [9, 4], [one(30 * MS, 40 * MS, 2)])

    assert [one.counts for one in listed(first)] == [(None, 2), (None, 2)]
    assert [one.counts for one in listed(second)] == [(0, 0), (2, 0)]


def test_no_columns_are_bins_without_counts():
    bins, _ = Bins(0, 10 * MS, [], []).fill(20 * MS, [], [], last=True)

    assert [one.counts for one in listed(bins)] == [(), ()]


@st.composite
def readings(draw):
    """Return readings with totals that only grow, and any spans before and after them."""
    at_ns, total, found = 0, draw(st.integers(0, 1000)), []
    base = total
    for _ in range(draw(st.integers(1, 5))):
        at_ns += draw(st.integers(1, 70 * MS))
        total += draw(st.integers(0, 10**12))
        starts = st.integers(max(0, at_ns - 90 * MS), at_ns + 10 * MS)
        spans = draw(
            st.lists(st.tuples(starts, st.integers(0, 40 * MS), st.integers(1, 10**12)), max_size=6)
        )
        found.append((at_ns, total, [(a, a + length, n) for a, length, n in spans]))
    return base, found


@given(readings(), st.integers(MS, 30 * MS), st.booleans())
def test_bins_sum_to_the_totals_exactly_whatever_the_samples_say(case, period_ns, shared):
    base, windows = case

    found, _ = fill(windows, period_ns, shared, base=base)

    end_ns, total, _ = windows[-1]
    assert sum(counts(found)) == total - base
    assert all(count >= 0 for count in counts(found))
    assert sum(one.length_ns for one in found) == end_ns
    assert [one.start_ns for one in found] == [n * period_ns for n in range(len(found))]
    assert len(found) == -(-end_ns // period_ns)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30), st.integers(1, 999)), max_size=9))
def test_samples_that_tell_all_put_every_event_within_one_of_its_bin(cases):
    spans = [(a * MS, (a + length) * MS, n) for a, length, n in cases]
    total = sum(n for *_, n in spans)

    found, _ = fill([(130 * MS, total, spans)])

    for one in found:
        end_ns = one.start_ns + one.length_ns
        true = sum(
            n * max(0, min(end_ns, end) - max(one.start_ns, start)) / (end - start)
            for start, end, n in spans
        )
        assert abs(one.counts[0] - true) <= 1


def test_a_total_that_is_not_known_for_a_while_is_made_up_for_when_it_is():
    bins = Bins(0, 10 * MS, [5], [True])

    waiting, _ = bins.fill(20 * MS, [None], [])
    after, _ = bins.fill(40 * MS, [13], [])

    assert counts(listed(waiting)) == [None, None]
    assert counts(listed(after)) == [4, 4]


def test_a_total_that_is_not_known_in_the_middle_of_a_bin_loses_nothing():
    bins = Bins(0, 10 * MS, [5, 0], [True, False])

    found = [
        *listed(bins.fill(5 * MS, [8, 1], [])[0]),
        *listed(bins.fill(25 * MS, [None, 2], [])[0]),
        *listed(bins.fill(50 * MS, [1005, 3], [], last=True)[0]),
    ]

    first, second = zip(*(one.counts for one in found), strict=True)
    assert first[:2] == (None, None)
    assert sum(first[2:]) == 1000
    assert sum(second) == 3


def test_a_total_first_known_in_the_middle_of_a_bin_leaves_that_bin_unknown():
    bins = Bins(0, 10 * MS, [None], [False])

    found = [*listed(bins.fill(15 * MS, [7], [])[0]), *listed(bins.fill(40 * MS, [57], [])[0])]

    assert counts(found) == [None, None, 20, 20]


def test_a_thread_with_the_number_of_another_counts_from_nothing():
    bins = Bins(0, 10 * MS, [0], [False])
    slots = ((0, 0),)

    found, _ = bins.fill(
        20 * MS,
        [36],
        [(0, 10 * MS, slots, [30], [0], 1.0), (10 * MS, 20 * MS, slots, [6], [30], 1.0)],
    )

    assert counts(listed(found)) == [30, 6]
