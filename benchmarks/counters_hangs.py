"""Five ordinary programs on which performance-features hangs or aborts, under PACT and under it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.counters_tools import NO_PROFILER, Bench, manifest, pact, profiler, started

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 5.0
PROGRAM = common.PROGRAMS / "counter_cases.py"
CASES: dict[str, tuple[list[str], int]] = {
    "`sh -c 'exec sleep 1'`": (["sh", "-c", "exec sleep 1"], 0),
    "`/usr/bin/env sleep 1`": ([shutil.which("env") or "env", "sleep", "1"], 0),
    "a Python program that uses SIGALRM": ([sys.executable, str(PROGRAM), "alarm"], 7),
    "`kill -USR1` to a program that handles it": ([sys.executable, str(PROGRAM), "usr1"], 5),
    "a group of events, threads that start others": (["TARGET", "churn", "1.5"], 0),
}
"""Commands, and the exit code that says that they went as they should."""


def table(bench: Bench) -> common.Table:
    """Run each, and return the table."""
    made = common.Table("Programs on which performance-features hangs or aborts")
    for title, (words, code) in CASES.items():
        words = [str(bench.target) if word == "TARGET" else word for word in words]
        with bench.scratch() as folder:
            ended = _run(pact(bench, 0.01, words), folder)
            status = _manifest_status(folder)
        held = ended.status == code and status == "complete" and ended.wall_s < TIMEOUT_S
        made.add(
            f"PACT, {title}",
            f"exit code {ended.status}, manifest {status}, {ended.wall_s:.1f} s",
            f"exit code {code}, complete, within {TIMEOUT_S:g} s",
            held=held,
        )
        made.add(f"beside: PF Profiler, {title}", _profiler(bench, words))
        common.say(f"counters: hangs: {title}")
    return made


def _run(command: list[str], folder: Path) -> common.Ended:
    env = common.plain_environment()
    return common.run_program(command, folder, env=env, timeout_s=TIMEOUT_S)


def _manifest_status(folder: Path) -> str:
    try:
        return manifest(folder)["status"]
    except (OSError, ValueError) as error:
        return f"unreadable ({error})"


def _profiler(bench: Bench, words: list[str]) -> str:
    if not bench.profiler_python:
        return NO_PROFILER
    with bench.scratch() as folder:
        start_s = time.monotonic()
        with started(profiler(bench, 0.01, words), folder) as process:
            try:
                status = process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                # its tracee outlives it, stopped for ever, where it hangs or aborts
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        wall_s = time.monotonic() - start_s
        texts = [(folder / name).read_text(errors="replace") for name in ("errors", "output")]
    lines = (texts[0].strip() or texts[1].strip()).splitlines() or [""]
    last = lines[-1].strip()[:100].replace("|", "/")
    if status is None:
        return f"hangs: killed after {TIMEOUT_S:g} s"
    if status < 0:
        return f"aborts (signal {-status}): `{last}`"
    return f"ends, status {status}, {wall_s:.1f} s: `{last}`"
