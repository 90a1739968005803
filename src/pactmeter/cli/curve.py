"""Make the curve of a power supply: AC input over DC output, from a few points of it.

Points are the certificate's or the manual's efficiencies (--efficiency 10:0.87 means 87 % at 10 %
load), or your own meter's readings (--point 60:75.5 means 75.5 W from the wall while the supply
gives 60 W). Three loads are the least; low ones tell about an idle desktop. The report of a run
applies it where it is named.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import pair

if TYPE_CHECKING:
    import argparse

NAME = "curve"
HELP = "make the efficiency curve of a power supply"
_PAIR = ("is no pair of numbers", "--efficiency 10:0.87, --point 60:75.5")
_SHOWN_PCT = (2, 5, 10, 20, 50, 100)


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("name", help="the supply, as HX1500i")
    add("--rated", type=float, required=True, metavar="W", help="its rated DC output")
    add("--efficiency", action="append", default=[], metavar="PCT:E", help="at a load; repeat")
    add("--point", action="append", default=[], metavar="DC:AC", help="in watts; repeat")
    add("--input-v", type=float, default=230.0, metavar="V", help="mains voltage (230)")
    add("--accuracy", type=float, metavar="PCT", help="of the meter (points); else 3 %%, k=2")
    add("--source", default="as given", metavar="TEXT", help="where the points come from")
    add("-o", "--output", metavar="FILE", help="write the curve (psu-curve.json)")
    add("--json", action="store_true", help="print it as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Fit, write, and show what the curve gives."""
    with packages_for("fitting a curve"):
        from pactmeter.analysis.calibration.files import save
        from pactmeter.analysis.calibration.psu import MODEL_PCT, Point, certified, fit_supply
    shares = {load / 100: share for load, share in (pair(text, *_PAIR) for text in args.efficiency)}
    points = certified(args.rated, shares, args.input_v)
    points += [
        Point(dc_w, ac_w, args.input_v)
        for dc_w, ac_w in (pair(text, *_PAIR) for text in args.point)
    ]
    accuracy_pct = MODEL_PCT if args.accuracy is None else args.accuracy
    curve = fit_supply(args.name, args.rated, points, source=args.source, accuracy_pct=accuracy_pct)
    save(Path(args.output or "psu-curve.json"), curve)
    if args.json:
        print(json.dumps(curve.to_dict(), indent=1))
        return 0
    print(f"{args.output or 'psu-curve.json'}: {args.name}, {len(points)} points, {args.source}")
    print("   load       DC         AC   +/- (k=2)  efficiency")
    for load_pct in _SHOWN_PCT:
        dc_w = load_pct / 100 * args.rated
        found = curve.apply(dc_w, args.input_v)
        mark = "  extrapolated" if found.extrapolated else ""
        print(
            f"{load_pct:5d} %  {dc_w:7.1f} W  {found.ac_w:7.1f} W  {found.u_w:6.1f} W"
            f"  {100 * dc_w / found.ac_w:7.1f} %{mark}"
        )
    return 0
