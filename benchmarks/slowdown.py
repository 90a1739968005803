"""How much PACT slows a workload that keeps all cores busy: pairs, with and without, interleaved,
and a control that is without as well.

Each iteration is a fresh process (a sampler that rests would still hold its counters open). The
workload runs for a fixed time, so that both halves of a pair see equally much of the machine's
other work; its result is the units of work done and the CPU time they took. A pair gives a ratio;
the mean of the ratios has a 95 % interval by Student's t. The speed of a shared machine wanders
over seconds, so many short iterations tell more than few long ones; each still has a row of power.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

BOUND = 0.01


@dataclass(frozen=True)
class Done:
    """One iteration: all workers together."""

    units: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_a_unit_s(self) -> float:
        return self.cpu_s / self.units

    @property
    def rate(self) -> float:
        return self.units / self.wall_s


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--pairs", type=int, help="pairs (42; quick: 6)")
    parser.add_argument("--seconds", type=float, help="of an iteration (1.2; quick: 0.5)")
    parser.add_argument("--seed", type=int, default=20250102, help="of the order within pairs")
    args = parser.parse_args()
    pairs = args.pairs or (6 if args.quick else 42)
    seconds = args.seconds or (0.5 if args.quick else 1.2)

    # all orders equally often, as far as it goes: a drift of the machine then cancels
    every = list(itertools.permutations(("bare", "pact", "control")))
    orders = [every[number % len(every)] for number in range(pairs)]
    random.Random(args.seed).shuffle(orders)
    _once("pact", seconds)  # caches warm, for all
    done: dict[str, list[Done]] = {"bare": [], "pact": [], "control": []}
    for number, order in enumerate(orders):
        for kind in order:
            done[kind].append(_once(kind, seconds))
        if (number + 1) % 10 == 0:
            common.say(f"slowdown: pair {number + 1} of {pairs}")

    table = common.Table(
        f"Slow-down of a workload on all cores ({pairs} pairs of {seconds:g} s, seed {args.seed})"
    )
    for kind, name, gates in (("pact", "with PACT", True), ("control", "control", False)):
        pair = list(zip(done[kind], done["bare"], strict=True))
        costs = [one.cpu_a_unit_s / bare.cpu_a_unit_s - 1 for one, bare in pair]
        _row(table, f"{name}: CPU time of the workload per unit of work", costs, gates=gates)
        rates = [one.rate / bare.rate - 1 for one, bare in pair]
        _row(table, f"{name}: work done per second", rates, gates=gates)
    for kind, name in (("bare", "without"), ("pact", "with PACT")):
        rates = [one.rate for one in done[kind]]
        costs = [one.cpu_a_unit_s for one in done[kind]]
        table.add(
            f"{name}: medians",
            f"{statistics.median(costs) * 1e6:.2f} us of CPU a unit,"
            f" {statistics.median(rates):.0f} units a second"
            f" (relative spread {statistics.stdev(rates) / statistics.fmean(rates):.1%})",
        )
    table.notes.append(
        "The control is one more iteration without PACT: its figures are what the machine makes of"
        " no difference at all, and should hold 0 in their intervals. Work per second competes with"
        " whatever else the machine does; where its spread is large, its interval needs more pairs"
        " (`--pairs`)."
    )
    return table.finish()


def _once(kind: str, seconds: float) -> Done:
    with common.scratch() as folder:
        command = [*common.python_program("busy.py"), str(seconds), kind]
        ended = common.run_program(command, folder)
    if ended.status != 0:
        raise SystemExit(f"the workload failed ({kind}):\n{ended.errors}")
    workers = json.loads(ended.output)
    return Done(
        sum(one["units"] for one in workers),
        sum(one["cpu_s"] for one in workers),
        max(one["wall_s"] for one in workers),
    )


def _row(table: common.Table, figure: str, differences: list[float], *, gates: bool) -> None:
    mean, low, high = common.mean_interval(differences)
    table.add(
        f"{figure}, over without",
        f"{mean:+.2%}, 95 % interval {low:+.2%} to {high:+.2%}"
        f" (median {statistics.median(differences):+.2%},"
        f" sd of pairs {statistics.stdev(differences):.2%})",
        f"interval within {BOUND:.0%} of none" if gates else "",
        held=max(-low, high) <= BOUND if gates else None,
    )


if __name__ == "__main__":
    raise SystemExit(main())
