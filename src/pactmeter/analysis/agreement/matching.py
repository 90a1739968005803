"""Which sources of some runs are a pair, and each pair compared."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pactmeter.analysis.agreement.deming import deming
from pactmeter.analysis.agreement.lag import Lag, find_lag
from pactmeter.analysis.agreement.limits import ratio_limits
from pactmeter.analysis.agreement.pairs import pair
from pactmeter.analysis.agreement.result import Refused, SourcePair
from pactmeter.analysis.agreement.rows import aligned, spans
from pactmeter.analysis.agreement.scores import bias, scores
from pactmeter.analysis.agreement.source import Source, require_same_measurand
from pactmeter.analysis.gpu_update import Unknown
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.analysis.agreement.rows import Rows

_WEAKNESS = (Origin.MEASURED, Origin.MODELLED, Origin.ESTIMATED)

_T = TypeVar("_T")


def candidates(
    table: Sequence[Rows], *, named: bool
) -> tuple[list[tuple[str, str]], list[Refused]]:
    """Return reference and source of every pair of equal measurands, and what is refused.

    Pairs of different parts of the machine or of different devices are not worth a word.

    Args:
        table: The rows of the runs.
        named: Whether the channels were asked for by name: then every two of them are.
    """
    told: dict[tuple[str, str], Refused | None] = {}
    for rows in table:
        for two in itertools.combinations([s for s in rows.sources if s.domain is not None], 2):
            reference, source = sorted(two, key=_strength)
            key = (reference.channel, source.channel)
            alike = reference.domain is source.domain and (
                reference.device == source.device or reference.domain is Domain.AC
            )
            if key in told or not (alike or named):
                continue
            told[key] = None
            try:
                require_same_measurand(reference, source, supplies=rows.supplies)
            except ConfigError as error:
                told[key] = Refused(" and ".join(key), error.message, error.fix)
    pairs = [key for key, refused in told.items() if refused is None]
    return pairs, [refused for refused in told.values() if refused is not None]


def _strength(source: Source) -> tuple[int, bool, bool, str]:
    """Return what makes a source the reference of another: least is strongest."""
    rails = source.channel.endswith(".rail.*")
    return _WEAKNESS.index(source.origin), rails, not source.counts, source.channel


def compared(
    table: Sequence[Rows],
    channels: tuple[str, str],
    span_s: float,
    errors_w: tuple[float, float],
    *,
    finds_lag: bool,
) -> SourcePair:
    """Compare two channels over all runs in which both are.

    Args:
        table: The rows of the runs.
        channels: Reference and source.
        span_s: Length of the spans that are compared, in seconds.
        errors_w: How large the random errors of reference and source are.
        finds_lag: Whether the delay is looked for, and taken out where it is sure.

    Raises:
        ConfigError: An error is not above zero.
        PactError: They are not the same devices in all runs, or never have readings together.
    """
    name, other = channels
    both = [r for r in table if r.source(name) is not None and r.source(other) is not None]
    labels = {(_of(rows, name).label, _of(rows, other).label) for rows in both}
    if len(labels) > 1:
        told = "; ".join(" and ".join(each) for each in sorted(labels))
        raise PactError(
            f"they are not the same devices in all runs: {told}", "compare the runs one by one"
        )
    lag: Lag | Unknown | None = None
    if finds_lag:
        lag = _or_unknown(lambda: find_lag(both, name, other))
        if isinstance(lag, Lag) and lag.applied:
            both = [aligned(rows, name, other, lag.lag_s.value) for rows in both]
    powers, reasons = [], []
    for rows in both:
        try:
            found = spans(rows, (_of(rows, name), _of(rows, other)), span_s).whole(span_s)
            if not found.time_s.size:
                raise PactError(f"{rows.name}: no span of {span_s:g} s is half covered by both")
            powers.append(found.power_w)
        except PactError as error:
            reasons.append(error.message)
    if not powers:
        raise PactError("; ".join(dict.fromkeys(reasons)))
    pairs = pair([each[0] for each in powers], [each[1] for each in powers])
    first, second = _of(both[0], name), _of(both[0], other)
    return SourcePair(
        name,
        other,
        first.domain or Domain.MACHINE,
        (first.origin, second.origin),
        (_stated_pct(both, name), _stated_pct(both, other)),
        len(powers),
        pairs.windows,
        _or_unknown(lambda: bias(pairs)),
        _or_unknown(lambda: ratio_limits(pairs)),
        _or_unknown(lambda: deming(pairs, errors_w)),
        _or_unknown(lambda: scores(pairs)),
        lag,
    )


def _of(rows: Rows, channel: str) -> Source:
    found = rows.source(channel)
    if found is None:
        raise PactError(f"{rows.name} has no {channel}")
    return found


def _stated_pct(both: Sequence[Rows], channel: str) -> float | None:
    """Return the largest uncertainty that a channel states in a run; None where one is unknown."""
    stated = [_of(rows, channel).u_pct for rows in both]
    known = [each for each in stated if each is not None]
    return float(np.max(known)) if len(known) == len(stated) else None


def _or_unknown(figure: Callable[[], _T]) -> _T | Unknown:
    """Return a figure, or why these data do not give it."""
    try:
        return figure()
    except ConfigError:
        raise
    except PactError as error:
        fix = f" ({error.fix})" if error.fix else ""
        return Unknown(error.message + fix)
