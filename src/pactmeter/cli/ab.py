"""Does B use less than A? Run both commands in turns and say by how much, and how sure that is.

pactmeter ab --runs 10 -- python train.py --vs python train_bf16.py

Both run in pairs, in random order within each, and every run is recorded as `pactmeter run` does
it. What drifts meets both alike, and what the sensor is wrong by cancels. With --until 1 it stops
as soon as the interval is within 1 %, after --runs pairs at the latest.
"""

from __future__ import annotations

import argparse
import json
import math
import secrets
import shutil
import sys
from functools import partial
from pathlib import Path

from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import add_meters
from pactmeter.cli.status import tell
from pactmeter.config.run import from_arguments
from pactmeter.errors import ConfigError
from pactmeter.report.screen import Screen

NAME = "ab"
HELP = "run two commands in turns: which uses less, and how sure is that"

VERSUS = "--vs"
_EXAMPLE = "pactmeter ab --runs 10 -- python a.py --vs python b.py"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--runs", type=int, default=10, metavar="N", help="pairs of runs (10)")
    add("-o", "--output", default="ab", metavar="FOLDER", help="where the runs go (ab)")
    add("--until", type=float, metavar="PCT", help="stop when the interval is within so much")
    add("--margin", type=float, metavar="PCT", help="a difference that counts as none")
    add("--seed", type=int, metavar="N", help="of the order (one is drawn, and told)")
    add("--warm-up", action="store_true", help="run each once before, unmeasured")
    add("--cool-down", type=float, default=0.0, metavar="S", help="rest before each run (0 s)")
    add("--timeout", type=float, metavar="S", help="a run that takes longer has failed")
    add("--measure-period", type=float, default=1.0, metavar="S", help="a row of power (1 s)")
    add("--psu", default="auto", metavar="NAME", help="a power supply, 'auto' or 'none'")
    add_meters(parser)
    add("--json", action="store_true", help="as JSON (schema 1)")
    add("words", nargs=argparse.REMAINDER, metavar="-- A ... --vs B ...")


def run(args: argparse.Namespace) -> int:
    """Run both, and print the answer."""
    commands = split(args.words)
    for side, words in commands.items():
        if shutil.which(words[0]) is None:
            fix = f"write it as words, without quotes: {_EXAMPLE}" if " " in words[0] else None
            raise ConfigError(f"command {side} is not found: {words[0]}", fix)
    if args.timeout is not None and not 0 < args.timeout < math.inf:
        raise ConfigError(f"a time-out of {args.timeout:g} s is not possible", "--timeout 600")
    period_s = args.measure_period
    from_arguments(
        measure_period=period_s,
        perf_measure_period=min(0.01, period_s),
        PSU=None if args.psu.lower() == "none" else args.psu,
        meters=args.meter,
    )
    with packages_for("comparing"):
        from pactmeter.study import ab, ab_command, ab_text, child
    plan = ab.Plan(
        commands,
        Path(args.output).absolute(),
        runs=args.runs,
        seed=secrets.randbelow(2**31) if args.seed is None else args.seed,
        warm_up=args.warm_up,
        cool_down_s=args.cool_down,
        until_pct=args.until,
        margin_pct=args.margin,
    )
    options = ["--measure-period", f"{period_s:g}", "--psu", args.psu]
    options += [word for url in args.meter for word in ("--meter", url)]
    record = partial(ab_command.measured, options=options, timeout_s=args.timeout)
    warm = partial(ab_command.plain, timeout_s=args.timeout)
    with child.ended_by_signals():  # the command under way must not outlive us
        found = ab.compare(plan, record, warm, tell=tell)
    print(
        json.dumps(found.to_dict(), indent=1)
        if args.json
        else ab_text.render(found, Screen.of(sys.stdout))
    )
    return 0


def split(words: list[str]) -> dict[str, list[str]]:
    """Return the two commands of a command line.

    >>> split(["--", "sleep", "1", "--vs", "sleep", "2"])
    {'A': ['sleep', '1'], 'B': ['sleep', '2']}

    Raises:
        ConfigError: There are not two.
    """
    given = words[1:] if words[:1] == ["--"] else words
    if given.count(VERSUS) > 1:
        raise ConfigError(
            f"{VERSUS} stands there {given.count(VERSUS)} times, and there are two commands",
            f"put a command that has {VERSUS} itself into a script, or: sh -c 'command {VERSUS} x'",
        )
    place = given.index(VERSUS) if VERSUS in given else len(given)
    commands = {"A": given[:place], "B": given[place + 1 :]}
    for side, command in commands.items():
        if not command:
            raise ConfigError(f"no command {side} is named", _EXAMPLE)
    return commands
