"""The power of every source over time: one panel a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.report.plots.sources import chosen, colours, power_rows, samples
from pactmeter.report.plots.style import about, dash, head, legend, panels, plain, time_unit
from pactmeter.report.plots.thin import MOST, thinned
from pactmeter.report.plots.thin import draw as draw_series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pactmeter.report.plots.asked import Asked


def draw(asked: Asked) -> Figure:
    """Return the picture.

    Raises:
        ConfigError: There is no such channel, or there are too many runs.
        PactError: A run has no rows or no power.
    """
    table = [power_rows(run) for run in asked.panel_runs]
    shown = [chosen(rows, asked.channels) for rows in table]
    everything = [source for sources in shown for source in sources]
    colour_of = colours(everything)
    figure, all_axes = panels(asked, len(table), 2.0)
    for run, rows, sources, axes in zip(asked.runs, table, shown, all_axes, strict=True):
        unit_s, unit = time_unit(float(rows.end_s[-1]))
        is_thinned = rows.start_s.size > MOST
        for source in sources:
            series = thinned(rows.start_s, rows.end_s, source.power_w)
            style = dash(source.origin, source.synthetic)
            draw_series(axes, series, unit_s, colour_of[source.channel], linestyle=style)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("power / W")
        axes.set_xlabel(f"time since the start / {unit}")
        faulty = ", ".join(map(plain, rows.faulty))
        head(
            axes,
            about(run),
            "line: mean, band: least to most; tick: a short gap" if is_thinned else "",
            f"left out: {faulty} (a reading is no power)" if faulty else "",
        )
    legend(figure, samples(everything, colour_of))
    return figure
