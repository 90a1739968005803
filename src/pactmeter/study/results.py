"""A study's folder as data: its finished trials with their runs, work and baselines.

What reports on studies starts here. Trials that have failed, or that were not run, are named and
never mixed with the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.run import load
from pactmeter.errors import FileError
from pactmeter.store.files import RunFiles
from pactmeter.study import journal, plan, trial
from pactmeter.study.state import state_of

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.study.plan import Plan, Trial
    from pactmeter.study.state import State


@dataclass(frozen=True)
class Finished:
    """A trial that is done.

    Attributes:
        trial: Its place in the plan.
        record: What its ``_trial.json`` holds.
        record_file: The file of that.
        power: Its power file; the sidecars lie beside it.
        output: What it printed.
        baselines: Idle baselines that its runner took before and, if it got so far, after.
    """

    trial: Trial
    record: dict[str, Any]
    record_file: Path
    power: Path
    output: Path
    baselines: tuple[Path, ...]

    @property
    def work(self) -> dict[str, float]:
        """Amounts of work it has done, such as steps."""
        found: dict[str, float] = self.record["work"]
        return found

    @property
    def marks(self) -> dict[str, str]:
        """What else it told, such as where its data are from."""
        found: dict[str, str] = self.record["marks"]
        return found

    def run(self) -> RecordedRun:
        """Load what was measured; raises `FileError`."""
        return load(self.power)


@dataclass(frozen=True)
class Study:
    """A study as far as it is.

    Attributes:
        folder: Its folder.
        plan: Its plan.
        finished: Trials that are done, in the order of the plan.
        failed: Trials that have failed, each with the reason.
        left: Trials that were not run.
        notes: What must be known before trials are compared.
    """

    folder: Path
    plan: Plan
    finished: tuple[Finished, ...]
    failed: tuple[tuple[Trial, str], ...]
    left: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """What reports on it are made from, and must never be written over."""
        paths = [self.folder / plan.FILE, self.folder / journal.FILE]
        paths += dict.fromkeys(path for one in self.finished for path in one.baselines)
        for one in self.finished:
            paths += [*RunFiles(one.power).all, one.output, one.record_file]
        return paths

    def of(self, workload: str) -> tuple[Finished, ...]:
        """Return the finished trials of a workload."""
        return tuple(one for one in self.finished if one.trial.workload == workload)

    @property
    def workloads(self) -> list[str]:
        """Names of the workloads of which a trial is done, in the order of the definition."""
        names = [one.name for one in self.plan.definition.workloads]
        return [name for name in names if self.of(name)]

    @property
    def control_pairs(self) -> list[tuple[Finished, Finished]]:
        """The control workload's two trials of each block: what differs between them is noise."""
        control = self.plan.definition.settings.control
        by_block: dict[int, list[Finished]] = {}
        for one in self.of(control) if control else ():
            by_block.setdefault(one.trial.block, []).append(one)
        return [(pair[0], pair[1]) for pair in by_block.values() if len(pair) == 2]


def load_study(folder: Path) -> Study:
    """Return the study of a folder; one that a runner is at work on, as far as it is.

    Raises:
        FileError: It holds no study, or a file of it is damaged.
    """
    made = plan.read(folder)
    state = state_of(journal.read(folder))
    finished = [_finished(folder, made, one, state) for one in made.trials if _is_done(one, state)]
    failed = [
        (one, str(state.ended[one.stem]["reason"]))
        for one in made.trials
        if state.status(one) == "failed"
    ]
    left = state.left(made.trials)
    return Study(
        folder, made, tuple(finished), tuple(failed), tuple(left), tuple(_notes(finished, state))
    )


def _is_done(one: Trial, state: State) -> bool:
    return state.status(one) == "done"


def _finished(folder: Path, made: Plan, one: Trial, state: State) -> Finished:
    workload = made.definition.workload(one.workload)
    output = trial.output_name(one, workload.family)
    names = (trial.record_name(one), trial.power_name(one), output)
    own = dict(zip(names, (trial.RECORD, trial.POWER, trial.OUTPUT), strict=True))
    places = [folder / name for name in names]
    if not places[0].exists():  # its runner was killed before it could move them
        ran = trial.folder_of(folder, one.stem, state.attempts[one.stem])
        places = [ran / own[name] for name in names]
    try:
        record = json.loads(places[0].read_text(encoding="utf-8"))
        session = record["session"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(
            f"cannot read the record of trial {one.stem}: {error}", "take it from a backup"
        ) from error
    baselines = [
        folder / entry["file"]
        for entry in state.baselines
        if entry["session"] == session and entry["file"]
    ]
    return Finished(one, record, places[0], places[1], places[2], tuple(baselines))


def _notes(finished: list[Finished], state: State) -> list[str]:
    notes = []
    seen: dict[tuple[str, str], set[str]] = {}
    for one in finished:
        for key, value in one.marks.items():
            if key.endswith("sha256"):  # of what was trained: by another seed it is another
                continue
            seen.setdefault((one.trial.workload, key), set()).add(value)
    notes += [
        f"{workload}: {key} is not the same in all trials: {', '.join(sorted(values))}"
        for (workload, key), values in seen.items()
        if len(values) > 1
    ]
    sessions = {one.record["session"] for one in finished}
    if len(sessions) > 1:
        notes.append(f"the trials were run in {len(sessions)} parts, by as many runners")
    notes += [
        f"no baseline {entry['when']} the trials: {entry['reason']}"
        for entry in state.baselines
        if entry["reason"] and entry["session"] in sessions
    ]
    return notes
