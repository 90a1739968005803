"""Spans of events and exact totals become bins: whole numbers whose sum is the total.

The totals are what group reads said at certain moments; the spans, from samples, tell when between
two such moments the events took place. What no sample tells of (the last moments of a thread, of
which it is known when it ended; a group that had to share the hardware) is what the totals have
beyond the spans.
"""

from __future__ import annotations

from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.counters.records import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pactmeter.counters.records import Span


_LATE = 1.5
"""Periods after which a CPU is idle that has not been sampled."""


class Filled(NamedTuple):
    """Bins that are over, end to end."""

    starts_ns: range
    lengths_ns: list[int]
    columns: list[list[int | None]]
    """The counts of all bins, a list for each column; None where the total is not known."""


class Bins:
    """The bins of one window, filled from one reading of the totals to the next."""

    def __init__(
        self,
        start_ns: int,
        period_ns: int,
        totals: Sequence[int | None],
        shared: Sequence[bool],
        grid: Grid | None = None,
    ) -> None:
        """Begin a window.

        Args:
            start_ns: Where the first bin begins, and the moment of `totals`.
            period_ns: Length of a bin; the last one may be shorter.
            totals: Counts so far, one a column; None: not known.
            shared: Of each column whether its spans tell of a part of the time only (a group that
                shares the hardware): then the rest is taken to lie as they do, else see `_whole`.
            grid: What the spans given to `fill` may be laid out on as they are taken.
        """
        self._zero_ns = self._at_ns = start_ns
        self._period_ns = period_ns
        self._totals = tuple(totals)
        self._shared = shared
        self._grid = grid or Grid()
        self._begun: tuple[int | None, ...] = (0,) * len(self._totals)
        """What was counted in the bin that is not over yet."""

    def fill(
        self, at_ns: int, totals: Sequence[int | None], spans: Iterable[Span], *, last: bool = False
    ) -> tuple[Filled, list[Span]]:
        """Lay out what was counted since the totals before.

        Args:
            at_ns: The moment of the totals, not before the last one.
            totals: The counts then; a known one is not smaller than before.
            spans: What samples tell of the time since the last moment.
            last: Whether the window ends here, so that the bin begun is over too.

        Returns:
            The bins that are over, and what spans tell of the time after `at_ns`.
        """
        period_ns, from_ns = self._period_ns, self._at_ns
        first = (from_ns - self._zero_ns) // period_ns
        zero_ns = self._zero_ns + first * period_ns
        width = max(1, -(-(at_ns - zero_ns) // period_ns))
        seen = [[0.0] * width for _ in totals]
        grid = self._grid
        grid.zero_ns, grid.period_ns, grid.seen = zero_ns, period_ns, seen
        grid.from_ns, grid.at_ns = from_ns, at_ns
        later = self._lay_out(spans, seen, zero_ns, at_ns)
        grid.at_ns = 0
        # a CPU that has been busy since its last sample took that within a period, or is late
        grid.sampled_ns = [ns for ns in grid.sampled_ns if ns > at_ns - _LATE * period_ns]
        tails_ns = [at_ns - ns for ns in grid.sampled_ns if ns < at_ns] or [period_ns]
        ended = [0] * width
        for ns in grid.ended_ns:
            if from_ns <= ns < at_ns:
                ended[(ns - zero_ns) // period_ns] += 1
        grid.ended_ns = [ns for ns in grid.ended_ns if ns >= at_ns]

        ends_ns = [*range(zero_ns + period_ns, at_ns, period_ns), at_ns]
        passed_ns = [end_ns - from_ns for end_ns in ends_ns]
        columns: list[list[int | None]] = []
        for parts, old, new, shared, begun in zip(
            seen, self._totals, totals, self._shared, self._begun, strict=True
        ):
            if old is None or new is None:
                columns.append([None] * width)
                continue
            total = max(new - old, 0)
            column = _whole(parts, total, passed_ns, [] if shared else tails_ns, ended)
            column[0] = None if begun is None or column[0] is None else begun + column[0]
            columns.append(column)
        last_ns = at_ns - (zero_ns + (width - 1) * period_ns)  # of the last bin, so far
        over = last_ns == period_ns or (last and last_ns > 0)
        begun_now = [0] * len(columns) if over else [column.pop() for column in columns]
        # what is not known now, and was before, is laid out when it is again
        self._begun = tuple(
            before if new is None and old is not None else now
            for before, now, old, new in zip(
                self._begun, begun_now, self._totals, totals, strict=True
            )
        )
        count = width if over else width - 1
        lengths_ns = [period_ns] * count
        if over:
            lengths_ns[-1] = last_ns
        self._at_ns = at_ns
        self._totals = tuple(
            old if new is None else new for old, new in zip(self._totals, totals, strict=True)
        )
        starts_ns = range(zero_ns, zero_ns + count * period_ns, period_ns)
        return Filled(starts_ns, lengths_ns, columns), later

    def _lay_out(
        self, spans: Iterable[Span], seen: Sequence[list[float]], zero_ns: int, at_ns: int
    ) -> list[Span]:
        """Add spans to the bins from `zero_ns` on; return what lies after `at_ns`.

        What lies before the last totals has been laid out already.
        """
        from_ns, period_ns = self._at_ns, self._period_ns
        later: list[Span] = []
        for span in spans:
            if span[1] > at_ns or span[0] < from_ns:
                between, after = _between(span, from_ns, at_ns)
                later += after
                if between is None:
                    continue
                span = between
            start_ns, end_ns, slots, counts, before, share = span
            begin = (start_ns - zero_ns) // period_ns
            end = (end_ns - zero_ns - 1) // period_ns
            first = 1.0
            if begin < end:
                first = (zero_ns + (begin + 1) * period_ns - start_ns) / (end_ns - start_ns)
            elif end < 0:
                end = 0
            for column, slot in slots:
                count = counts[slot] - before[slot]
                if count <= 0:
                    if not count:
                        continue
                    count = counts[slot]  # another thread with the number of one that has ended
                parts = seen[column]
                if begin >= end:
                    parts[end] += count * share
                    continue
                events = count * share
                parts[begin] += events * first
                if begin + 1 == end:
                    parts[end] += events - events * first
                    continue
                rate_per_ns = events / (end_ns - start_ns)
                for number in range(begin + 1, end):
                    parts[number] += rate_per_ns * period_ns
                parts[end] += rate_per_ns * (end_ns - zero_ns - end * period_ns)
        return later


def _between(span: Span, from_ns: int, at_ns: int) -> tuple[Span | None, list[Span]]:
    """Return what of a span lies between two moments, and what after the second."""
    until, after = _cut(span, at_ns)
    return (_cut(until, from_ns)[1] if until else None), [after] if after else []


def _cut(span: Span, at_ns: int) -> tuple[Span | None, Span | None]:
    """Return what of a span lies before a moment, and what after it."""
    start_ns, end_ns, slots, counts, before, share = span
    if end_ns <= at_ns:
        return span, None
    if start_ns >= at_ns:
        return None, span
    later = share * (end_ns - at_ns) / (end_ns - start_ns)
    return (
        (start_ns, at_ns, slots, counts, before, share - later),
        (at_ns, end_ns, slots, counts, before, later),
    )


def _whole(
    parts: Sequence[float],
    total: int,
    passed_ns: Sequence[int],
    tails_ns: Sequence[int],
    ended: Sequence[int],
) -> list[int | None]:
    """Return whole numbers that follow the parts and whose sum is the total.

    What threads have done since their last sample, at up to twice the rate of what is seen, belongs
    to the time since. More than that is what threads did last before they ended, each as much; at
    any time where none is known to have ended.

    Args:
        parts: What is seen of each bin.
        total: What there is.
        passed_ns: Time until the end of each bin.
        tails_ns: How long ago each CPU was sampled; none: what is not seen lies as the parts do.
        ended: How many threads ended in each bin.
    """
    if not total:
        return [0] * len(parts)
    sums = list(accumulate(parts))
    seen, all_ns = sums[-1], passed_ns[-1] or 1
    if seen > total or (seen > 0 and not tails_ns):
        factor = total / seen
        sums = [part * factor for part in sums]
    else:
        tails_ns = [min(tail_ns, all_ns) for tail_ns in tails_ns]
        tail = min(total - seen, 2 * seen * max(tails_ns, default=0) / all_ns)
        if rest := total - seen - tail:
            weights = list(accumulate(ended)) if any(ended) else passed_ns
            each = rest / (weights[-1] or 1)
            sums = [part + each * weight for part, weight in zip(sums, weights, strict=True)]
        if tail:
            _add_tail(sums, tail, passed_ns, tails_ns)
    whole = [0, *map(round, sums)]
    whole[-1] = total
    if whole[-2] > total:  # by the last digit of a float
        whole = [min(each, total) for each in whole]
    return list(map(sub, whole[1:], whole))


def _add_tail(
    sums: list[float], tail: float, passed_ns: Sequence[int], tails_ns: Sequence[int]
) -> None:
    """Add to the sums what lies in the last moments: as much a nanosecond on each CPU."""
    rate, longest_ns = tail / sum(tails_ns), max(tails_ns)
    for number in range(len(sums) - 1, -1, -1):
        left_ns = passed_ns[-1] - passed_ns[number]
        if left_ns >= longest_ns:
            break
        sums[number] += rate * sum(max(tail_ns - left_ns, 0) for tail_ns in tails_ns)
