"""Which sources a picture shows, and the colour, dash and name of each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pactmeter.analysis.agreement.rows import rows_of
from pactmeter.analysis.agreement.source import together
from pactmeter.errors import PactError, unknown_name
from pactmeter.model.channel import Domain, Origin
from pactmeter.report.plots.style import BLACK, CYCLE, dash, label, plain, sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.lines import Line2D

    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source
    from pactmeter.analysis.run import RecordedRun

_INSIDE = frozenset({Domain.CORE, Domain.UNCORE})
"""Parts of a package: drawn where they are asked for."""
NO_POWER = "`pactmeter plot counters` draws what was counted"


def power_rows(run: RecordedRun) -> Rows:
    """Return the rows of a run that has power.

    Raises:
        PactError: It has none.
    """
    rows = rows_of(run)
    if not rows.sources:
        raise PactError(f"{rows.name} has no power to draw", NO_POWER)
    return rows


def chosen(rows: Rows, names: Sequence[str]) -> list[Source]:
    """Return the sources that are asked for, else those that stand for a part of the machine.

    Raises:
        ConfigError: There is no such source.
    """
    known = {source.channel: source for source in rows.sources}
    for name in names:
        if name not in known:
            raise unknown_name("channel", name, known)
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    plainly = [
        source
        for source in rows.sources
        if source.domain is not None and source.domain not in _INSIDE and not source.is_beside
    ]
    return plainly or list(rows.sources)


def colours(sources: Iterable[Source]) -> dict[str, str]:
    """Return the colour of each channel, DC black; of many channels one for each domain."""
    found = {source.channel: source.domain for source in sources}
    supplies = [name for name, domain in found.items() if domain is Domain.DC]
    others = [name for name in found if name not in supplies[:1]]
    result = dict.fromkeys(supplies[:1], BLACK)
    if len(others) < len(CYCLE):
        return result | dict(zip(others, CYCLE, strict=False))
    domains = dict.fromkeys(found[name] for name in others)
    of_domain = dict(zip(domains, itertools.cycle(CYCLE[:-1]), strict=False))
    return result | {name: of_domain[found[name]] for name in others}


def samples(sources: Iterable[Source], colour_of: dict[str, str]) -> list[Line2D]:
    """Return the lines of a legend: one for each source, or for those that look alike."""
    alike: dict[tuple[str, str], list[Source]] = {}
    for source in {each.channel: each for each in sources}.values():
        style = repr(dash(source.origin, source.synthetic))
        alike.setdefault((colour_of[source.channel], style), []).append(source)
    return [
        sample(
            label(_joint_name(of), of[0].origin, of[0].synthetic),
            colour,
            dash(of[0].origin, of[0].synthetic),
        )
        for (colour, _), of in alike.items()
    ]


def _joint_name(sources: list[Source]) -> str:
    first, last = sources[0].channel, sources[-1].channel
    return first if len(sources) == 1 else f"{first} … {last} ({len(sources)})"


def whole_of(rows: Rows, channel: str) -> Source:
    """Return a whole of a comparison: a source, or the sum of those of its kind (``psu*.…``)."""
    found = rows.source(channel)
    if found is not None:
        return found
    domain = Domain.DC if channel.startswith("psu") else Domain.AC
    pieces = [
        source
        for source in rows.sources
        if source.domain is domain
        and source.origin is not Origin.ESTIMATED
        and not source.is_beside
    ]
    return together(pieces, channel)


def sum_name(names: Sequence[str]) -> str:
    """Return the name of several channels together."""
    told = " + ".join(names)
    return plain(told) if len(told) <= 32 or len(names) == 1 else f"sum of {len(names)} parts"
