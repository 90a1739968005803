"""A power model from counters: fit it, say what it is worth, predict a run with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import source
from pactmeter.analysis.verdict import two_digits
from pactmeter.cli.optional import packages_for
from pactmeter.errors import FileError
from pactmeter.model.power_model import read_model
from pactmeter.report.text import half_width_text
from pactmeter.store.output import require_free, save

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pactmeter.analysis.powermodel.build import Prediction
    from pactmeter.analysis.powermodel.checks import Additivity
    from pactmeter.analysis.powermodel.windows import Windows

NAME = "model"
HELP = "model a machine's power from counters"

_SIDECARS = (".counters.csv", ".regions.csv")
_FIGURES = {
    "MAPE %": "mape_pct",
    "WMAPE %": "wmape_pct",
    "of DC %": "of_dc_pct",
    "R2": "r2",
    "DRE %": "dre_pct",
    "bias W": "bias_w",
    "RMSE W": "rmse_w",
}


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fit = actions.add_parser("fit", help="fit a model to runs of known workloads, and judge it")
    add = fit.add_argument
    add("runs", nargs="+", metavar="RUN", help="power files, of PACT or of the original PACT")
    add("-o", "--output", default="model.json", metavar="FILE", help="the model (model.json)")
    add("--force", action="store_true", help="write over an earlier model")
    add(
        "--preset",
        choices=("nonnegative", "linear", "original"),
        default="nonnegative",
        help="how it is fitted (nonnegative)",
    )
    add(
        "--target",
        choices=("remainder", "psu.dc_output"),
        default="remainder",
        help="DC output less CPU and GPU power, or all of it (remainder)",
    )
    add("--window", type=float, default=20.0, metavar="S", help="length of a window (20 s)")
    add(
        "--group",
        action="append",
        default=[],
        metavar="FAMILY/WORKLOAD=PATTERN",
        help="what files of this pattern run (else from their names); repeat for more",
    )
    add("--without", action="append", default=[], metavar="FEATURE", help="do not use it; repeat")
    add(
        "--additive",
        nargs=3,
        metavar=("A", "B", "AB"),
        help="runs of A, of B, and of A and then B: events that do not add up are left out",
    )
    add("--json", action="store_true", help="as JSON (schema 1)")
    predict = actions.add_parser("predict", help="say what a model makes of a run")
    predict.add_argument("model", help="file of the model")
    predict.add_argument("run", help="the run's power file")
    predict.add_argument("--json", action="store_true", help="as JSON (schema 1)")
    report = actions.add_parser("report", help="say what a model is, and what it is worth")
    report.add_argument("model", help="file of the model")
    report.add_argument("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Do what is asked for, and print it."""
    if args.action == "report":
        _, data = read_model(Path(args.model))
        _print_model(data, args.model, as_json=args.json)
        return 0
    with packages_for("a power model"):
        from pactmeter.analysis.powermodel import build, checks, groups, original
        from pactmeter.analysis.powermodel import windows as recorded

    def windows(path: str, window_s: float) -> Windows:
        if original.is_original(path):
            return original.read_original(path, window_s)
        return recorded.windows(load(path), window_s)

    if args.action == "predict":
        formula, data = read_model(Path(args.model))
        found = build.predict(formula, data, windows(args.run, float(data["window_s"])))
        told = _predicted(args, data, found, build.errors_dict)
        print(json.dumps(told, indent=1) if args.json else "\n".join(_prediction_lines(told)))
        return 0
    wanted = [groups.parse_group(text) for text in args.group]
    output = Path(args.output)
    keep = [Path(path) for path in args.runs]
    require_free(output, force=args.force, keep=keep)
    parts = [windows(path, args.window) for path in args.runs if not path.endswith(_SIDECARS)]
    tests: list[Additivity] = []
    if args.additive:
        totals = [windows(path, args.window).totals for path in args.additive]
        tests = checks.additivity(*totals)
    _, data = build.build(
        parts,
        [groups.group_of(part.file, wanted) for part in parts],
        window_s=args.window,
        target=args.target,
        preset=args.preset,
        without=args.without,
        tests=tests,
    )
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    save(output, lambda path: path.write_text(text, encoding="utf-8"), force=args.force, keep=keep)
    _print_model(data, args.output, as_json=args.json)
    return 0


def _print_model(data: dict[str, Any], path: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, indent=1))
        return
    try:
        lines = list(_model_lines(data, path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the model {path} is damaged: {error!r}", "fit it again") from error
    print("\n".join(lines))


def _model_lines(data: dict[str, Any], path: str) -> Iterator[str]:
    mark = f" [{data['synthetic']}]" if data["synthetic"] else ""
    yield f"model     {path}{mark}: {data['verdict']}"
    runs = data["runs"]
    counts = [f"{len(runs)} runs, {sum(part['windows'] for part in runs)} windows"]
    for what, many in (("workload", "workloads"), ("family", "families")):
        counts.append(f"{len({part[what] for part in runs})} {many}")
    yield f"fitted    {data['target']}, {data['preset']}, on {', '.join(counts)}"
    lost = sum(part["windows_lost"] for part in runs)
    if lost:
        yield f"          {lost} windows left out: something in them is not known"
    pieces = data["formula"]["pieces"]
    names = [feature["name"] for feature in data["formula"]["features"]]
    for piece in pieces:
        terms = [f"{piece['intercept_w']:.4g} W"]
        for name, coefficient in zip(names, piece["coefficients"], strict=True):
            terms.append(f"{coefficient:+.3g} x {name}")
        yield f"formula   {' '.join(terms)}"
    if len(pieces) > 1:
        yield "          (the piece whose centre is nearest holds)"
    for name, reason in data["checks"]["dropped"].items():
        yield f"left out  {name}: {reason}"
    factors = [f"{name} {_figure(figure)}" for name, figure in data["checks"]["vif"].items()]
    condition = _figure(data["checks"]["condition_number"])
    yield f"collinear condition number {condition}; VIF: {', '.join(factors) or 'none'}"
    for event, off_pct in data["checks"]["additivity"].items():
        yield f"additive  {event}: A and then B is off A plus B by {_figure(off_pct)} %"
    for by in ("workload", "family"):
        yield from _validation_lines(by, data["validation"])
    width = half_width_text(data["interval"]["window_w"], _range_w(data["validation"]))
    wider = ", the wider of the two" if data["validation"]["family"] is not None else ""
    yield f"\ninterval  half-width of a window: {width} (95 %){wider}"
    for note in data["notes"]:
        yield f"note      {note}"


def _validation_lines(by: str, validation: dict[str, Any]) -> Iterator[str]:
    judged = validation[by]
    if judged is None:
        yield f"\none {by} left out: not judged, {validation[f'no_{by}']}"
        return
    yield f"\none {by} left out, {judged['left_out']} times"
    yield f"{'':28}" + "".join(f"{title:>10}" for title in _FIGURES)
    for name, errors in {"the model": judged["model"], **judged["baselines"]}.items():
        yield f"{name:28}" + "".join(f"{_figure(errors[key]):>10}" for key in _FIGURES.values())
    for name, errors in judged["baselines"].items():
        yield f"{'better' if errors['is_beaten'] else 'NOT better'} than {name}"
    interval = judged["interval"]
    width = half_width_text(interval["window_w"], _range_w(validation))
    covers = _figure(interval["coverage_pct"])
    yield f"95 % interval: half-width of a window: {width}; covers {covers} %"
    for name, found in judged["slopes_w_per_k"].items():
        slope, half = _figure(found["slope"]), _figure(found["half_width"])
        yield f"error over {name}: {slope} +/- {half} W/K (95 %)"


def _range_w(validation: dict[str, Any]) -> float:
    """Return what the power of all runs spans, in watts."""
    return float(validation["workload"]["model"]["range_w"])


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if abs(value) < 1e-9 else f"{value:.3g}"  # what is less is rounding


def _predicted(
    args: argparse.Namespace, data: dict[str, Any], found: Prediction, errors_dict: Any
) -> dict[str, Any]:
    return {
        "schema": 1,
        "model": args.model,
        "run": args.run,
        "beats_baselines": data["beats_baselines"],
        "verdict": data["verdict"],
        "source": source(found.energy),
        "budget": [{"name": b.name, "u_j": b.u_j, "basis": b.basis} for b in found.energy.budget],
        "windows_w": list(found.power_w),
        "interval_w": data["interval"]["window_w"],
        "range_w": _range_w(data["validation"]),
        "outside": found.outside,
        "measured_j": found.measured_j,
        "off_pct": found.off_pct,
        "inside_pct": found.inside_pct,
        "errors": None if found.against is None else errors_dict(found.against),
        "notes": data["notes"],
    }


def _prediction_lines(told: dict[str, Any]) -> Iterator[str]:
    energy = told["source"]
    mark = f" [{energy['synthetic']}]" if energy["synthetic"] else ""
    if not told["beats_baselines"]:
        yield f"warning   the model is {told['verdict']}"
    u = f"{two_digits(energy['u_j']):g} J"
    yield (
        f"{energy['channel']}  modelled{mark}: {energy['energy_j']:.6g} J +/- {u}"
        f" (k=2), mean {energy['mean_w']:.4g} W, {100 * energy['coverage']:.3g} % covered"
    )
    width = half_width_text(told["interval_w"], told["range_w"])
    yield f"          half-width of a window: {width} (95 %)"
    for name, share in told["outside"].items():
        often = f"{100 * share:.0f} % of windows"
        yield f"warning   {name} is outside what the model has seen in {often}"
    if told["errors"] is not None:
        figures = [f"{title} {_figure(told['errors'][key])}" for title, key in _FIGURES.items()]
        yield f"measured  {told['measured_j']:.6g} J: the model is off by {told['off_pct']:+.2g} %"
        yield f"          {', '.join(figures)}; {told['inside_pct']:.0f} % of windows inside"
