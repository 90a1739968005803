"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError
from pactmeter.store.output import require_free

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_measuring(parser: argparse.ArgumentParser) -> None:
    """Declare what `PACT` takes as arguments."""
    add = parser.add_argument
    add("-o", "--output", default="PACT.csv", metavar="FILE", help="power file (PACT.csv)")
    add("--measure-period", type=float, default=1.0, metavar="S", help="a row of power (1 s)")
    add("--perf-period", type=float, default=0.01, metavar="S", help="a row of counters (0.01 s)")
    add(
        "-e",
        "--events",
        action="append",
        metavar="A,B",
        help="a group of events, comma between names; repeat for more groups",
    )
    add("--psu", default="auto", metavar="NAME", help="a power supply, 'auto' or 'none'")
    add_meters(parser)
    add("--rails", action="store_true", help="record the power supply's rails too")
    add("--scope", choices=("tree", "system"), default="tree", help="whose events (tree)")
    add("--estimate-cpu", action="store_true", help="estimate the CPU even where it is measured")
    add("--counter-backend", default="auto", metavar="B", help="auto, ring, poll or proc (auto)")
    add("--realtime", action="store_true", help="ask for real-time priority for the sampler")
    add("--warn", action="store_true", help="warn, not fail, where what was named is not there")


def add_meters(parser: argparse.ArgumentParser) -> None:
    """Declare which wall meters are asked."""
    parser.add_argument(
        "--meter",
        action="append",
        default=[],
        metavar="URL",
        help="a wall meter, as shelly://192.168.1.20 or tasmota://plug.local; repeat for more",
    )


def measuring_arguments(args: argparse.Namespace) -> dict[str, object]:
    """Return the arguments of `PACT` that the options stand for."""
    arguments: dict[str, object] = {
        "measure_period": args.measure_period,
        "perf_measure_period": min(args.perf_period, args.measure_period),
        "tracker_file_name": args.output,
        "PSU": None if args.psu.lower() == "none" else args.psu,
        "meters": args.meter,
        "scope": args.scope,
        "rails": args.rails,
        "estimate_cpu": args.estimate_cpu,
        "realtime": args.realtime,
        "counter_backend": args.counter_backend,
        "on_error": "warn" if args.warn else "raise",
    }
    if args.events:
        # a comma within slashes belongs to the event: cpu/event=0x3c,umask=0/
        groups = [re.findall(r"(?:[^,/]|/[^/]*/)+", group) for group in args.events]
        if not all(groups):
            raise ConfigError("an --events group is empty", "name events, as -e FAULTS,CYCLES")
        arguments["events_groups"] = groups
    return arguments


def pair(text: str, otherwise: str, example: str) -> tuple[float, float]:
    """Return the two numbers of a text such as ``10:70``.

    Args:
        text: The text.
        otherwise: What it is where it is none: ``is not a window``.
        example: How it should be written.

    Raises:
        ConfigError: It is none.
    """
    first, _, second = text.partition(":")
    try:
        return float(first), float(second)
    except ValueError:
        raise ConfigError(f"{text!r} {otherwise}", example) from None


def add_page(parser: argparse.ArgumentParser) -> None:
    """Declare what makes a page of it."""
    add = parser.add_argument
    add("--html", type=Path, metavar="FILE", help="as a page too: one file that needs no network")
    add("--force", action="store_true", help="write over an earlier page")


def require_page(args: argparse.Namespace, keep: Sequence[Path]) -> None:
    """Refuse a page that may not be written, before the work; `keep` are the runs' own files.

    Raises:
        ConfigError: There is nothing to force.
        FileError: The page is there already.
    """
    if args.html is not None:
        require_free(args.html, force=args.force, keep=keep)
    elif args.force:
        raise ConfigError("--force names nothing to write over", "add --html FILE")


def add_carbon(parser: argparse.ArgumentParser) -> None:
    """Declare what turns joules into grams."""
    add = parser.add_argument
    add(
        "--region",
        metavar="R",
        help="region of the grid: DE, Germany, US-CA (or $PACTMETER_REGION)",
    )
    add("--carbon-intensity", type=float, metavar="G", help="gCO2e/kWh, instead of a region")
    add("--pue", type=float, default=1.0, metavar="X", help="power usage effectiveness (1.0)")


def add_reference(parser: argparse.ArgumentParser) -> None:
    """Declare what tells of a reference meter's own file."""
    add = parser.add_argument
    add("--reference", metavar="METER.csv", help="file of a reference meter, of any make")
    add("--time-column", default="time", metavar="C", help="its column of times (time)")
    add("--power-column", metavar="C", help="its column of power, or")
    add("--energy-column", metavar="C", help="that of an energy counter")
    add("--unit", metavar="U", help="W, kW, Wh, kWh, ... (as in brackets in the column's name)")
    add("--time-zone", metavar="Z", help="of times that name none: Europe/Berlin, UTC, +02:00")
    add("--time-format", metavar="F", help="as for strptime (ISO 8601, or seconds since 1970)")
    add("--accuracy", type=float, metavar="PCT", help="of the meter, k=2, in percent of a reading")


def reference_columns(args: argparse.Namespace) -> dict[str, object]:
    """Return what `read_reference` is to look for."""
    return {
        "time_column": args.time_column,
        "power_column": args.power_column,
        "energy_column": args.energy_column,
        "unit": args.unit,
        "time_zone": args.time_zone,
        "time_format": args.time_format,
        "accuracy_pct": args.accuracy,
    }
