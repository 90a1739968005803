"""Whether power and an independent energy counter tell the same: closure, window by window.

Power goes through the very integration that a run's rows come from. What both series do not share
(jitter of time stamps, what lies between the readings, steps) shows as scatter: in each window they
are compared six times, and how much these six differ from each other says how far the whole window
may be off by chance. What all six share, such as a wrong gain, is no scatter, and breaks closure.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.calibration.checks import numbers, rising, same_length
from pactmeter.analysis.gpu_stats import student_95
from pactmeter.errors import ConfigError
from pactmeter.sampling.series import CounterSeries, GaugeSeries, Poll

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

PARTS = 6
"""So many times the two are compared in each window."""
_BRIDGED = 3.0
"""A reading stands for so many usual distances to either side at most; beyond it is a gap."""
_LEAST_COVERAGE = 0.99
_ROUNDING = 1e-12
"""Relative error of a counter as a double, and of the sums."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window, by both.

    Attributes:
        start_s: Its start, in seconds.
        integral_j: Energy after the power, in joules.
        counter_j: Energy after the counter, in joules.
        u_j: Half-width of the 95 % interval of their difference, in joules.
    """

    start_s: float
    integral_j: float
    counter_j: float
    u_j: float

    @property
    def difference_pct(self) -> float:
        """By how much the power gives more, in percent of the counter."""
        return 100 * (self.integral_j / self.counter_j - 1)

    @property
    def u_pct(self) -> float:
        """Half-width of its 95 % interval, in percent of the counter."""
        return 100 * self.u_j / self.counter_j

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds the difference."""
        return abs(self.integral_j - self.counter_j) <= self.u_j


@dataclass(frozen=True, slots=True)
class Closure:
    """All windows.

    Attributes:
        windows: Those that both series cover, with energy in them.
        left_out: Number of windows with a gap, or without energy.
        whole_pct: By how much the power gives more over all windows, in percent.
        p95_pct: 95th percentile of the absolute difference of a window, in percent.
        inside_pct: Share of the windows whose interval holds the difference, in percent.
        u_pct: Median half-width of the interval, in percent.
    """

    windows: tuple[Window, ...]
    left_out: int
    whole_pct: float
    p95_pct: float
    inside_pct: float
    u_pct: float


def closure(
    power_times_s: ArrayLike,
    power_w: ArrayLike,
    counter_times_s: ArrayLike,
    counter_j: ArrayLike,
    *,
    window_s: float = 60.0,
) -> Closure:
    """Compare integrated power with an energy counter over windows of equal length.

    Args:
        power_times_s: Times of the power readings, in seconds, rising.
        power_w: Power, in watts.
        counter_times_s: Times of the counter's readings, on the same clock.
        counter_j: The counter, in joules, never falling.
        window_s: Length of the windows, in seconds: six times the distance of readings at least.

    Raises:
        ConfigError: The series are no such series, do not overlap, or are too short or too slow.
    """
    tp, power = _series("power", power_times_s, power_w)
    te, counter = _series("counter", counter_times_s, counter_j)
    falls = np.flatnonzero(np.diff(counter) < 0)
    if len(falls):
        raise ConfigError(
            f"the counter falls at its reading {falls[0] + 2} of {len(counter)}",
            "cut the series where the counter wraps or starts again",
        )
    part_s, apart_s = window_s / PARTS, float(max(np.median(np.diff(tp)), np.median(np.diff(te))))
    if not (math.isfinite(window_s) and part_s >= apart_s):
        raise ConfigError(
            f"windows of {window_s:g} s are too short for readings {apart_s:.3g} s apart",
            f"take {PARTS * apart_s:.3g} s at least",
        )
    start_s, end_s = max(tp[0], te[0]), min(tp[-1], te[-1])
    count = math.floor((end_s - start_s) / window_s)
    if count < 1:
        raise ConfigError(
            f"power and counter share {max(0.0, end_s - start_s):.3g} s, less than one window of"
            f" {window_s:g} s",
            "check that both are on one clock",
        )
    edges_s = start_s + part_s * np.arange(1, count * PARTS + 1)
    # from the counter's first reading: next to 1e12 J the sums would lose digits
    gauge = _cut(GaugeSeries(float(start_s)), tp, power, edges_s)
    meter = _cut(CounterSeries(float(start_s)), te, counter - counter[0], edges_s)
    compared = [
        _window(float(start_s + i * window_s), window_s, gauge[part], meter[part])
        for i, part in ((i, slice(i * PARTS, (i + 1) * PARTS)) for i in range(count))
    ]
    windows = tuple(window for window in compared if window is not None)
    if not windows:
        raise ConfigError("no window is covered by both power and counter, with energy in it")
    total_j = math.fsum(w.counter_j for w in windows)
    return Closure(
        windows=windows,
        left_out=count - len(windows),
        whole_pct=100 * (math.fsum(w.integral_j for w in windows) / total_j - 1),
        p95_pct=float(np.percentile([abs(w.difference_pct) for w in windows], 95)),
        inside_pct=100 * statistics.mean(w.is_inside for w in windows),
        u_pct=statistics.median(w.u_pct for w in windows),
    )


def _series(name: str, times_s: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """Return times and values, checked."""
    times = numbers(f"time of {name}", times_s, least=2, negative=True)
    rising(f"time of {name}", times)
    column = numbers(name, values, least=2)
    same_length(time=times, **{name: column})
    return times, column


def _cut(
    series: GaugeSeries | CounterSeries, times_s: Floats, values: Floats, edges_s: Floats
) -> list[tuple[float, float]]:
    """Feed a series and return energy and covered time up to each edge."""
    reach_s = _BRIDGED * float(np.median(np.diff(times_s)))
    cuts, fed = [], 0
    for edge_s in edges_s:
        # one reading beyond the edge: what stands half way to it belongs to this part
        upto = min(len(times_s), int(np.searchsorted(times_s, edge_s, side="right")) + 1)
        for at in range(fed, upto):
            series.add(Poll(float(times_s[at]), float(values[at]), reach_s))
        fed = max(fed, upto)
        cut = series.cut(float(edge_s))
        cuts.append((cut.energy_j, cut.covered_s))
    return cuts


def _window(
    start_s: float,
    window_s: float,
    gauge: Sequence[tuple[float, float]],
    meter: Sequence[tuple[float, float]],
) -> Window | None:
    """Return one window from its parts; None where there is a gap or no energy."""
    integral_j, meter_j = (math.fsum(j for j, _ in parts) for parts in (gauge, meter))
    covered_s = min(math.fsum(s for _, s in parts) for parts in (gauge, meter))
    if covered_s < _LEAST_COVERAGE * window_s or meter_j <= 0:
        return None
    differences = [g - m for (g, _), (m, _) in zip(gauge, meter, strict=True)]
    u_j = student_95(PARTS - 1) * math.sqrt(PARTS) * statistics.stdev(differences)
    return Window(start_s, integral_j, meter_j, math.hypot(u_j, _ROUNDING * integral_j))
