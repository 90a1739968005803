"""Measure the machine at rest, for the energies above idle of `pactmeter report`.

Start it when nothing else runs; it does nothing itself for a minute. Where torch has CUDA, each GPU
holds a context meanwhile, as it will in a training: that alone costs power. The result is a run as
any other, which tells what it was taken under.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.baseline import LEAST_S, baseline
from pactmeter.analysis.run import load
from pactmeter.clock import now_s
from pactmeter.config.run import from_arguments
from pactmeter.errors import ConfigError, DeviceError, ReadError
from pactmeter.report.baseline import render
from pactmeter.sensors.cpu_estimate import busy_share, cpu_ticks
from pactmeter.session.run import Run, say
from pactmeter.store.files import short_path
from pactmeter.store.manifest import read_manifest, write_manifest

if TYPE_CHECKING:
    import argparse

NAME = "baseline"
HELP = "measure the machine at rest"

_SHORTEST_S = 1.0
_SETTLE_S = 5.0
"""Clocks and fans come down after the start of a context or of the interpreter."""
_CONTEXT_S = 120.0
_CONTEXT = """
import sys
try:
    import torch
    count = torch.cuda.device_count()
    held = [torch.zeros(1, device=f"cuda:{n}") for n in range(count)]
    told = f"{count} of torch {torch.__version__}" if count else "none: torch sees no GPU"
    print(told, flush=True)
except Exception as error:
    print(f"none: torch failed ({type(error).__name__})", flush=True)
sys.stdin.read()
"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("-o", "--output", default="idle.csv", metavar="FILE", help="the run to make (idle.csv)")
    add("--duration", type=float, default=LEAST_S, metavar="S", help=f"seconds ({LEAST_S:.0f})")
    add("--psu", default="auto", metavar="NAME", help="a power supply, 'auto' or 'none'")
    add("--no-gpu-context", action="store_true", help="leave the GPUs without a context")
    add("--json", action="store_true", help="as JSON (schema 1)")


def run(args: argparse.Namespace) -> int:
    """Measure, and say what idle is."""
    if not _SHORTEST_S <= args.duration < float("inf"):
        raise ConfigError(
            f"a baseline takes {_SHORTEST_S:.0f} s or more, not {args.duration:g}",
            f"--duration {LEAST_S:.0f}",
        )
    psu = None if args.psu.lower() == "none" else args.psu
    config = from_arguments(tracker_file_name=args.output, PSU=psu).resolved()
    context = None if args.no_gpu_context else _start_context()
    try:
        held = _context(context, args)
        measured = Run(config, target_pid=os.getpid(), command=["pactmeter", "baseline"])
        busy_pct = _rest(measured, args.duration)
    finally:
        if context is not None:
            context.kill()
            context.wait()
    power = measured.files.power
    _describe(measured, {"busy_pct": busy_pct, "gpu_context": held})
    found = baseline(load(power))
    if args.json:
        print(json.dumps(_to_dict(found), indent=1))
    else:
        print(render(found))
        print(f"use       pactmeter report RUN.csv --baseline {short_path(power)}")
    return 0


def _start_context() -> subprocess.Popen[str] | None:
    if importlib.util.find_spec("torch") is None:
        return None
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CONTEXT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _context(process: subprocess.Popen[str] | None, args: argparse.Namespace) -> str:
    """Wait for the contexts, then for the machine to come to rest; return what is held."""
    if process is None:
        return "none: not wanted" if args.no_gpu_context else "none: torch is not installed"
    held = "none: torch did not answer"
    if process.stdout and select.select([process.stdout], [], [], _CONTEXT_S)[0]:
        held = process.stdout.readline().strip() or "none: torch died"
    time.sleep(min(_SETTLE_S, args.duration / 4))
    return held


def _rest(measured: Run, duration_s: float) -> float | None:
    """Measure while nothing is done; return how busy the processors were, in percent."""
    call = measured.enter("idle")
    start_s = now_s()
    before = _ticks()
    try:
        if measured.shortfall:
            raise DeviceError("there is no power source to take a baseline of", "pactmeter doctor")
        say(f"pactmeter: measuring the machine at rest for {duration_s:g} s; leave it alone")
        time.sleep(duration_s)
    except KeyboardInterrupt:  # what there is, if it is enough
        if now_s() - start_s < _SHORTEST_S:
            raise
    finally:
        after = _ticks()
        measured.leave(call)
        measured.close("the baseline ended")
    share = busy_share(before, after) if before and after else None
    return None if share is None else round(100 * share, 3)


def _ticks() -> tuple[int, ...] | None:
    try:
        return cpu_ticks()
    except ReadError:
        return None


def _describe(measured: Run, about: dict[str, Any]) -> None:
    """Write into the manifest, which is closed by now, what the baseline was taken under."""
    path = measured.files.manifest
    write_manifest(path, {**read_manifest(path), "baseline": about})


def _to_dict(found: Any) -> dict[str, Any]:
    idle = [
        {
            "channel": e.channel,
            "synthetic": e.synthetic,
            "mean_w": None if e.mean_w is None else round(e.mean_w, 6),
            "u_w": None if e.u_j is None else round(e.u_j / e.covered_s, 6),
            "coverage": round(e.coverage, 6),
        }
        for e in found.idle.values()
    ]
    told = asdict(found) | {"idle": idle}
    return {"schema": 1, **told}
