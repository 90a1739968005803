"""What a recorded run comes to: headline, sources, counters, verdict."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.analysis import carbon
from pactmeter.analysis.baseline import idle_of, rest_of, subtract
from pactmeter.analysis.calibration.files import load_curve
from pactmeter.analysis.metered import metered
from pactmeter.analysis.regions import regions, windows
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import footprint_dict, source, summarize
from pactmeter.analysis.supply import ac_input
from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import (
    add_carbon,
    add_page,
    add_reference,
    pair,
    reference_columns,
    require_page,
)
from pactmeter.errors import ConfigError
from pactmeter.report.baseline import render_net
from pactmeter.report.quality import budget_table, rules_table
from pactmeter.report.screen import Screen
from pactmeter.report.text import energy_text, regions_table, render
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pactmeter.analysis.run import RecordedRun

NAME = "report"
HELP = "say what a recorded run comes to"
_WINDOW = ("is not a window", "name start and end, as --window 10:70")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="the run's power file, as PACT.csv")
    parser.add_argument("--json", action="store_true", help="as JSON (schema 1)")
    parser.add_argument("--regions", action="store_true", help="energy and counts of each region")
    parser.add_argument("--rules", action="store_true", help="timing rules of EEHPC and MLPerf")
    parser.add_argument("--budget", action="store_true", help="what each uncertainty is made of")
    parser.add_argument(
        "--each", metavar="NAME", help="the regions of a name, one by one; call: the calls"
    )
    parser.add_argument(
        "--window",
        metavar="A:B",
        action="append",
        default=[],
        help="energy and counts from A to B, in seconds since the run's start; repeat for more",
    )
    parser.add_argument(
        "--baseline",
        nargs="+",
        default=[],
        metavar="IDLE.csv",
        help="energy above idle too: a baseline, or that before and that after the run",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="the headline as the meter of `pactmeter validate` would tell it, and its verdict",
    )
    parser.add_argument(
        "--curve",
        type=Path,
        metavar="FILE",
        help="AC input after the curve of the power supply that `pactmeter curve` made",
    )
    parser.add_argument(
        "--aperiodic",
        action="store_true",
        help="the load does not repeat: a sensor that looks away hides nothing",
    )
    add_page(parser)
    add_reference(parser)
    add_carbon(parser)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    factor = intensity(args)
    recorded = replace(load(args.file), is_aperiodic=args.aperiodic)
    inputs = [args.reference, args.calibration, args.curve, *args.baseline]
    keep = [*recorded.files.all, *(Path(each) for each in inputs if each)]
    require_page(args, keep)
    if args.reference:
        recorded = metered(recorded, args.reference, **reference_columns(args))
    baselines, notes = rest_of(recorded, args.baseline)
    summary = summarize(
        recorded,
        with_regions=args.json or args.regions or args.html is not None,
        calibration=args.calibration,
        idle=idle_of(recorded, baselines),
    )
    if args.window:
        summary["windows"] = windows(recorded, [pair(text, *_WINDOW) for text in args.window])
    if args.each is not None:
        summary["regions_each"] = regions(recorded, each=args.each)
        if not summary["regions_each"]:
            raise ConfigError(
                f"this run has no region {args.each!r}", "--regions names those it has"
            )
    if args.curve is not None:
        summary["curve"] = source(ac_input(recorded, load_curve(args.curve)))
    if baselines:
        summary["baseline"] = subtract(recorded, baselines, notes)
    first = summary["headline"]
    footprint = None
    if first is not None:
        footprint = carbon.footprint(first["energy_j"], pue=args.pue, intensity=factor)
        summary["footprint"] = footprint_dict(footprint)
    if args.aperiodic:
        summary["aperiodic"] = True
    if args.html is not None:
        _page(recorded, summary, args, keep)
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    print(render(recorded, summary, footprint, Screen.of(sys.stdout)))
    if footprint is None and factor is not None:
        print("carbon    none: there is no measured energy to convert")
    print("\n".join(_further(summary, args, Screen.of(sys.stdout))))
    return 0


def _page(
    recorded: RecordedRun, summary: dict[str, Any], args: argparse.Namespace, keep: list[Path]
) -> None:
    with packages_for("a page"):
        from pactmeter.report.html.page import run_page, write_page
    content = run_page(recorded, summary)
    write_page(args.html, content, force=args.force, keep=keep)


def _further(summary: dict[str, Any], args: argparse.Namespace, screen: Screen) -> Iterator[str]:
    """Yield what was asked for beside the summary."""
    if "curve" in summary:
        told = summary["curve"]
        yield f"curve     {energy_text(told)}  {told['label']}, {told['origin']}"
    yield render_net(summary["baseline"]) if "baseline" in summary else "idle      not measured"
    for name, is_asked in (("regions", args.regions), ("regions_each", True), ("windows", True)):
        if is_asked and name in summary:
            yield f"\n{regions_table(summary[name], summary['sources'], screen)}"
    if args.rules:
        yield f"\n{rules_table(summary['rules'])}"
    if args.budget:
        yield f"\n{budget_table(summary['budget'])}"
    if args.html is not None:
        yield f"page      {short_path(args.html)}"


def intensity(args: argparse.Namespace) -> carbon.Intensity | None:
    """Return the carbon intensity that the options, or the environment, name."""
    if args.region is not None and args.carbon_intensity is not None:
        raise ConfigError("--region and --carbon-intensity exclude each other", "name one of them")
    if args.carbon_intensity is not None:
        return carbon.given(args.carbon_intensity)
    region = args.region or os.environ.get("PACTMETER_REGION")
    return carbon.for_region(region) if region else None
