"""The rows of a run as arrays: when each began and ended, and what every source drew in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.analysis.agreement.pairs import LEAST_W, plausible
from pactmeter.analysis.agreement.source import Source, together
from pactmeter.analysis.energy import energy
from pactmeter.errors import ConfigError, PactError, unknown_name
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pactmeter.analysis.agreement.pairs import Array
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

_MEASURED = 0.99
"""Share of a shifted row that must be known."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a run.

    Attributes:
        name: The run's file.
        host: The machine's name.
        arm: Whether its processor is an ARM.
        start_s: When each row began, on the run's clock, in seconds.
        end_s: When it ended.
        sources: Every source of power; those of unknown domain too.
        faulty: Channels that are left out: a reading of theirs is no power.
        lost: Metered channels that are no source, for that or as nothing was read of them.
    """

    name: str
    host: str
    arm: bool
    start_s: Array
    end_s: Array
    sources: tuple[Source, ...]
    faulty: tuple[str, ...] = ()
    lost: tuple[Channel, ...] = ()

    @property
    def window_s(self) -> Array:
        """How long each row is, in seconds."""
        return self.end_s - self.start_s

    @property
    def supplies(self) -> int:
        """How many power supplies there are, with those of which nothing is known."""
        known = {each.device for each in self.sources if each.domain is Domain.DC}
        return len(known) + sum(channel.domain is Domain.DC for channel in self.lost)

    @property
    def meters(self) -> list[Source]:
        """The meters that together tell what the wall gives; of several leads one each."""
        return self._meters if len(self._meters) == self.supplies else self._meters[:1]

    @property
    def _meters(self) -> list[Source]:
        of_ac = (source for source in self.sources if source.domain is Domain.AC)
        return [source for source in of_ac if source.origin is not Origin.ESTIMATED]

    def lacks(self, sources: Sequence[Source]) -> str:
        """Return why sources do not add up to all of their kinds; empty: they do.

        One meter stands for all meters, unless there is one for each of several supplies.
        """
        kinds = {each.domain for each in sources}
        metered = len(self._meters) + sum(channel.domain is Domain.AC for channel in self.lost)
        if metered != self.supplies or self.supplies == 1:
            kinds.discard(Domain.AC)
        names = ", ".join(channel.name for channel in self.lost if channel.domain in kinds)
        return f"{names} gave no power that could be added" if names else ""

    def source(self, channel: str) -> Source | None:
        """Return the source of a channel, None where the run has none."""
        return next((each for each in self.sources if each.channel == channel), None)


def rows_of(run: RecordedRun) -> Rows:
    """Return the rows of a run with all sources of power in watts.

    The second power reading of a GPU is a source too, and so is the sum of a supply's rails where
    its total is a reading of its own.

    Raises:
        PactError: The run has no rows, or they do not follow one another.
    """
    name = run.files.power.name
    ends, windows = _column(run, "read_s"), np.asarray(run.windows_s, np.float64)
    if not ends.size:
        raise PactError(f"{name} has no rows", "leave it out")
    kept = np.isfinite(ends) & (windows > 0)
    ends, windows = ends[kept], windows[kept]
    starts = ends - windows
    if (np.diff(ends) <= 0).any():
        raise PactError(
            f"{name}: its rows do not follow one another", "sort them by time, or leave it out"
        )
    # what rounding leaves of an overlap is none
    starts[1:] = np.maximum(starts[1:], ends[:-1])
    powers = [c for c in run.channels if c.unit is Unit.WATT or c.kind is Kind.ENERGY]
    faulty = [c.name for c in powers if not plausible(_column(run, c.columns[0]))]
    sound = [c for c in powers if c.name not in faulty]
    found = [each for c in sound if (each := _source(run, c, kept)) is not None]
    names = {each.channel for each in found}
    lost = [
        c
        for c in powers
        if c.name not in names and c.kind is not Kind.QUANTITY and c.origin is not Origin.ESTIMATED
    ]
    host = run.manifest.get("host") or {}
    arm = str(host.get("machine") or "").lower().startswith(("arm", "aarch"))
    return Rows(
        name,
        str(host.get("name") or ""),
        arm,
        starts,
        ends,
        (*found, *_rails(run, sound, kept)),
        tuple(faulty),
        tuple(lost),
    )


def _column(run: RecordedRun, name: str) -> Array:
    values = run.columns.get(name) or []
    found: Array = np.array([np.nan if v is None else v for v in values], np.float64)
    found[np.abs(found) < LEAST_W] = 0.0
    return found


def _source(run: RecordedRun, channel: Channel, kept: NDArray[np.bool_]) -> Source | None:
    """Return the source of a channel; None: it is none of power, or nothing was read of it."""
    domain, u_pct = channel.domain, channel.accuracy_pct
    if channel.kind is Kind.QUANTITY:
        if not channel.name.startswith("gpu"):
            return None
        domain = Domain.GPU
    power_w = _column(run, channel.columns[0])
    if power_w.size != kept.size or np.isnan(power_w[kept]).all():
        return None
    if channel.kind is not Kind.QUANTITY:
        whole = energy(run, channel)
        known = whole.u_j is not None and whole.energy_j > 0
        u_pct = 100 * (whole.u_j or 0.0) / whole.energy_j if known else None
    return Source(
        channel.name,
        domain,
        power_w[kept],
        u_pct,
        channel.synthetic,
        channel.origin,
        channel.kind is Kind.ENERGY,
        channel.description,
    )


def _rails(run: RecordedRun, sound: list[Channel], kept: NDArray[np.bool_]) -> list[Source]:
    """Return, for each supply with a total of its own, the sum of its rails."""
    found = []
    for total in sound:
        supply = total.name.removesuffix(".dc_output")
        if supply == total.name or "sum of" in total.description:
            continue
        rails = [
            Source(c.name, Domain.DC, power_w[kept], c.accuracy_pct, c.synthetic, c.origin)
            for c in sound
            if c.name.startswith(f"{supply}.rail.")
            and (power_w := _column(run, c.columns[0])).size == kept.size
        ]
        if len(rails) > 1:
            rails[0] = replace(rails[0], label=f"sum of the {len(rails)} rails of {supply}")
            found.append(together(rails, f"{supply}.rail.*"))
    return found


def shifted(rows: Rows, lag_s: Mapping[str, float]) -> Rows:
    """Return the rows as they would be without the delays of their sources.

    Args:
        rows: The rows.
        lag_s: How much later than the load a channel tells of it, in seconds, by its name.

    Raises:
        ConfigError: A name is not one of the sources, or a delay is no number.
    """
    for name, each_s in lag_s.items():
        if rows.source(name) is None:
            raise unknown_name("channel", name, [each.channel for each in rows.sources])
        if not np.isfinite(each_s):
            raise ConfigError(f"a delay of {each_s} s of {name}")
    return replace(
        rows,
        sources=tuple(
            replace(each, power_w=shifted_w(rows, each.power_w, lag_s[each.channel]))
            if each.channel in lag_s
            else each
            for each in rows.sources
        ),
    )


def aligned(rows: Rows, reference: str, source: str, lag_s: float) -> Rows:
    """Return the rows with the delay of a source behind another taken out.

    Each is shifted by half of it, so that what a shift by a part of a row mixes is alike in both.
    """
    return shifted(rows, {reference: -lag_s / 2, source: lag_s / 2})


def shifted_w(rows: Rows, power_w: Array, lag_s: float) -> Array:
    """Return a power as it would be read without a delay, in watts; NaN where that is not known.

    Within a row the power is taken to be even: what a shift by a part of a row mixes is then
    what lies in that part.
    """
    edges = np.column_stack([rows.start_s, rows.end_s]).ravel()
    known = ~np.isnan(power_w)
    time_s = np.where(known, rows.window_s, 0.0)
    joules = np.where(known, power_w, 0.0) * time_s

    def between(amounts: Array) -> Array:
        """Return how much of what adds up lies in each row, shifted."""
        total = np.cumsum(np.column_stack([np.zeros_like(amounts), amounts]).ravel())
        start, end = (np.interp(at + lag_s, edges, total) for at in (rows.start_s, rows.end_s))
        found: Array = end - start
        return found

    covered_s, energy_j = between(time_s), between(joules)
    enough = (covered_s > 0) & (covered_s >= _MEASURED * rows.window_s)
    return np.divide(energy_j, covered_s, out=np.full_like(covered_s, np.nan), where=enough)


@dataclass(frozen=True, slots=True)
class Spans:
    """Rows joined into spans of time in which all of some sources have readings.

    Attributes:
        middle_s: Middle of each span on the run's clock, in seconds.
        time_s: How much of it is known, in seconds.
        energy_j: Joules of each source in each span: a row for each source.
    """

    middle_s: Array
    time_s: Array
    energy_j: Array

    @property
    def power_w(self) -> Array:
        """Mean power of each source in each span, in watts."""
        found: Array = self.energy_j / self.time_s
        return found

    def whole(self, span_s: float) -> Spans:
        """Return those of which at least half is known: the others scatter more."""
        kept = self.time_s >= 0.5 * span_s
        return Spans(self.middle_s[kept], self.time_s[kept], self.energy_j[:, kept])


def spans(rows: Rows, sources: Sequence[Source], span_s: float) -> Spans:
    """Join rows into spans: over short ones a sensor that lags another errs at every step of load.

    Args:
        rows: The rows of a run.
        sources: Some sources of it.
        span_s: How long a span is, in seconds; a row that is longer is a span of its own.

    Raises:
        ConfigError: The length is not above zero.
        PactError: There is no row in which all sources have a reading.
    """
    if not 0 < span_s < np.inf:
        raise ConfigError(f"spans of {span_s:g} s", "give a time above zero")
    powers = np.stack([each.power_w for each in sources])
    names = ", ".join(each.channel for each in sources)
    known = ~np.isnan(powers).any(axis=0)
    if not known.any():
        raise PactError(f"{rows.name}: there is no row in which {names} all have a reading")
    starts, lengths = rows.start_s[known], rows.window_s[known]
    # on a grid from the first row on: what is missing makes a span shorter, not longer
    place = np.floor((starts - starts[0] + lengths / 2) / span_s)
    _, span = np.unique(place, return_inverse=True)
    time_s: Array = np.bincount(span, lengths).astype(np.float64)
    return Spans(
        np.bincount(span, (starts + lengths / 2) * lengths) / time_s,
        time_s,
        np.stack([np.bincount(span, power * lengths) for power in powers[:, known]]),
    )
