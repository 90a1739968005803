"""The result of `pactmeter probe gpu` as a table: quantity, figure, uncertainty, how."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pactmeter.analysis.gpu_update import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.analysis.gpu_energy import Closure, PollingCost
    from pactmeter.analysis.gpu_probe import Probe, Seen
    from pactmeter.analysis.gpu_update import UpdatePeriod
    from pactmeter.analysis.gpu_window import Window

Row = tuple[str, str, str, str]

_HEAD: Row = ("quantity", "figure", "+/- (k=2)", "how")
_WORDS = {
    "usage": "power usage",
    "instant": "instant (186)",
    "average": "average (185)",
    "energy": "energy counter",
}


def render(title: str, probe: Probe, missing: Mapping[str, str], notes: list[str]) -> str:
    """Return the lines of one card.

    Args:
        title: Which card, and under what load.
        probe: What was found.
        missing: Readings that the card does not give, and why.
        notes: What else is to be told.
    """
    rows = [_HEAD, *_rows(probe)]
    rows += [(_WORDS[name], "not given", "", why) for name, why in missing.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [title]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  " + "  ".join([*cells, row[3]]).rstrip())
    lines += [f"  note: {note}" for note in notes]
    lines += [f"  -> {line}" for line in probe.advice]
    return "\n".join(lines)


def _rows(probe: Probe) -> list[Row]:
    rows: list[Row] = []
    for name, period in probe.periods.items():
        rows.append((f"update period, {_WORDS[name]}", *_period(period)))
    for name, length in probe.windows.items():
        rows.append((f"window, {_WORDS[name]}", *_window(length)))
    for name, seen in probe.seen.items():
        if not isinstance(probe.windows[name], Unknown):
            rows.append((f"time seen, {_WORDS[name]}", *_seen(seen)))
    loaded = "as it was" if probe.is_watched else "under load"
    for words, group in ((loaded, probe.loaded), ("at rest", probe.resting)):
        for name, closure in group.items():
            rows.append((f"counter vs {_WORDS[name]}, {words}", *_closure(closure)))
    rows.append(("cost of polling at rest", *_cost(probe.polling)))
    return rows


def _unknown(found: Unknown) -> tuple[str, str, str]:
    return "unknown", "", found.reason


def _period(found: UpdatePeriod | Unknown) -> tuple[str, str, str]:
    if isinstance(found, Unknown):
        return _unknown(found)
    how = f"{found.changes} changes, polled every {1000 * found.poll_s:.1f} ms"
    return *_figure(1000 * found.period_s, 1000 * found.u_s, "ms"), how


def _window(found: Window | Unknown) -> tuple[str, str, str]:
    if isinstance(found, Unknown):
        return _unknown(found)
    how = f"{found.shape}; explains {found.explained_pct:.2f} % of {found.updates} updates"
    return *_figure(1000 * found.length_s, 1000 * found.u_s, "ms"), how


def _seen(found: Seen | Unknown) -> tuple[str, str, str]:
    if isinstance(found, Unknown):
        return _unknown(found)
    if found.seen_pct >= 100:
        return "100 %", "", "the window is as long as the update period, or longer"
    return *_figure(found.seen_pct, found.u_pct, "%"), "window / update period"


def _closure(found: Closure | Unknown) -> tuple[str, str, str]:
    if isinstance(found, Unknown):
        return _unknown(found)
    how = f"counter {found.counter_j:.0f} J, less the integral of {found.stretches} stretches"
    figure, uncertainty = _figure(found.closure_pct, found.u_pct, "%", sign="+")
    return figure, uncertainty, how


def _cost(found: PollingCost | Unknown) -> tuple[str, str, str]:
    if isinstance(found, Unknown):
        return _unknown(found)
    how = (
        f"{found.fast_hz:.0f} against {found.slow_hz:.1f} polls a second in {found.blocks} "
        f"stretches by turns, rest {found.rest_w:.1f} W"
    )
    figure, uncertainty = _figure(found.extra_w, found.u_w, "W", sign="+")
    return figure, uncertainty, how


def _figure(figure: float, uncertainty: float, unit: str, *, sign: str = "") -> tuple[str, str]:
    """Return a figure and its uncertainty, both to the uncertainty's second digit (GUM 7.2.6).

    Never finer than 0.01 of the unit: no probe is that good.
    """
    digits = 2
    if uncertainty > 0:
        digits = min(2, max(0, 1 - math.floor(math.log10(uncertainty))))
    shown = max(uncertainty, 10**-digits) if uncertainty > 0 else 0.0
    return f"{figure:{sign}.{digits}f} {unit}", f"{shown:.{digits}f} {unit}"
