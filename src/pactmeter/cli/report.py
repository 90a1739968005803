"""What a recorded run comes to: headline, sources, counters, verdict."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from pactmeter.analysis import carbon
from pactmeter.analysis.baseline import subtract
from pactmeter.analysis.regions import regions, windows
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.cli.options import add_carbon
from pactmeter.errors import ConfigError
from pactmeter.report.baseline import render_net
from pactmeter.report.text import regions_table, render

if TYPE_CHECKING:
    import argparse

NAME = "report"
HELP = "say what a recorded run comes to"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="the run's power file, as PACT.csv")
    parser.add_argument("--json", action="store_true", help="as JSON (schema 1)")
    parser.add_argument("--regions", action="store_true", help="energy and counts of each region")
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
        metavar="IDLE.csv",
        help="energy above idle too: a baseline, or that before and that after the run",
    )
    add_carbon(parser)


def run(args: argparse.Namespace) -> int:
    """Print the summary."""
    intensity = _intensity(args)
    recorded = load(args.file)
    summary = summarize(recorded, with_regions=args.json or args.regions)
    chosen = windows(recorded, [_span(text) for text in args.window])
    each = None if args.each is None else regions(recorded, each=args.each)
    if args.each is not None and not each:
        raise ConfigError(f"this run has no region {args.each!r}", "--regions names those it has")
    if args.baseline:
        summary["baseline"] = subtract(recorded, args.baseline)
    first = summary["headline"]
    footprint = None
    if first is not None:
        footprint = carbon.footprint(first["energy_j"], pue=args.pue, intensity=intensity)
    if args.json:
        if footprint is not None:
            summary["footprint"] = _footprint_dict(footprint)
        if each is not None:
            summary["regions_each"] = each
        if chosen:
            summary["windows"] = chosen
        print(json.dumps(summary, indent=1))
    else:
        print(render(recorded, summary, footprint))
        if footprint is None and intensity is not None:
            print("carbon    none: there is no measured energy to convert")
        print(render_net(summary["baseline"]) if args.baseline else "idle      not measured")
        for told in (
            ([summary["regions"]] if args.regions else [])
            + ([each] if each else [])
            + ([chosen] if chosen else [])
        ):
            print(f"\n{regions_table(told)}")
    return 0


def _span(text: str) -> tuple[float, float]:
    start, _, end = text.partition(":")
    try:
        return float(start), float(end)
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a window", "name start and end, as --window 10:70"
        ) from None


def _intensity(args: argparse.Namespace) -> carbon.Intensity | None:
    if args.region is not None and args.carbon_intensity is not None:
        raise ConfigError("--region and --carbon-intensity exclude each other", "name one of them")
    if args.carbon_intensity is not None:
        return carbon.given(args.carbon_intensity)
    region = args.region or os.environ.get("PACTMETER_REGION")
    return carbon.for_region(region) if region else None


def _footprint_dict(footprint: carbon.Footprint) -> dict[str, Any]:
    intensity = footprint.intensity
    return {
        "kwh": footprint.kwh,
        "pue": footprint.pue,
        "carbon_g": footprint.carbon_g,
        "intensity_g_per_kwh": intensity.g_per_kwh if intensity else None,
        "region": intensity.region if intensity else None,
        "year": intensity.year if intensity else None,
        "source": intensity.source if intensity else None,
    }
