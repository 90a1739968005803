"""The timing rules of EEHPC (levels 1 to 3) and of MLPerf Training, met or not met.

Timing alone: what share of the machine is measured, and how true the meter is, no file can tell.
The core phase is the time of the run's calls.
Sources: EE HPC WG, Energy Efficient HPC Power Measurement Methodology, November 2024, aspect 1;
MLPerf Training power rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.checks.calibrated import calibration, validated
from pactmeter.analysis.checks.check import PASS
from pactmeter.analysis.checks.times import FEWEST_READINGS, LEAST_READINGS, LEAST_S, timing

if TYPE_CHECKING:
    from pactmeter.analysis.checks.check import Case, Idle
    from pactmeter.analysis.checks.times import Timing

_EDGES_S = 10.0
_A_SECOND_S = 1.0


@dataclass(frozen=True, slots=True)
class Item:
    """One demand of a regime: in words, what was found, and whether it is met."""

    rule: str
    found: str
    met: bool


def rules(case: Case) -> list[dict[str, Any]]:
    """Return each regime with its demands, as plain data; nobody's conformance is stated."""
    proof = case.beside.calibration
    accuracy = "not validated"
    if proof is not None:
        check = calibration(case)
        holds = check.outcome == PASS
        accuracy = f"validated against {validated(proof)}" if holds else f"{accuracy}: {check.text}"
    return [
        {
            "regime": regime,
            "timing": "met" if all(item.met for item in items) else "not met",
            "accuracy": accuracy,
            "items": [{"rule": i.rule, "found": i.found, "met": i.met} for i in items],
        }
        for regime, items in _regimes(timing(case), case.beside.idle).items()
    ]


def _regimes(t: Timing, idle: tuple[Idle, ...]) -> dict[str, list[Item]]:
    interval_s = t.interval_s
    apart = "no reading" if interval_s is None else f"one every {interval_s:.3g} s"
    # the next reading of a counter holds what a gap would have lost
    is_even = interval_s is not None and max(interval_s, t.longest_gap_s) <= _A_SECOND_S
    sampled = Item(
        "a reading a second, evenly", f"{apart}, longest gap {t.longest_gap_s:.2f} s", is_even
    )
    span = Item(f"{LEAST_S:g} s at least", f"{t.duration_s:.1f} s", t.duration_s >= LEAST_S)
    share = None if interval_s is None or not t.duration_s else interval_s / t.duration_s
    interval = Item(
        "interval of readings at most 10 % of the time",
        "no reading" if share is None else f"{100 * share:.2g} %",
        share is not None and share <= 0.1,
    )
    ten = Item(f"{FEWEST_READINGS} readings", str(t.readings), t.readings >= FEWEST_READINGS)
    at_rest = [one for one in idle if one.is_at_rest]
    told = f"{idle[0].mean_w:.1f} W" if idle else "not measured"
    if idle and not at_rest:
        told += f", of {idle[0].duration_s:.0f} s or of a machine at work"
    idle_w = Item("idle power", told, bool(at_rest))
    counted = Item(
        "continuously integrated energy",
        "an energy counter" if t.counts else "polled power",
        t.counts,
    )
    unknown = f"{t.uncovered_s:.2f} s unknown"
    covered = Item(f"at most {_EDGES_S:g} s unknown", unknown, t.uncovered_s <= _EDGES_S)
    sixty = Item(f"{LEAST_READINGS} readings", str(t.readings), t.readings >= LEAST_READINGS)
    whole = Item("the whole run", unknown, t.uncovered_s <= _A_SECOND_S)
    return {
        "EEHPC level 1": [sampled, span, interval],
        "EEHPC level 2": [sampled, span, interval, ten, idle_w],
        "EEHPC level 3": [counted, span, covered, ten, idle_w],
        "MLPerf Training": [sampled, sixty, whole],
    }
