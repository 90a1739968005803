"""The measured parts of a machine stacked under its whole, with what none of them covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.agreement.pairs import NO_POWER as BAD_POWER
from pactmeter.analysis.agreement.remainder import remainder
from pactmeter.analysis.agreement.rows import spans
from pactmeter.analysis.verdict import two_digits
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import Domain
from pactmeter.report.plots.sources import (
    NO_POWER,
    alike,
    colours,
    excess,
    power_rows,
    whole_of,
)
from pactmeter.report.plots.style import (
    BLACK,
    PALE,
    VERMILLION,
    about,
    dash,
    head,
    legend,
    panels,
    plain,
    sample,
    time_unit,
)
from pactmeter.report.plots.thin import MOST, steps

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.report.plots.asked import Asked

_FIX = "`pactmeter doctor` says what this machine could measure"


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: There are too many runs, or a channel that is no whole.
        PactError: A run has no whole that was measured together with its parts.
    """
    runs = asked.panel_runs
    table = [power_rows(run) for run in runs]
    shown = [_whole(run, rows, asked.channels) for run, rows in zip(runs, table, strict=True)]
    wholes = [sources[0] for sources in shown]
    parts = [source for sources in shown for source in sources[1:]]
    colour_of = colours(parts)
    figure, all_axes = panels(asked, len(runs), 2.2)
    handles: dict[str, Artist] = {
        name: sample(name, BLACK, style)
        for name, _, style in alike(wholes, {each.channel: BLACK for each in wholes})
    }
    for name, colour, style in alike(parts, colour_of):
        look: dict[str, Any] = {"alpha": 0.75, "linestyle": style, "edgecolor": "white"}
        handles[name] = Patch(facecolor=colour, label=name, **look)
    for run, rows, sources, axes in zip(runs, table, shown, all_axes, strict=True):
        for handle in _panel(axes, run, rows, sources, span_s=asked.span_s, colour_of=colour_of):
            handles.setdefault(str(handle.get_label()), handle)
    legend(figure, list(handles.values()))
    return figure


def _whole(run: RecordedRun, rows: Rows, channels: tuple[str, ...]) -> list[Source]:
    """Return the whole and its parts: that of the power supply, else that with most parts."""
    agreement = compare_sources([run])
    found = {each.whole: each for each in agreement.remainders if len(each.parts) > 0}
    every = [each for each in agreement.remainders if each.whole in (channels or found)]
    if len(channels) > 1:
        raise ConfigError("a stack has one whole", "name one --channel")
    if channels and not every:
        known = ", ".join(found) or "there is none"
        raise ConfigError(f"{channels[0]!r} is no whole with parts", f"one of: {known}")
    if not every:
        whys = [each.why for each in agreement.refused if " draws beyond " in each.what]
        whys += [f"{plain(name)}: {BAD_POWER}" for name in rows.faulty]
        why = f": {'; '.join(whys[:2])}" if whys else ""
        raise PactError(
            f"{rows.name} has no whole that was measured together with its parts{why}",
            _FIX if rows.sources else NO_POWER,
        )
    best: Remainder = max(
        every,
        key=lambda each: (whole_of(rows, each.whole).domain is Domain.DC, len(each.parts)),
    )
    parts = [source for name in best.parts if (source := rows.source(name)) is not None]
    return [whole_of(rows, best.whole), *parts]


def _panel(
    axes: Axes,
    run: RecordedRun,
    rows: Rows,
    sources: list[Source],
    *,
    span_s: float | None,
    colour_of: dict[str, str],
) -> list[Patch]:
    """Draw one run, the whole first among its sources; return its legend but for the sources."""
    whole, *parts = sources
    duration_s = float(rows.end_s[-1] - rows.start_s[0])
    row_s = float(np.median(rows.window_s))
    span_s = span_s or max(row_s, duration_s / MOST)
    left = remainder(rows, whole, parts, span_s)
    joined = spans(rows, sources, span_s)
    unit_s, unit = time_unit(float(rows.end_s[-1]))
    start, end = ((joined.middle_s + side * joined.time_s / 2) / unit_s for side in (-1, 1))
    power_w = joined.power_w
    tops = np.vstack([np.zeros_like(power_w[0]), np.cumsum(power_w[1:], axis=0)])
    for part, low, high in zip(parts, tops[:-1], tops[1:], strict=True):
        times, below, above = steps(start, end, low, high)
        colour, style = colour_of[part.channel], dash(part.origin, part.synthetic)
        axes.fill_between(times, below, above, color=colour, alpha=0.75, linewidth=0)
        axes.plot(times, above, color="white", linewidth=0.4, linestyle=style)
    times, covered, top = steps(start, end, tops[-1], power_w[0])
    axes.fill_between(
        times,
        covered,
        np.maximum(covered, top),
        facecolor=PALE,
        hatch="////",
        edgecolor="white",
        linewidth=0,
    )
    handles = [Patch(facecolor=PALE, hatch="////", edgecolor="white", label="not covered")]
    if (left.remainder_w < 0).any():
        over: dict[str, Any] = {"facecolor": "none", "hatch": "xxxx", "edgecolor": VERMILLION}
        axes.fill_between(times, np.minimum(covered, top), covered, linewidth=0, **over)
        handles.append(Patch(label="parts beyond the whole", **over))
    axes.plot(times, top, color=BLACK, linestyle=dash(whole.origin, whole.synthetic))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("power / W")
    axes.set_xlabel(f"time since the start / {unit}")
    means = f"; means over {span_s:.3g} s" if span_s > 1.5 * row_s else ""
    head(axes, about(run) + means, _told(left))
    return handles


def _told(left: Remainder) -> str:
    u = "unknown" if left.u_j is None else f"{two_digits(left.u_j):g} J (k=2)"
    share = "" if left.share_pct is None else f", {left.share_pct:.1f} % of {plain(left.whole)}"
    told = f"not covered: {left.energy_j:.1f} J ± {u}{share}"
    return f"{told}; {excess(left)}" if left.violated else told
