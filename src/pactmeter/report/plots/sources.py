"""Which sources a picture shows, and the colour, dash and name of each."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from pactmeter.analysis.agreement.pairs import NO_POWER as BAD_POWER
from pactmeter.analysis.agreement.pairs import WHICH_CHANNEL
from pactmeter.analysis.agreement.rows import rows_of
from pactmeter.analysis.agreement.source import together
from pactmeter.errors import PactError, unknown_name
from pactmeter.model.channel import Domain, Origin, mark
from pactmeter.report.plots.style import BLACK, CYCLE, dash, label, plain, sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.lines import Line2D

    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.report.plots.style import Dash

_INSIDE = frozenset({Domain.CORE, Domain.UNCORE})
"""Parts of a package: drawn where they are asked for."""
_MOST_LETTERS = 40
NO_POWER = "`pactmeter plot counters` draws what was counted"


def power_rows(run: RecordedRun) -> Rows:
    """Return the rows of a run that has power.

    Raises:
        PactError: It has none.
    """
    rows = rows_of(run)
    if rows.faulty and not rows.sources:
        faulty = ", ".join(map(plain, rows.faulty))
        raise PactError(f"{rows.name} has no power to draw: {faulty}: {BAD_POWER}", WHICH_CHANNEL)
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


def samples(sources: Iterable[Source], colour_of: Mapping[str, str]) -> list[Line2D]:
    """Return the lines of a legend: one for each source, or for those that look alike."""
    return [sample(name, colour, style) for name, colour, style in alike(sources, colour_of)]


def alike(sources: Iterable[Source], colour_of: Mapping[str, str]) -> list[tuple[str, str, Dash]]:
    """Return name, colour and dash of each source, of those that look alike together.

    What is measured in one run and modelled in another is named twice.
    """
    found: dict[tuple[str, Dash], dict[str, Source]] = {}
    for source in sources:
        look = (colour_of[source.channel], dash(source.origin, source.synthetic))
        found.setdefault(look, {})[source.channel] = source
    return [
        (_joint_label(list(of.values())), colour, style) for (colour, style), of in found.items()
    ]


def _joint_label(sources: list[Source]) -> str:
    first, last = sources[0], sources[-1].channel
    more = f" … {last} ({len(sources)})" if len(sources) > 1 else ""
    return label(f"{first.channel}{more}", first.origin, first.synthetic)


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


def sum_name(parts: Sequence[Source]) -> str:
    """Return the name of several sources together, with what must be known of them."""
    marks = [mark(part.origin, part.synthetic).strip(" ()") for part in parts]
    of_all = marks[0] if len(set(marks)) == 1 else ""
    names = [
        part.channel + (f" ({told})" if told and not of_all else "")
        for part, told in zip(parts, marks, strict=True)
    ]
    told = " + ".join(names)
    if len(told) > _MOST_LETTERS and len(parts) > 1:
        told = f"sum of {len(parts)} parts"
        some = [f"{n} {each}" for each, n in Counter(filter(None, marks)).items() if not of_all]
        told += f" ({'; '.join(some)})" if some else ""
    return plain(told, _MOST_LETTERS) + (f" ({of_all})" if of_all else "")


def excess(left: Remainder) -> str:
    """Return what is to be said where parts exceed their whole; empty where they do not."""
    if left.violated:
        return "the parts exceed the whole beyond U: one of them is wrong"
    if left.violations:
        return f"in {left.violations} of {left.load_w.size} spans the parts exceed it beyond U"
    if left.energy_j < 0:
        known = "within U" if left.u_j is not None else "and U is unknown"
        return f"the parts exceed the whole, {known}"
    return ""
