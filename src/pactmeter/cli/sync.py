"""Find out how far each power source lags behind the load, and how it averages.

All CPUs (with --gpu: all GPUs) are loaded and left alone by turns, at random times that are
recorded beside every source. From that follow, for each source that moves with it: what the load
adds (gain), what it shows without (offset), how long until it begins to follow (lag), its time
constant. Takes a minute and some seconds; Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import json
import random
from typing import TYPE_CHECKING

from pactmeter import __version__
from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.run import load
from pactmeter.analysis.sync.burst import BURST, schedule
from pactmeter.cli.loads import cpu_loads, gpu_loads, wait_until
from pactmeter.cli.optional import packages_for
from pactmeter.cli.status import tell
from pactmeter.clock import now_s
from pactmeter.config.run import from_arguments
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.session.regions import region
from pactmeter.session.run import Run
from pactmeter.store.files import short_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.sync.burst import Phase
    from pactmeter.analysis.sync.channels import ChannelSync
    from pactmeter.analysis.sync.fit import Between, SensorFit
    from pactmeter.cli.loads import Load

NAME = "sync"
HELP = "find the lag of each power source behind the load"

_ROW_S = 0.1
_SECONDS = 60.0


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE.csv", help="fit an earlier run, load nothing")
    add("--seconds", type=float, metavar="S", help=f"length of the burst ({_SECONDS:.0f} s)")
    add("--seed", type=int, metavar="N", help="of its random times (any; it is recorded)")
    add("--gpu", action="store_true", help="load the GPUs, by torch, instead of the CPUs")
    add("--psu", metavar="NAME", help="a power supply, 'auto' or 'none' (auto)")
    add("-o", "--output", metavar="FILE", help="power file of the run (sync.csv)")
    add("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Make the burst or take an earlier one; print what each source makes of it."""
    with packages_for("the fit"):
        from pactmeter.analysis.sync.channels import SCHEMA, phases_of, sync
    recorded = load(args.file if args.file is not None and _is_alone(args) else _burst(args))
    phases = phases_of(recorded)
    found = sync(recorded)
    if args.json:
        data = {
            "schema": SCHEMA,
            "pactmeter": __version__,
            "file": str(recorded.files.power),
            "command": recorded.manifest.get("command"),
            "phases": len(phases),
            "from_s": phases[0].start_s,
            "to_s": phases[-1].end_s,
            "channels": [one.to_dict() for one in found],
        }
        print(json.dumps(data, indent=1))
    else:
        print(_text(recorded, phases, found))
    return 0 if any(not isinstance(one.found, Unknown) for one in found) else 1


def _is_alone(args: argparse.Namespace) -> bool:
    """Return True; raise where FILE stands beside an option of a burst that is to be made."""
    for option in ("seconds", "seed", "output", "psu", "gpu"):
        value = getattr(args, option)
        if value is not None and value is not False:
            raise ConfigError(f"FILE.csv and --{option} exclude each other", "leave one out")
    return True


def _burst(args: argparse.Namespace) -> Path:
    """Record a run with a burst in it; return its power file."""
    seed = args.seed
    if seed is None:
        seed = random.randrange(1 << 31)  # noqa: S311  a load, not a secret
    seconds_s = _SECONDS if args.seconds is None else args.seconds
    phases = schedule(seconds_s, seed)
    psu = args.psu or "auto"
    config = from_arguments(
        measure_period=_ROW_S,
        perf_measure_period=_ROW_S,
        tracker_file_name=args.output or "sync.csv",
        PSU=None if psu.lower() == "none" else psu,
    ).resolved()
    words = ["pactmeter", "sync", "--seconds", f"{seconds_s:g}", "--seed", str(seed)]
    measured = Run(config, command=words + ["--gpu"] * args.gpu, tell=tell)
    with contextlib.ExitStack() as stack:
        loads = stack.enter_context(gpu_loads() if args.gpu else cpu_loads())
        stack.callback(measured.close, "the burst ended")
        call = measured.enter()
        stack.callback(measured.leave, call)
        if measured.shortfall:
            raise DeviceError("there is no power source to find the lag of", "pactmeter doctor")
        file = measured.files.power
        what = f"{'GPU' if args.gpu else 'CPU'}{'s' if len(loads) > 1 else ''}"
        tell(
            f"loading {len(loads)} {what} on and off for {seconds_s:g} s, recorded in"
            f" {short_path(file)} (Ctrl-C ends it)"
        )
        _play(phases, seconds_s, loads)
    return file


def _play(phases: Sequence[Phase], seconds_s: float, loads: Sequence[Load]) -> None:
    """Switch the loads on and off at their times, and mark each on-phase."""
    start_s = now_s()
    for number, phase in enumerate(phases):
        wait_until(start_s + phase.start_s)
        with region(BURST, number, sync=False):
            _switch(loads, on=True)
            wait_until(start_s + phase.end_s)
            _switch(loads, on=False)
    wait_until(start_s + seconds_s)


def _switch(loads: Sequence[Load], *, on: bool) -> None:
    for one in loads:
        one.switch(on)


def _text(run: RecordedRun, phases: Sequence[Phase], found: Sequence[ChannelSync]) -> str:
    """Return the table: a line a channel, with what could not be fitted and why."""
    length_s = phases[-1].end_s - phases[0].start_s
    lines = [f"{short_path(run.files.power)}: {len(phases)} on-phases in {length_s:.1f} s"]
    rows = [["", "gain", "offset", "lag", "time constant", "mean delay", "explained"]]
    for one in found:
        name = one.channel.name + (f" [{one.channel.synthetic}]" if one.channel.synthetic else "")
        fit = one.found
        rows.append([name, *([fit.reason] if isinstance(fit, Unknown) else _cells(fit))])
    whole = [row for row in rows if len(row) > 2]
    widths = [max(len(row[0]) for row in rows)]
    widths += [max(len(row[i]) for row in whole) for i in range(1, len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, "In brackets: intervals of 95 %. Mean delay: lag and averaging."])


def _cells(fit: SensorFit) -> list[str]:
    def watts(value_w: float, between_w: Between) -> str:
        return f"{value_w:.1f} W ({between_w[0]:.1f} to {between_w[1]:.1f})"

    def milliseconds(value_s: float, between_s: Between) -> str:
        low_s, high_s = between_s
        return f"{1000 * value_s:.0f} ms ({1000 * low_s:.0f} to {1000 * high_s:.0f})"

    shape = {"boxcar": " boxcar", "either": " either shape"}.get(fit.shape, "")
    return [
        watts(fit.gain_w, fit.gain_between_w),
        watts(fit.offset_w, fit.offset_between_w),
        milliseconds(fit.lag_s, fit.lag_between_s),
        milliseconds(fit.tau_s, fit.tau_between_s) + shape,
        milliseconds(fit.delay_s, fit.delay_between_s),
        f"{fit.explained_pct:.1f} %",
    ]
