"""The power model of a study: fitted on its stress trials, tested on all others.

Stress trials load one part of the machine each; a training is what the model has never seen. It is
fitted three ways: ours, plain least squares, and the original's pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.powermodel.build import Prediction
    from pactmeter.analysis.powermodel.windows import Windows
    from pactmeter.study.report_trial import Counted

FITTED_ON = "stress"
NONNEGATIVE, LINEAR, PIECEWISE = "nonnegative", "linear", "original"
PRESETS = (NONNEGATIVE, LINEAR, PIECEWISE)
WINDOW_S = 20.0
"""Length of a model's windows where trials are long enough."""
_WINDOWS = 2
"""The shortest trial should have so many."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What a model says of a trial that it has not seen.

    Attributes:
        trial: The trial.
        workload: Its workload.
        family: That one's family.
        measured_j: DC energy of the windows that have it, in joules.
        off_pct: How much more the model says, in percent of that.
        wmape_pct: Sum of absolute errors over the sum of what was to be told, in percent.
        inside_pct: Share of the windows inside the model's 95 % interval, in percent.
        outside: Features beyond what the model has seen, and in what share of the windows.
    """

    trial: str
    workload: str
    family: str
    measured_j: float
    off_pct: float
    wmape_pct: float | None
    inside_pct: float
    outside: dict[str, float]


@dataclass(frozen=True, slots=True)
class Modelled:
    """The models of a study.

    Attributes:
        window_s: Length of their windows, in seconds; None: there are none.
        models: By preset, the model as ``pactmeter model fit`` would write it.
        tests: By preset, what it says of each trial that it was not fitted on.
        refused: Why there is no model, or a preset or a trial is missing.
    """

    window_s: float | None = None
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    tests: dict[str, tuple[Tested, ...]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def test(self, preset: str, trial: str) -> Tested | None:
        """Return what a model says of a trial; None: nothing."""
        return next((one for one in self.tests.get(preset, ()) if one.trial == trial), None)


def modelled(trials: Sequence[Counted], measure_period_s: float) -> Modelled:
    """Return the models of a study, or why it has none.

    Args:
        trials: Its trials.
        measure_period_s: How long their rows are, in seconds.
    """
    seen = [one for one in trials if one.family == FITTED_ON]
    unseen = [one for one in trials if one.family != FITTED_ON]
    if not seen:
        why = f"there is no trial of the family {FITTED_ON!r}, which a model is fitted on"
        return Modelled(refused=(why,))
    shortest_s = min(one.duration_s for one in seen)
    window_s = min(WINDOW_S, max(shortest_s / _WINDOWS, measure_period_s))
    refused: list[str] = []
    parts = _windows(seen, window_s, refused)
    if not parts:
        return Modelled(refused=tuple(dict.fromkeys(refused)))
    others = _windows(unseen, window_s, refused)
    if window_s < WINDOW_S:
        refused.append(
            f"windows of {window_s:.2g} s, for the trials are short: what sensors tell too late"
            f" is in every error ({WINDOW_S:.0f} s are wanted)"
        )
    models, tests = {}, {}
    for preset in PRESETS:
        try:
            models[preset], tests[preset] = _one(preset, parts, others, window_s, refused)
        except PactError as error:
            refused.append(f"{preset}: {error.message}")
    return Modelled(window_s if models else None, models, tests, tuple(dict.fromkeys(refused)))


def _windows(
    trials: Sequence[Counted], window_s: float, refused: list[str]
) -> list[tuple[Counted, Windows]]:
    """Return the windows of the trials that have what a model takes."""
    from pactmeter.analysis.powermodel.windows import DC, windows

    found = []
    for one in trials:
        try:
            part = windows(one.run, window_s)
        except PactError as error:
            refused.append(error.message.replace(f"{one.run.files.power}", one.workload))
            continue
        if DC not in part.table:
            refused.append("no DC output power: a model is fitted to that of a power supply")
        elif part.table.dropna(subset=["dt_s", DC, *part.meters, *part.features]).empty:
            refused.append(f"{one.stem} is left out: it has no window in which everything is known")
        else:
            found.append((one, part))
    return found


def _one(
    preset: str,
    parts: Sequence[tuple[Counted, Windows]],
    others: Sequence[tuple[Counted, Windows]],
    window_s: float,
    refused: list[str],
) -> tuple[dict[str, Any], tuple[Tested, ...]]:
    """Fit one model and test it."""
    from pactmeter.analysis.powermodel.build import build, predict
    from pactmeter.analysis.powermodel.groups import group_of
    from pactmeter.analysis.powermodel.table import REMAINDER, WHOLE

    target = REMAINDER if parts[0][1].meters else WHOLE
    groups = [(one.workload, group_of(one.workload)[1]) for one, _ in parts]
    formula, model = build(
        [part for _, part in parts], groups, window_s=window_s, target=target, preset=preset
    )
    tests = []
    for one, part in others:
        try:
            found = _tested(one, predict(formula, model, part))
        except PactError as error:
            refused.append(f"{one.stem}: {error.message}")
            continue
        if found is not None:
            tests.append(found)
    return model, tuple(tests)


def _tested(one: Counted, found: Prediction) -> Tested | None:
    if found.against is None or found.off_pct is None or found.inside_pct is None:
        return None
    return Tested(
        one.stem,
        one.workload,
        one.family,
        found.measured_j or 0.0,
        found.off_pct,
        found.against.wmape_pct,
        found.inside_pct,
        dict(found.outside),
    )
