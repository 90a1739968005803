"""How every picture looks: sizes, type, colours, dashes, and names that cannot break it."""

from __future__ import annotations

import textwrap
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from pactmeter.analysis.synthetic import synthetic_told
from pactmeter.model.channel import Origin, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.report.plots.asked import Asked

Inches: TypeAlias = float
Dash: TypeAlias = Literal["-", "none"] | tuple[float, tuple[float, ...]]

SINGLE, DOUBLE = 3.5, 7.2
"""Width of one and of two columns of a journal, in inches (89 and 183 mm)."""

# Okabe & Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/: told apart by people
# of every colour vision. Its yellow is too pale for a line on white.
BLACK, BLUE, VERMILLION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
CYCLE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
GREY, PALE, BAND = "#777777", "#D0D0D0", "#E0E0E0"

_FONT = "DejaVu Sans"
"""It comes with matplotlib: a picture is the same on every machine."""
RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": [_FONT],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.xmargin": 0.02,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300,
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
    "pdf.fonttype": 42,  # journals refuse fonts of type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "pactmeter",
}

_DASHES: dict[tuple[Origin, bool], Dash] = {
    (Origin.MEASURED, False): "-",
    (Origin.MEASURED, True): (0, (7, 1.2)),
    (Origin.ESTIMATED, False): (0, (3, 1.6)),
    (Origin.ESTIMATED, True): (0, (1.2, 1.2)),
    (Origin.MODELLED, False): (0, (5, 1.5, 1, 1.5)),
    (Origin.MODELLED, True): (0, (5, 1.5, 1, 1.5, 1, 1.5)),
}
RASTER = 5000
"""From so many points on they are dots in a PDF: as curves they would make it slow to open."""
_LETTER: Inches = 0.053
"""Mean width of a letter of 7 points."""
_LINE: Inches = 0.16
_MOST_LETTERS = 40


def dash(origin: Origin, synthetic: str | None) -> Dash:
    """Return how the line of a source is drawn: unbroken if real and measured, and only then."""
    return _DASHES[Origin(origin), synthetic is not None]


def filling(origins: Sequence[Origin], synthetic: str | None) -> str:
    """Return what fills a point: nothing, unless all sources are real and measured."""
    real = synthetic is None and all(origin == Origin.MEASURED for origin in origins)
    return "full" if real else "none"


def label(name: str, origin: Origin, synthetic: str | None) -> str:
    """Return a source's name with what must be known of it."""
    return plain(name) + mark(origin, synthetic)


def plain(text: str, most: int = _MOST_LETTERS) -> str:
    r"""Return a text as one line of letters that the font has, not longer than so many.

    >>> plain("a\nb"), plain("x" * 100, 9)
    ('a b', 'xxxx…xxxx')
    """
    if len(text) > most:  # first, so that what is long costs nothing
        text = f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
    kept = []
    for letter in text:
        category = unicodedata.category(letter)
        if category == "Cf":  # such as what turns the direction of writing around
            continue
        blank = category in {"Cc", "Zl", "Zp"}
        kept.append(" " if blank else letter if ord(letter) in _letters() else "\ufffd")
    found = "".join(kept)
    # a legend leaves out what begins so
    return f"\u00a0{found}" if found.startswith("_") else found


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def about(run: RecordedRun) -> str:
    """Return what must be said of a run: file, host, emulated devices, marks, and its end."""
    host = str((run.manifest.get("host") or {}).get("name") or "")
    words = [plain(run.files.power.name)]
    words += [f"on {plain(host)}"] if host else []
    told = synthetic_told(run.channels)
    words += [plain(told, 160)] if told else []
    words += [plain(f"{name}: {mark}") for name, mark in run.marks.items()]
    words += {"running": ["still running"], "complete": []}.get(run.status, [run.status])
    return ", ".join(words)


def panels(
    asked: Asked,
    rows: int,
    height: Inches,
    *,
    columns: int = 1,
    heights: Sequence[Inches] | None = None,
    shared_x: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, row by row.

    Args:
        asked: For the width.
        rows: Number of rows.
        height: Height of each.
        columns: Number of columns.
        heights: Height of each row, where they differ.
        shared_x: Whether all have one axis of time.
    """
    heights = heights or [height] * rows
    figure = Figure(
        figsize=(DOUBLE if asked.is_double else SINGLE, sum(heights)), layout="constrained"
    )
    grid = figure.subplots(
        rows, columns, squeeze=False, sharex=shared_x, height_ratios=list(heights)
    )
    return figure, list(grid.ravel())


def head(axes: Axes, *texts: str, columns: int = 1, names: Sequence[str] = ()) -> None:
    """Write what must be said above a panel, in as many lines as it takes.

    Args:
        axes: The panel.
        texts: What must be said.
        columns: How many panels stand beside one another.
        names: What stands on the left of the panel, where that is more than figures.
    """
    figure = axes.figure
    if not isinstance(figure, Figure):
        return
    left = max(0.45, 0.15 + _LETTER * max(map(len, names), default=0))
    letters = int((figure.get_figwidth() / columns - left) / _LETTER)
    lines = [line for text in texts if text for line in textwrap.wrap(text, letters)]
    axes.set_title("\n".join(lines), loc="left", fontsize=7, color="#333333")
    if columns == 1:
        figure.set_figheight(figure.get_figheight() + 0.12 * len(lines))


def legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put a legend below a figure, in as many columns as fit."""
    if not handles:
        return
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = int((figure.get_figwidth() - 0.1) // (0.55 + _LETTER * longest))
    columns = max(1, min(len(handles), columns))
    figure.set_figheight(figure.get_figheight() + _LINE * -(-len(handles) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def sample(
    text: str, color: str, style: Dash = "-", marker: str = "", *, hollow: bool = False
) -> Line2D:
    """Return a line, or a point, of a legend; its text is written as it is."""
    line = "none" if marker else style
    face = "none" if hollow else color
    return Line2D(
        [], [], color=color, linestyle=line, marker=marker, markerfacecolor=face, label=text
    )


def time_unit(duration_s: float) -> tuple[float, str]:
    """Return the unit of an axis of time: its length in seconds, and its name."""
    return next(
        (
            (each_s, name)
            for each_s, name in ((3600.0, "h"), (60.0, "min"))
            if duration_s > 3 * each_s
        ),
        (1.0, "s"),
    )


def thousands(axes: Axes) -> None:
    """Write the figures of the upright axis with k, M, G."""
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
