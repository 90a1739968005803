"""What a comparison of sources comes to: figures with their intervals, and what was refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.agreement.deming import Line
from pactmeter.analysis.agreement.lag import Lag

if TYPE_CHECKING:
    from pactmeter.analysis.agreement.beside import Beside
    from pactmeter.analysis.agreement.limits import Limits
    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.scores import Bias, Scores
    from pactmeter.analysis.gpu_update import Unknown
    from pactmeter.model.channel import Domain, Origin

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """What was not compared.

    Attributes:
        what: What it would have been.
        why: Why not.
        fix: What to do about it, where that is known.
    """

    what: str
    why: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class SourcePair:
    """Two sources of one measurand, compared over the same spans of time.

    Attributes:
        reference: Channel of what is compared with: measured before modelled before estimated, a
            counter of energy before readings of power.
        source: Channel of what is compared.
        domain: What both measure.
        origins: Where the figures of reference and source come from.
        u_pct: Uncertainties (k=2) that reference and source state of themselves, in percent of
            the energy; None where one does not know.
        runs: How many runs both are in.
        spans: How many spans of time were compared.
        bias: By how much the source says more.
        limits_pct: Bland-Altman limits of the ratio, in percent of the reference.
        line: Deming gain and offset.
        scores: MAPE, WMAPE and R2.
        lag: By how much the source is later, where it was looked for; see `Lag.applied`.
    """

    reference: str
    source: str
    domain: Domain
    origins: tuple[Origin, Origin]
    u_pct: tuple[float | None, float | None]
    runs: int
    spans: int
    bias: Bias | Unknown
    limits_pct: Limits | Unknown
    line: Line | Unknown
    scores: Scores | Unknown
    lag: Lag | Unknown | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what is unknown is ``{"reason": ...}``."""
        data = asdict(self)
        if isinstance(self.line, Line):
            data["line"]["variance_ratio"] = self.line.variance_ratio
        if isinstance(self.lag, Lag):
            data["lag"]["applied"] = self.lag.applied
        return data


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the sources of some runs say of one another.

    Attributes:
        runs: Files of the runs.
        host: Name of the machine.
        synthetic: None for real hardware.
        span_s: Length of the spans that were compared, in seconds.
        lag_s: Delays of channels that were taken out before all comparisons, in seconds.
        pairs: Sources of equal measurands: their differences are errors of one of them.
        remainders: Wholes less their parts: what is left is no error.
        beside: What tools of the field would have said, run by run.
        refused: What was not compared, and why.
    """

    runs: tuple[str, ...]
    host: str
    synthetic: str | None
    span_s: float
    lag_s: dict[str, float]
    pairs: tuple[SourcePair, ...]
    remainders: tuple[Remainder, ...]
    beside: tuple[Beside, ...]
    refused: tuple[Refused, ...]

    @property
    def first_line(self) -> str:
        """What must be said before any figure."""
        count = len(self.runs)
        text = f"sources within {count} run{'s' * (count != 1)}"
        text += f" of {self.host}" if self.host else ""
        text += f", compared over spans of {self.span_s:g} s"
        return text + (f"  [{self.synthetic} devices]" if self.synthetic else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        return {
            "schema": SCHEMA,
            "runs": list(self.runs),
            "host": self.host,
            "synthetic": self.synthetic,
            "span_s": self.span_s,
            "lag_s": dict(self.lag_s),
            "pairs": [each.to_dict() for each in self.pairs],
            "remainders": [each.to_dict() for each in self.remainders],
            "beside": [each.to_dict() for each in self.beside],
            "refused": [asdict(each) for each in self.refused],
        }
