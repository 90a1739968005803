"""How many trials a precision needs, from the spread of those that there are."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scipy import special

from pactmeter.analysis.comparable import comparable
from pactmeter.analysis.stats.compare import describe_set
from pactmeter.analysis.stats.intervals import TAIL
from pactmeter.errors import ConfigError, PactError
from pactmeter.study.report_trial import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.study.results import Study

SCHEMA = 1
MOST = 1_000_000
"""So many trials nobody makes."""
SAFE = 0.8
"""How surely the spread is not larger than what the safe number of trials supposes: the spread of
a few trials is itself uncertain (Kupper and Hafner 1989; Browne 1995 takes 80 %)."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many trials are needed.

    Attributes:
        likely: With the spread as it was seen; None: more than `MOST`.
        safe: With the largest spread that is not unlikely, `SAFE`; None: more than `MOST`.
    """

    likely: int | None
    safe: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """What the trials of one workload say.

    Attributes:
        name: The workload (and of what kind its trials are, where they are of several), or
            ``the runs``.
        channel: What was measured.
        n: Number of trials.
        mean_j: Mean energy, in joules.
        spread_pct: Standard deviation, in percent of the mean.
        half_pct: Half of the 95 % interval of the mean as it is, in percent.
        mean: Trials that bring that half down to the precision wanted.
        difference: Trials of each of two such workloads that do so for their difference.
        note: What speaks against these figures; None: nothing.
    """

    name: str
    channel: str
    n: int
    mean_j: float
    spread_pct: float
    half_pct: float
    mean: Count
    difference: Count
    note: str | None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a precision needs.

    Attributes:
        precision_pct: The precision wanted: half of a 95 % interval, in percent of the mean.
        needs: One for each workload.
        noise_pct: Largest difference between the control workload's first and last trial of a
            block that its 95 % interval allows, in percent; None: there are not two such pairs.
        left_out: What has too few trials, or no energy, and why.
    """

    precision_pct: float
    needs: tuple[Need, ...]
    noise_pct: float | None
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        return {"schema": SCHEMA, **asdict(self)}


def needed_for_study(study: Study, precision_pct: float) -> Needs:
    """Return how many trials each workload of a study needs.

    Raises:
        ConfigError: The precision is none.
        FileError: A run cannot be read.
    """
    kinds: dict[tuple[str, tuple[str, ...]], list[RecordedRun]] = {}
    for name in study.workloads:
        for each in map(counted, study.of(name)):
            kinds.setdefault((name, (*each.world, *each.told)), []).append(each.run)
    several = Counter(name for name, _ in kinds)
    runs = {
        f"{name} ({', '.join(kind) or 'real'})" if several[name] > 1 else name: found
        for (name, kind), found in kinds.items()
    }
    return needed(runs, precision_pct, noise_floor_pct(study))


def needed(
    runs: Mapping[str, Sequence[RecordedRun]], precision_pct: float, noise_pct: float | None = None
) -> Needs:
    """Return how many runs each of some sets needs.

    Args:
        runs: The runs of each set, in the order of their measurement.
        precision_pct: Half of a 95 % interval that is wanted, in percent.
        noise_pct: What the control workload shows, if there is one.

    Raises:
        ConfigError: The precision is none.
    """
    if not 0 < precision_pct < 100:
        raise ConfigError(f"a precision of {precision_pct:g} %", "more than 0, less than 100")
    found, left_out = [], []
    for name, each in runs.items():
        try:
            channel, values = _values(each)
            found.append(_need(name, channel, values, precision_pct))
        except PactError as error:
            left_out.append(f"{name}: {error.message}")
    return Needs(precision_pct, tuple(found), noise_pct, tuple(left_out))


def _need(name: str, channel: str, values: Sequence[float], precision_pct: float) -> Need:
    about = describe_set(values)
    if about.half_pct is None:
        raise PactError("its mean energy is zero")
    spread_pct = 100 * about.spread / about.mean.value
    degrees = len(values) - 1
    # of the sum of squares, that share of a chi-square is above this quantile
    safe_pct = spread_pct * math.sqrt(degrees / float(special.chdtri(degrees, SAFE)))
    counts = [
        Count(
            trials_for(spread_pct, precision_pct, sets), trials_for(safe_pct, precision_pct, sets)
        )
        for sets in (1, 2)
    ]
    return Need(
        name=name,
        channel=channel,
        n=len(values),
        mean_j=about.mean.value,
        spread_pct=spread_pct,
        half_pct=about.half_pct,
        mean=counts[0],
        difference=counts[1],
        note=about.mean.note,
    )


def trials_for(spread_pct: float, precision_pct: float, sets: int = 1) -> int | None:
    """Return how many trials bring half a 95 % interval down to a precision; None: too many.

    Args:
        spread_pct: Standard deviation of the trials, in percent of their mean.
        precision_pct: What is wanted, in percent of the mean.
        sets: 1 for a mean; 2 for a difference of two sets of so many trials each, of that spread.

    >>> trials_for(1.0, 1.0), trials_for(1.0, 1.0, sets=2)
    (7, 9)
    """

    def is_enough(n: int) -> bool:
        factor = float(special.stdtrit(sets * (n - 1), TAIL))
        return factor * spread_pct * math.sqrt(sets / n) <= precision_pct

    n = bisect.bisect_left(range(2, MOST + 1), 1, key=is_enough) + 2
    return n if n <= MOST else None


def _values(runs: Sequence[RecordedRun]) -> tuple[str, list[float]]:
    """Return what is the headline of all runs, and its energies."""
    if len(runs) < 2:
        raise PactError(f"{len(runs)} trial shows no spread", "make two or more")
    channel, sources, values = "", set(), []
    for run in runs:
        found = comparable(run)
        if found.energy is None:
            why = found.gaps or "it has no measured energy"
            raise PactError(f"{run.files.power.name}: {why}")
        channel = found.energy.channel
        sources.add(" + ".join(found.sources))
        values.append(found.energy.energy_j)
    if len(sources) > 1:
        raise PactError(f"its trials were measured by {' and by '.join(sorted(sources))}")
    return channel, values


def noise_floor_pct(study: Study) -> float | None:
    """Return how large a difference the control workload's pairs, which are alike, still allow.

    That is the far end of the 95 % interval of their mean difference: a drift within the blocks
    that is the same in all of them scatters not at all, and would be taken for an effect.
    """
    ratios = []
    for first, last in study.control_pairs:
        try:
            _, (one, other) = _values([first.run(), last.run()])
        except PactError:
            continue
        if one + other > 0:
            ratios.append(200 * (other - one) / (one + other))
    if len(ratios) < 2:
        return None
    mean = math.fsum(ratios) / len(ratios)
    square = math.fsum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1)
    half = float(special.stdtrit(len(ratios) - 1, TAIL)) * math.sqrt(square / len(ratios))
    return abs(mean) + half
