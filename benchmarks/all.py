"""Run every benchmark in order and print the tables as Markdown, for docs/explanation/overhead.md.

    python -m benchmarks.all [--quick] [--peers PYTHON] > overhead-measured.md

Takes about 20 minutes with peers, on a machine that does nothing else. The exit status is non-zero
when a bound is missed.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

NAMES = ("overhead", "imports", "sampler", "slowdown", "kills", "training", "study_kills")


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--peers", metavar="PYTHON", help="Python of an environment with benchmarks/peers.txt"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="some of them")
    args = parser.parse_args()

    print("## Measured\n")
    print(f"- {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC")
    print("\n".join(common.machine()))
    if args.quick:
        print("- **quick**: few repetitions, a try and not a measurement")
    print(
        "\nBounds on CPU time and on ratios hold as written; bounds on wall time hold for medians,"
        f" and fail beyond {common.WALL_FACTOR} times the figure.\n",
        flush=True,
    )
    missed = []
    begin_s = time.monotonic()
    for name in args.only:
        common.say(f"{name} ...")
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += ["--quick"] if args.quick else []
        command += ["--peers", args.peers] if args.peers and name == "overhead" else []
        root = Path(__file__).resolve().parents[1]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout.strip() + "\n", flush=True)
        if done.returncode != 0:
            missed.append(name)
            if not done.stdout.strip():
                print(f"`benchmarks.{name}` failed (exit status {done.returncode}).\n", flush=True)
    result = f"bounds missed in: {', '.join(missed)}" if missed else "all bounds held"
    print(f"Took {(time.monotonic() - begin_s) / 60:.0f} minutes; {result}.")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
