"""Whether measuring changes a training: its weights, its CPU time, how long it takes.

    python -m benchmarks.training [--quick] [--python PYTHON]

The training is `CV/main.py` of the profile tiny, with more pictures, on one thread. Each pair is
one with ``@PACT`` and one without (``--no-pact``), of one seed; which goes first takes turns. CPU
time judges; wall time stands beside it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script
from pactmeter.study import work  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BOUND = 0.01
PAIRS, ROUNDS = 40, 3
WORDS = ["--model", "mobilenet", "--profile", "tiny", "--made-up", "2500", "--psu", "none"]


def train(python: str, measured: bool) -> dict:
    """Return what a training says of its work."""
    with tempfile.TemporaryDirectory(prefix="pactmeter-benchmark-") as folder:
        words = [python, str(ROOT / "CV" / "main.py"), *WORDS]
        words += [] if measured else ["--no-pact"]
        environment = common.plain_environment() | {"PYTHONPATH": str(ROOT / "src")}
        ended = common.run_program(words, Path(folder), env=environment)
    if ended.status != 0:
        raise SystemExit(f"training: exit status {ended.status}\n{ended.errors[-800:]}")
    told = work.find(ended.output)
    assert told is not None, ended.output
    return told


def ratios(pairs: list[tuple[dict, dict]], figure: str) -> tuple[float, float, float]:
    """Return how much more of a figure it is with PACT: median, and its 95 % interval."""
    return common.median_interval([on[figure] / off[figure] - 1 for on, off in pairs])


def main() -> int:
    parser = common.parser(__doc__)
    frameworks = os.environ.get("PACTMETER_WORKLOADS", str(ROOT / ".venv/frameworks/bin/python"))
    parser.add_argument("--python", default=frameworks, help="one that has torch")
    args = parser.parse_args()
    pairs: list[tuple[dict, dict]] = []
    for _ in range(ROUNDS):
        for turn in range(4 if args.quick else PAIRS):
            order = (True, False) if turn % 2 else (False, True)
            found = {measured: train(args.python, measured) for measured in order}
            pairs.append((found[True], found[False]))
        middle, low, high = ratios(pairs, "train_cpu_s")
        common.say(f"training: CPU time {low:+.2%} to {high:+.2%}, {len(pairs)} pairs")
        if max(-low, high) <= BOUND or low > BOUND or args.quick:
            break
    wall, wall_low, wall_high = ratios(pairs, "train_s")
    hashes = {each["final_sha256"] for pair in pairs for each in pair}
    made = common.Table("A training with and without PACT")
    made.add(
        "CPU time of the training, over that without",
        f"median {middle:+.2%}, 95 % interval {low:+.2%} to {high:+.2%} (n = {len(pairs)} pairs)",
        f"median's interval within {BOUND:.0%} of none",
        held=max(-low, high) <= BOUND,
    )
    made.add(
        "time of the training, over that without",
        f"median {wall:+.2%}, 95 % interval {wall_low:+.2%} to {wall_high:+.2%}",
    )
    same = "all the same" if len(hashes) == 1 else f"{len(hashes)} different ones"
    made.add("final weights (SHA-256)", same, "all the same", held=len(hashes) == 1)
    steps, seconds = pairs[0][0]["steps"], pairs[0][0]["train_s"]
    made.notes.append(f"CV/main.py {' '.join(WORDS)}: {steps:.0f} steps in {seconds:.1f} s.")
    return made.finish()


if __name__ == "__main__":
    raise SystemExit(main())
