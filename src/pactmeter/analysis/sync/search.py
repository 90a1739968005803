"""Which lag and width of a sensor fit its readings best, found on grids.

For a lag and a width the readings are a straight line in what the sensor would show of the load:
gain, offset and drift follow by least squares. Lags and widths are tried on a grid that is laid
ever closer around the best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pactmeter.analysis.sync.response import Response, Shape

Floats = NDArray[np.float64]
Between = tuple[float, float]

LAGS_S = (-1.0, 5.0)
"""Mean delays that are tried. Below 0: the clock of the readings is wrong."""
WIDEST_S = 3.0
"""Longest time constant, or window, that is tried."""
TIMES_S = 0.005
"""How well times are known: a load is told to switch, a reading lasts as long as its exchange."""
_DELAYS, _WIDTHS = 31, 16
"""Of a grid."""
_NEAR = 8.0
"""The next grid holds what is less likely than the best by up to e to the power of that."""
_NEVER_LESS = 0.02
"""The next grid holds that share of the nodes: without noise the best may be best by its place."""
_GRIDS = 10
_SHRINKS = 0.6
"""A grid that would keep more of its area is close enough."""
_UNSEEN = 1e-6
"""A load that moves the readings by a smaller share (squared) does not reach them."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Combinations of delay and width of a shape, each with the line that fits the readings best.

    Attributes:
        shape: How the sensor averages.
        delay_s: Mean delay, lag and averaging together, in seconds.
        width_s: Time constant or length of the window, in seconds.
        left_w2: Sum of the squares that it leaves.
        gain_w: What the load adds, in watts.
        gain_share: Variance of the gain, as a share of the noise's.
        offset_w: What is shown without the load, in watts.
        offset_share: Variance of the offset, as a share of the noise's.
    """

    shape: Shape
    delay_s: Floats
    width_s: Floats
    left_w2: Floats
    gain_w: Floats
    gain_share: Floats
    offset_w: Floats
    offset_share: Floats

    @property
    def best(self) -> int:
        """Place of the one that leaves least."""
        return int(np.argmin(self.left_w2))

    @property
    def lag_s(self) -> Floats:
        """Delays less those by averaging, in seconds."""
        return self.shape.lag_s(self.delay_s, self.width_s)


class Judge:
    """Fits lines to the readings of a sensor, whose noise keeps some of that of the one before."""

    def __init__(
        self, response: Response, times_s: Floats, power_w: Floats, kept: float = 0.0
    ) -> None:
        self._response = response
        self._kept = kept
        terms = np.column_stack((np.ones_like(times_s), times_s - times_s.mean()))
        self._q, r = np.linalg.qr(self._whitened(terms))
        self._inverse = np.linalg.inv(r)
        self._power_w = self._whitened(power_w[:, None])[:, 0]
        self._free_w = self._free(self._power_w)
        self.free_w2 = float(self._free_w @ self._free_w)
        """Sum of the squares that offset and drift alone leave."""

    def _whitened(self, columns: Floats) -> Floats:
        """Return columns in which the noise of each row is its own (Cochrane and Orcutt 1949)."""
        found = columns.copy()
        found[1:] -= self._kept * columns[:-1]
        found[0] *= (1 - self._kept**2) ** 0.5
        return found

    def _free(self, column: Floats) -> Floats:
        """Return a column without what offset and drift explain of it."""
        free: Floats = column - self._q @ (self._q.T @ column)
        return free

    def _nodes(self, shape: Shape, delays_s: Between, widths_s: Between) -> Nodes:
        delay_s, width_s = np.linspace(*delays_s, _DELAYS), np.linspace(*widths_s, _WIDTHS)
        shown = [self._response.shown(shape, float(one_s), delay_s) for one_s in width_s]
        x = self._whitened(np.concatenate(shown, axis=1))
        along = self._q.T @ x
        xx = np.einsum("ij,ij->j", x, x) - np.einsum("ij,ij->j", along, along)
        seen = xx > _UNSEEN * len(x)
        xx = np.where(seen, xx, 1.0)
        gain_w = np.where(seen, np.maximum((self._free_w @ x) / xx, 0.0), 0.0)
        flat_w, mixed = self._inverse @ (self._q.T @ self._power_w), self._inverse @ along
        return Nodes(
            shape,
            np.tile(delay_s, _WIDTHS),
            np.repeat(width_s, _DELAYS),
            np.maximum(self.free_w2 - gain_w**2 * xx, 1e-12 * self.free_w2),
            gain_w,
            1 / xx,
            flat_w[0] - gain_w * mixed[0],
            (self._inverse[0] ** 2).sum() + mixed[0] ** 2 / xx,
        )

    def search(self, shape: Shape) -> Nodes:
        """Return the last of grids that are laid ever closer around the best."""
        delays_s, widths_s = LAGS_S, (0.0, WIDEST_S)
        nodes = self._nodes(shape, delays_s, widths_s)
        for _ in range(_GRIDS - 1):
            most_w2 = max(
                float(nodes.left_w2.min()) * math.exp(2 * _NEAR / len(self._power_w)),
                float(np.quantile(nodes.left_w2, _NEVER_LESS)),
            )
            near = nodes.left_w2 <= most_w2
            before_s2 = np.ptp(delays_s) * np.ptp(widths_s)
            delays_s = _around(nodes.delay_s[near], delays_s, _DELAYS)
            widths_s = _around(nodes.width_s[near], widths_s, _WIDTHS)
            if np.ptp(delays_s) * np.ptp(widths_s) > _SHRINKS * before_s2:
                break
            nodes = self._nodes(shape, delays_s, widths_s)
        return nodes

    def left_w(self, nodes: Nodes) -> tuple[Floats, Floats]:
        """Return what the best of these leaves of the readings, and what a little delay changes."""
        best = nodes.best
        delays_s = nodes.delay_s[best] + np.array([-TIMES_S, 0.0, TIMES_S])
        width_s = float(nodes.width_s[best])
        shown = self._whitened(self._response.shown(nodes.shape, width_s, delays_s))
        left_w = self._free_w - nodes.gain_w[best] * self._free(shown[:, 1])
        return left_w, self._free(shown[:, 2] - shown[:, 0])


def _around(values_s: Floats, ends_s: Between, count: int) -> Between:
    """Return from where to where values lie, and one and a half steps of their grid beside."""
    step_s = 1.5 * (ends_s[1] - ends_s[0]) / (count - 1)
    return (
        max(ends_s[0], float(values_s.min()) - step_s),
        min(ends_s[1], float(values_s.max()) + step_s),
    )
