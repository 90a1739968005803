"""`pactmeter ab` on machines whose true difference is known: does its answer hold the truth?

Each comparison is whole: pairs in random order, runs written as files and read back, intervals,
the rule for stopping. The machines drift, their runs scatter, and their sensors err (see
`support.ab_runs`). Seeds are fixed.
"""

import math
import statistics
import tempfile
from pathlib import Path

import pytest

from pactmeter.study.ab import Plan, compare
from support import children
from support.ab_runs import COMMANDS, Emulated
from support.uncertainty import REDUCED

pytestmark = pytest.mark.slow

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Hundred thousands of files are written: not to a disk where that can be helped."""
MACHINES = {
    "noisy": {},
    "disturbed": {"spread_pct": 0.4, "disturbed": 0.2},
    "steady": {"spread_pct": 0.05, "drift_pct": 2.0, "poll_w": 0.2},
}
TITLE = (
    "`ab`: 95 % intervals hold the truth in 93 % or more; at 0 %, 6 % or less claim a difference"
)
COLUMNS = (
    *("B truly uses less by %", "machine", "most pairs", "stops", "comparisons", "mean pairs"),
    *("interval holds it %", "±", "difference claimed %", "median half-width %"),
)


def comparison(seed, less_pct, machine, pairs, until_pct):
    """Return interval, half-width, whether a difference is claimed, and the pairs it took."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        plan = Plan(COMMANDS, Path(folder), runs=pairs, seed=seed, until_pct=until_pct)
        record = Emulated(1000 * pairs + seed, less_pct, **MACHINES[machine])
        found = compare(plan, record, record, tell=lambda _: None, rest=lambda _: None)
    main = found.figures["energy_j"]
    return main.low, main.high, main.half_pct, main.differ, main.n


@pytest.mark.parametrize(
    ("less_pct", "machine", "pairs", "until_pct", "times"),
    [
        *((less_pct, "noisy", 6, None, 300) for less_pct in (0.0, 2.0, 5.0)),
        *((less_pct, "noisy", 20, 1.2, 200) for less_pct in (0.0, 2.0, 5.0)),
        (0.0, "disturbed", 8, None, 200),
        *((less_pct, "steady", 5, None, 60) for less_pct in (0.0, 2.0)),
    ],
)
def test_the_answer_holds_the_truth(less_pct, machine, pairs, until_pct, times, figures):
    times = REDUCED or times
    told = (less_pct, machine, pairs, until_pct)
    runs = children.share_out(__file__, "comparison", *told, seeds=times)

    low, high, half_pct, claims, made = zip(*runs, strict=True)
    true = 1 - less_pct / 100
    inside = statistics.mean(a <= true <= b for a, b in zip(low, high, strict=True))
    claimed = statistics.mean(claims)
    figures(TITLE, *COLUMNS).add(
        f"{less_pct:g}",
        machine,
        pairs,
        f"at +-{until_pct:g} %" if until_pct else "never",
        times,
        f"{statistics.mean(made):.1f}",
        f"{100 * inside:.1f}",
        f"{100 * math.sqrt(max(inside * (1 - inside), 1 / times) / times):.1f}",
        f"{100 * claimed:.1f}",
        f"{statistics.median(half_pct):.2f}",
    )
    assert inside >= 0.93
    assert less_pct or claimed <= 0.06
    assert not until_pct or min(made) < max(made)


if __name__ == "__main__":
    children.answer(globals())
