"""The same P(t) measured by PACT and by its peers on the emulated machine, beside the truth.

    python -m benchmarks.peers --peers PEERS/bin/python > peers-measured.md

Each tool runs alone on a machine of its own, which draws the same power; a function sleeps under
it, so that only the tool is at work. Needs root, as `pactmeter bench run`; takes some 9 minutes.
The exit status is non-zero when a bound is missed; bounds are on PACT's own figures alone.
"""

from __future__ import annotations

import fnmatch
import json
import re
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script
from pactmeter.bench import truth as truths  # noqa: E402

TOOLS = {"pact": "pactmeter", "codecarbon": "", "carbontracker": "", "perun": ""}
"""The tools in the order of the tables, and the distribution of each where it has another name."""
BOUND_PCT = 1.0
"""How far a channel of PACT may be from the truth; its counters alone are better than that."""
SECONDS_S, QUICK_S = 18.0, 12.0
AT_S = 9.0
"""When something happens to the machine: then every tool is measuring, however slow its start."""
WRAP_J = 1090.0
"""What the processor draws until then; its counter is set to begin again after so much."""


@dataclass(frozen=True)
class Scenario:
    """A machine, how many devices of each kind it has, and what happens to it."""

    title: str
    machine: tuple[str, ...]
    count: int
    fails_at_s: float | None = None
    wraps_after_j: float | None = None

    def options(self) -> list[str]:
        """Return the machine for `pactmeter bench run`."""
        words = list(self.machine)
        if self.fails_at_s is not None:
            words += ["--fault", f"cpu.package0:eio*1@{self.fails_at_s:g}"]
        if self.wraps_after_j is not None:
            words += ["--fault", f"cpu.package0:jump={self.wraps_after_j:g}@0"]
        return words

    def devices(self) -> dict[str, int]:
        """Return how many devices a tool should find."""
        return dict.fromkeys(("processors", "memory", "GPUs"), self.count)


ONE = ("--rapl", "1x,nocore,nouncore", "--gpu", "v100")
TWO = ("--rapl", "2x,nocore,nouncore", "--gpu", "2xa100")

SCENARIOS = {
    "one": Scenario("One processor with memory, one GPU (V100)", ONE, 1),
    "two": Scenario("Two processors with memory, two GPUs (A100)", TWO, 2),
    "failed": Scenario(
        f"The first machine; {AT_S:g} s after the start, one read of the processor's counter fails",
        ONE,
        1,
        fails_at_s=AT_S,
    ),
    "wrapped": Scenario(
        f"The first machine; some {AT_S:g} s after the start, the processor's counter wraps",
        ONE,
        1,
        wraps_after_j=WRAP_J,
    ),
}


@dataclass(frozen=True)
class Figure:
    """One figure of a tool beside the truth of the same quantity and window."""

    quantity: str
    device: str
    true: float
    reported: float

    @property
    def ratio(self) -> float:
        return self.reported / self.true


@dataclass
class Measured:
    """What a tool said in one scenario: figures of each run, or why there are none."""

    runs: list[list[Figure]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--peers",
        metavar="PYTHON",
        required=True,
        help="Python of an environment with benchmarks/peers.txt",
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--seconds", type=float, help=f"of the function ({SECONDS_S:g})")
    parser.add_argument("--runs", type=int, help="of each tool, each with another load (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run's load (1)")
    parser.add_argument("--jobs", type=int, default=common.cores(), help="machines at a time")
    args = parser.parse_args()
    args.peers = str(Path(args.peers).absolute())  # not resolved: a link is what makes it a venv
    if not Path(args.peers).is_file():
        parser.error(f"there is no {args.peers}; to make it: make .venv/peers.stamp")
    seconds_s = args.seconds or (QUICK_S if args.quick else SECONDS_S)
    seeds = range(args.seed, args.seed + (args.runs or (1 if args.quick else 3)))
    status = 0
    names = {tool: name_of(tool, args.peers) for tool in TOOLS}
    table = common.Table("Bounds on PACT's own figures")
    for key in args.only:
        measured = measure(SCENARIOS[key], args.peers, seconds_s, seeds, args.jobs)
        print("\n".join(lines_of(SCENARIOS[key], measured, names)) + "\n", flush=True)
        judge(table, SCENARIOS[key], measured["pact"])
    table.notes.append(
        f"Joules and seconds are means over {len(seeds)} run(s) of a function of {seconds_s:g} s;"
        " the ratio is that of the sums, and in brackets the smallest and largest of a run."
    )
    return status | table.finish()


# --- running -------------------------------------------------------------------------------------


def measure(scenario, peers, seconds_s, seeds, jobs) -> dict[str, Measured]:
    """Run every tool on the machine of a scenario, once for each seed."""
    found = {tool: Measured() for tool in TOOLS}
    order = [(tool, seed) for seed in seeds for tool in TOOLS]
    with ThreadPoolExecutor(jobs) as pool:
        ends = [pool.submit(run, scenario, t, peers, seconds_s, seed) for t, seed in order]
        for (tool, _), end in zip(order, ends, strict=True):
            figures = end.result()
            common.say(f"peers: {scenario.title}: {tool}")
            if isinstance(figures, str):
                found[tool].reasons.append(figures)
            else:
                found[tool].runs.append(figures)
    return found


def run(scenario, tool, peers, seconds_s, seed) -> list[Figure] | str:
    """Run one tool once; return its figures, or why there are none."""
    python = sys.executable if tool == "pact" else peers
    program = common.python_program(f"peer_{tool}.py", python)
    with common.scratch() as folder, tempfile.TemporaryDirectory() as home:
        # a home of its own: no settings of this machine's user; all GPUs there are
        env = {**common.plain_environment(), "HOME": home}
        env.pop("CUDA_VISIBLE_DEVICES", None)
        bench = [sys.executable, "-m", "pactmeter", "bench", "run", *scenario.options()]
        bench += ["--load", "training", "--seed", str(seed), "--truth", "truth.json", "--"]
        words = [*bench, *program, "measure", str(seconds_s)]
        ended = common.run_program(words, folder, env=env, timeout_s=seconds_s + 120)
        if ended.status != 0:
            return reason_of(ended)
        start_s, end_s = json.loads(ended.output.strip().splitlines()[-1])
        truth = truths.read_truth(folder / "truth.json")
        if missed := missed_event(scenario, truth, start_s, end_s):
            return missed
        claimed = common.run_program([*program, "claim"], folder, env=env)
        if claimed.status != 0:
            return f"its files: {reason_of(claimed)}"
        told = json.loads(claimed.output.strip().splitlines()[-1])
    return figures_of(told, truths.within(truth, [(start_s, end_s)]), end_s - start_s)


def figures_of(told, true_j, true_s) -> list[Figure]:
    """Return what a tool claims, each beside the truth of what it covers."""
    found = []
    for quantity, covers, reported_j in told["claims"]:
        names = [name for name in true_j if any(fnmatch.fnmatch(name, c) for c in covers)]
        energy_j = sum(true_j[name] for name in names)
        found.append(Figure(quantity, "+".join(covers), energy_j, reported_j))
    return [*found, Figure("time, in seconds", "", true_s, told["time_s"])]


def missed_event(scenario, truth, start_s, end_s) -> str:
    """Return why a run does not count: what was to happen happened before or after it."""
    begin_s = truth["window_s"][0]
    # a tool that reads every 2 s has met the failure by then
    fails_at_s = scenario.fails_at_s
    if fails_at_s is not None and not start_s < begin_s + fails_at_s < end_s - 2.0:
        return f"it was not measuring when the read was to fail, after {fails_at_s:g} s"
    wraps_after_j = scenario.wraps_after_j
    if wraps_after_j is not None:
        before_j, until_end_j = (
            truths.within(truth, [(begin_s, t_s)])["cpu.package0"] for t_s in (start_s, end_s)
        )
        if not before_j < wraps_after_j < until_end_j:
            return f"it was not measuring when the counter wrapped, after {wraps_after_j:g} J"
    return ""


def reason_of(ended: common.Ended) -> str:
    """Return the error that a program ended with, or its last words, as one cell of a table."""
    lines = [line.strip() for text in (ended.output, ended.errors) for line in text.splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    last = [*lines, *errors][-1] if lines else "it said nothing"
    return f"ended with exit status {ended.status}: `{last[:160]}`".replace("|", "/")


def name_of(tool, peers) -> str:
    """Return a tool's name with the version that is installed."""
    python = sys.executable if tool == "pact" else peers
    code = f"from importlib.metadata import version; print(version({TOOLS[tool] or tool!r}))"
    with common.scratch() as folder:
        done = common.run_program([python, "-c", code], folder, env=common.plain_environment())
    name = {"pact": "PACT", "codecarbon": "CodeCarbon"}.get(tool, tool)
    return f"{name} {done.output.strip() or '(not installed)'}"


# --- tables --------------------------------------------------------------------------------------


def lines_of(scenario, measured: dict[str, Measured], names) -> list[str]:
    """Return the Markdown table of a scenario: a row for each quantity of each tool."""
    lines = [f"### {scenario.title}", ""]
    lines += ["| tool | quantity | true | reported | reported / true |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for tool, of_tool in measured.items():
        for quantity in dict.fromkeys(f.quantity for run in of_tool.runs for f in run):
            parts = [sums(run, quantity) for run in of_tool.runs]
            true, reported = (statistics.fmean(part[i] for part in parts) for i in (0, 1))
            ratios = [part[1] / part[0] for part in parts]
            unit, digits = ("s", 1) if quantity.startswith("time") else ("J", 0)
            cells = [
                names[tool],
                quantity,
                f"{true:.{digits}f} {unit}",
                f"{reported:.{digits}f} {unit}",
                spread(reported / true, ratios),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        for reason in dict.fromkeys(of_tool.reasons):
            count = f" ({of_tool.reasons.count(reason)} runs)" if of_tool.runs else ""
            lines.append(f"| {names[tool]} | none: {reason}{count} | | | |")
    return lines


def sums(run: list[Figure], quantity) -> tuple[float, float]:
    """Return the true and the reported sum over the devices of a kind."""
    of_kind = [figure for figure in run if figure.quantity == quantity]
    return sum(f.true for f in of_kind), sum(f.reported for f in of_kind)


def spread(whole, ratios) -> str:
    """Return a ratio with its smallest and largest, where they differ in what is printed."""
    low, high = f"{min(ratios):.3f}", f"{max(ratios):.3f}"
    return f"{whole:.3f}" + (f" ({low} to {high})" if low != high else "")


def judge(table: common.Table, scenario, pact: Measured) -> None:
    """Hold PACT's figures of a scenario against the bounds."""
    if pact.reasons or not pact.runs:
        table.add(scenario.title, (*pact.reasons, "it did not run")[0], "runs", held=False)
    if not pact.runs:
        return
    figures = [figure for run in pact.runs for figure in run if figure.device]
    worst = max(figures, key=lambda figure: abs(figure.ratio - 1))
    error_pct = 100 * abs(worst.ratio - 1)
    table.add(
        f"{scenario.title}: largest error of a channel",
        f"{error_pct:.2f} % ({worst.device})",
        f"at most {BOUND_PCT:g} %",
        held=error_pct <= BOUND_PCT,
    )
    least = {
        kind: min(sum(figure.quantity == kind for figure in run) for run in pact.runs)
        for kind in scenario.devices()
    }
    table.add(
        f"{scenario.title}: devices measured",
        ", ".join(f"{kind} {count}" for kind, count in least.items()),
        ", ".join(f"{kind} {count}" for kind, count in scenario.devices().items()),
        held=least == scenario.devices(),
    )


if __name__ == "__main__":
    raise SystemExit(main())
