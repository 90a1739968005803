"""Write down what a power supply says over USB, report by report: for bug reports and replays.

PACT's own readings are made meanwhile (with --everything, of all registers), and what other
programs are answered is recorded too. Nothing is set. The file holds no serial number.
`pactmeter bench run --replay FILE -- command` shows the supply to a command again.
"""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter import __version__
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.model.exchanges import Writer
from pactmeter.sensors.psu_record import Recorder, Tally, describe, recordable
from pactmeter.session.run import say

if TYPE_CHECKING:
    import argparse

NAME = "record"
HELP = "record what a power supply says over USB"

_PERIOD_S, _PERIOD_OF_ALL_S = 0.1, 1.0


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--psu", default="auto", metavar="NAME", help="which power supply (the only one there is)")
    add("-o", "--output", default="psu.csv", metavar="FILE", help="file to make (psu.csv)")
    add("--duration", type=float, default=10.0, metavar="S", help="how long (10 s); Ctrl-C ends it")
    add(
        "--period",
        type=float,
        metavar="S",
        help="time between two rounds of readings (0.1 s; with --everything 1 s)",
    )
    add("--everything", action="store_true", help="read all registers that are known")


def run(args: argparse.Namespace) -> int:
    """Record, and say how much."""
    usual_s = _PERIOD_OF_ALL_S if args.everything else _PERIOD_S
    period_s = usual_s if args.period is None else args.period
    for option, value_s in (("--duration", args.duration), ("--period", period_s)):
        if not value_s > 0.0:
            usual = "10" if option == "--duration" else f"{usual_s:g}"
            raise ConfigError(f"{option} should be positive, not {value_s:g}", f"{option} {usual}")
    if math.isinf(period_s):
        raise ConfigError("--period should be a number of seconds", "--period 1")
    found = recordable(args.psu)
    head = describe(found) | {
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "pactmeter": __version__,
    }
    recorder = Recorder(found, everything=args.everything)
    recorder.connect()
    try:
        with Writer(Path(args.output), head) as writer, contextlib.suppress(KeyboardInterrupt):
            lasts = "until Ctrl-C" if math.isinf(args.duration) else f"for {args.duration:g} s"
            say(f"pactmeter: recording {found.model.name} into {args.output} {lasts}")
            recorder.run(writer, args.duration, period_s)
    finally:
        recorder.close()
    _tell(recorder.tally, args.output, found.model.name)
    return 0


def _tell(tally: Tally, file: str, name: str) -> None:
    if not tally.reports:
        Path(file).unlink()  # made by us, and nobody's answer is in it
        raise DeviceError(
            f"{name} said nothing: {tally.trouble or 'there was no time'}", fix="pactmeter doctor"
        )
    print(f"{file}: {tally.requests} requests to {name} and {tally.reports} reports from it")
    if tally.failed:
        print(f"{tally.failed} readings failed, the last one: {tally.trouble}")
