"""Power over time as straight pieces, with its exact integral: the emulated machine's truth."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Piece(NamedTuple):
    """A straight stretch of power.

    Attributes:
        duration_s: How long it lasts, in seconds; infinite for the last one.
        from_w: Power at its start, in watts.
        to_w: Power at its end, in watts.
    """

    duration_s: float
    from_w: float
    to_w: float


FOREVER_S = 1e9
"""What an endless piece lasts: three decades."""

_MEMORY = 25.0
"""A first-order sensor has forgotten what lies so many time constants back (e^-25 = 1e-11)."""


class Timeline:
    """P(t) of one component from t = 0 on; pieces are made as they are needed.

    Before 0 the power is that at 0. All arrays have one entry a piece.

    Attributes:
        starts_s: When each piece begins, in seconds.
        from_w: Power at its start, in watts.
        to_w: Power at its end, in watts.
        done_j: Joules from 0 to its start.
        end_s: End of the last piece made so far, in seconds.
    """

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self.starts_s = array("d")
        self.from_w = array("d")
        self.to_w = array("d")
        self.done_j = array("d")
        self.end_s = 0.0
        self._first_cut: int | None = None
        self._end_j = 0.0
        self._pieces = pieces
        self._followed: dict[float, tuple[float, int, float]] = {}
        self.extend(0.0)

    def extend(self, until_s: float) -> None:
        """Make pieces until one reaches beyond a time."""
        while self.end_s <= until_s:
            piece = next(self._pieces, None)
            if piece is None:
                last_w = self.to_w[-1] if self.to_w else 0.0
                piece = Piece(FOREVER_S, last_w, last_w)
            if piece.duration_s > 0.0:
                self._append(Piece(min(piece.duration_s, FOREVER_S), piece.from_w, piece.to_w))

    def _append(self, piece: Piece) -> None:
        self.starts_s.append(self.end_s)
        self.from_w.append(piece.from_w)
        self.to_w.append(piece.to_w)
        self.done_j.append(self._end_j)
        self._end_j += piece.duration_s * (piece.from_w + piece.to_w) / 2
        self.end_s += piece.duration_s

    def switch(self, at_s: float, pieces: Iterator[Piece]) -> None:
        """Let other pieces follow from a time on; what lies before stays as it was."""
        self.extend(at_s)
        at_s = max(at_s, 0.0)
        index = self._index(at_s)
        start_s, power_w = self.starts_s[index], self.power_w(at_s)
        kept = Piece(at_s - start_s, self.from_w[index], power_w)
        self._end_j, self.end_s = self.done_j[index], start_s
        for column in (self.starts_s, self.from_w, self.to_w, self.done_j):
            del column[index:]
        if kept.duration_s > 0.0:
            self._append(kept)
        untouched = {tau: one for tau, one in self._followed.items() if one[1] <= index}
        self._followed = untouched if at_s > 0.0 else {}  # what was before 0 has changed too
        self._pieces = pieces
        self._first_cut = index if self._first_cut is None else min(index, self._first_cut)
        self.extend(at_s)

    def take_cut(self) -> int | None:
        """Return the first piece that was cut since the last call; None if none was."""
        cut, self._first_cut = self._first_cut, None
        return cut

    def _index(self, t_s: float) -> int:
        """Return the piece at a time."""
        self.extend(t_s)
        return max(0, bisect_right(self.starts_s, t_s) - 1)

    def _length_s(self, index: int) -> float:
        following = index + 1
        end_s = self.starts_s[following] if following < len(self.starts_s) else self.end_s
        return end_s - self.starts_s[index]

    def power_w(self, t_s: float) -> float:
        """Return the power at a time, in watts; where it jumps, that after the jump."""
        if t_s <= 0.0:
            return self.from_w[0]
        index = self._index(t_s)
        share = (t_s - self.starts_s[index]) / self._length_s(index)
        return self.from_w[index] + share * (self.to_w[index] - self.from_w[index])

    def energy_j(self, from_s: float, to_s: float) -> float:
        """Return the joules between two times, exactly."""
        return self._until_j(to_s) - self._until_j(from_s)

    def mean_w(self, from_s: float, to_s: float) -> float:
        """Return the mean power between two times, in watts."""
        return self.energy_j(from_s, to_s) / (to_s - from_s)

    def _until_j(self, t_s: float) -> float:
        """Return the joules from 0 to a time; negative before 0."""
        if t_s <= 0.0:
            return t_s * self.from_w[0]
        index = self._index(t_s)
        into_s = t_s - self.starts_s[index]
        slope = (self.to_w[index] - self.from_w[index]) / self._length_s(index)
        return self.done_j[index] + into_s * (self.from_w[index] + slope * into_s / 2)

    def lagged_w(self, t_s: float, tau_s: float) -> float:
        """Return what a first-order sensor of a time constant shows at a time, in watts.

        The response y to a straight piece p(t) = p0 + m*t has a closed form:
        y = p - m*tau + (y0 - p0 + m*tau) * exp(-t/tau).
        """
        if tau_s <= 0.0 or t_s <= 0.0:
            return self.power_w(t_s)
        first = self._index(max(0.0, t_s - _MEMORY * tau_s))
        last = self._index(t_s)
        # a sensor is asked again and again: it goes on from the piece at which it was asked last
        asked_s, index, shown_w = self._followed.get(tau_s, (math.inf, 0, 0.0))
        if t_s < asked_s or index < first:
            index, shown_w = first, self.from_w[first]
        while index < last:
            shown_w = self._follow_w(index, self._length_s(index), shown_w, tau_s)
            index += 1
        self._followed[tau_s] = t_s, last, shown_w
        return self._follow_w(last, t_s - self.starts_s[last], shown_w, tau_s)

    def _follow_w(self, index: int, into_s: float, shown_w: float, tau_s: float) -> float:
        """Return what a sensor shows some time into a piece, from what it showed at its start."""
        slope = (self.to_w[index] - self.from_w[index]) / self._length_s(index)
        settled_w = self.from_w[index] + slope * (into_s - tau_s)
        left_w = shown_w - self.from_w[index] + slope * tau_s
        return settled_w + left_w * math.exp(-into_s / tau_s)

    def breaks_s(self, from_s: float, to_s: float) -> list[float]:
        """Return the times between two where the straight line breaks."""
        self.extend(to_s)
        first = bisect_right(self.starts_s, max(0.0, from_s))
        found = []
        while first < len(self.starts_s) and self.starts_s[first] < to_s:
            found.append(self.starts_s[first])
            first += 1
        return found


class Source:
    """A weighted sum of timelines: what a sensor sees that several components feed."""

    def __init__(self, *parts: tuple[Timeline, float], offset_w: float = 0.0) -> None:
        self.parts = parts
        self.offset_w = offset_w

    def power_w(self, t_s: float) -> float:
        """Return the power at a time, in watts."""
        return self.offset_w + sum(share * line.power_w(t_s) for line, share in self.parts)

    def energy_j(self, from_s: float, to_s: float) -> float:
        """Return the joules between two times, exactly."""
        parts = (share * line.energy_j(from_s, to_s) for line, share in self.parts)
        return self.offset_w * (to_s - from_s) + math.fsum(parts)

    def mean_w(self, from_s: float, to_s: float) -> float:
        """Return the mean power between two times, in watts."""
        return self.energy_j(from_s, to_s) / (to_s - from_s)

    def lagged_w(self, t_s: float, tau_s: float) -> float:
        """Return what a first-order sensor of a time constant shows at a time, in watts."""
        return self.offset_w + sum(share * line.lagged_w(t_s, tau_s) for line, share in self.parts)

    def straight_between_s(self, from_s: float, to_s: float) -> list[float]:
        """Return times from one to the other between which the power is straight."""
        inner = {time_s for line, _ in self.parts for time_s in line.breaks_s(from_s, to_s)}
        return [from_s, *sorted(t for t in inner if from_s < t < to_s), to_s]
