"""A model with its provenance, and what it says of a run: the channel ``machine.model``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pactmeter import __version__
from pactmeter.analysis.powermodel.checks import condition_number, vif
from pactmeter.analysis.powermodel.fit import linear, nonnegative, predicted_w
from pactmeter.analysis.powermodel.original import piecewise
from pactmeter.analysis.powermodel.table import REMAINDER, check_events, collect
from pactmeter.analysis.powermodel.validate import LEAST_BETTER_PCT, Errors, errors, validate
from pactmeter.analysis.powermodel.windows import DC
from pactmeter.analysis.verdict import two_digits
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import MACHINE_MODEL, Domain, Origin
from pactmeter.model.energy import BudgetItem, Energy
from pactmeter.model.power_model import KIND, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.powermodel.checks import Additivity
    from pactmeter.analysis.powermodel.fit import Fit
    from pactmeter.analysis.powermodel.table import Table
    from pactmeter.analysis.powermodel.validate import Comparison, Validation
    from pactmeter.analysis.powermodel.windows import Windows
    from pactmeter.model.power_model import Formula

ORIGINAL = "original"
PRESETS: dict[str, Fit] = {"nonnegative": nonnegative, "linear": linear, ORIGINAL: piecewise}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of a run.

    Attributes:
        energy: DC energy of the machine over the windows that are known, as ``machine.model``.
        outside: Share of the windows in which a feature is outside what the model has seen.
        against: Errors of what was modelled against what was measured, where the run has it.
        measured_j: The measured DC energy of the windows that have it, in joules.
        off_pct: The modelled energy of the same windows beside it, in percent.
        inside_pct: Share of the measured windows inside the prediction interval, in percent.
        power_w: Power of the machine in each known window.
    """

    energy: Energy
    outside: dict[str, float]
    against: Errors | None
    measured_j: float | None
    off_pct: float | None
    inside_pct: float | None
    power_w: tuple[float, ...]


def build(
    parts: Sequence[Windows],
    groups: Sequence[tuple[str, str]],
    *,
    window_s: float,
    target: str = REMAINDER,
    preset: str = "nonnegative",
    without: Sequence[str] = (),
    tests: Sequence[Additivity] = (),
) -> tuple[Formula, dict[str, Any]]:
    """Fit a model to all windows, judge it by left-out workloads and families, and describe it.

    Args:
        parts: The runs.
        groups: Workload and family of each.
        window_s: Length of their windows.
        target: ``remainder`` or ``psu.dc_output``.
        preset: ``nonnegative``, ``linear`` or ``original``.
        without: Features that are not to be used.
        tests: Additivity of events; those that fail are left out.

    Raises:
        ConfigError, PactError: As `collect` and `validate`.
    """
    table = collect(parts, groups, target)
    features, refused = features_of(table, preset, without, tests)
    fit = PRESETS[preset]
    by_workload = validate(table, features, fit)
    by_family, no_family = _by_family(table, features, fit)
    formula = fit(features, table.power_w, table.workload)
    judged = [by_workload] + ([by_family] if by_family else [])
    used = features[formula.names]
    first = parts[0]
    data = {
        "schema": SCHEMA,
        "kind": KIND,
        "target": target,
        "preset": preset,
        "window_s": window_s,
        "beats_baselines": by_workload.beats,
        "verdict": _verdict(by_workload),
        "formula": formula.to_dict(),
        # a workload that is not known may be of a family that is not: the wider holds
        "interval": {
            "window_w": max(judgement.window_w for judgement in judged),
            "mean_w": max(judgement.mean_w for judgement in judged),
            "level_pct": 95,
        },
        "accuracy_pct": first.accuracy_pct,
        "meters": first.meters if target == REMAINDER else [],
        "host": first.host,
        "source": first.source,
        "synthetic": first.synthetic,
        "scope": "system",
        "events": {n: first.events[n] for n in formula.names if n in first.events},
        "runs": list(table.runs),
        "checks": {
            "vif": {name: _finite(figure) for name, figure in vif(used).items()},
            "condition_number": _finite(condition_number(used)),
            "additivity": {t.feature: _finite(t.off_pct) for t in tests},
            "dropped": {**refused, **formula.dropped},
        },
        "validation": {
            "workload": _told(by_workload),
            "family": _told(by_family) if by_family else None,
            "no_family": no_family,
        },
        "notes": list(table.notes),
        "pactmeter": __version__,
        "packages": {name: metadata.version(name) for name in ("numpy", "scikit-learn")},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return formula, data


def features_of(
    table: Table, preset: str, without: Sequence[str] = (), tests: Sequence[Additivity] = ()
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the features a preset may choose from, and why others are none of them.

    The original takes counters and utilisations; the others CPU and GPU power beside them.

    Raises:
        ConfigError: A feature that is to be left out does not exist.
        PactError: Nothing is left.
    """
    features = table.features
    if preset != ORIGINAL:
        features = pd.concat([features, table.meters], axis=1)
    unknown = [name for name in without if name not in features]
    if unknown:
        raise ConfigError(
            f"{unknown[0]!r} cannot be left out: there is no such feature",
            f"one of: {', '.join(map(str, features.columns))}",
        )
    refused = dict.fromkeys(without, "as asked for")
    refused |= {t.feature: t.reason for t in tests if not t.holds and t.feature in features}
    features = features.drop(columns=list(refused))
    if features.empty:
        raise PactError("no feature is left to fit", "leave out fewer, or record other events")
    return features, refused


def predict(formula: Formula, model: dict[str, Any], part: Windows) -> Prediction:
    """Return what a model says of a run of the machine that it was fitted on.

    Raises:
        ConfigError: The run is of another machine, scope or kind of file.
        PactError: It lacks what the model takes.
    """
    for what, mine in (("host", part.host), ("source", part.source), ("synthetic", part.synthetic)):
        if model[what] != mine:
            raise ConfigError(
                f"{part.file} is of another machine or kind than the model: {what} is"
                f" {mine!r}, the model's {model[what]!r}",
                "a model holds for the machine that it was fitted on",
            )
    check_events(part, model["events"], "the model")
    meters = list(model["meters"])
    wanted = list(dict.fromkeys([*formula.names, *meters]))
    missing = [name for name in wanted if name not in part.table]
    if missing:
        raise PactError(
            f"{part.file} has no {', '.join(missing)}, which the model takes",
            f"record it with all that the model takes: {', '.join(wanted)}",
        )
    known = part.table.dropna(subset=["dt_s", *wanted])
    if known.empty:
        raise PactError(
            f"{part.file} has no window in which all that the model takes is known",
            f"a run must be longer than half of the model's window ({model['window_s']:g} s)",
        )
    guess_w = predicted_w(formula, known)
    measured_w = known[meters].sum(axis=1).to_numpy(float)
    power_w, dt_s = guess_w + measured_w, known["dt_s"].to_numpy(float)
    against, measured_j, off_pct, inside_pct = None, None, None, None
    dc_w = known[DC].to_numpy(float) if DC in known else np.full(len(known), np.nan)
    has = ~np.isnan(dc_w)
    if has.any() and (dc_w[has] @ dt_s[has]) > 0:
        against = errors((dc_w - measured_w)[has], guess_w[has], dc_w[has])
        measured_j = float(dc_w[has] @ dt_s[has])
        off_pct = 100 * (float(power_w[has] @ dt_s[has]) / measured_j - 1)
        off_w = np.abs(power_w - dc_w)[has]
        inside_pct = 100 * float(np.mean(off_w <= float(model["interval"]["window_w"])))
    outside = [formula.outside(row) for row in known[formula.names].to_numpy(float).tolist()]
    return Prediction(
        energy=_energy(model, part, float(power_w @ dt_s), float(dt_s.sum()), len(known)),
        outside={
            name: share
            for name in formula.names
            if (share := sum(name in each for each in outside) / len(outside)) > 0
        },
        against=against,
        measured_j=measured_j,
        off_pct=off_pct,
        inside_pct=inside_pct,
        power_w=tuple(map(float, power_w)),
    )


def _energy(
    model: dict[str, Any], part: Windows, energy_j: float, covered_s: float, count: int
) -> Energy:
    """Return the modelled energy with its budget: what new workloads showed, and the sensor's own.

    The half-width of a 95 % interval stands for two standard uncertainties.
    """
    items = [
        BudgetItem(
            "model",
            float(model["interval"]["mean_w"]) * covered_s / 2,
            "mean error of workloads and families that were left out, 95 %",
        )
    ]
    accuracy_pct = model["accuracy_pct"]
    if accuracy_pct is not None:
        sensor_j = float(accuracy_pct) / 100 * abs(energy_j) / 2
        items.append(BudgetItem("sensor", sensor_j, "the power supply it was fitted to"))
    return Energy(
        channel=MACHINE_MODEL,
        label=f"DC power of the machine from counters ({model['preset']} model)",
        domain=Domain.MACHINE,
        origin=Origin.MODELLED,
        synthetic=part.synthetic,
        energy_j=energy_j,
        covered_s=covered_s,
        gap_s=max(0.0, float(part.table["dt_s"].sum()) - covered_s),
        gaps=int(count < len(part.table)),
        polls=count,
        # an original's file says nothing of its sensor: what the model adds is all that is known
        budget=tuple(items),
    )


def errors_dict(found: Errors) -> dict[str, Any]:
    """Return errors as plain data."""
    derived = {"rmse_w": found.rmse_w, "r2": found.r2, "dre_pct": found.dre_pct}
    return {**asdict(found), **derived}


def _told(judged: Validation) -> dict[str, Any]:
    return {
        "left_out": len(judged.each),
        "model": errors_dict(judged.errors),
        "baselines": {
            c.baseline: {
                **errors_dict(c.errors),
                "better_pct": c.better_pct,
                "chance_pct": c.chance_pct,
                "is_beaten": c.is_beaten,
            }
            for c in judged.comparisons
        },
        "interval": {
            "window_w": judged.window_w,
            "mean_w": judged.mean_w,
            "coverage_pct": judged.coverage_pct,
        },
        "chosen": judged.chosen,
        "slopes_w_per_k": {
            name: {"slope": slope, "half_width": half}
            for name, (slope, half) in judged.slopes.items()
        },
        "each": {name: errors_dict(found) for name, found in judged.each.items()},
    }


def _by_family(
    table: Table, features: pd.DataFrame, fit: Fit
) -> tuple[Validation | None, str | None]:
    if len(np.unique(table.family)) == len(np.unique(table.workload)):
        return None, "every family has one workload: `--group FAMILY/WORKLOAD=PATTERN` names both"
    try:
        return validate(table, features, fit, "family"), None
    except PactError as error:
        return None, error.message


def _verdict(judged: Validation) -> str:
    kept = [c for c in judged.comparisons if not c.is_beaten]
    if not kept:
        names = " and than ".join(c.baseline for c in judged.comparisons)
        return f"better than {names}, for workloads that it has not seen"
    told = " and not than ".join(
        f"{c.baseline} (RMSE {c.errors.rmse_w:.3g} W, the model's {judged.errors.rmse_w:.3g} W; the"
        f" typical workload's {_change(c.better_pct)}{_chance(c)})"
        for c in kept
    )
    return f"NOT better than {told}, for workloads that it has not seen"


def _change(better_pct: float) -> str:
    told = f"{two_digits(abs(better_pct)):g}"
    return f"is {told} % {'smaller' if better_pct > 0 else 'larger'}"


def _chance(kept: Comparison) -> str:
    if kept.better_pct < LEAST_BETTER_PCT:
        return ""
    return f", which chance does in {kept.chance_pct:.2g} of 100 cases"


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
