"""How two sources of one measurand differ over what they measure, with limits of agreement.

The differences are those of the log ratio in percent, as the limits are (Bland & Altman, Stat
Methods Med Res 1999;8:135).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from pactmeter.analysis.agreement.limits import Limits
from pactmeter.analysis.agreement.scores import Bias
from pactmeter.errors import PactError
from pactmeter.report.plots.matched import (
    about_one,
    agreement_of,
    left_out,
    matched,
    no_pair,
    points,
    runs_legend,
)
from pactmeter.report.plots.style import (
    BLACK,
    GREY,
    VERMILLION,
    filling,
    head,
    label,
    legend,
    panels,
    plain,
    sample,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pactmeter.report.plots.asked import Asked
    from pactmeter.report.plots.matched import Matched

_NONE = (
    "no two sources of these runs measure the same, so that their differences are no errors",
    "`pactmeter plot identity` draws a whole against its parts",
)


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        PactError: No two sources measure the same.
    """
    agreement = agreement_of(asked)
    pairs = matched(asked, agreement)
    if not pairs:
        raise PactError(*_NONE) if agreement.remainders else no_pair(agreement)
    found = pairs[: asked.most_panels]
    more = left_out(len(pairs) - len(found))
    columns = 2 if asked.is_double and len(found) > 1 else 1
    figure, all_axes = panels(asked, -(-len(found) // columns), 2.3, columns=columns)
    has_limits = False
    told = [about_one(asked), *[""] * (len(found) - 1)]
    for axes, each, run in zip(all_axes, found, told, strict=False):
        has_limits |= _panel(axes, each, run, columns)
    for axes in all_axes[len(found) :]:
        axes.set_axis_off()
    handles = runs_legend(asked)
    if has_limits:
        band = Patch(facecolor=GREY, alpha=0.3, label="95 % interval of each")
        lines = [sample("bias of the spans", BLACK), sample("limits of agreement", VERMILLION)]
        legend(figure, [*lines, band, *handles])
    else:
        legend(figure, handles)
    if more:
        figure.suptitle(more, fontsize=7)
    return figure


def _panel(axes: Axes, each: Matched, run: str, columns: int) -> bool:
    """Draw a pair; return whether it has limits."""
    result, pairs, limits = each.result, each.pairs, each.result.limits_pct
    synthetic = each.synthetic
    names = [
        label(name, origin, synthetic)
        for name, origin in zip((result.reference, result.source), result.origins, strict=True)
    ]
    axes.set_xlabel("mean of both / W")
    axes.set_ylabel("source less reference / %")
    told = [run, f"{names[1]} against {names[0]}"]
    try:
        ratios = pairs.log_ratios()
    except PactError as error:
        head(axes, *told, f"not drawn: {error.message}", columns=columns)
        return False
    fill = filling(result.origins, synthetic)
    for number, x, y, ratio in zip(
        each.runs, pairs.reference_w, pairs.source_w, ratios, strict=True
    ):
        points(axes, (x + y) / 2, 100 * np.expm1(ratio), number, fill)
    axes.axhline(0, color=GREY, linewidth=0.6)
    if not isinstance(limits, Limits):
        head(axes, *told, f"no limits: {plain(limits.reason, 200)}", columns=columns)
        return False
    for estimate, shade in (
        (limits.bias, BLACK),
        (limits.lower, VERMILLION),
        (limits.upper, VERMILLION),
    ):
        axes.axhline(estimate.value, color=shade)
        axes.axhspan(*estimate.interval, color=shade, alpha=0.15, linewidth=0)
    told.append(
        f"bias of the spans {limits.bias.value:+.2f} %, limits {limits.lower.value:+.2f} to"
        f" {limits.upper.value:+.2f} % ({limits.units} {limits.unit}, {limits.windows} windows)"
    )
    if isinstance(result.bias, Bias):
        told.append(f"bias of the total {result.bias.total_pct.value:+.2f} %")
    head(axes, *told, columns=columns)
    return True
