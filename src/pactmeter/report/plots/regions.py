"""The energy of each region with its interval: one panel a run.

Regions nest and overlap, so they stand beside one another and are never stacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline_parts
from pactmeter.analysis.regions import regions
from pactmeter.errors import PactError, unknown_name
from pactmeter.report.plots.sources import NO_POWER
from pactmeter.report.plots.style import (
    BLACK,
    CYCLE,
    GREY,
    about,
    dash,
    head,
    label,
    legend,
    panels,
    plain,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy
    from pactmeter.report.plots.asked import Asked
    from pactmeter.report.plots.style import Inches

_MOST = 30
_ROW: Inches = 0.2
_SCALES = ((1e6, "MJ"), (1e3, "kJ"))
_COLOURS = (BLACK, *CYCLE[:-1])


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: There is no such channel, or there are too many runs.
        PactError: A run has no regions or no energy.
    """
    runs = asked.panel_runs
    shown = [_sources(run, asked.channels) for run in runs]
    told = [_regions(run) for run in runs]
    heights = [
        0.7 + _ROW * min(len(rows), _MOST) * max(1.0, 0.6 * len(sources))
        for rows, sources in zip(told, shown, strict=True)
    ]
    figure, all_axes = panels(asked, len(runs), 0.0, heights=heights)
    names = list(dict.fromkeys(e.channel for sources in shown for e in sources))
    colour_of = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    for run, rows, sources, axes in zip(runs, told, shown, all_axes, strict=True):
        names = [_name(row) for row in rows[:_MOST]]
        axes.set_yticks(range(len(names)), names)
        whys = _panel(axes, rows[:_MOST], sources, colour_of)
        more = len(rows) - _MOST
        left = f"and {more} more regions (`pactmeter report --json` has all)" if more > 0 else ""
        head(axes, about(run), *whys, left, names=names)
    by_label = {label(e.channel, e.origin, e.synthetic): e for sources in shown for e in sources}
    handles = [
        sample(f"{name} ± U (k=2)", colour_of[e.channel], marker="o", hollow=not _is_real(e))
        for name, e in by_label.items()
    ]
    legend(figure, handles)
    return figure


def _sources(run: RecordedRun, channels: Sequence[str]) -> list[Energy]:
    """Return what is asked for, else what the headline is made of, else all that has energy."""
    known = {e.channel: e for e in energies(run) if e.covered_s > 0}
    for name in channels:
        if name not in known:
            raise unknown_name("channel", name, known)
    if channels:
        return [known[name] for name in dict.fromkeys(channels)]
    found = headline_parts(list(known.values())) or list(known.values())
    if not found:
        raise PactError(f"{run.files.power.name} has no energy to draw", NO_POWER)
    return found


def _regions(run: RecordedRun) -> list[dict[str, Any]]:
    found = regions(run)
    if not found:
        raise PactError(
            f"{run.files.power.name} has no regions", "mark them: with pactmeter.region(name): ..."
        )
    return found


def _panel(
    axes: Axes,
    rows: Sequence[dict[str, Any]],
    sources: Sequence[Energy],
    colour_of: dict[str, str],
) -> list[str]:
    """Draw the regions of a run; return why some have no figure."""
    figures = [row["energy"].get(s.channel, {}).get("energy_j") for row in rows for s in sources]
    most_j = max((figure for figure in figures if figure is not None), default=0.0)
    scale, unit = next(((s, u) for s, u in _SCALES if most_j >= s), (1.0, "J"))
    whys: dict[str, None] = {}
    for row_number, row in enumerate(rows):
        for number, source in enumerate(sources):
            found = row["energy"].get(source.channel, {"refused": "the run has no such channel"})
            at = row_number + 0.6 * ((number + 0.5) / len(sources) - 0.5)
            if "refused" in found:
                whys[f"no figure: {plain(found['refused'], 160)}"] = None
                axes.text(0, at, " no figure", color=GREY, fontsize=6, va="center")
                continue
            _point(axes, at, source, colour_of[source.channel], _scaled(found, scale))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"energy / {unit}")
    return list(whys)[:2]


def _is_real(source: Energy) -> bool:
    return source.synthetic is None and source.origin == "measured"


def _scaled(found: dict[str, Any], scale: float) -> tuple[float, float | None]:
    """Return an energy and its U in the unit of the axis."""
    u_j = found["u_j"]
    return found["energy_j"] / scale, None if u_j is None else u_j / scale


def _point(
    axes: Axes, at: float, source: Energy, colour: str, figure: tuple[float, float | None]
) -> None:
    value, u = figure
    drawn = axes.errorbar(
        [value],
        [at],
        xerr=None if u is None else [u],
        fmt="o",
        color=colour,
        markersize=3.5,
        markerfacecolor=colour if _is_real(source) else "white",
        capsize=2,
        elinewidth=1.0,
    )
    for bars in drawn[2]:
        bars.set_linestyle(dash(source.origin, source.synthetic))
    if u is None:
        axes.annotate(" U unknown", (value, at), color=GREY, fontsize=6, va="center")


def _name(row: dict[str, Any]) -> str:
    count = f" ({row['count']})" if row["count"] > 1 else ""
    return (plain(row["name"], 24).strip() or "(no name)") + count
