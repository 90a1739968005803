"""The sources of some runs that were compared, with their mean powers over the same spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.agreement.compare import SPAN_S, compare_sources
from pactmeter.analysis.agreement.pairs import pair
from pactmeter.analysis.agreement.rows import rows_of, spans
from pactmeter.errors import PactError
from pactmeter.model.channel import Domain, Origin
from pactmeter.report.plots.sources import whole_of
from pactmeter.report.plots.style import CYCLE, RASTER, about, label, plain, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from pactmeter.analysis.agreement.pairs import Array, Pairs
    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.result import Agreement, SourcePair
    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source
    from pactmeter.report.plots.asked import Asked

_FIRST = (Domain.AC, Domain.DC)


@dataclass(frozen=True, slots=True)
class Matched:
    """Two sources of one measurand: the comparison, and what it was made of.

    Attributes:
        result: The comparison.
        pairs: Mean powers of both in the same spans, an array a run.
        runs: Which of the runs each array is of.
        synthetic: None for real hardware.
    """

    result: SourcePair
    pairs: Pairs
    runs: tuple[int, ...]
    synthetic: str | None


@dataclass(frozen=True, slots=True)
class Beside:
    """A whole beside its parts: the comparison, and what it was made of.

    Attributes:
        result: The comparison.
        whole: The whole.
        parts: Its parts; each as it is in a run in which it is no measurement, if there is one.
        powers_w: Of each run its number, and the mean powers of the whole and of all parts in the
            same spans.
    """

    result: Remainder
    whole: Source
    parts: tuple[Source, ...]
    powers_w: tuple[tuple[int, Array, Array], ...]


def agreement_of(asked: Asked) -> Agreement:
    """Return what the sources of the runs say of one another."""
    span_s = SPAN_S if asked.span_s is None else asked.span_s
    return compare_sources(asked.runs, span_s=span_s, channels=asked.channels)


def matched(asked: Asked, agreement: Agreement) -> list[Matched]:
    """Return the pairs of equal measurands, power supplies and meters first."""
    table = _readable(asked)
    result = []
    for each in sorted(agreement.pairs, key=lambda one: one.domain not in _FIRST):
        powers, runs = [], []
        synthetic = None
        for number, rows in table:
            both = [rows.source(name) for name in (each.reference, each.source)]
            sources = [source for source in both if source is not None]
            if len(sources) < 2:
                continue
            try:
                found = spans(rows, sources, agreement.span_s).whole(agreement.span_s)
            except PactError:  # never a reading together
                continue
            if found.time_s.size:
                powers.append(found.power_w)
                runs.append(number)
                synthetic = sources[0].synthetic  # a pair is of one world
        pairs = pair([power[0] for power in powers], [power[1] for power in powers])
        result.append(Matched(each, pairs, tuple(runs), synthetic))
    return result


def _readable(asked: Asked) -> list[tuple[int, Rows]]:
    """Return the number and the rows of each run that was compared."""
    table = []
    for number, run in enumerate(asked.runs):
        try:
            table.append((number, rows_of(run)))
        except PactError:  # it is among what was refused
            continue
    return table


def beside(asked: Asked, agreement: Agreement, found: Remainder) -> Beside:
    """Return a whole beside its parts, with their powers in whole spans.

    What is left at the end of a run is no span: its sensors have not yet followed the load.
    """
    table = _readable(asked)
    known: dict[str, Source] = {}
    powers_w = []
    for place in np.unique(found.run).astype(int).tolist():
        number, rows = table[place]
        parts = [source for name in found.parts if (source := rows.source(name)) is not None]
        sources = [whole_of(rows, found.whole), *parts]
        for source in sources:
            if source.origin is not Origin.MEASURED or source.channel not in known:
                known[source.channel] = source
        power_w = spans(rows, sources, agreement.span_s).whole(agreement.span_s).power_w
        powers_w.append((number, power_w[0], power_w[1:].sum(axis=0)))
    parts = [known[name] for name in found.parts]
    return Beside(found, known[found.whole], tuple(parts), tuple(powers_w))


def left_out(count: int) -> str:
    """Return what is to be said of comparisons that do not fit on the page."""
    return f"and {count} more: --channel names those wanted" if count > 0 else ""


def axis(name: str, origin: Origin, synthetic: str | None) -> str:
    """Return the name of an axis of power."""
    return f"{label(plain(name, 32), origin, synthetic)} / W"


def about_one(asked: Asked) -> str:
    """Return what must be said of the run where it is the only one: else the legend says it."""
    return about(asked.runs[0]) if len(asked.runs) == 1 else ""


def runs_legend(asked: Asked) -> list[Line2D]:
    """Return the points of a legend: one for each run, where there are several."""
    if len(asked.runs) < 2:
        return []
    return [sample(about(run), colour(k), marker="o") for k, run in enumerate(asked.runs)]


def points(axes: Axes, x: Array, y: Array, run: int, fill: str) -> None:
    """Draw the points of a run."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=2.5,
        color=colour(run),
        fillstyle=fill,
        markeredgewidth=0.6,
        alpha=0.7,
        rasterized=x.size > RASTER,
    )


def colour(run: int) -> str:
    """Return the colour of a run."""
    return CYCLE[run % len(CYCLE)]


def no_pair(agreement: Agreement) -> PactError:
    """Return why there is nothing to draw."""
    why = next((f": {each.what}: {each.why}" for each in agreement.refused), "")
    return PactError(
        f"no two sources of these runs can be compared{why}",
        "`pactmeter compare` says what was and what was not",
    )


def most_w(powers_w: Sequence[Array]) -> float:
    """Return the largest of some powers, in watts."""
    return max((float(each.max()) for each in powers_w if each.size), default=1.0)
