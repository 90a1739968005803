"""How good a run is: automatic checks, and the accuracy level they leave."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.checks import about, sensors, times
from pactmeter.analysis.checks.calibrated import calibration
from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, WARN, Case, Check
from pactmeter.analysis.checks.physics import physics
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import why_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.run import RecordedRun


def verdict(run: RecordedRun, case: Case | None) -> dict[str, Any]:
    """Return the level and the checks of a run's headline, as plain data.

    Args:
        run: The run.
        case: Its headline and what belongs to it; None: there is no headline.
    """
    if case is None:
        text = f"no measured energy: {why_none(energies(run))} (`pactmeter doctor` says why)"
        rule = "a measured source of energy"
        missing = Check("Q1", FAIL, None, text, rule, "`pactmeter doctor` has the exact fix")
        return {"level": "none", "checks": [missing.to_dict()], "not_checked": []}
    checks = all_checks(case)
    return {
        "level": level(about.relative_pct(case.figure), checks),
        "checks": [check.to_dict() for check in checks if check.outcome != NOT_CHECKED],
        "not_checked": [check.to_dict() for check in checks if check.outcome == NOT_CHECKED],
    }


def all_checks(case: Case) -> list[Check]:
    """Return all checks, in the order of their numbers."""
    timing = times.timing(case)
    checks = [
        times.coverage(case),
        times.gaps(case, timing),
        times.duration(timing),
        times.update_period(case),
        sensors.phase_lock(case),
        sensors.closure(case),
        physics(case),
        sensors.stuck(case),
        about.baseline(case),
        about.clock(case),
        sensors.lag(case),
        calibration(case),
        about.interference(case),
        about.uncertainty(case),
        about.integrity(case),
        *about.COMING,
    ]
    return sorted(checks, key=lambda check: int(check.id.removeprefix("Q")))


def level(relative_pct: float | None, checks: Sequence[Check]) -> str:
    """Return the smallest of 1, 2 and 5 % that is not below the relative uncertainty (k=2).

    A failed check leaves none; a warned one, and a figure without calibration, 5 % at best. The
    uncertainty is compared in whole percent: a Type B figure of 5 % is not known more finely.
    """
    outcomes = {check.id: check.outcome for check in checks}
    if relative_pct is None or FAIL in outcomes.values():
        return "none"
    is_capped = WARN in outcomes.values() or outcomes.get("Q13") != PASS
    least_pct = about.LEVELS_PCT[-1] if is_capped else 0
    for level_pct in about.LEVELS_PCT:
        if level_pct >= max(least_pct, round(relative_pct)):
            return f"{level_pct}%"
    return "none"


def level_text(told: dict[str, Any]) -> str:
    """Return what a verdict claims, in words: ``5% class, not calibrated``."""
    level: str = told["level"]
    if level == "none":
        return "no accuracy claimed"
    proof = next((c["text"] for c in told["checks"] if c["id"] == "Q13"), "not calibrated")
    return f"{level} class, {proof}"


def two_digits(value: float) -> float:
    """Round to two significant digits, as an uncertainty is stated (GUM 7.2.6).

    >>> two_digits(5.023), two_digits(103.4)
    (5.0, 100.0)
    """
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, 1 - math.floor(math.log10(abs(value))))
