"""Whether counters may stand side by side in a linear model: collinearity and additivity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pandas as pd

MOST_VIF = 10.0
MOST_OFF_PCT = 5.0
_EXACT = 1e-10
"""Share of a feature's variance below which the others give all of it."""


@dataclass(frozen=True, slots=True)
class Additivity:
    """How a count over A and then B compares with those of A and of B alone.

    Attributes:
        feature: The rate of the event.
        off_pct: Count of both together over the sum of each, less one, in percent.
    """

    feature: str
    off_pct: float

    @property
    def holds(self) -> bool:
        """Whether the event may be used in a linear model."""
        return abs(self.off_pct) <= MOST_OFF_PCT

    @property
    def reason(self) -> str:
        """Why it may not, in words."""
        return f"not additive: A and then B counts {self.off_pct:+.3g} % against A plus B"


def vif(features: pd.DataFrame) -> dict[str, float]:
    """Return the variance inflation factor of each feature: 1 / (1 - R2) on all others.

    Infinite where the others give a feature exactly. A constant feature must not be among them.
    """
    scaled = _standard(features)
    result = {}
    for place, name in enumerate(features.columns):
        others = np.delete(scaled, place, axis=1)
        solution = np.linalg.lstsq(others, scaled[:, place], rcond=None)[0]
        left = float(np.mean((scaled[:, place] - others @ solution) ** 2))
        result[str(name)] = math.inf if left < _EXACT else max(1.0, 1 / left)
    return result


def condition_number(features: pd.DataFrame) -> float:
    """Return the largest over the smallest singular value of the standardised features."""
    if features.shape[1] < 2:
        return 1.0
    return float(np.linalg.cond(_standard(features)))


def _standard(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    values = features.to_numpy(float)
    scaled: npt.NDArray[np.float64] = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled


def constant(features: pd.DataFrame) -> list[str]:
    """Return the features that do not vary, to rounding."""
    values = features.to_numpy(float)
    still = values.std(axis=0) <= 1e-9 * np.abs(values).max(axis=0)
    return [str(name) for name, is_still in zip(features.columns, still, strict=True) if is_still]


def eliminate(features: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    """Leave out one feature after the other until no VIF is 10 or more.

    The worst goes first; of equally bad ones the last.

    Returns:
        The names that stay, and the reason for each that does not.
    """
    dropped = dict.fromkeys(constant(features), "it does not vary")
    kept = [str(name) for name in features.columns if name not in dropped]
    while kept:
        factors = vif(features[kept])
        worst = max(reversed(kept), key=factors.__getitem__)
        if factors[worst] < MOST_VIF:
            break
        told = "the others give it exactly"
        if math.isfinite(factors[worst]):
            told = f"the others give it (VIF {factors[worst]:.3g})"
        dropped[worst] = told
        kept.remove(worst)
    return kept, dropped


def additivity(
    first: Mapping[str, float], second: Mapping[str, float], both: Mapping[str, float]
) -> list[Additivity]:
    """Compare the counts of two runs with those of one that did both in turn (Shahid 2017).

    Args:
        first: Total of each event over A.
        second: Total of each event over B.
        both: Total of each event over A and then B.

    Raises:
        PactError: The runs have no event in common.
    """
    events = [name for name in both if name in first and name in second]
    if not events:
        raise PactError("the three runs of an additivity test have no event in common")
    result = []
    for name in events:
        apart = first[name] + second[name]
        off_pct = 0.0 if both[name] == apart else math.inf
        if apart > 0:
            off_pct = 100 * (both[name] / apart - 1)
        result.append(Additivity(name, off_pct))
    return result
