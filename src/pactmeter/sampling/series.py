"""From polls to rows: energy, mean and number of polls of one channel during one call.

Pure arithmetic on times and values; the clock and the devices are elsewhere. A series is fed with
polls and cut at the edges of rows. It never runs ahead of what was read, and a poll that failed
adds nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from pactmeter.sampling.lag import Lag, Unjudged, seen_lag


@dataclass(frozen=True, slots=True)
class Poll:
    """One reading of one channel.

    Attributes:
        time_s: Monotonic time of the reading (the middle of the exchange).
        value: The value; None if there was none.
        reach_s: How far to either side a gauge's reading may stand for its neighbourhood.
        lost: A counter started again since the poll before: what lies between is unknown.
    """

    time_s: float
    value: float | None
    reach_s: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """One channel over one row.

    Attributes:
        energy_j: Energy over the covered time, in joules (meaningless for quantities).
        covered_s: Seconds within the row (and what earlier rows left open) that are known.
        polls: Good polls taken in by this row.
    """

    energy_j: float
    covered_s: float
    polls: int

    def __add__(self, other: Slice) -> Slice:
        return Slice(
            self.energy_j + other.energy_j,
            self.covered_s + other.covered_s,
            self.polls + other.polls,
        )

    @property
    def mean(self) -> float | None:
        """Time-weighted mean over the covered time, in watts or the channel's unit."""
        return self.energy_j / self.covered_s if self.covered_s > 0 else None


NOTHING = Slice(0.0, 0.0, 0)


@dataclass(slots=True)
class Roughness:
    """How much a gauge changes from one good poll to the next.

    Attributes:
        pairs: Number of such pairs.
        square_w2: Sum of the squared differences, in square watts.
        triples: Number of good polls that another good one follows after the next.
        square2_w2: Sum of the squared differences of those two, in square watts.
    """

    pairs: int = 0
    square_w2: float = 0.0
    triples: int = 0
    square2_w2: float = 0.0

    def add(self, before_w: float | None, first_w: float, second_w: float) -> None:
        """Take in two polls that follow each other, and the one before them if it was good."""
        self.pairs += 1
        self.square_w2 += (second_w - first_w) ** 2
        if before_w is not None:
            self.triples += 1
            self.square2_w2 += (second_w - before_w) ** 2

    def __iadd__(self, other: Roughness) -> Roughness:
        self.pairs += other.pairs
        self.square_w2 += other.square_w2
        self.triples += other.triples
        self.square2_w2 += other.square2_w2
        return self


_OPENING_POLLS = 5
"""The edge of a call and so many polls less one after it show how fast a sensor follows."""


class _Series:
    """What gauge and counter share: polls in order of time, an end, sums since the last cut."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._end_s: float | None = None
        self._polls: deque[Poll] = deque()
        self._energy_j = 0.0
        self._covered_s = 0.0
        self._good = 0

    def add(self, poll: Poll) -> None:
        """Take in a poll, in order of time."""
        self._polls.append(poll)

    def end(self, time_s: float) -> None:
        """The call ended at this time: polls from here on lie outside it."""
        self._end_s = time_s

    def _take(self) -> Slice:
        taken = Slice(self._energy_j, self._covered_s, self._good)
        self._energy_j = self._covered_s = 0.0
        self._good = 0
        return taken


class GaugeSeries(_Series):
    """A power or other gauge: each poll stands for the time that is nearest to it.

    The load is taken to start and end with the call. So the polls at its edges, which see the
    machine as it was before and after, do not count; the first poll inside the call stands for its
    beginning too and the last one for its end. Only a call without any poll inside falls back to
    its edges. A failed poll leaves its own time uncovered.
    """

    def __init__(self, start_s: float, step: float = 0.0) -> None:
        super().__init__(start_s)
        self._step = step
        self._last: Poll | None = None
        self._before_w: float | None = None
        self._reached_s = start_s
        self._opening: list[Poll] = []
        self._closing: list[Poll] = []
        self.roughness = Roughness()

    def add_edge(self, poll: Poll) -> None:
        """Take in the poll of the opening or closing edge."""
        edge = self._closing if self._opening else self._opening
        edge.append(poll)

    def end(self, time_s: float) -> None:
        """Leave out what was polled after the call's end."""
        super().end(time_s)
        while self._polls and self._polls[-1].time_s >= time_s:
            self._closing.append(self._polls.pop())
        self._closing.sort(key=lambda poll: poll.time_s)
        inside = [poll for poll in self._opening[1:] if poll.time_s < time_s]
        self._opening = [*self._opening[:1], *inside]  # the edge's own may come late

    def add(self, poll: Poll) -> None:
        """Take in a poll, in order of time."""
        if self._end_s is not None and poll.time_s >= self._end_s:
            self._closing.append(poll)
        else:
            super().add(poll)
            if len(self._opening) < _OPENING_POLLS:
                self._opening.append(poll)

    @property
    def lag(self) -> Lag | Unjudged | None:
        """What a sensor that lags still owes, once the call has ended and its polls are in."""
        if self._end_s is None:
            return None
        inside = [poll for poll in self._opening[1:] if poll.value is not None][:1]
        if inside and self._last is not None and self._last.value is not None:
            inside.append(self._last)
        times_s = self._start_s, self._end_s
        return seen_lag(self._opening, inside, self._closing, times_s, self._step)

    def take_back(self, since_s: float) -> Slice:
        """Return what was accounted for after a poll that turned out to be the last good one.

        The polls after it repeat its value.
        """
        self._polls = deque(
            replace(poll, value=None) if poll.time_s > since_s else poll for poll in self._polls
        )
        last = self._last
        if last is None or last.value is None:
            return NOTHING
        self._last = replace(last, value=None)
        span_s = max(0.0, self._reached_s - (since_s + last.reach_s / 1.5))
        return Slice(last.value * span_s, span_s, 0)

    def cut(self, time_s: float) -> Slice:
        """Return what is known up to this time and was not returned before."""
        final = self._end_s is not None and time_s >= self._end_s
        while self._polls and self._polls[0].time_s <= time_s:
            self._join(self._polls.popleft())
        following = self._polls[0] if self._polls else None
        middle = time_s
        if self._last is not None:
            last = self._last
            if following is not None:
                middle = _boundary_s(last, following)
            # at the end of the call nothing more comes: the last poll stands for the rest
            reach_s = 2 * last.reach_s if final else last.reach_s
            self._stand(last.time_s, min(middle, last.time_s + reach_s, time_s), last.value)
        if following is not None and self._last is not None:
            self._stand(max(middle, following.time_s - following.reach_s), time_s, following.value)
        edges = [p.value for p in (*self._opening[:1], *self._closing[:1]) if p.value is not None]
        if final and self._last is None and edges:
            self._stand(self._start_s, time_s, sum(edges) / len(edges))
            self._good += 1
        return self._take()

    def _join(self, poll: Poll) -> None:
        """Account for the time from the poll before to this one."""
        if poll.value is not None:
            self._good += 1
        if self._last is None:
            self._stand(max(self._start_s, poll.time_s - 2 * poll.reach_s), poll.time_s, poll.value)
        else:
            last = self._last
            if last.value is not None and poll.value is not None:
                self.roughness.add(self._before_w, last.value, poll.value)
            self._before_w = last.value
            middle = _boundary_s(last, poll)
            self._stand(last.time_s, min(middle, last.time_s + last.reach_s), last.value)
            self._stand(max(middle, poll.time_s - poll.reach_s), poll.time_s, poll.value)
        self._last = poll

    def _stand(self, from_s: float, to_s: float, value: float | None) -> None:
        """Let a value stand for a span, or for the part of it not yet accounted for."""
        from_s = max(from_s, self._reached_s)
        if to_s <= from_s:
            return
        self._reached_s = to_s
        if value is not None:
            self._energy_j += value * (to_s - from_s)
            self._covered_s += to_s - from_s


def _boundary_s(first: Poll, second: Poll) -> float:
    """Return where one reading ends to stand for its neighbourhood and the next one begins.

    That is half way, unless one of two good ones, which took longer, alone reaches so far.
    """
    middle_s = (first.time_s + second.time_s) / 2
    low_s, high_s = second.time_s - second.reach_s, first.time_s + first.reach_s
    if first.value is None or second.value is None or low_s > high_s:
        return middle_s
    return min(max(middle_s, low_s), high_s)


class CounterSeries(_Series):
    """An energy counter: differences, so that a late or failed poll loses nothing.

    Between two polls the counter is taken to grow evenly, which matters at the edges of rows only.
    Nothing is known before its first reading, and so not covered. A counter that updates in steps
    is taken as it reads: over many calls that is right on average, and the uncertainty of a figure
    holds the step.
    """

    def __init__(self, start_s: float) -> None:
        super().__init__(start_s)
        self._last: Poll | None = None
        self._done_s = start_s
        self._done_j = 0.0
        self._is_cut_off = False

    def add_edge(self, poll: Poll) -> None:
        """A counter is read at its edges as anywhere else."""
        self.add(poll)

    def add(self, poll: Poll) -> None:
        """Take in a poll, in order of time; a failed one is bridged by the next."""
        if poll.value is not None:
            super().add(replace(poll, lost=True) if self._is_cut_off else poll)
            self._is_cut_off = False

    def take_back(self, since_s: float) -> Slice:
        """Return what was accounted for since a counter stood still; it starts anew after that."""
        self._polls = deque(poll for poll in self._polls if poll.time_s <= since_s)
        self._is_cut_off = True
        span_s = max(0.0, self._done_s - since_s)
        return Slice(0.0, span_s, 0)

    def cut(self, time_s: float) -> Slice:
        """Return what is known up to this time and was not returned before."""
        while self._polls and self._polls[0].time_s <= time_s:
            self._join(self._polls.popleft())
        following = self._polls[0] if self._polls else None
        forward = time_s > self._done_s  # what was accounted for stays so
        if forward and self._last is not None and following is not None and not following.lost:
            last_s, last_j = self._last.time_s, _value(self._last)
            share = (time_s - last_s) / (following.time_s - last_s)
            self._account(time_s, last_j + share * (_value(following) - last_j))
        return self._take()

    def _join(self, poll: Poll) -> None:
        self._good += 1
        if self._last is None or poll.lost:
            self._done_s, self._done_j = poll.time_s, _value(poll)
        else:
            self._account(poll.time_s, _value(poll))
        self._last = poll

    def _account(self, time_s: float, energy_j: float) -> None:
        self._energy_j += energy_j - self._done_j
        self._covered_s += time_s - self._done_s
        self._done_s, self._done_j = time_s, energy_j


def _value(poll: Poll) -> float:
    if poll.value is None:  # `add` keeps those out
        raise ValueError("a counter's poll has no value")
    return poll.value
