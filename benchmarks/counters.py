"""PACT's counter sampler beside `perf stat -I` and performance-features' Profiler, interleaved.

    python -m benchmarks.counters [--quick] [--profiler PYTHON] > counters-measured.md

Takes about 10 minutes. The exit status is non-zero when a bound is missed; a bound on what cannot
be compared here (no `perf`) counts as missed. Needs root, for the recorder of the truth.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script
from benchmarks.counters_tools import NO_PERF, NO_PROFILER, Bench, build  # noqa: E402

NAMES = ("cost", "bins", "exact", "slow", "hangs")


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--profiler", metavar="PYTHON", help="one that has performance-features")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="some of them")
    parser.add_argument("--backend", metavar="NAME", help="force PACT's counter backend")
    args = parser.parse_args()
    options = ("--counter-backend", args.backend) if args.backend else ()
    python = str(Path(args.profiler).absolute()) if args.profiler else None  # not resolved: a venv
    begin_s = time.monotonic()
    missed = []
    with common.scratch() as folder:
        bench = Bench(
            folder.resolve() / "runs",
            build(folder.resolve()),
            quick=args.quick,
            pact_options=options,
            profiler_python=python if python and _has_profiler(python) else None,
        )
        print("## Counters: measured\n")
        print(f"- {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC")
        print("\n".join([*common.machine(), *_tools(bench, args.backend)]) + "\n", flush=True)
        for name in args.only:
            common.say(f"counters: {name} ...")
            try:
                failed = import_module(f"benchmarks.counters_{name}").table(bench).finish() != 0
            except SystemExit as error:  # one that does not run does not keep the others from it
                print(
                    f"`benchmarks.counters_{name}` failed:\n\n```text\n{error}\n```\n", flush=True
                )
                failed = True
            missed += [name] * failed
    result = f"bounds missed in: {', '.join(missed)}" if missed else "all bounds held"
    print(f"Took {(time.monotonic() - begin_s) / 60:.0f} minutes; {result}.")
    return 1 if missed else 0


def _has_profiler(python: str) -> bool:
    words = [python, "-c", "import performance_features"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _tools(bench: Bench, backend: str | None) -> list[str]:
    """Describe the tools, PACT by what it opens here, in lines of Markdown."""
    perf = NO_PERF
    if bench.has_perf:
        done = subprocess.run(["perf", "--version"], capture_output=True, text=True, check=False)
        perf = done.stdout.strip() or "perf does not start here: no package for this kernel"
    profiler = NO_PROFILER
    if bench.profiler_python:
        code = "from importlib.metadata import version; print(version('performance-features'))"
        words = [bench.profiler_python, "-c", code]
        profiler = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    lines = [f"- {perf}; performance-features: {profiler}", f"- PACT: {_backends(bench)}"]
    lines[-1] += f" (forced: {backend})" if backend else ""
    if bench.quick:
        lines.append("- **quick**: few repetitions, a try and not a measurement")
    return lines


def _backends(bench: Bench) -> str:
    """Return how PACT counts here, as its manifest has it."""
    from benchmarks.counters_tools import manifest, pact, run

    with bench.scratch() as folder:
        run(pact(bench, 0.01, bench.words("busy", 0.2)), folder)
        events = manifest(folder)["events"]
    return "; ".join(f"{e['column']} {e['status']}, {e['scope']}, {e['backend']}" for e in events)


if __name__ == "__main__":
    raise SystemExit(main())
