"""Draw runs, comparisons and models for a paper.

KIND is power (every source over time), stack (the parts under the whole), identity and bland-altman
(sources against one another), regions (the energy of each), counters (events over time), validation
(sources against a meter) or residuals (of a power model: MODEL.json, or MODEL.json RUN.csv ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import add_reference, reference_columns
from pactmeter.errors import ConfigError
from pactmeter.report.plots import KINDS

if TYPE_CHECKING:
    import argparse

NAME = "plot"
HELP = "draw a run, a comparison or a model"

_TAKES = {
    "power": {"channel", "reference"},
    "stack": {"channel", "reference", "span"},
    "identity": {"channel", "reference", "span"},
    "bland-altman": {"channel", "reference", "span"},
    "regions": {"channel", "reference"},
    "counters": {"channel"},
    "validation": {"channel", "reference", "against"},
    "residuals": set[str](),
}
"""What each kind of picture can be asked for."""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("kind", choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS))
    add("files", nargs="+", metavar="FILE", help="power files of runs; residuals: a model first")
    add("-o", "--output", required=True, metavar="OUT", help="the picture: .png, .pdf or .svg")
    add("--width", choices=("single", "double"), default="single", help="columns (single)")
    add("--force", action="store_true", help="write over an earlier picture")
    add(
        "--channel",
        action="append",
        default=[],
        metavar="NAME",
        help="this source alone; repeat for more",
    )
    add("--span", type=float, metavar="S", help="length of the spans compared (10 s)")
    add("--against", metavar="CHANNEL", help="the meter, where there are several (wall.desk)")
    add_reference(parser)


def run(args: argparse.Namespace) -> int:
    """Draw the picture, and name its file."""
    _require_taken(args)
    columns = reference_columns(args)
    if not args.reference and any(value not in {None, "time"} for value in columns.values()):
        raise ConfigError("a column of no file is named", "add --reference METER.csv")
    if args.span is not None and not 0 < args.span < float("inf"):
        raise ConfigError(f"spans of {args.span:g} s", "give a time above zero")
    with packages_for("drawing"):
        from pactmeter.report.plots.asked import Asked
        from pactmeter.report.plots.make import make

        asked = Asked(
            files=tuple(args.files),
            is_double=args.width == "double",
            channels=tuple(args.channel),
            span_s=args.span,
            against=args.against,
            reference=args.reference,
            columns=columns,
        )
        make(args.kind, asked, Path(args.output), force=args.force)
    print(args.output)
    return 0


def _require_taken(args: argparse.Namespace) -> None:
    """Refuse an option that would do nothing."""
    for option in ("channel", "span", "against", "reference"):
        given = getattr(args, option)
        if given is not None and given != [] and option not in _TAKES[args.kind]:
            kinds = ", ".join(kind for kind, takes in _TAKES.items() if option in takes)
            raise ConfigError(f"{args.kind} takes no --{option}", f"it is for {kinds}")
