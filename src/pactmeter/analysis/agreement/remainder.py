"""What a whole draws that none of its measured parts covers: over time, and against the load.

A power supply and RAPL + NVML do not measure the same, so their difference is no error: it is
memory, board, disks, fans and converters. Conservation says that it is not negative; it is violated
only where it is negative beyond the combined uncertainty.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.analysis.agreement.rows import spans
from pactmeter.analysis.agreement.source import require_parts
from pactmeter.errors import PactError
from pactmeter.model.channel import Domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.agreement.pairs import Array
    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source

_RAPL = frozenset({Domain.PACKAGE, Domain.CORE, Domain.UNCORE, Domain.DRAM, Domain.PSYS})


@dataclass(frozen=True, slots=True)
class LoadBin:
    """The remainder at one load.

    Attributes:
        load_w: Mean power of the whole in these spans, in watts.
        remainder_w: Mean of what is not covered, in watts.
        u_w: Uncertainty (k=2) in watts; None where that of a source is unknown. It is that of
            the sensors, and the same way off in all spans.
        spans: How many spans there are.
    """

    load_w: float
    remainder_w: float
    u_w: float | None
    spans: int

    @property
    def share_pct(self) -> float | None:
        """What is not covered, in percent of the whole."""
        return 100 * self.remainder_w / self.load_w if self.load_w > 0 else None


@dataclass(frozen=True, slots=True)
class Remainder:
    """A whole less its parts, over the time in which all of them have readings.

    Attributes:
        whole: The channel of the whole.
        parts: Those of the parts.
        run: Which run each span is of, from 0 on.
        middle_s: Middle of each span on its run's clock, in seconds.
        load_w: Mean power of the whole in each span, in watts.
        remainder_w: What is not covered in each, in watts.
        span_u_w: Its uncertainty (k=2) in watts; None where that of a source is unknown.
        energy_j: What is not covered in all, in joules.
        u_j: Its uncertainty (k=2) in joules; None where that of a source is unknown.
        whole_j: Energy of the whole in the same time, in joules.
        covered_s: Time in which all have readings, in seconds.
    """

    whole: str
    parts: tuple[str, ...]
    run: Array
    middle_s: Array
    load_w: Array
    remainder_w: Array
    span_u_w: Array | None
    energy_j: float
    u_j: float | None
    whole_j: float
    covered_s: float

    @property
    def share_pct(self) -> float | None:
        """What is not covered, in percent of the whole; None where that drew nothing."""
        return 100 * self.energy_j / self.whole_j if self.whole_j > 0 else None

    @property
    def violations(self) -> int | None:
        """Spans in which the parts exceed the whole beyond U; None where U is unknown."""
        if self.span_u_w is None:
            return None
        return int(np.count_nonzero(self.remainder_w < -self.span_u_w))

    @property
    def violated(self) -> bool | None:
        """Whether the parts exceed the whole over all of the time; None: cannot be said."""
        return None if self.u_j is None else self.energy_j < -self.u_j

    def by_load(self, bins: int = 5) -> list[LoadBin]:
        """Return the remainder against the load, in so many bins of equally many spans.

        There are fewer bins where there are fewer spans.

        Raises:
            PactError: The number of bins is not above zero.
        """
        if bins < 1:
            raise PactError(f"{bins} bins of load", "give a number above zero")
        order = np.argsort(self.load_w, kind="stable")
        return [
            LoadBin(
                float(self.load_w[chosen].mean()),
                float(self.remainder_w[chosen].mean()),
                None if self.span_u_w is None else float(self.span_u_w[chosen].mean()),
                chosen.size,
            )
            for chosen in np.array_split(order, min(bins, order.size))
        ]

    def to_dict(self, bins: int = 5) -> dict[str, Any]:
        """Return it as plain data: over the load in bins, over time span by span."""
        u_w = self.span_u_w
        return {
            "whole": self.whole,
            "parts": list(self.parts),
            "energy_j": self.energy_j,
            "u_j": self.u_j,
            "whole_j": self.whole_j,
            "share_pct": self.share_pct,
            "covered_s": self.covered_s,
            "violations": self.violations,
            "violated": self.violated,
            "by_load": [
                {
                    "load_w": each.load_w,
                    "remainder_w": each.remainder_w,
                    "u_w": each.u_w,
                    "share_pct": each.share_pct,
                    "spans": each.spans,
                }
                for each in self.by_load(bins)
            ],
            "over_time": {
                "run": [int(each) for each in self.run],
                "middle_s": self.middle_s.tolist(),
                "load_w": self.load_w.tolist(),
                "remainder_w": self.remainder_w.tolist(),
                "u_w": None if u_w is None else u_w.tolist(),
            },
        }


def remainder(rows: Rows, whole: Source, parts: Sequence[Source], span_s: float) -> Remainder:
    """Return what a whole draws beyond its parts in one run.

    Args:
        rows: The rows of the run.
        whole: Such as the DC output of the power supply.
        parts: Such as packages and GPUs; none may contain another.
        span_s: Rows are joined into spans of so many seconds.

    Raises:
        ConfigError: The sources are no whole and its parts.
        PactError: There is no row in which all of them have a reading.
    """
    parts = tuple(parts)
    require_parts(whole, parts)
    found = spans(rows, (whole, *parts), span_s)
    u_j = _combined((whole, *parts), found.energy_j)
    total_u_j = _combined((whole, *parts), found.energy_j.sum(axis=1, keepdims=True))
    left_j = found.energy_j[0] - found.energy_j[1:].sum(axis=0)
    return Remainder(
        whole.channel,
        tuple(part.channel for part in parts),
        np.zeros(left_j.size),
        found.middle_s,
        found.power_w[0],
        left_j / found.time_s,
        None if u_j is None else u_j / found.time_s,
        float(left_j.sum()),
        None if total_u_j is None else float(total_u_j[0]),
        float(found.energy_j[0].sum()),
        float(found.time_s.sum()),
    )


def pooled(found: Sequence[Remainder], runs: Sequence[int]) -> Remainder:
    """Return the remainders of several runs as one; sensors err alike in all of them.

    Args:
        found: Those of the same whole and parts.
        runs: Which run each is of.
    """
    first = found[0]
    known = [each.span_u_w for each in found if each.span_u_w is not None]
    totals = [each.u_j for each in found if each.u_j is not None]
    all_known = len(known) == len(found)
    return Remainder(
        first.whole,
        first.parts,
        np.repeat(np.asarray(runs, np.float64), [each.run.size for each in found]),
        np.concatenate([each.middle_s for each in found]),
        np.concatenate([each.load_w for each in found]),
        np.concatenate([each.remainder_w for each in found]),
        np.concatenate(known) if all_known else None,
        sum(each.energy_j for each in found),
        sum(totals) if all_known else None,
        sum(each.whole_j for each in found),
        sum(each.covered_s for each in found),
    )


def _combined(sources: tuple[Source, ...], joules: Array) -> Array | None:
    """Return U (k=2) of the difference in joules: sensors of one kind err alike, others do not.

    All of RAPL is one kind and all GPUs are another: theirs add linearly (GUM, JCGM 100, 5.2.2, for
    errors that are wholly correlated); kinds and the whole add in squares.
    """
    kinds: dict[str, Array] = defaultdict(lambda: np.zeros_like(joules[0]))
    for place, (source, energy_j) in enumerate(zip(sources, joules, strict=True)):
        if source.u_pct is None:
            return None
        kind = "rapl" if source.domain in _RAPL else str(source.domain)
        kinds["whole" if place == 0 else kind] += source.u_pct / 100 * energy_j
    found: Array = np.sqrt(np.sum([each * each for each in kinds.values()], axis=0))
    return found
