"""All that the sources of some runs say of one another, for `pactmeter compare`."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from pactmeter.analysis.agreement.beside import beside
from pactmeter.analysis.agreement.matching import candidates, compared
from pactmeter.analysis.agreement.pairs import NO_POWER, WHICH_CHANNEL
from pactmeter.analysis.agreement.remainder import Remainder, pooled, remainder
from pactmeter.analysis.agreement.result import Agreement, Refused
from pactmeter.analysis.agreement.rows import Rows, rows_of, shifted
from pactmeter.analysis.agreement.source import Source, together
from pactmeter.errors import ConfigError, PactError, unknown_name
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pactmeter.analysis.run import RecordedRun

SPAN_S = 10.0
"""Length of the spans that are compared where none is asked for: long against any sensor's lag."""


def compare_sources(
    runs: Sequence[RecordedRun],
    *,
    span_s: float = SPAN_S,
    lag: Mapping[str, float] | str | None = None,
    channels: Sequence[str] = (),
    errors_w: tuple[float, float] = (1.0, 1.0),
    tdp_w: float | None = None,
    ram_bytes: int | None = None,
) -> Agreement:
    """Compare the sources of some runs of one machine with one another.

    Equal measurands are compared by bias, limits of agreement and a line; unequal ones by what the
    parts leave of the whole. Every two sources of a domain and device are a pair.

    Args:
        runs: The runs, each once.
        span_s: Length of the spans of time that are compared, in seconds.
        lag: Delays of channels in seconds, by name, as `pactmeter sync` finds them: they are taken
            out. ``"find"``: that of each pair is looked for in its own series, and taken out
            where it is the only one that fits. None: nothing is shifted.
        channels: Compare these alone; each two of them are compared, or refused with the reason.
        errors_w: How large the random errors of reference and source are, for the line; only
            their ratio counts.
        tdp_w: Thermal design power of all processors in watts, for the estimators that need it.
        ram_bytes: Size of the memory, for the estimators that need it.

    Raises:
        ConfigError: An option is wrong, a run is given twice, or runs are of several machines, or
            some synthetic and others not.
        PactError: There is no run with rows.
    """
    if isinstance(lag, str) and lag != "find":
        raise unknown_name("lag", lag, ["find"])
    if not 0 < span_s < float("inf"):
        raise ConfigError(f"spans of {span_s:g} s", "give a time above zero")
    refused: list[Refused] = []
    found = _readable(runs, refused)
    refused += [
        Refused(f"{rows.name}: {channel}", NO_POWER, WHICH_CHANNEL)
        for rows in found
        for channel in rows.faulty
    ]
    lag_s = {} if lag is None or isinstance(lag, str) else dict(lag)
    known = {source.channel for rows in found for source in rows.sources}
    refused += [
        Refused(f"the delay of {name}", "no run has that channel", "sync this machine again")
        for name in lag_s
        if name not in known
    ]
    plain = _chosen(found, channels)
    table = [
        shifted(rows, {name: each_s for name, each_s in lag_s.items() if rows.source(name)})
        for rows in plain
    ]
    refused += _of_unknown_domain(table)
    pairs = []
    names, of_pairs = candidates(table, named=bool(channels))
    refused += of_pairs
    for each in names:
        try:
            # two readings of one device, of which the delay of one alone is known, stay as they are
            of_one = each[1].startswith(f"{each[0]}.") and sum(n in lag_s for n in each) == 1
            of = plain if of_one else table
            pairs.append(compared(of, each, span_s, errors_w, finds_lag=lag == "find"))
        except ConfigError:
            raise
        except PactError as error:
            refused.append(Refused(" and ".join(each), error.message, error.fix))
    remainders = _remainders(table, span_s, refused)
    return Agreement(
        tuple(rows.name for rows in found),
        found[0].host,
        next((each.synthetic for rows in found for each in rows.sources if each.synthetic), None),
        span_s,
        lag_s,
        tuple(pairs),
        tuple(remainders),
        tuple(beside(rows, tdp_w, ram_bytes) for rows in found),
        tuple(refused),
    )


def _readable(runs: Sequence[RecordedRun], refused: list[Refused]) -> list[Rows]:
    """Return the rows of the runs that have any; refuse runs that must not stand together."""
    found = []
    for run in runs:
        try:
            found.append(rows_of(run))
        except PactError as error:
            refused.append(Refused(run.files.power.name, error.message, error.fix))
    if not found:
        why = "; ".join(each.why for each in refused) or "no run was given"
        raise PactError(f"there is nothing to compare: {why}", "name a run that PACT has recorded")
    paths = [run.files.power for run in runs]
    if len(set(paths)) < len(paths):
        raise ConfigError("a run is given twice: it would count as two", "name each run once")
    hosts = sorted({rows.host for rows in found if rows.host})
    if len(hosts) > 1:
        raise ConfigError(
            f"the runs are of several machines ({', '.join(hosts)})",
            "compare the sources of one machine at a time",
        )
    for (name, label), others in itertools.groupby(
        sorted({(s.channel, s.label, s.synthetic or "real") for r in found for s in r.sources}),
        key=lambda each: each[:2],
    ):
        marks = [mark for *_, mark in others]
        if len(marks) > 1:
            raise ConfigError(
                f"{name} ({label}) is {' in one run and '.join(marks)} in another",
                "compare what was measured on one machine",
            )
    worlds = {s.synthetic for rows in found for s in rows.sources}
    if len(found) > 1 and None in worlds and len(worlds) > 1:
        raise ConfigError(
            "some sources are real, others are of an emulated or replayed machine",
            "compare what was measured on one machine",
        )
    return found


def _chosen(found: list[Rows], channels: Sequence[str]) -> list[Rows]:
    """Return the rows with the channels asked for alone.

    Raises:
        ConfigError: None of the runs has such a channel.
    """
    if not channels:
        return found
    known = sorted({each.channel for rows in found for each in rows.sources})
    for name in channels:
        if name not in known:
            raise unknown_name("channel", name, known)
    return [
        replace(rows, sources=tuple(each for each in rows.sources if each.channel in channels))
        for rows in found
    ]


def _of_unknown_domain(table: list[Rows]) -> list[Refused]:
    names = {
        each.channel
        for rows in table
        for each in rows.sources
        # a rail is known to be a part of its supply, and is in the sum of the rails
        if each.domain is None and ".rail." not in each.channel
    }
    return [
        Refused(name, "what part of the machine it covers is unknown") for name in sorted(names)
    ]


def _remainders(table: Sequence[Rows], span_s: float, refused: list[Refused]) -> list[Remainder]:
    """Return what each whole draws beyond its parts, over all runs that have both."""
    found: dict[tuple[str, tuple[str, ...]], list[Remainder]] = defaultdict(list)
    place: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, rows in enumerate(table):
        for whole, parts in _wholes(rows):
            names = (whole.channel, tuple(part.channel for part in parts))
            try:
                if why := rows.lacks((whole, *parts)):
                    raise PactError(why, "the gaps in its manifest have the reasons")
                found[names].append(remainder(rows, whole, parts, span_s))
                place[names].append(number)
            except PactError as error:
                beyond = ", ".join(names[1]) or "its parts"
                what = f"{rows.name}: what {whole.channel} draws beyond {beyond}"
                refused.append(Refused(what, error.message, error.fix))
    return [pooled(each, place[names]) for names, each in found.items() if each]


def _wholes(rows: Rows) -> Iterator[tuple[Source, tuple[Source, ...]]]:
    """Yield every whole that is measured with its parts; estimates are neither."""
    measured = [s for s in rows.sources if s.origin is not Origin.ESTIMATED]
    cpu = [s for s in measured if s.domain in {Domain.PACKAGE, Domain.DRAM}]
    # the second power reading of a GPU is no second GPU
    gpus = [s for s in measured if s.domain is Domain.GPU and not s.is_beside]
    supplies = [s for s in measured if s.domain is Domain.DC and not s.is_beside]
    if rows.meters:
        whole = together(rows.meters, "wall.*")
        if supplies:
            yield whole, tuple(supplies)
        yield whole, (*cpu, *gpus)
    if supplies:
        yield together(supplies, "psu*.dc_output"), (*cpu, *gpus)
    for platform in (s for s in measured if s.domain is Domain.PSYS):
        yield platform, tuple(cpu)
