"""Kill the runner of a study at random moments; see whether the resumed study is whole.

Studies have six cases of 1 s: three measured by ``@PACT``, three by ``pactmeter run``; some start a
process in a session of its own, some take no SIGTERM. Each study is killed once, anywhere in its
time; and one is killed again and again. Resumed, it has to end with every trial exactly once, no
trial of it may have run beside what a killed one left, and nothing of it may go on running.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from benchmarks import common  # noqa: E402  the line above lets this file run as a script

CASES = 6
CASE_S = 1.0
AT_ONCE = 2
END_S = 120.0
_BEAT_S = 0.05

CASE = """
import os, pathlib, signal, subprocess, sys, time
way, seconds, beats = sys.argv[1], float(sys.argv[2]), pathlib.Path(sys.argv[3])
beats.mkdir(exist_ok=True)
def work():
    if "stubborn" in way:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = None
    if "helper" in way:
        helper = subprocess.Popen(["sleep", "300"], start_new_session=True)
    until = time.monotonic() + seconds
    with (beats / f"{os.environ['PACTMETER_TRIAL']}").open("a", buffering=1) as file:
        while time.monotonic() < until:
            file.write(f"{time.monotonic()}\\n")
            time.sleep(0.05)
    if helper:
        helper.kill()
        helper.wait()
if "decorated" in way:
    from pactmeter import PACT
    work = PACT(measure_period=0.1)(work)
work()
print('PACT-WORK {"steps": 20}')
"""
WAYS = ("decorated", "plain", "decorated helper", "plain helper", "decorated stubborn", "plain")


@dataclass
class Outcome:
    """One study.

    Attributes:
        kills: How often its runner was killed.
        left: Processes that ran on after the kills.
        problems: What was not as it has to be.
    """

    kills: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> int:
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=int, help="of each kind (20; quick: 4)")
    parser.add_argument("--seed", type=int, help="of the times (drawn and printed)")
    args = parser.parse_args()
    kills = args.kills or (4 if args.quick else 20)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)

    table = common.Table(f"Runners killed at random times (seed {seed}, {CASES} cases of 1 s)")
    started_s = time.monotonic()
    whole = study_killed([])
    length_s = time.monotonic() - started_s
    table.add("not killed", _told([whole]), "every trial once, nothing left", held=_held([whole]))
    common.say(f"study kills: one that was not killed took {length_s:.1f} s")
    draws = [random.Random(draw.random()) for _ in range(kills)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        once = list(pool.map(lambda own: killed_once(own, length_s), draws))
    bound = "every trial once, alone, nothing left"
    table.add("killed once, anywhere", _told(once), bound, held=_held(once))
    common.say("study kills: killed once: done")
    often, waits = [], [draw.uniform(0, 3 * CASE_S) for _ in range(kills)]
    while waits:
        often.append(study_killed(waits))
        waits = waits[often[-1].kills :]
    table.add("killed again and again", _told(often), bound, held=_held(often))
    for one in (whole, *once, *often):
        table.notes += one.problems[:3]
    return table.finish()


def _held(done: list[Outcome]) -> bool:
    return not any(one.problems for one in done)


def _told(done: list[Outcome]) -> str:
    good = sum(not one.problems for one in done)
    kills, left = sum(one.kills for one in done), sum(one.left for one in done)
    return f"{good} of {len(done)} studies whole; {kills} kills left {left} processes running"


def killed_once(draw: random.Random, length_s: float) -> Outcome:
    """Run a study that is killed anywhere in its time; another one where it has ended before."""
    found = study_killed([draw.uniform(0, length_s)])
    return found if found.kills or found.problems else killed_once(draw, length_s)


def study_killed(waits_s: list[float], cases: int = CASES, case_s: float = CASE_S) -> Outcome:
    """Run a study whose runner is killed after each of these times, as long as it is not done."""
    found = Outcome()
    with common.scratch() as scratch:
        folder, beats = scratch / "study", scratch / "beats"
        file = _write(scratch, beats, cases, case_s)
        for wait_s in waits_s:
            runner = _start(file, folder)
            try:
                runner.wait(wait_s)
                break  # it has ended before
            except subprocess.TimeoutExpired:
                runner.send_signal(signal.SIGKILL)
                runner.communicate()
            found.kills += 1
            found.left += len(_running(folder))
        runner = _start(file, folder)
        output, errors = runner.communicate(timeout=END_S)
        if runner.returncode != 0:
            found.problems.append(f"exit code {runner.returncode}: {output}{errors[-500:]}")
        found.problems += _wrong(folder, beats, cases)
    return found


def _write(scratch: Path, beats: Path, cases: int, case_s: float) -> Path:
    settings = "trials = 1\nmeasure_period_s = 0.1\nbaseline_s = 0\ncool_down_s = 0\n"
    text = f"schema = 1\n[settings]\n{settings}"
    program = scratch / "case.py"
    program.write_text(CASE)
    for number in range(cases):
        way = WAYS[number % len(WAYS)]
        words = ["{python}", str(program), way, str(case_s), str(beats)]
        if way.startswith("plain"):
            words = ["{python}", "-m", "pactmeter", "run", "-q", "{measuring}", "--", *words]
        text += f"[[workload]]\nname = 'case{number}'\ncommand = {json.dumps(words)}\n"
    file = scratch / "kills.toml"
    file.write_text(text)
    return file


def _start(file: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pactmeter", "study", "run", str(file), "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _running(folder: Path) -> list[int]:
    """Return the processes that carry a mark of the study, or have their place in its folder."""
    marks = {e["program"]["mark"] for e in _entries(folder) if e["event"] == "start"}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        carried = {
            e.partition(b"=")[2].decode() for e in environment if e[:15] == b"PACTMETER_TRIAL"
        }
        if carried & marks or place.startswith(str(folder)):
            found.append(int(entry.name))
    return found


def _entries(folder: Path) -> list[dict]:
    from pactmeter.study import journal

    return journal.read(folder)


def _wrong(folder: Path, beats: Path, cases: int) -> list[str]:
    """Return what is wrong with a study that has ended."""
    from pactmeter.study.results import load_study

    study = load_study(folder)
    problems = [f"{trial.stem} failed: {reason}" for trial, reason in study.failed]
    stems = sorted(one.trial.stem for one in study.finished)
    if stems != sorted(f"case{n}_1" for n in range(cases)):
        problems.append(f"the finished trials are {stems}")
    problems += [f"process {pid} of the study still runs" for pid in _running(folder)]
    entries = _entries(folder)
    ended: dict[str, str] = {}
    for entry in entries:
        stem = entry.get("trial")
        if stem and stem in ended:
            problems.append(f"{stem} was finished, then came {entry['event']}")
        if entry["event"] == "end":
            ended[stem] = entry["mark"]
    for one in study.finished:
        if one.run().status != "complete":
            problems.append(f"the run of {one.trial.stem} is {one.run().status}")
    expected = {f"{stem}_{end}" for stem in stems for end in _ENDS}
    files = {path.name for path in folder.iterdir()}
    if files != expected | {"plan.json", "journal.jsonl", "study.lock"}:
        problems.append(f"files: {sorted(files ^ expected)}")
    return problems + _beside(beats, set(ended.values()))


_ENDS = (
    *("PACT.csv", "PACT.counters.csv", "PACT.regions.csv", "PACT.json"),
    *("out.txt", "trial.json"),
)


def _beside(beats: Path, marks: set[str]) -> list[str]:
    """Return whose work went on during a trial that counts."""
    times = {path.name: [float(t) for t in path.read_text().split()] for path in beats.iterdir()}
    problems = []
    for mark in marks:
        first, last = times[mark][0], times[mark][-1]
        others = [
            m for m, each in times.items() if m != mark and any(first < t < last for t in each)
        ]
        problems += [f"a killed trial ran on beside another ({mark}, {other})" for other in others]
    return problems


if __name__ == "__main__":
    raise SystemExit(main())
