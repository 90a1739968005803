"""Sources against a reference meter, and what the line of each leaves of its windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.validation import validate
from pactmeter.analysis.windows import AGREES_PCT
from pactmeter.errors import ConfigError, PactError, unknown_name
from pactmeter.model.channel import WALL_REFERENCE, Origin
from pactmeter.report.plots.style import (
    BAND,
    BLACK,
    CYCLE,
    GREY,
    about,
    dash,
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

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.validation import Validated, Validation
    from pactmeter.report.plots.asked import Asked

_POINTS = 60


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: There is no meter, no such source, or there are several runs.
        PactError: There are too few windows or loads, or no source has a figure.
    """
    run = asked.only_run
    against = asked.against or (WALL_REFERENCE if asked.reference else None)
    found = validate(run, against)
    sources = _chosen(found, asked)
    columns = 2 if asked.is_double else 1
    rows = len(sources) * 2 // columns
    figure, all_axes = panels(asked, rows, 2.1, columns=columns)
    loads = list(dict.fromkeys(load.name for one in sources for load in one.loads))
    colour_of = {name: CYCLE[k % len(CYCLE)] for k, name in enumerate(loads)}
    for k, one in enumerate(sources):
        upper, lower = all_axes[2 * k : 2 * k + 2]
        synthetic = _synthetic(run, one, found)
        _line(upper, one, found, colour_of, synthetic)
        _residuals(lower, one, colour_of, filling([_origin(one)], synthetic))
        about_run = about(run) if k == 0 else ""
        head(upper, about_run, _told(one, found), columns=columns)
    handles = [sample(plain(name), shade, marker="o") for name, shade in colour_of.items()]
    handles.append(sample("line of the source, 95 %", BLACK))
    handles.append(sample("equal", GREY))
    legend(figure, handles)
    return figure


def _chosen(found: Validation, asked: Asked) -> list[Validated]:
    known = {one.channel: one for one in found.sources}
    for name in asked.channels:
        if name in found.left_out:
            raise PactError(f"{name} was not validated: {found.left_out[name]}")
        if name not in known:
            raise unknown_name("source", name, known)
    sources = [known[name] for name in asked.channels] or list(known.values())
    if not sources:
        why = "; ".join(f"{name}: {reason}" for name, reason in found.left_out.items())
        raise PactError(f"no source has a figure beside the meter ({why or 'there is none'})")
    if 2 * len(sources) > asked.most_panels + 1:
        raise ConfigError(
            f"{len(sources)} sources do not fit on a page", "--channel names those wanted"
        )
    return sources


def _synthetic(run: RecordedRun, one: Validated, found: Validation) -> str | None:
    """Return what a source or its meter is, if it is no hardware; of a sum any part counts."""
    known = {channel.name: channel.synthetic for channel in run.channels}
    of = [known[one.channel]] if one.channel in known else known.values()
    return found.synthetic or next(filter(None, of), None)


def _line(
    axes: Axes,
    one: Validated,
    found: Validation,
    colour_of: dict[str, str],
    synthetic: str | None,
) -> None:
    """Draw the means of the windows, the line and its interval."""
    fill = filling([_origin(one)], synthetic)
    most_w = 0.0
    for load in one.loads:
        axes.scatter(
            load.source_w,
            load.meter_w,
            s=10,
            color=colour_of[load.name],
            zorder=3,
            facecolors="none" if fill == "none" else None,
            linewidths=0.8,
        )
        most_w = max(most_w, *load.source_w, *load.meter_w)
    if one.line is not None:
        source_w = np.linspace(one.line.from_w, one.line.to_w, _POINTS)
        told = [one.line.apply(float(each_w), found.accuracy_pct) for each_w in source_w]
        low, high = [each.low_w for each in told], [each.high_w for each in told]
        axes.fill_between(source_w, low, high, color=BAND, linewidth=0)
        style = dash(_origin(one), synthetic)
        axes.plot(source_w, [each.power_w for each in told], color=BLACK, linestyle=style)
    axes.plot([0, 1.05 * most_w], [0, 1.05 * most_w], color=GREY, linewidth=0.8, zorder=1)
    axes.set_xlim(0, 1.05 * most_w)
    axes.set_ylim(0, 1.05 * most_w)
    axes.set_xlabel(f"{label(one.channel, _origin(one), synthetic)} / W")
    axes.set_ylabel(f"{plain(found.meter, 20)} / W")


def _residuals(axes: Axes, one: Validated, colour_of: dict[str, str], fill: str) -> None:
    """Draw what the line leaves of each window; without a line, how far the source is."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("meter / W")
    if one.line is None:
        for load in one.loads:
            _points(axes, [load.olympic_w[1]], [load.apart_pct], colour_of[load.name], fill)
        if one.is_ac:
            for bound in (-AGREES_PCT, AGREES_PCT):
                axes.axhline(bound, color=GREY, linestyle=":")
        axes.set_ylabel("source less meter / %")
        return
    for load in one.loads:
        given_w = [one.line.apply(each_w).power_w for each_w in load.source_w]
        off_pct = [
            100 * (meter_w / line_w - 1)
            for meter_w, line_w in zip(load.meter_w, given_w, strict=True)
            if line_w > 0
        ]
        at_w = [w for w, line_w in zip(load.meter_w, given_w, strict=True) if line_w > 0]
        _points(axes, at_w, off_pct, colour_of[load.name], fill)
    axes.axhspan(one.line.low_pct, one.line.high_pct, color=BAND, linewidth=0, zorder=0)
    axes.set_ylabel("meter less line / %")


def _points(axes: Axes, x: list[float], y: list[float], colour: str, fill: str) -> None:
    axes.plot(x, y, "o", color=colour, fillstyle=fill, markeredgewidth=0.8)


def _told(one: Validated, found: Validation) -> str:
    meter = f"{plain(found.meter)} (± {found.accuracy_pct:g} %, k=2)"
    if one.line is None:
        return f"{meter}; no line: {plain(one.reason or '', 160)}"
    line = one.line
    return (
        f"{meter} = {line.offset_w:+.2f} W (± {line.u_offset_w:.2f}) + {line.gain:.4f}"
        f" (± {line.u_gain:.4f}) x source; a load not seen: {line.low_pct:+.2f} to"
        f" {line.high_pct:+.2f} %"
    )


def _origin(one: Validated) -> Origin:
    return Origin(one.origin)
