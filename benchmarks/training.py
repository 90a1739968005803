"""Whether measuring changes a training: its weights, its CPU time, how long it takes.

    python -m benchmarks.training [--quick] [--python PYTHON]

The training is `CV/main.py` of the profile tiny on one thread. It is run again and again in one
process, one of every two, by chance the first or the second, within a `Session`. How fast a process
is depends by some percent on where its memory happens to lie, and how fast the machine is on what
else is going on from second to second: a comparison of whole processes would take both for an
effect. That is why the trainings are short (half a second) and many. The weights are compared over
all of them, and with those of the script run by itself, once with ``@PACT`` and once without.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import runpy
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script
from pactmeter.study import work  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "CV" / "main.py"
BOUND = 0.01
PAIRS, PROCESSES = 60, 5
WORDS = ["--model", "mobilenet", "--profile", "tiny", "--made-up", "500", "--psu", "none"]
STEADY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "10000000000"}
"""With these the C library keeps the memory of tensors instead of giving it back and faulting it in
again at every step, which made one training differ from the next by 12 %, with or without PACT."""

Pair = dict[str, dict[str, float]]


def turns(pairs: int) -> None:
    """In the process that trains: print what each pair of trainings comes to, a line a pair."""
    from pactmeter import Session

    sys.path.insert(0, str(SCRIPT.parent))
    trained(None)  # the first one in a process is slower
    for number in range(pairs):
        pair = {}
        for name in random.sample(["with", "without"], 2):
            session = Session(tracker_file_name=f"{number}.csv", PSU=None)
            pair[name] = trained(session if name == "with" else None)
        print(json.dumps(pair), flush=True)


def trained(session: contextlib.AbstractContextManager[object] | None) -> dict[str, float]:
    """Train once, in a session or not; return what the training says of its work."""
    sys.argv = [str(SCRIPT), *WORDS, "--no-pact"]
    output = io.StringIO()
    ending = contextlib.suppress(SystemExit)
    with contextlib.redirect_stdout(output), session or contextlib.nullcontext(), ending:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    told = work.find(output.getvalue())
    assert told is not None
    return told


def run(words: list[str]) -> str:
    """Return what a program says in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="pactmeter-benchmark-") as folder:
        environment = common.plain_environment() | STEADY
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT}/src"
        ended = common.run_program(words, Path(folder), env=environment, timeout_s=900)
    if ended.status != 0:
        raise SystemExit(f"training: exit status {ended.status}\n{ended.errors[-800:]}")
    return ended.output


def ratios(pairs: list[Pair], figure: str) -> tuple[float, float, float]:
    """Return how much more of a figure it is with PACT: median, and its 95 % interval."""
    return common.median_interval(
        [each["with"][figure] / each["without"][figure] - 1 for each in pairs]
    )


def main() -> int:
    parser = common.parser(__doc__)
    frameworks = os.environ.get("PACTMETER_WORKLOADS", str(ROOT / ".venv/frameworks/bin/python"))
    parser.add_argument("--python", default=frameworks, help="one that has torch")
    parser.add_argument("--turns", type=int, help="pairs, in this very process")
    args = parser.parse_args()
    if args.turns:
        turns(args.turns)
        return 0
    # not resolved: a link is what makes it an environment; each process has a folder of its own
    args.python = str(Path(args.python).absolute())
    pairs: list[Pair] = []
    for _ in range(1 if args.quick else PROCESSES):
        command = [
            args.python,
            "-m",
            "benchmarks.training",
            "--turns",
            "4" if args.quick else f"{PAIRS}",
        ]
        pairs += [json.loads(line) for line in run(command).splitlines()]
        middle, low, high = ratios(pairs, "train_cpu_s")
        common.say(
            f"training: CPU time {middle:+.2%} ({low:+.2%} to {high:+.2%}), {len(pairs)} pairs"
        )
    hashes = {told["final_sha256"] for pair in pairs for told in pair.values()}
    for more in ([], ["--no-pact"]):
        told = work.find(run([args.python, str(SCRIPT), *WORDS, *more]))
        assert told is not None
        hashes.add(told["final_sha256"])
    wall, wall_low, wall_high = ratios(pairs, "train_s")
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
        f"median's interval within {BOUND:.0%} of none",
        held=max(-wall_low, wall_high) <= BOUND,
    )
    same = "all the same" if len(hashes) == 1 else f"{len(hashes)} different ones"
    made.add("final weights (SHA-256)", same, "all the same", held=len(hashes) == 1)
    steps, seconds = pairs[0]["with"]["steps"], pairs[0]["with"]["train_s"]
    made.notes.append(f"CV/main.py {' '.join(WORDS)}: {steps:.0f} steps in {seconds:.1f} s.")
    return made.finish()


if __name__ == "__main__":
    raise SystemExit(main())
