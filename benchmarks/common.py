"""What the benchmarks share: programs in fresh processes, statistics, tables with verdicts."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = Path(__file__).resolve().parent / "programs"
WALL_FACTOR = 3
"""Bounds on wall time gate at this multiple of the figure: other work on the machine moves them."""
SAMPLER = "pactmeter"
"""Name of the sampler process, as `ps` shows it."""


# --- arguments -----------------------------------------------------------------------------------


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument(
        "--quick", action="store_true", help="few repetitions: a try, not a measurement"
    )
    return made


# --- tables --------------------------------------------------------------------------------------


@dataclass
class Table:
    """Figures beside their bounds, printed as a Markdown table."""

    title: str
    notes: list[str] = field(default_factory=list)
    _rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    missed: int = 0

    def add(
        self, figure: str, measured: str, bound: str = "", *, held: bool | str | None = None
    ) -> None:
        """Add a row; ``held`` is None where nothing is bounded, or says why it is not known."""
        self.missed += held is False or isinstance(held, str)
        verdict = {None: "", True: "yes", False: "**no**"}.get(held, f"**{held}**")
        self._rows.append((figure, measured, bound, verdict))

    def wall(self, figure: str, values_s: Sequence[float], bound_s: float) -> None:
        """Add a wall time: the median against the bound, gating at three times the bound."""
        middle_s = statistics.median(values_s)
        gate_s = WALL_FACTOR * bound_s
        measured = f"median {seconds(middle_s)} ({spread(values_s)}; n = {len(values_s)})"
        bound = f"at most {seconds(bound_s)} (gate {seconds(gate_s)})"
        self.add(figure, measured, bound, held=middle_s <= gate_s)
        if bound_s < middle_s <= gate_s:
            self.notes.append(f"{figure}: over the figure itself, within the gate.")

    def finish(self) -> int:
        """Print the table; return the exit status."""
        print(f"### {self.title}\n")
        print("| figure | measured | bound | held |\n| --- | --- | --- | --- |")
        for row in self._rows:
            print("| " + " | ".join(row) + " |")
        for note in self.notes:
            print(f"\n{note}")
        print(flush=True)
        return 1 if self.missed else 0


def seconds(value_s: float) -> str:
    """Return a time with a unit that suits it."""
    size = abs(value_s)
    if size >= 1:
        return f"{value_s:.2f} s"
    if size >= 1e-3:
        return f"{value_s * 1e3:.3g} ms"
    return f"{value_s * 1e6:.0f} us"


def spread(values_s: Sequence[float]) -> str:
    """Return smallest to largest."""
    return f"{seconds(min(values_s))} to {seconds(max(values_s))}"


def say(text: str) -> None:
    """Tell how far it is, beside the table."""
    print(text, file=sys.stderr, flush=True)


# --- statistics ----------------------------------------------------------------------------------


def t_quantile(probability: float, freedom: int) -> float:
    """Return Student's quantile (around the normal one; within 0.2 % from 9 degrees on)."""
    z = statistics.NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, lower and upper end of its 95 % interval (Student's t)."""
    mean = statistics.fmean(values)
    half = t_quantile(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, lower and upper end of its 95 % interval, whatever the distribution.

    The ends are order statistics: of ``n`` values, the number below the median is binomial, so the
    ``k``-th smallest and largest miss it with a probability that is known exactly. Below six values
    there is no such pair, and the interval has no ends.
    """
    ordered, n = sorted(values), len(values)
    cut, below = 0, 1  # how many are cut off at each end; ways to have at most so many below
    while 40 * below <= 2**n:  # 2 * below / 2**n <= 5 %
        cut += 1
        below += math.comb(n, cut)
    low, high = (ordered[cut - 1], ordered[-cut]) if cut else (-math.inf, math.inf)
    return statistics.median(ordered), low, high


# --- processes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """A program that has ended: its output, and the CPU time of it and of all it waited for."""

    status: int
    output: str
    errors: str
    cpu_s: float
    wall_s: float


def run_program(
    command: Sequence[str | os.PathLike[str]],
    folder: Path,
    *,
    env: dict[str, str] | None = None,
    timeout_s: float = 120.0,
) -> Ended:
    """Run a program in a folder to its end; one that outstays its time is killed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start_s = time.monotonic()
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            if not _readable(pidfd, timeout_s):
                process.kill()
            _pid, status, usage = os.wait4(process.pid, 0)
        finally:
            os.close(pidfd)
        wall_s = time.monotonic() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)  # waited for here, not by Popen
        texts = []
        for stream in (output, errors):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, texts[0], texts[1], cpu_s, wall_s)


def _readable(fd: int, timeout_s: float) -> bool:
    import select

    return bool(select.select([fd], [], [], timeout_s)[0])


def plain_environment() -> dict[str, str]:
    """Return the environment, less what would lead our Python into another one's packages."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def python_program(name: str, python: str = sys.executable) -> list[str]:
    """Return the command of one of our programs; its folder is not put on the module path."""
    return [python, "-P", str(PROGRAMS / name)]


def samplers(folder: Path) -> list[int]:
    """Return the samplers that hold a file of the folder open (they are nobody's children)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text().strip() != SAMPLER:
                    continue
                open_files = [str(fd.readlink()) for fd in (entry / "fd").iterdir()]
                if any(name.startswith(f"{folder}/") for name in open_files):
                    found.append(int(entry.name))
    return found


def wait_sampler(folder: Path, timeout_s: float = 10.0) -> int:
    """Return the sampler that writes into a folder, as soon as there is one."""
    until_s = time.monotonic() + timeout_s
    while not (found := samplers(folder)):
        if time.monotonic() > until_s:
            raise TimeoutError(f"no process named {SAMPLER} writes into {folder}")
        time.sleep(0.005)
    return found[0]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder, removed afterwards (also where a late writer is still at it)."""
    folder = Path(tempfile.mkdtemp(prefix="pactmeter-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- the machine ---------------------------------------------------------------------------------


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> list[str]:
    """Describe the machine in lines of Markdown."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "Hardware"):
                model = value.strip()
                break
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    virtual = ", a virtual machine" if " hypervisor" in flags else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"- CPU: {model}, {cores()} cores usable{virtual}; {memory:.0f} GiB memory",
        f"- Linux {platform.release()}, Python {platform.python_version()}",
        f"- load average before: {load}",
    ]
