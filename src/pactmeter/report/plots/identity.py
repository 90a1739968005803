"""Sources against one another: the power supply against its parts, and pairs of equal measurands.

Where a whole stands against its parts, what lies below the line is not covered by them: no error.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.agreement.deming import Line
from pactmeter.report.plots.matched import (
    about_one,
    agreement_of,
    axis,
    beside,
    left_out,
    matched,
    most_w,
    no_pair,
    points,
    runs_legend,
)
from pactmeter.report.plots.sources import excess, sum_name
from pactmeter.report.plots.style import BLACK, GREY, filling, head, legend, panels, plain, sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pactmeter.report.plots.asked import Asked
    from pactmeter.report.plots.matched import Beside, Matched

_LETTERS = 34
"""So many stand beside an axis."""


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        PactError: There is nothing to compare.
    """
    agreement = agreement_of(asked)
    # a power supply against its parts stands first, and pairs leave it room
    every = sorted(agreement.remainders, key=lambda each: not each.whole.startswith("psu"))
    pairs = matched(asked, agreement)
    wholes = every[: max(1, asked.most_panels - len(pairs))]
    found = pairs[: asked.most_panels - len(wholes)]
    count = len(wholes) + len(found)
    more = left_out(len(every) + len(pairs) - count)
    if not count:
        raise no_pair(agreement)
    columns = 2 if asked.is_double and count > 1 else 1
    figure, all_axes = panels(asked, -(-count // columns), 2.8, columns=columns)
    told = [about_one(asked), *[""] * (count - 1)]
    for axes, remainder, run in zip(all_axes, wholes, told, strict=False):
        _whole(axes, beside(asked, agreement, remainder), run, columns)
    has_line = False
    of_pairs = slice(len(wholes), count)
    for axes, each, run in zip(all_axes[of_pairs], found, told[of_pairs], strict=True):
        has_line |= _pair(axes, each, run, columns)
    for axes in all_axes[count:]:
        axes.set_axis_off()
    handles = [sample("equal", GREY)]
    if has_line:
        handles.append(sample("Deming line", BLACK))
    legend(figure, [*handles, *runs_legend(asked)])
    if more:
        figure.suptitle(more, fontsize=7)
    return figure


def _whole(axes: Axes, found: Beside, run: str, columns: int) -> None:
    result, whole = found.result, found.whole
    fill = filling([each.origin for each in (whole, *found.parts)], whole.synthetic)
    for number, whole_w, parts_w in found.powers_w:
        points(axes, whole_w, parts_w, number, fill)
    _square(axes, most_w([each for _, *both in found.powers_w for each in both]))
    axes.set_xlabel(axis(result.whole, whole.origin, whole.synthetic))
    axes.set_ylabel(textwrap.fill(f"{sum_name(found.parts)} / W", _LETTERS))
    of = f" of {plain(result.whole)}"
    share = f"{result.energy_j:.1f} J" if result.share_pct is None else f"{result.share_pct:.1f} %"
    told, wrong = f"not covered: {share}{of}", excess(result)
    head(axes, run, f"{told}; {wrong}" if wrong else f"{told}, no error", columns=columns)


def _pair(axes: Axes, each: Matched, run: str, columns: int) -> bool:
    """Draw a pair; return whether there is a line."""
    result, pairs, synthetic = each.result, each.pairs, each.synthetic
    fill = filling(result.origins, synthetic)
    for number, x, y in zip(each.runs, pairs.reference_w, pairs.source_w, strict=True):
        points(axes, x, y, number, fill)
    _square(axes, most_w([*pairs.reference_w, *pairs.source_w]))
    axes.set_xlabel(axis(result.reference, result.origins[0], synthetic))
    axes.set_ylabel(axis(result.source, result.origins[1], synthetic))
    line = result.line
    if not isinstance(line, Line):
        head(axes, run, f"no line: {line.reason}", columns=columns)
        return False
    ends = np.array(line.range_w)
    axes.plot(ends, line.offset_w.value + line.gain.value * ends, color=BLACK)
    gain, offset = line.gain, line.offset_w
    head(
        axes,
        run,
        f"gain {gain.value:.4f} ({gain.interval[0]:.4f} to {gain.interval[1]:.4f}), offset"
        f" {offset.value:+.2f} W ({offset.interval[0]:+.2f} to {offset.interval[1]:+.2f})",
        columns=columns,
    )
    return True


def _square(axes: Axes, end_w: float) -> None:
    end = 1.05 * max(end_w, 1e-9)
    axes.plot([0, end], [0, end], color=GREY, linewidth=0.8, zorder=1)
    axes.set_xlim(0, end)
    axes.set_ylim(0, end)
    axes.set_aspect("equal")
