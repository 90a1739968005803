"""Compute a run again from its raw files, and compare with what it says of itself.

Exit code 0: everything is the same; 1: something is different.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.analysis import carbon
from pactmeter.analysis.audit import SCHEMA, audit_files, audit_report, read_report
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import footprint_dict, summarize
from pactmeter.cli.options import add_carbon
from pactmeter.cli.report import intensity
from pactmeter.report.quality import audit_table
from pactmeter.report.text import render

if TYPE_CHECKING:
    import argparse

NAME = "audit"
HELP = "compute a run again from its raw files and compare"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="the run's power file, as PACT.csv")
    parser.add_argument(
        "--report", metavar="FILE", help="compare with what `pactmeter report --json` printed"
    )
    parser.add_argument(
        "--calibration", metavar="FILE", help="what the run comes to with a calibration (JSON)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON (schema 1)")
    add_carbon(parser)


def run(args: argparse.Namespace) -> int:
    """Print every item with both figures, then what the run comes to."""
    factors = intensity(args)
    recorded = load(args.file)
    items = audit_files(recorded)
    if args.report is not None:
        items += audit_report(read_report(Path(args.report)), recorded)
    calibration = None if args.calibration is None else Path(args.calibration)
    summary = summarize(recorded, with_regions=False, calibration=calibration)
    first = summary["headline"]
    footprint = None
    if first is not None:
        footprint = carbon.footprint(first["energy_j"], pue=args.pue, intensity=factors)
    different = sum(item.same is False for item in items)
    if args.json:
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "same": different == 0,
            "items": [item.to_dict() for item in items],
            "headline": first,
            "calibrated": summary.get("calibrated"),
            "verdict": summary["verdict"],
            "footprint": None if footprint is None else footprint_dict(footprint),
        }
        print(json.dumps(told, indent=1))
    else:
        print(audit_table(items))
        print(f"\n{f'{different} different' if different else 'all the same'}\n")
        print(render(recorded, summary, footprint))
    return 1 if different else 0
