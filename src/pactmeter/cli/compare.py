"""Compare the sources within runs, or sets of runs with one another.

pactmeter compare RUN.csv ...: do the sources of these runs agree? What measures the same is
compared by bias, limits of agreement and a line; what measures more (a power supply) with what
measures less (processors and GPUs) by the uncovered remainder; and what CodeCarbon, carbontracker
and the original PACT would have said stands beside.

pactmeter compare A1.csv A2.csv ... --vs B1.csv B2.csv ...: by how much do the runs of B differ
from those of A, and is that more than chance?
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.run import load
from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import add_page, add_reference, reference_columns, require_page
from pactmeter.errors import ConfigError
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    import argparse

    from pactmeter.analysis.run import RecordedRun

NAME = "compare"
HELP = "compare sources within runs, or sets of runs"
_MOST = 1e6
"""No machine has so many watts, or GB of memory."""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("files", nargs="+", metavar="RUN.csv", help="runs")
    add(
        "--vs",
        nargs="+",
        action="append",
        default=[],
        metavar="RUN.csv",
        help="runs of a variant that are compared with the first ones; repeat for more variants",
    )
    add(
        "--channel",
        action="append",
        default=[],
        metavar="NAME",
        help="this source alone (sets: instead of the headline); repeat for more",
    )
    add("--span", type=float, metavar="S", help="sources: length of the spans compared (10 s)")
    add("--lag", metavar="L", help="sources: 'find', or the JSON of pactmeter sync (none)")
    add("--tdp", type=float, metavar="W", help="sources: of all processors, for the estimators")
    add("--ram", type=float, metavar="GB", help="sources: memory, for the estimators")
    add("--margin", type=float, metavar="PCT", help="sets: a difference that counts as none")
    add("--paired", action="store_true", help="sets: the n-th runs belong together")
    add("--test", action="append", default=[], metavar="T", help="sets: mann-whitney, permutation")
    add_page(parser)
    add_reference(parser)
    add("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    sets = _only(args, ("margin", "paired", "test"))
    within = _only(args, ("span", "lag", "tdp", "ram", "reference"))
    if args.vs and within:
        raise ConfigError(f"--{within} compares sources within runs", "leave --vs out")
    if not args.reference and (args.power_column or args.energy_column or args.accuracy):
        raise ConfigError("a column of no file is named", "add --reference METER.csv")
    if not args.vs and sets:
        raise ConfigError(f"--{sets} compares sets of runs", "name the second set with --vs")
    with packages_for("comparing"):
        return _sets(args) if args.vs else _sources(args)


def _only(args: argparse.Namespace, names: tuple[str, ...]) -> str | None:
    given = {name: getattr(args, name) for name in names}
    # a 0 was given too
    return next((n for n, v in given.items() if v or (v == 0 and v is not False)), None)


def _sources(args: argparse.Namespace) -> int:
    from pactmeter.analysis.agreement.compare import SPAN_S, compare_sources
    from pactmeter.analysis.metered import metered
    from pactmeter.analysis.sync.channels import read_delays
    from pactmeter.report.agreement import render
    from pactmeter.report.html.page import sources_page, write_page

    for name, value in (("tdp", args.tdp), ("ram", args.ram)):
        if value is not None and not 0 < value < _MOST:
            raise ConfigError(f"--{name} {value:g} is not possible", "leave it out, or state it")
    lag: dict[str, float] | str | None = args.lag
    if lag is not None and lag != "find":
        lag = read_delays(args.lag)
    runs = [load(file) for file in args.files]
    if args.reference:
        runs = [metered(run, args.reference, **reference_columns(args)) for run in runs]
    inputs = [args.reference, args.lag if args.lag != "find" else None]
    keep = [path for run in runs for path in run.files.all]
    keep += [Path(each) for each in inputs if each]
    require_page(args, keep)
    found = compare_sources(
        runs,
        span_s=SPAN_S if args.span is None else args.span,
        lag=lag,
        channels=args.channel,
        tdp_w=args.tdp,
        ram_bytes=_bytes(args.ram),
    )
    if args.html is not None:
        write_page(args.html, sources_page(found, keep), force=args.force, keep=keep)
    _say(args, found.to_dict(), render(found))
    return 0


def _say(args: argparse.Namespace, told: dict[str, Any], text: str) -> None:
    if args.json:
        print(json.dumps(told, indent=1))
        return
    print(text)
    if args.html is not None:
        print(f"page      {short_path(args.html)}")


def _bytes(gigabytes: float | None) -> int | None:
    if gigabytes is None:
        return None
    if not 0 < gigabytes < _MOST:
        raise ConfigError(f"a memory of {gigabytes:g} GB", "--ram 64")
    return round(gigabytes * 2**30)


def _sets(args: argparse.Namespace) -> int:
    from pactmeter.analysis.variants import compare_runs
    from pactmeter.report.html.page import sets_page, write_page
    from pactmeter.report.variants import render

    if len(args.channel) > 1:
        raise ConfigError("sets are compared by one channel", "name one --channel")
    base = [load(file) for file in args.files]
    variants: dict[str, list[RecordedRun]] = {}
    for number, files in enumerate(args.vs):
        name = "B" if len(args.vs) == 1 else f"B{number + 1}"
        variants[name] = [load(file) for file in files]
    keep = [path for runs in (base, *variants.values()) for run in runs for path in run.files.all]
    require_page(args, keep)
    options: dict[str, Any] = {"margin_pct": args.margin, "paired": args.paired, "tests": args.test}
    channel = args.channel[0] if args.channel else None
    found = compare_runs(base, variants, channel=channel, **options)
    if args.html is not None:
        write_page(args.html, sets_page(found, keep), force=args.force, keep=keep)
    _say(args, found.to_dict(), render(found))
    return 0
