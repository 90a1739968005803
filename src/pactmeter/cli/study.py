"""Run a study: a matrix of workloads and trials, so that its figures can be compared.

pactmeter study run STUDY.toml runs what is left of it: each trial once, in random order within
blocks, the machine at rest measured before and after. Killed, or stopped with Ctrl-C, the same
command goes on where it was.

pactmeter study status FOLDER says where a study stands.

pactmeter study plan FOLDER (or runs) says how many trials a precision needs.

pactmeter study report FOLDER says what its trials come to, as a page and as tables too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import add_page
from pactmeter.errors import ConfigError
from pactmeter.session.run import say
from pactmeter.store.files import short_path
from pactmeter.store.output import require_free, save

if TYPE_CHECKING:
    import argparse

    from pactmeter.study.definition import Definition
    from pactmeter.study.precision import Count, Needs
    from pactmeter.study.told import Result

NAME = "study"
HELP = "run a matrix of workloads and trials"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_it = actions.add_parser("run", help="run what is left of a study")
    add = run_it.add_argument
    add("study", metavar="STUDY.toml", help="the study, or a folder that holds study.toml")
    add("--profile", metavar="P", help="one of the profiles in the file")
    add(
        "--only",
        action="append",
        default=[],
        metavar="NAME,...",
        help="these workloads alone; patterns as 'cpu_*' too",
    )
    add("-o", "--output", metavar="FOLDER", help="where to (NAME-PROFILE)")
    add("--dry-run", action="store_true", help="show the plan, run nothing")
    add("--skip-missing", action="store_true", help="leave out what lacks something")
    add("--retry-failed", action="store_true", help="run failed trials again")
    status = actions.add_parser("status", help="where a study stands")
    status.add_argument("folder", type=Path, metavar="FOLDER", help="of the study")
    status.add_argument("--json", action="store_true", help="as JSON (schema 1)")
    plan = actions.add_parser("plan", help="how many trials a precision needs")
    add = plan.add_argument
    add("files", nargs="+", type=Path, metavar="FOLDER|RUN.csv", help="a study, or runs")
    add("--precision", type=float, required=True, metavar="PCT", help="half a 95 %% interval")
    add("--json", action="store_true", help="as JSON (schema 1)")
    report = actions.add_parser("report", help="what its trials come to")
    report.add_argument("folder", type=Path, metavar="FOLDER", help="of the study")
    add_page(report)
    add = report.add_argument
    add(
        "--csv",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="the original's table EnergyStats.csv too (into the FOLDER)",
    )
    add("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    actions = {"run": _run, "status": _status, "plan": _plan, "report": _report}
    return actions[args.action](args)


def _run(args: argparse.Namespace) -> int:
    from pactmeter.study.definition import read
    from pactmeter.study.runner import Wanted
    from pactmeter.study.runner import run as run_study

    definition = read(args.study, args.profile)
    only = tuple(name for given in args.only for name in given.split(",") if name)
    if args.only and not only:
        raise ConfigError("--only names no workload", "--only NAME,...")
    folder = Path(args.output or "-".join(filter(None, (definition.name, definition.profile))))
    if args.dry_run:
        return _dry_run(definition, folder, only)
    wanted = Wanted(only, args.skip_missing, args.retry_failed)
    found = run_study(definition, folder, wanted, say)
    print(_summary(found, folder))
    if found.stopped is not None:
        return 128 + found.stopped
    return 1 if found.failed else 0


def _summary(found: Result, folder: Path) -> str:
    lines = [f"done      {found.done} of {found.total} trials in {short_path(folder)}"]
    lines += [f"failed    {stem}: {reason}" for stem, reason in found.failed]
    lines += [f"left out  {lack}" for lack in found.lacks]
    if found.left:
        again = "" if found.stopped is None else "; the same command goes on"
        lines.append(f"left      {found.left} trials{again}")
    return "\n".join(lines)


def _dry_run(definition: Definition, folder: Path, only: tuple[str, ...]) -> int:
    """Print the plan, and what would be missing; write nothing."""
    from pactmeter.study import journal, needs, plan
    from pactmeter.study.runner import chosen
    from pactmeter.study.state import state_of
    from pactmeter.study.told import duration

    names = chosen(definition, only)
    made = plan.check(folder, definition) or plan.make(definition)
    state = state_of(journal.read(folder))
    left = state.left([one for one in made.trials if one.workload in names])
    drawn = definition.settings.seed is None and not (folder / plan.FILE).exists()
    print(f"study     {definition.name}, seed {'drawn when it begins' if drawn else made.seed}")
    for one in left:
        print(f"{one.order:8d}  block {one.block:3d}  {one.workload}, trial {one.trial}")
    settings = definition.settings
    cool = "" if settings.cool_down_c is None else f" at most, to {settings.cool_down_c:g} degrees"
    print(
        f"beside    {settings.baseline_s:g} s of idle before and after,"
        f" {settings.warm_up_s:g} s of warm-up, rests of {settings.rest_s:g} s{cool}"
    )
    left_s = state.seconds_left_s(left, definition)
    about = "" if left_s is None else f", about {duration(left_s)}"
    print(f"left      {len(left)} of {len(made.trials)} trials{about}")
    used = [one for one in definition.workloads if one.name in {each.workload for each in left}]
    for what in ("memory", "disk"):
        most = max(used, key=lambda one: getattr(one, f"{what}_mb"), default=None)
        if most is not None and getattr(most, f"{what}_mb"):
            print(f"{what:<10}{getattr(most, f'{what}_mb')} MB at most, by {most.name}")
    lacks = needs.lacking(definition, [one.name for one in used], folder)
    for lack in lacks:
        print(f"missing   {lack}")
    return 1 if lacks else 0


def _status(args: argparse.Namespace) -> int:
    from pactmeter.study.status import render, status_of

    found = status_of(args.folder)
    print(json.dumps(found.to_dict(), indent=1) if args.json else render(found))
    return 0


def _plan(args: argparse.Namespace) -> int:
    from pactmeter.analysis.run import load
    from pactmeter.study.results import load_study

    with packages_for("a plan"):
        from pactmeter.study.precision import needed, needed_for_study
    if any(file.is_dir() for file in args.files):
        if len(args.files) > 1:
            raise ConfigError("more than one study is named", "name one folder, or runs")
        found = needed_for_study(load_study(args.files[0]), args.precision)
    else:
        found = needed({"the runs": [load(file) for file in args.files]}, args.precision)
    print(json.dumps(found.to_dict(), indent=1) if args.json else _render(found))
    return 0 if found.needs else 1


def _render(found: Needs) -> str:
    lines = [f"trials for +/- {found.precision_pct:g} % (95 % interval): likely, and to be safe"]
    for need in found.needs:
        lines.append(
            f"{need.name}: {need.n} trials, {need.channel} {need.mean_j:.6g} J"
            f" +/- {need.half_pct:.2g} %, spread {need.spread_pct:.2g} %"
        )
        lines.append(f"    of its mean         {_count(need.mean)}")
        lines.append(f"    of a difference     {_count(need.difference)} of each of the two")
        if need.note:
            lines.append(f"    note: {need.note}")
    if found.noise_pct is not None:
        lines.append(
            f"noise floor: the control workload, first and last in each block, resolves"
            f" {found.noise_pct:.2g} %"
        )
    return "\n".join([*lines, *(f"left out: {text}" for text in found.left_out)])


def _count(count: Count) -> str:
    return ", ".join("too many" if n is None else str(n) for n in (count.likely, count.safe))


def _report(args: argparse.Namespace) -> int:
    from pactmeter.study.results import load_study

    study = load_study(args.folder)
    with packages_for("a report"):
        from pactmeter.report.html.page import study_page, write_page
        from pactmeter.study.energy_stats import FILE, write
        from pactmeter.study.report import report
        from pactmeter.study.report_text import render
    out = args.folder / FILE if args.csv == Path() else args.csv
    if args.force and args.html is None and out is None:
        raise ConfigError("--force names nothing to write over", "add --html FILE or --csv FILE")
    keep = study.files
    for path in filter(None, (args.html, out)):
        require_free(path, force=args.force, keep=keep)
    found = report(study)
    told = found.to_dict()
    lines = []
    if args.html is not None:
        write_page(args.html, study_page(told, keep), force=args.force, keep=keep)
        lines.append(f"page      {short_path(args.html)}")
    if out is not None:
        save(out, lambda path: write(found.stats, path), force=args.force, keep=keep)
        lines.append(f"table     {short_path(out)}")
    print(json.dumps(told, indent=1) if args.json else "\n".join([render(found), *lines]))
    return 0
