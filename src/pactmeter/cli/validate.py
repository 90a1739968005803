"""Hold this machine's sources against a reference meter, the way MLPerf accepts software meters.

Idle and two loads, five windows of a minute each, are measured beside the meter (17 minutes; leave
the machine alone). From that follow, for each source, how far it is from the meter, and gain and
offset with their intervals. --calibration writes them down for `pactmeter report --calibration`.

With a file the run is made no more: pactmeter validate RUN.csv --reference METER.csv
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.analysis.run import load
from pactmeter.analysis.windows import IDLE, PREFIX, WINDOW_S, WINDOWS
from pactmeter.cli.loads import cpu_loads, gpu_loads, wait_until
from pactmeter.cli.optional import packages_for
from pactmeter.cli.options import add_reference, reference_columns
from pactmeter.cli.status import tell
from pactmeter.clock import now_s
from pactmeter.config.run import from_arguments
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.session.regions import region
from pactmeter.session.run import Run, say
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pactmeter.config.run import RunConfig

NAME = "validate"
HELP = "hold the sources against a reference meter"

_SETTLE_S = 30.0
_SHORTEST_S, _LONGEST_S = 2.0, 3600.0


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("file", nargs="?", metavar="RUN.csv", help="judge an earlier run, measure nothing")
    add("--meter", action="append", default=[], metavar="URL", help="as shelly://192.168.1.20")
    add("--later", action="store_true", help="measure now, and name the meter's file later")
    add("--load", action="append", default=[], metavar="CMD", help="a command as load, two of them")
    add("--gpu", action="store_true", help="load the GPUs too, by torch")
    add("--window", type=float, default=WINDOW_S, metavar="S", help=f"({WINDOW_S:.0f} s)")
    add("--settle", type=float, default=_SETTLE_S, metavar="S", help="before the windows (30 s)")
    add("--psu", default="auto", metavar="NAME", help="a power supply, 'auto' or 'none'")
    add("-o", "--output", default="validate.csv", metavar="FILE", help="run to make (validate.csv)")
    add("--against", metavar="CHANNEL", help="the meter, where there are several (wall.desk)")
    add("--calibration", metavar="FILE", help="write the calibration of a source to this file")
    add("--source", metavar="CHANNEL", help="of this source (the headline)")
    add_reference(parser)
    add("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Measure if needed, judge, print; exit code 1 where AC sources do not agree."""
    with packages_for("validating"):
        from pactmeter.analysis.calibration.files import save
        from pactmeter.analysis.metered import metered
        from pactmeter.analysis.validation import validate
        from pactmeter.model.channel import WALL_REFERENCE
        from pactmeter.report.validation import render
    _check(args)
    file = args.file or _record(args)
    if args.later and not args.file:
        print(f"{short_path(Path(file))} is recorded; now the meter's file:")
        print(f"  pactmeter validate {short_path(Path(file))} --reference METER.csv ...")
        return 0
    recorded = load(file)
    against = args.against
    if args.reference:
        recorded = metered(recorded, args.reference, **reference_columns(args))
        against = against or WALL_REFERENCE
    found = validate(recorded, against)
    print(json.dumps(found.to_dict(), indent=1) if args.json else render(found))
    if args.calibration:  # behind the page: what was measured is not lost with it
        save(Path(args.calibration), found.calibration(args.source))
        say(f"pactmeter: written, for pactmeter report RUN.csv --calibration {args.calibration}")
    return 0 if all(one.agrees is not False for one in found.sources) else 1


def _record(args: argparse.Namespace) -> Path:
    """Measure idle and two loads; return the run's file."""
    if not args.meter and not args.later:
        raise ConfigError(
            "no reference meter is named",
            "--meter shelly://ADDRESS; or --later, where the meter writes a file of its own",
        )
    if args.reference:
        raise ConfigError("--reference belongs to a run that is there", "name RUN.csv, or --meter")
    if not _SHORTEST_S <= args.window <= _LONGEST_S or not 0 <= args.settle <= _LONGEST_S:
        raise ConfigError(
            f"windows of {args.window:g} s, {args.settle:g} s to settle",
            f"--window takes {_SHORTEST_S:g} to {_LONGEST_S:g} s, the rules ask for 60",
        )
    if len(args.load) not in {0, 2}:
        raise ConfigError(f"{len(args.load)} loads are named, two are needed", "--load A --load B")
    if not args.load and len(os.sched_getaffinity(0)) < 2:
        raise ConfigError("one CPU cannot be loaded by half", "--load A --load B")
    for words in args.load:
        if not _is_command(words):
            raise ConfigError(f"the load {words!r} is not a command", "name one that is installed")
    config = from_arguments(
        measure_period=min(1.0, args.window / 10),
        tracker_file_name=args.output,
        PSU=None if args.psu.lower() == "none" else args.psu,
        meters=args.meter,
    ).resolved()
    return _measure(config, args)


def _check(args: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is measured."""
    if args.calibration and Path(args.calibration).exists():
        raise ConfigError(f"{args.calibration} exists and is kept", "name another file")
    if args.file and (args.meter or args.later or args.load or args.gpu):
        raise ConfigError(
            "--meter, --later, --load and --gpu are for a run that is to be made",
            "leave RUN.csv out",
        )
    if args.load and args.gpu:
        raise ConfigError("--load and --gpu exclude each other", "let a --load use the GPUs")
    if args.later and args.calibration and not args.file:
        raise ConfigError(
            "there is no meter yet to calibrate by", "--calibration goes with RUN.csv"
        )
    if args.source and not args.calibration:
        raise ConfigError("--source says whose calibration is written", "add --calibration FILE")


def _is_command(text: str) -> bool:
    try:
        words = shlex.split(text)
    except ValueError:  # quotes that do not close
        return False
    return bool(words) and shutil.which(words[0]) is not None


def _measure(config: RunConfig, args: argparse.Namespace) -> Path:
    loads = _loads(args)
    each_s = args.settle + WINDOWS * args.window
    measured = Run(config, command=["pactmeter", *sys.argv[1:]], tell=tell)
    with contextlib.ExitStack() as stack:
        stack.callback(measured.close, "the validation ended")
        call = measured.enter()
        stack.callback(measured.leave, call)
        if measured.shortfall:
            raise DeviceError("there is no power source to validate", "pactmeter doctor")
        minutes = len(loads) * each_s / 60
        file = short_path(measured.files.power)
        tell(f"idle and two loads, {minutes:.1f} minutes, recorded in {file}")
        for name, made in loads.items():
            tell(f"{name}: {each_s:g} s")
            with made:
                _windows(name, args.settle, args.window)
    return measured.files.power


def _windows(name: str, settle_s: float, window_s: float) -> None:
    from_s = now_s() + settle_s
    wait_until(from_s)
    for number in range(WINDOWS):
        with region(f"{PREFIX}{name}", number, sync=False):
            wait_until(from_s + (number + 1) * window_s)


def _loads(args: argparse.Namespace) -> dict[str, contextlib.AbstractContextManager[None]]:
    if args.load:
        first, second = (_command(shlex.split(words)) for words in args.load)
        return {IDLE: contextlib.nullcontext(), "load1": first, "load2": second}
    half = max(1, len(os.sched_getaffinity(0)) // 2)
    return {
        IDLE: contextlib.nullcontext(),
        "half": _busy(half, gpu=False),
        "full": _busy(None, gpu=args.gpu),
    }


@contextlib.contextmanager
def _busy(cpus: int | None, *, gpu: bool) -> Iterator[None]:
    """Load some CPUs, or all of them, and the GPUs."""
    with contextlib.ExitStack() as stack:
        made = list(stack.enter_context(cpu_loads()))[:cpus]
        made += stack.enter_context(gpu_loads()) if gpu else []
        for one in made:
            one.switch(on=True)
        yield


@contextlib.contextmanager
def _command(words: list[str]) -> Iterator[None]:
    """Run a command as load, and end it with all that it has started.

    Raises:
        DeviceError: It ended before it was told to.
    """
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        yield
        if process.poll() is not None:
            raise DeviceError(
                f"the load {shlex.join(words)} ended early (exit code {process.returncode})",
                "name one that runs for as long as all windows take",
            )
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
