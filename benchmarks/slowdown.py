"""How much PACT slows a workload that keeps all cores busy, and a control that has no PACT at all.

The workers run from the first window to the last, and PACT is switched on and off around them: the
speed of an interpreter differs by some per cent from process to process, which would hide what we
look for, and here the same processes stand on both sides of every pair. Windows come in blocks of
on, off, off, on, so that a steady drift of the machine cancels. A block gives two pairs, and one
pair of the control: its second window without PACT over its first.

A pair gives a ratio. Disturbances from outside are rare and large, so the median of the ratios
judges, by order statistics that assume no distribution; the mean stands beside it. As long as the
interval reaches over the bound, more pairs are run; where that does not help, it does not pass.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script
from benchmarks.sampler import cpu_seconds  # noqa: E402
from pactmeter.config.run import from_arguments  # noqa: E402
from pactmeter.session.run import Run  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 0.01
ROUNDS = 4
"""At most so many times the pairs that were asked for."""
SETTLE_S = 0.1
"""After every switch: what starting and ending a sampler costs is not the steady state."""


class Record(NamedTuple):
    """What one worker did in about 50 ms."""

    start_s: float
    end_s: float
    cpu_s: float
    units: float


class Window(NamedTuple):
    """A stretch of time with or without PACT, and the CPU time its sampler took in it."""

    start_s: float
    end_s: float
    sampler_s: float = 0.0


class Work(NamedTuple):
    """What all workers did in a window: CPU time a unit, units a second."""

    cost_s: float
    rate: float


class Bench:
    """The workers, and PACT switched on and off around them."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        self.warnings: dict[str, None] = {}

    @contextlib.contextmanager
    def workers(self) -> Iterator[None]:
        """Have one worker a core, as children of this process and so part of what PACT counts."""
        self._files = [self.folder / f"{core}.txt" for core in range(common.cores())]
        self._workers, command = [], common.python_program("busy.py")
        try:
            for file in self._files:
                with file.open("wb") as output:
                    self._workers.append(subprocess.Popen(command, stdout=output))
            time.sleep(0.5)
            yield
        finally:
            for worker in self._workers:
                worker.kill()
                worker.wait()

    def records(self) -> list[list[Record]]:
        """Return each worker's records so far."""
        if any(worker.poll() is not None for worker in self._workers):
            raise SystemExit("slowdown: a worker has ended")
        lines = [file.read_text().split("\n")[:-1] for file in self._files]  # the last is not whole
        return [[Record(*map(float, line.split())) for line in one] for one in lines]

    def off(self) -> Window:
        start_s = time.monotonic()
        time.sleep(self.seconds)
        return Window(start_s, time.monotonic())

    def on(self) -> Window:
        name = self.folder / f"{time.monotonic_ns()}.csv"  # a run of its own each time
        config = from_arguments(tracker_file_name=name, PSU=None)
        run = Run(config.resolved(), tell=lambda text: self.warnings.update({text: None}))
        call = run.enter()
        time.sleep(SETTLE_S)
        before_s = cpu_seconds(run.sampler_pid)
        window = self.off()
        window = window._replace(sampler_s=cpu_seconds(run.sampler_pid) - before_s)
        run.leave(call)
        run.close()
        self.manifest = json.loads(run.files.manifest.read_text())
        time.sleep(SETTLE_S)
        return window


def work(window: Window, workers: list[list[Record]]) -> Work | None:
    """Add up the records that lie wholly inside a window; None where a worker has none."""
    units = cpu_s = rate = 0.0
    for records in workers:
        inside = [r for r in records if window.start_s <= r.start_s and r.end_s <= window.end_s]
        if not inside:
            return None
        done = sum(r.units for r in inside)
        units += done
        cpu_s += sum(r.cpu_s for r in inside)
        rate += done / sum(r.end_s - r.start_s for r in inside)
    return Work(cpu_s / units, rate)


def tabulate(blocks: list[list[Window]], bench: Bench) -> tuple[common.Table, bool]:
    """Return the table of the blocks so far, and whether they suffice to judge."""
    records = bench.records()
    done = [[work(window, records) for window in block] for block in blocks]
    whole = [block for block in done if None not in block]
    if len(whole) < 2:
        raise SystemExit("slowdown: the workers were hardly ever let run")
    pairs = [pair for a, b, c, d in whole for pair in ((a, b), (d, c))]
    table = common.Table(f"Slow-down of a workload on all cores (windows of {bench.seconds:g} s)")
    judged = []
    again = [(c, b) for _, b, c, _ in whole]
    for what, some, gates in (("with PACT", pairs, True), ("control", again, False)):
        costs = [one.cost_s / other.cost_s - 1 for one, other in some]
        rates = [one.rate / other.rate - 1 for one, other in some]
        for figure, ratios in (("CPU time a unit of work", costs), ("work a second", rates)):
            judged.append(_row(table, f"{what}: {figure}, over without", ratios, gates=gates))
    on = [window for a, _, _, d in blocks for window in (a, d)]
    share = sum(w.sampler_s for w in on) / sum(w.end_s - w.start_s for w in on)
    table.add("CPU time of the samplers in the windows with PACT, of one core", f"{share:.2%}")
    events = [one["name"] for one in bench.manifest["events"] if one["status"] == "ok"]
    cost_s, rate = map(statistics.median, zip(*(bare for _, bare in pairs), strict=True))
    table.notes.append(
        "The control is two windows without PACT: what the machine makes of no difference at all."
        f" Without PACT a unit takes {common.seconds(cost_s)} of CPU, and {rate:.0f} are done in a"
        f" second (medians). Events counted here: {', '.join(events) or 'none'}. Blocks left out,"
        f" as a worker was not let run: {len(done) - len(whole)} of {len(done)}."
    )
    table.notes += bench.warnings
    return table, all(judged)


def _row(table: common.Table, figure: str, ratios: list[float], *, gates: bool) -> bool:
    """Add a row; return False where it should gate and its interval does not tell yet."""
    mean, mean_low, mean_high = common.mean_interval(ratios)
    middle, low, high = common.median_interval(ratios)
    narrow = high - low <= 2 * BOUND
    held = max(-low, high) <= BOUND if narrow else "not judged: machine too noisy"
    table.add(
        figure,
        f"median {middle:+.2%}, 95 % interval {low:+.2%} to {high:+.2%}"
        f" (mean {mean:+.2%}, {mean_low:+.2%} to {mean_high:+.2%}; n = {len(ratios)})",
        f"median's interval within {BOUND:.0%} of none" if gates else "",
        held=held if gates else None,
    )
    outside = low > BOUND or high < -BOUND
    return held is True or outside or not gates


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, help=f"60 (quick: 8), or up to {ROUNDS} times as many")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a window (0.5)")
    args = parser.parse_args()
    blocks_a_round = max(3, -(-(args.pairs or (8 if args.quick else 60)) // 2))
    blocks: list[list[Window]] = []
    with common.scratch() as folder:
        bench = Bench(folder, args.seconds)
        with bench.workers():
            bench.on()  # caches warm
            block = (bench.on, bench.off, bench.off, bench.on)
            for _ in range(ROUNDS):
                blocks += [[window() for window in block] for _ in range(blocks_a_round)]
                table, judged = tabulate(blocks, bench)
                state = "" if judged else ", not judged yet"
                common.say(f"slowdown: {2 * len(blocks)} pairs{state}")
                if judged:
                    break
    return table.finish()


if __name__ == "__main__":
    raise SystemExit(main())
