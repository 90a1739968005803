"""Kill the measured process, or its sampler, at random moments; see what is left.

SIGKILL of the process: every row older than one period is on disk and the run reads as incomplete.
SIGKILL of the sampler: the function returns its value, one warning, rows up to then kept. "At any
moment" has two more sets: between calls, and while the first call starts, where there may be no run
yet. A killed process never reads as complete, and leaves nothing behind that runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

PERIOD_S = 0.1
LONGEST_S = 1.0
START_S = 0.25
CALL_S = 0.25
REST_S = 0.5
CLOSE_S = 10.0
AT_ONCE = 4


@dataclass(frozen=True)
class Trial:
    """One kill.

    Attributes:
        after_s: When it was killed, after its function had begun (or the program, if starting).
        rows_due: Rows that have to be there.
        rows: Rows that are.
        problems: What was not as it has to be.
        status: How the run reads.
    """

    after_s: float
    rows_due: int
    rows: int
    problems: tuple[str, ...]
    status: str


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--trials", type=int, help="kills of each kind (50; quick: 8)")
    parser.add_argument("--seed", type=int, help="of the times (drawn and printed)")
    args = parser.parse_args()
    trials = args.trials or (8 if args.quick else 50)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)

    table = common.Table(f"Killed at random times (seed {seed}, rows every {PERIOD_S:g} s)")
    for kill, longest_s, what, bound in (
        (kill_process, LONGEST_S, "SIGKILL of the process",
         "rows older than a period on disk, reads as incomplete, sampler ends"),
        (kill_sampler, LONGEST_S - 0.05, "SIGKILL of the sampler",
         "value returned, one warning, rows kept, reads as incomplete"),
        (kill_starting, START_S, "SIGKILL of the process while it starts",
         "no run, or reads as incomplete; sampler ends"),
        (kill_resting, REST_S, "SIGKILL of the process between calls",
         "the call's rows on disk, reads as incomplete, sampler ends"),
    ):  # fmt: skip
        times = [draw.uniform(0, longest_s) for _ in range(trials)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = list(pool.map(kill, times))
        _row(table, what, bound, done)
        common.say(f"kills: {what}: done")
    return table.finish()


def _row(table: common.Table, what: str, bound: str, done: list[Trial]) -> None:
    bad = [trial for trial in done if trial.problems]
    rows = f"{sum(t.rows for t in done)} rows on disk, {sum(t.rows_due for t in done)} due"
    statuses = sorted({trial.status for trial in done})
    told = ", ".join(f"{sum(t.status == s for t in done)} {s}" for s in statuses)
    table.add(what, f"{len(done) - len(bad)} of {len(done)} as bound; {rows}; {told}", bound,
              held=not bad)  # fmt: skip
    for trial in bad[:5]:
        table.notes.append(f"{what}, after {trial.after_s:.4f} s: {'; '.join(trial.problems)}")


# --- the three kinds -----------------------------------------------------------------------------


def kill_process(after_s: float) -> Trial:
    """Kill the process within its function."""
    with common.scratch() as folder, _victim(folder, 60.0) as victim:
        started_s = _started(victim)
        sampler = common.wait_sampler(folder)
        killed_s = _kill(victim.pid, started_s + after_s)
        victim.wait()
        problems = _outlives(sampler)
        due = _due(started_s, killed_s)
        rows, gaps = _rows(folder, due)
        status = _status(folder)
    if status != "incomplete":
        gaps.append(f"reads as {status}")
    return Trial(after_s, due, rows, tuple(problems + gaps), status)


def kill_sampler(after_s: float) -> Trial:
    """Kill the sampler within the function."""
    with common.scratch() as folder, _victim(folder, LONGEST_S) as victim:
        started_s = _started(victim)
        sampler = common.wait_sampler(folder)
        killed_s = _kill(sampler, started_s + after_s)
        due = _due(started_s, killed_s)
        rows, problems = _rows(folder, due)  # at once, while the function goes on
        output, errors = victim.communicate(timeout=30)
        rows_after, _ = _rows(folder, due)
        status = _status(folder)
    if victim.returncode != 0:
        problems.append(f"exit status {victim.returncode}: {errors.strip()[-200:]}")
    else:
        told = json.loads(output.strip().splitlines()[-1])
        if told["value"] != ["value", 1]:
            problems.append(f"the function returned {told['value']}")
        warned = told["warnings"] + [line for line in errors.splitlines() if line.strip()]
        if len(warned) != 1:
            problems.append(f"{len(warned)} warnings: {warned}")
    if rows_after < rows:
        problems.append(f"rows went from {rows} to {rows_after}")
    if status != "incomplete":
        problems.append(f"reads as {status}")
    return Trial(after_s, due, rows, tuple(problems), status)


def kill_starting(after_s: float) -> Trial:
    """Kill the process while it starts its sampler, or just after."""
    with common.scratch() as folder, _victim(folder, 60.0) as victim:
        victim.stdout.readline()  # its imports are done, its first call begins
        begun_s = time.monotonic()
        time.sleep(max(0.0, begun_s + after_s - time.monotonic()))
        os.kill(victim.pid, signal.SIGSTOP)  # so that its sampler is known, if it has one
        samplers = common.samplers(folder)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        time.sleep(0.5)  # one that had no file open yet is still to come, and to go again
        problems = [text for pid in samplers for text in _outlives(pid)]
        problems += [text for pid in common.samplers(folder) for text in _outlives(pid)]
        present = (folder / "PACT.csv").exists()
        rows, gaps = _rows(folder, 0) if present else (0, [])
        status = _status(folder) if present else "not begun"
    if status not in ("not begun", "incomplete"):
        gaps.append(f"reads as {status}")
    return Trial(after_s, 0, rows, tuple(problems + gaps), status)


def kill_resting(after_s: float) -> Trial:
    """Kill the process after a call, when the sampler rests (or still looks at the call's end)."""
    with common.scratch() as folder, _victim(folder, CALL_S, "rest") as victim:
        _started(victim)
        sampler = common.wait_sampler(folder)
        victim.stdout.readline()
        _kill(victim.pid, time.monotonic() + after_s)
        victim.wait()
        problems = _outlives(sampler)
        due = int(CALL_S / PERIOD_S)
        rows, gaps = _rows(folder, due)
        status = _status(folder)
    if status != "incomplete":
        gaps.append(f"reads as {status}")
    return Trial(after_s, due, rows, tuple(problems + gaps), status)


# --- parts ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _victim(folder: Path, seconds: float, *words: str):
    process = subprocess.Popen(
        [*common.python_program("victim.py"), str(seconds), *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _started(victim: subprocess.Popen[str]) -> float:
    """Wait until the function has begun; return when (the run began just before)."""
    victim.stdout.readline()
    line = victim.stdout.readline()
    if not line:
        raise SystemExit(f"the program to be killed did not start:\n{victim.stderr.read()}")
    return float(json.loads(line)["started_s"])


def _kill(pid: int, at_s: float) -> float:
    """Kill at this time; return when it was really done."""
    time.sleep(max(0.0, at_s - time.monotonic()))
    now_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return now_s


def _due(started_s: float, killed_s: float) -> int:
    """Return how many rows are older than one period."""
    return max(0, int((killed_s - started_s - PERIOD_S) / PERIOD_S + 1e-9))


def _outlives(pid: int) -> list[str]:
    """Wait for a sampler to end after its program; tell if it does not."""
    until_s = time.monotonic() + CLOSE_S
    while _alive(pid):
        if time.monotonic() > until_s:
            os.kill(pid, signal.SIGKILL)
            return [f"a sampler was still there {CLOSE_S:g} s later"]
        time.sleep(0.01)
    return []


def _alive(pid: int) -> bool:
    """Return whether a process runs (one that nobody waits for does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _rows(folder: Path, due: int) -> tuple[int, list[str]]:
    """Return how many rows there are, and what is wrong with those that are due.

    A row that was read late covers more than one period, so time is what has to be covered.
    """
    from pactmeter.errors import PactError
    from pactmeter.store.table import read_table

    try:
        header, lines = read_table(folder / "PACT.csv")
    except PactError as error:
        return 0, [f"PACT.csv cannot be read: {error}"]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    problems = []
    reached_s = 0.0
    for number, row in enumerate(rows, 1):
        if abs(float(row["read_s"]) - float(row["window_s"]) - reached_s) > 2e-6:
            problems.append(f"row {number} does not begin where the one before ended")
        reached_s = float(row["read_s"])
    if reached_s < due * PERIOD_S - 1e-6:
        problems.append(f"rows reach {reached_s:.3f} s, due are {due * PERIOD_S:.1f} s")
    return len(rows), problems


def _status(folder: Path) -> str:
    from pactmeter.analysis.run import load
    from pactmeter.errors import PactError

    try:
        return load(folder / "PACT.csv").status
    except PactError as error:
        return f"unreadable ({error})"


if __name__ == "__main__":
    raise SystemExit(main())
