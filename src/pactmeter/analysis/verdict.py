"""How good a run is: automatic checks, and the accuracy level they leave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

UNCALIBRATED_PCT = 5
"""The best level without a calibration; the levels are 1, 2 and 5 % (EEHPC)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its number (reference: Q1 to Q17), outcome, figure, and what to do."""

    id: str
    outcome: str
    figure: float | None
    text: str


def verdict(run: RecordedRun, figure: Energy | None) -> dict[str, Any]:
    """Return the level and the checks of the headline figure."""
    if figure is None:
        found = "nothing that was found gave one" if run.channels else "no source was found"
        text = f"no measured energy: {found} (`pactmeter doctor` says why)"
        checks = [Check("Q1", "fail", None, text)]
    else:
        checks = [_coverage(figure), _gaps(run, figure), _duration(run)]
    return {
        "level": _level(figure, checks),
        "checks": [
            {"id": c.id, "outcome": c.outcome, "figure": c.figure, "text": c.text} for c in checks
        ],
    }


def _level(figure: Energy | None, checks: list[Check]) -> str:
    """The smallest of 1, 2 and 5 % that is not below the relative uncertainty.

    Without a calibration never better than 5 %, and there are no calibrations yet. The
    uncertainty is compared in whole percent: a Type B figure of 5 % is not known more finely.
    """
    if figure is None or figure.u_j is None or figure.energy_j <= 0:
        return "none"
    if any(check.outcome == "fail" for check in checks):
        return "none"
    relative_pct = round(100 * figure.u_j / figure.energy_j)
    return f"{UNCALIBRATED_PCT}%" if relative_pct <= UNCALIBRATED_PCT else "none"


def two_digits(value: float) -> float:
    """Round to two significant digits, as an uncertainty is stated (GUM 7.2.6).

    >>> two_digits(5.023), two_digits(103.4)
    (5.0, 100.0)
    """
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, 1 - math.floor(math.log10(abs(value))))


def _coverage(figure: Energy) -> Check:
    share = figure.coverage
    outcome = "pass" if share >= 0.99 else "warn" if share >= 0.95 else "fail"
    text = f"{100 * share:.1f} % of the time is covered (99 % wanted)"
    return Check("Q1", outcome, round(share, 6), text)


def _gaps(run: RecordedRun, figure: Energy) -> Check:
    period_s = float(run.manifest.get("config", {}).get("measure_period_s", 1.0))
    last_s = max((t for t in run.columns["read_s"] if t is not None), default=0.0)
    spans = [
        (last_s if g["end_s"] is None else g["end_s"]) - g["start_s"]
        for g in run.manifest.get("gaps", [])
        if figure.channel in g.get("channels", ())
    ]
    longest_s = max(spans, default=0.0)
    bound_s = min(3 * period_s, 0.01 * run.duration_s)
    outcome = "pass" if longest_s <= bound_s else "warn"
    return Check("Q2", outcome, round(longest_s, 6), f"longest gap {longest_s:.2f} s")


def _duration(run: RecordedRun) -> Check:
    rows, duration_s = len(run.windows_s), run.duration_s
    good = duration_s >= 60 and rows >= 60
    outcome = "pass" if good else "warn"
    text = f"{duration_s:.1f} s in {rows} rows (60 s and 60 rows wanted; 10 rows at least)"
    return Check("Q3", outcome, round(duration_s, 6), text)
