"""Where a study stands, from its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.study.process import Program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pactmeter.study.definition import Definition
    from pactmeter.study.journal import Entry
    from pactmeter.study.plan import Trial


@dataclass
class State:
    """Where a study stands.

    Attributes:
        ended: By the stem of each trial that has ended, its last entry.
        attempts: By stem, how often it has ended.
        programs: What was started and is not known to have gone.
        sessions: How many runners have been at work, the present one included.
        baselines: Entries of the idle baselines.
    """

    ended: dict[str, Entry] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    sessions: int = 0
    baselines: list[Entry] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Take in one entry of the journal; of an event that is not known, nothing follows."""
        event = entry["event"]
        if event == "open":
            self.sessions += 1
        elif event == "start":
            program = Program(**entry["program"])
            self.programs[program.mark] = program
        elif event == "gone":
            self.programs.pop(entry["mark"], None)
        elif event == "end":
            self.programs.pop(entry["mark"], None)
            self.ended[entry["trial"]] = entry
            self.attempts[entry["trial"]] = self.attempts.get(entry["trial"], 0) + 1
        elif event == "baseline":
            self.baselines.append(entry)

    def status(self, trial: Trial) -> str:
        """Return ``done``, ``failed`` or ``open``."""
        return str(self.ended[trial.stem]["status"]) if trial.stem in self.ended else "open"

    def left(self, trials: Iterable[Trial], *, retry_failed: bool = False) -> list[Trial]:
        """Return the trials that are to be run yet."""
        wanted = {"open", "failed"} if retry_failed else {"open"}
        return [trial for trial in trials if self.status(trial) in wanted]

    def seconds_left_s(self, left: Sequence[Trial], definition: Definition) -> float | None:
        """Return how long the trials will take, rests included; None where nothing is known.

        A workload that has never ended takes what its definition says, else what others took.
        """
        settings = definition.settings
        taken: dict[str, list[float]] = {}
        for stem, entry in self.ended.items():
            if entry["status"] == "done":
                spent_s = entry["duration_s"] + entry["waited_s"]
                taken.setdefault(stem.rpartition("_")[0], []).append(spent_s)
        means = {name: sum(each) / len(each) for name, each in taken.items()}
        for workload in definition.workloads:
            if workload.name not in means and workload.expected_s is not None:
                means[workload.name] = workload.expected_s + settings.rest_s
        if not means:
            return None
        usual_s = sum(means.values()) / len(means)
        trials_s = sum(means.get(trial.workload, usual_s) for trial in left)
        return trials_s + (settings.baseline_s if left else 0.0)


def state_of(entries: Iterable[Entry]) -> State:
    """Return where the study of a journal stands."""
    found = State()
    for entry in entries:
        found.take(entry)
    return found
