"""Wall time that PACT adds to a decorated function, beside its peers, interleaved in one run.

Each round starts a fresh process per tool, in random order. The function sleeps, so that its own
length is known and the processor is free; its first and last acts are time stamps.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

FIRST_S, LATER_S, AFTER_S = 0.35, 0.005, 0.05
PEERS = {"carbontracker": "2.4.7", "codecarbon": "3.3.2", "perun": "1.0.0"}


@dataclass
class Seen:
    """What was seen of one tool, over its processes."""

    imports_s: list[float] = field(default_factory=list)
    calls: list[list[dict[str, float]]] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    energies_j: list[float] = field(default_factory=list)
    what: str = ""
    changed: bool = False
    failures: list[str] = field(default_factory=list)

    def first(self, name: str) -> list[float]:
        return [calls[0][name] for calls in self.calls]

    def later(self, name: str) -> list[float]:
        return [call[name] for calls in self.calls for call in calls[1:]]


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--peers", metavar="PYTHON", help="Python of an environment with benchmarks/peers.txt"
    )
    parser.add_argument("--rounds", type=int, help="fresh processes a tool (10; quick: 3)")
    parser.add_argument("--calls", type=int, default=2, help="calls a process (2)")
    parser.add_argument("--seed", type=int, default=20250101, help="of the order within a round")
    args = parser.parse_args()
    seconds = 1.0 if args.quick else 5.0
    rounds = args.rounds or (3 if args.quick else 10)

    pythons = {"bare": sys.executable, "pact": sys.executable}
    if args.peers:
        pythons |= dict.fromkeys(PEERS, args.peers)
    order = random.Random(args.seed)
    seen = {tool: Seen() for tool in pythons}
    for number in range(rounds):
        tools = list(pythons)
        order.shuffle(tools)
        for tool in tools:
            _one(tool, pythons[tool], seconds, args.calls, seen[tool])
        common.say(f"overhead: round {number + 1} of {rounds}")

    table = common.Table(f"Wall time added to a function of {seconds:g} s")
    _pact_rows(table, seen["pact"])
    status = table.finish()
    _beside(seen, args.calls)
    return status


def _sampler_cpu_s(folder: Path) -> float:
    """Return what PACT's sampler has used: it is nobody's child, so no rusage has it."""
    manifest = folder / "PACT.json"
    return json.loads(manifest.read_text())["sampler"]["cpu_s"] if manifest.exists() else 0.0


def _one(tool: str, python: str, seconds: float, calls: int, seen: Seen) -> None:
    """Run one process of a tool, and take in what it tells."""
    with common.scratch() as folder, tempfile.TemporaryDirectory() as home:
        # a home of its own: no settings of this machine's user, for any tool
        env = {**common.plain_environment(), "HOME": home}
        command = common.python_program("tools.py", python)
        done = common.run_program(
            [*command, "call", tool, str(seconds), str(calls)], folder, env=env, timeout_s=180
        )
        if done.status != 0:
            seen.failures.append(_reason(done))
            return
        told = json.loads(done.output.strip().splitlines()[-1])
        seen.imports_s.append(told["import_s"])
        seen.calls.append(told["calls"])
        seen.cpu_s.append(done.cpu_s + _sampler_cpu_s(folder))
        seen.changed |= not told["value_unchanged"]
        claimed = common.run_program([*command, "claim", tool], folder, env=env)
        if claimed.status != 0:
            seen.files.append(0)
            seen.failures.append(f"its files: {_reason(claimed)}")
            return
        claim = json.loads(claimed.output.strip().splitlines()[-1])
        seen.files.append(len(claim["files"]))
        seen.energies_j += claim["energy_j"]
        seen.what = claim["what"]


def _reason(done: common.Ended) -> str:
    """Return the last thing a program said, as one cell of a table."""
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return f"exit status {done.status}: {last[:160]}".replace("|", "/")


def _pact_rows(table: common.Table, pact: Seen) -> None:
    if pact.failures or not pact.calls:
        reason = pact.failures[0] if pact.failures else "no call was made"
        table.add("decorated function", reason, "runs", held=False)
    if not pact.calls:
        return
    table.wall("first call of a fresh process, added", pact.first("added_s"), FIRST_S)
    if later := pact.later("added_s"):
        table.wall("later calls, added", later, LATER_S)
    after = pact.first("after_s") + pact.later("after_s")
    table.wall("after the function has returned", after, AFTER_S)
    table.add("value of the function unchanged", "no" if pact.changed else "yes", "yes",
              held=not pact.changed)  # fmt: skip


def _beside(seen: dict[str, Seen], calls: int) -> None:
    """Print the tools beside one another."""
    bare_cpu_s = statistics.median(seen["bare"].cpu_s) if seen["bare"].cpu_s else 0.0
    print("### Beside other tools\n")
    print(
        "| tool | import | first call, added | later calls, added | after return"
        f" | CPU time of a process with {calls} calls | files | value | energy claimed a call |"
    )
    print("|" + " --- |" * 9)
    for tool, what in seen.items():
        name = {"bare": "none", "pact": "PACT"}.get(tool, f"{tool} {PEERS.get(tool, '')}".strip())
        if not what.calls:
            print(f"| {name} | failed: {what.failures[0]} |" + " |" * 7)
            continue
        cpu_s = statistics.median(what.cpu_s) - (0.0 if tool == "bare" else bare_cpu_s)
        cells = [
            name,
            _middle(what.imports_s),
            _middle(what.first("added_s")),
            _middle(what.later("added_s")),
            _middle(what.first("after_s") + what.later("after_s")),
            ("" if tool == "bare" else "+") + common.seconds(cpu_s),
            " to ".join(str(n) for n in sorted({min(what.files), max(what.files)})),
            "**changed**" if what.changed else "unchanged",
            _energy(what) if tool != "bare" else "",
        ]
        print("| " + " | ".join(cells) + " |")
    print(
        "\nMedians; CPU time is that of the process and its children (of PACT also its sampler's),"
        " over that of the same program with no tool. CodeCarbon ran in its offline mode;"
        " carbontracker looks for its place on the network where there is one. The true energy of"
        " the sleep is not known here."
    )
    for tool, what in seen.items():
        if what.calls and what.failures:
            print(f"\n{tool}: {len(what.failures)} process(es) failed: {what.failures[0]}")
    print(flush=True)


def _middle(values_s: list[float]) -> str:
    return common.seconds(statistics.median(values_s)) if values_s else "not called again"


def _energy(seen: Seen) -> str:
    if not seen.energies_j:
        return "none (no meter found)"
    low, high = min(seen.energies_j), max(seen.energies_j)
    return f"{low:.3g} to {high:.3g} J ({seen.what})"


if __name__ == "__main__":
    raise SystemExit(main())
