"""The checks that run in the guest: PACT's own engine on a PMU. Prints one line of JSON each.

The guest runs with ``-icount shift=0``: an instruction takes a nanosecond of its time, so the
instructions and the cycles of a thread are its CPU time, and a loop of known length is the truth.
QEMU's counters count what *any* CPU executes while they run: where absolute figures are asked for,
all stay on one CPU.
"""

from __future__ import annotations

import contextlib
import csv
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from pactmeter.counters.backends import open_counters

TARGET = "/t/target"
NOBODY = 65534
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
RELEASE = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
INHERITS_SAMPLES = RELEASE >= (6, 12)
"""Whether this kernel has what the ring needs; of the tests only, PACT finds out by opening."""
HAS_BACKENDS = "backend" in inspect.signature(open_counters).parameters
INSTRUCTIONS = 0x08

failed = []
runs: list[Recorded] = []


class UnlikeError(AssertionError):
    """What was found is not what is expected."""


def want(condition: object, text: str) -> None:
    if not condition:
        raise UnlikeError(text)


def near(found: float | None, truth: float, limit: float, what: str) -> str:
    """Check a figure against the truth; return the difference in words."""
    want(found is not None, f"{what} is unknown")
    share = found / truth - 1
    text = f"{what} {share:+.3%}"
    want(abs(share) <= limit, f"{text}: {found} for {truth}")
    return text


@dataclass
class Recorded:
    """A run of ``pactmeter run``: what it printed and what its files hold."""

    code: int
    out: str
    told: str
    manifest: dict
    totals: dict[str, int | None]
    bins: dict[str, int | None]
    rows: list[dict[str, str]]
    """The bins themselves."""

    @property
    def events(self) -> dict[str, dict]:
        return {event["column"]: event for event in self.manifest["events"]}

    @property
    def work(self) -> dict:
        """What the target says of itself."""
        return json.loads(next(line for line in self.out.splitlines() if line.startswith("{")))

    @property
    def backends(self) -> set[str]:
        return {e["backend"] for e in self.manifest["events"] if e["status"] == "ok"}


def pactmeter(
    groups: list[str], *, millions: int = 200, threads: int = 1, backend: str = "", uid: int = 0
) -> Recorded:
    """Measure the target with the command line, as a user would."""
    folder = tempfile.mkdtemp()
    Path(folder).chmod(0o777)  # for a user without rights
    words = [sys.executable, "-m", "pactmeter", "run"]
    words += [word for group in groups for word in ("-e", group)]
    words += ["--counter-backend", backend] if backend else []
    user = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
    done = subprocess.run(
        [*words, "--", TARGET, str(millions), str(threads)],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False, **user,
    )  # fmt: skip
    told = f"ended with {done.returncode}: {done.stderr[-900:]}"
    want((Path(folder) / "PACT.json").exists(), told)
    manifest = json.loads((Path(folder) / "PACT.json").read_text())
    columns = [event["column"] for event in manifest["events"]]
    power, rows = (table(Path(folder) / f"PACT{end}.csv") for end in ("", ".counters"))
    totals, bins = sums(power, columns), sums(rows, columns)
    run = Recorded(done.returncode, done.stdout, done.stderr, manifest, totals, bins, rows)
    runs.append(run)
    return run


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def sums(rows: list[dict[str, str]], columns: list[str]) -> dict[str, int | None]:
    """Return the sum of each column; None where no cell holds anything."""
    cells = {column: [int(row[column]) for row in rows if row[column] != ""] for column in columns}
    return {column: sum(found) if found else None for column, found in cells.items()}


def strings(value: object) -> list[str]:
    """Return every string within plain data."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@contextlib.contextmanager
def paranoid(level: int):
    before = PARANOID.read_text()
    PARANOID.write_text(str(level))
    try:
        yield
    finally:
        PARANOID.write_text(before)


@contextlib.contextmanager
def cpus(*numbers: int):
    """Keep everything that is started on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, numbers)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def waiting(millions: int, threads: int):
    """Yield a target that has not begun, and a function that lets it work and returns its words."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([TARGET, str(millions), str(threads), "wait"], **pipes)
    time.sleep(0.05)  # until it waits: its start is not what is counted

    def go() -> dict:
        process.stdin.write(b"1")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        yield process.pid, go
    finally:
        process.communicate(b"2", timeout=100)


# --- the checks: each returns what it has seen, or raises -------------------------------------


def known_work() -> str:
    """User mode: a loop of known length. Both modes: the CPU time, a nanosecond each."""
    loop = ["CYCLES:u", "INSTRUCTIONS:u", "r08:u", "armv8_pmuv3/inst_retired/:u"]
    whole = ["CYCLES", "INSTRUCTIONS"]
    with cpus(0):
        run = pactmeter([",".join(loop), ",".join(whole), "TASK-CLOCK"], millions=200)
    shares = run.manifest["running_shares"].values()
    want(set(shares) == {1}, f"shared the PMU though it has room: {list(shares)}")
    truth, cpu_ns = run.work["instructions"], run.totals["task-clock"]
    seen = [near(run.totals[name.lower()], truth, 0.01, name) for name in loop]
    seen += [near(run.totals[name.lower()], cpu_ns, 0.01, name) for name in whole]
    return f"{truth / 1e6:.0f} M: " + ", ".join(seen)


def overcommitted() -> str:
    """Twelve copies of one event and the cycles, each in a group of its own, on seven counters."""
    copies = [f"r{INSTRUCTIONS:0{width}x}" for width in range(1, 13)]
    with cpus(0):
        single = pactmeter(["r08"], millions=400)
        run = pactmeter([*copies, "CYCLES"], millions=400)
    truth = single.totals["r08"]
    near(truth, single.work["instructions"], 0.05, "the single event")
    shares = run.manifest["running_shares"]
    want(all(0 < shares[copy] < 1 for copy in copies), f"running shares {shares}")
    off = [run.totals[copy] / truth - 1 for copy in copies]
    seen = f"running {min(shares.values()):.0%} to {max(shares.values()):.0%}"
    seen += f", scaled totals {min(off):+.2%} to {max(off):+.2%} of {truth / 1e6:.1f} M"
    want(max(map(abs, off)) <= 0.01, seen)
    return f"{seen}; {near(run.totals['cycles'], truth, 0.01, 'cycles')}"


def too_large() -> str:
    """One group of eight on seven counters: said before the run, with the fix."""
    names = [f"r{INSTRUCTIONS:0{width}x}" for width in range(1, 9)]
    run = pactmeter([",".join(names)], millions=20)
    refused = [e for e in run.manifest["events"] if e["status"] != "ok"]
    want(refused, "all eight are said to count")
    text = f"{refused[0]['reason']}; fix: {refused[0]['fix']}"
    want("larger than the PMU" in text and "split" in text, text)
    want(all(run.totals[e["column"]] is None for e in refused), "a refused event has figures")
    # The target's report goes to another pipe; that it was told first shows in the order of both.
    script = f"{sys.executable} -m pactmeter run -q -e {','.join(names)} -- {TARGET} 20 2>&1"
    both = subprocess.run(["/bin/busybox", "sh", "-c", script], cwd="/tmp", capture_output=True,
                          text=True, check=False).stdout  # fmt: skip
    want("larger than the PMU" in both.partition("{")[0], f"not told before the run: {both}")
    return f"{len(names) - len(refused)} of {len(names)} counted; {text}"


def absent() -> str:
    """Generic events that this PMU has not: missing and empty, never 0; the others count."""
    names = ["cache-misses", "branches", "bus-cycles", "llc-load-misses"]
    run = pactmeter([",".join([*names, "INSTRUCTIONS"])], millions=20)
    missing = [name for name in names if run.events[name]["status"] == "missing"]
    want(missing, "this PMU has them all")
    reasons = {run.events[name]["reason"] for name in missing}
    empty = [name for name in missing if run.totals[name] is None and run.bins[name] is None]
    want(empty == missing, f"not empty: {run.totals}")
    want(run.totals["instructions"], "INSTRUCTIONS of the same group does not count")
    return f"{', '.join(missing)}: {'; '.join(reasons)}"


def refused(level: int) -> str:
    """An ordinary user at a level of perf_event_paranoid."""
    with paranoid(level):
        run = pactmeter(["FAULTS,CONTEXT-SWITCHES", "INSTRUCTIONS"], millions=20, uid=NOBODY)
    seen = []
    for column, event in run.events.items():
        total = run.totals[column]
        if event["status"] == "ok":
            want(total, f"{column} is said to count and is {total}")
            if column == "faults":
                pages = run.work["pages"]
                want(total >= pages, f"{total} faults, {pages} pages were touched")
            seen.append(f"{column} {event['backend']} {total}")
        else:
            want(total is None, f"{column} is {event['status']} and has {total}")
            seen.append(f"{column} {event['status']}")
            want("sysctl" in (event["fix"] or ""), f"{column}: no fix")
            want(f"paranoid is {level}" in event["reason"], f"{column}: {event['reason']}")
    hardware = run.events["instructions"]
    if level > 2:
        why = run.events["faults"]["reason"]
        want(run.events["faults"]["backend"] == "proc", f"FAULTS not from /proc: {why}")
        want(hardware["status"] == "denied", f"INSTRUCTIONS: {hardware['status']}")
    else:
        want(hardware["attr"]["exclude_kernel"], "INSTRUCTIONS is not of user mode")
        want("user mode only" in (hardware["reason"] or ""), str(hardware["reason"]))
        near(run.totals["instructions"], run.work["instructions"], 0.02, "INSTRUCTIONS:u")
    return ", ".join(seen)


def chosen() -> str:
    """The best backend that this kernel allows, and why not a better one."""
    run = pactmeter(["FAULTS,CONTEXT-SWITCHES", "CYCLES,INSTRUCTIONS"], threads=2, millions=50)
    want(all(event["status"] == "ok" for event in run.events.values()), str(run.events))
    best = "ring" if HAS_BACKENDS and INHERITS_SAMPLES else "poll"
    want(run.backends == {best}, f"{run.backends} serve, not {best}")
    if best == "ring" or not HAS_BACKENDS:
        return best
    why = [text for text in strings(run.manifest) if "EINVAL" in text and "ring" in text]
    want(why, "the manifest does not say why not ring (EINVAL)")
    return f"{best}: {why[0]}"


def forced() -> str:
    """The polled backend, asked for."""
    run = pactmeter(["FAULTS", "INSTRUCTIONS:u"], backend="poll")
    want(run.backends == {"poll"}, f"{run.backends} serve")
    return near(
        run.totals["instructions:u"], run.work["instructions"], 0.01, "poll: instructions:u"
    )


def agreement() -> str:
    """Two engines on one target: the ring's totals are those of polled groups.

    Between the starts of two counters on one CPU the other may execute a lot, see above: with
    threads on both, hardware events say nothing.
    """
    software, hardware = ["FAULTS", "CONTEXT-SWITCHES"], ["CYCLES", "INSTRUCTIONS"]
    seen = []
    for where, threads, groups in (
        ((0,), 1, [software, hardware]),
        ((0,), 3, [software, hardware]),
        ((0, 1), 3, [software]),
    ):
        with cpus(*where), waiting(100, threads) as (pid, go), contextlib.ExitStack() as stack:
            both = [
                stack.enter_context(open_counters(groups, pid=pid, scope="tree", backend=backend))
                for backend in ("ring", "poll")
            ]
            want({e["backend"] for e in both[0].describe()} == {"ring"}, "the ring is not served")
            before = [counters.read().totals for counters in both]
            go()
            after = [counters.read().totals for counters in both]
        figures = []
        for name, *totals in zip(both[0].columns, *before, *after, strict=True):
            ring, poll = totals[2] - totals[0], totals[3] - totals[1]
            text = f"{name} {ring}/{poll}"
            want(abs(ring - poll) <= max(1, 0.001 * poll), f"{threads} threads: {text}")
            figures.append(text)
        seen.append(f"{threads} on {len(where)} CPU(s): {', '.join(figures)}")
    return "; ".join(seen)


def placed() -> str:
    """Bins of a steady loop: in each, every group of events has seen the same stretch of it.

    That is the known loop above, whose first and last bin are the kernel's work in part.
    """
    busy = [row for row in runs[0].rows if int(row["task-clock"] or 0) >= 5e6][1:-1]
    want(len(busy) >= 10, f"only {len(busy)} bins of 5 ms and more")
    shares = [
        int(row[name]) / int(row["task-clock"])
        for row in busy
        for name in ("cycles:u", "cycles", "instructions")
    ]
    text = f"{len(busy)} bins: {min(shares):.4f} to {max(shares):.4f} instructions a nanosecond"
    want(min(shares) >= 0.97 and max(shares) <= 1.03, text)
    return text


def bins() -> str:
    """Of every run above: the bins of each event add up to its rows."""
    columns, bad = 0, []
    for run in runs:
        for column, total in run.totals.items():
            columns += total is not None
            if run.bins[column] != total:
                bad.append(f"{run.backends} {column}: bins {run.bins[column]}, rows {total}")
    want(not bad, f"{len(bad)} of {columns} columns differ: {'; '.join(bad[:3])}")
    return f"{len(runs)} runs, {columns} columns, all equal"


CHECKS = {
    "a known loop, against -icount": known_work,
    "13 groups on 7 counters": overcommitted,
    "a group of 8": too_large,
    "events the PMU lacks": absent,
    "uid 65534, perf_event_paranoid 3": lambda: refused(3),
    "uid 65534, perf_event_paranoid 2": lambda: refused(2),
    "backend chosen": chosen,
}
if HAS_BACKENDS:
    CHECKS["backend poll, forced"] = forced
    if INHERITS_SAMPLES:
        CHECKS["ring totals = poll totals"] = agreement
CHECKS["bins of a steady loop"] = placed
CHECKS["sum of bins = sum of rows"] = bins


def main() -> int:
    for name, check in CHECKS.items():
        begin_s = time.monotonic()
        try:
            result, detail = "ok", check()
        except UnlikeError as error:
            result, detail = "FAILED", str(error)
        except Exception as error:  # noqa: BLE001  the others are still worth their run
            traceback.print_exc()
            result, detail = "FAILED", f"{type(error).__name__}: {error}"
        failed.extend([name] * (result == "FAILED"))
        row = {"check": name, "result": result, "detail": detail,
               "guest_s": round(time.monotonic() - begin_s, 3)}  # fmt: skip
        print("PMU " + json.dumps(row), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
