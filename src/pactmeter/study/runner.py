"""The runner of a study: every trial once, in the order of the plan, through kills and restarts."""

from __future__ import annotations

import fnmatch
import os
import platform
import secrets
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter import __version__
from pactmeter.clock import ClockPair, now_s
from pactmeter.errors import unknown_name
from pactmeter.study import cooling, journal, needs, plan, process, told, trial
from pactmeter.study.command import expand
from pactmeter.study.idle import baseline_command, baseline_file, why
from pactmeter.study.state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pactmeter.study.definition import Definition, Workload
    from pactmeter.study.needs import Lack
    from pactmeter.study.plan import Plan, Trial
    from pactmeter.study.process import Program

GRACE_S = 5.0
"""Between asking a trial to end and making it."""
BASELINE_S = 180.0
"""What a baseline may take beyond its length: GPUs get a context before it."""
_LINGER_S = 2.0
"""How long what a trial has started may take to go after it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a runner.

    Attributes:
        only: Names of workloads, or patterns of them; empty: all.
        skip_missing: Whether workloads that lack something are left out (else nothing starts).
        retry_failed: Whether trials that have failed are tried again.
    """

    only: tuple[str, ...] = ()
    skip_missing: bool = False
    retry_failed: bool = False


def chosen(definition: Definition, only: Sequence[str]) -> list[str]:
    """Return the names of the workloads that are wanted.

    Raises:
        ConfigError: A name is not one of the study.
    """
    names = [one.name for one in definition.workloads]
    if not only:
        return names
    for pattern in only:
        if not fnmatch.filter(names, pattern):
            raise unknown_name("workload", pattern, names)
    return [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in only)]


def run(
    definition: Definition, folder: Path, wanted: Wanted, tell: Callable[[str], None]
) -> told.Result:
    """Run what is left of a study; return where it stands then.

    Args:
        definition: The study.
        folder: Its folder; a study that was begun there is resumed.
        wanted: Which part of it.
        tell: Says a line of progress.

    Raises:
        ConfigError: The folder holds something else, or a name is unknown.
        DeviceError: The power supply that is named is not there.
        FileError: Another runner is at work there, or its files cannot be written.
        PactError: Something is missing.
    """
    names = chosen(definition, wanted.only)
    plan.check(folder, definition)
    before = state_of(journal.read(folder))
    trials = [one for one in plan.order(definition, 0) if one.workload in names]
    open_names = {one.workload for one in before.left(trials, retry_failed=wanted.retry_failed)}
    lacks: list[Lack] = []
    if open_names:
        lacks = needs.preflight(
            definition,
            [name for name in names if name in open_names],
            folder,
            skip_missing=wanted.skip_missing,
        )
    with process.watching(), journal.held(folder):
        made = plan.take(folder, definition)
        written = journal.Journal(folder)
        try:
            runner = _Runner(made, folder, written, tell)
            return runner.run(
                set(names) - needs.missing(lacks), lacks, retry_failed=wanted.retry_failed
            )
        finally:
            written.close()


class _Runner:
    """A runner at work: it holds the folder, and signals wait until it pauses."""

    def __init__(
        self, made: Plan, folder: Path, written: journal.Journal, tell: Callable[[str], None]
    ) -> None:
        self._plan = made
        self._folder = folder.absolute()
        self._journal = written
        self._tell = tell
        self._settings = made.definition.settings
        self._state = state_of(written.entries)
        self._session = self._state.sessions + 1
        self._total = 0

    def run(self, names: set[str], lacks: list[Lack], *, retry_failed: bool) -> told.Result:
        """Run what is left of the workloads of these names."""
        self._take_over()
        mine = [one for one in self._plan.trials if one.workload in names]
        left = self._state.left(mine, retry_failed=retry_failed)
        self._total = len(mine)
        stopped = None
        if left:
            self._open(lacks)
            try:
                self._run_all(left)
                self._journal.add("close", session=self._session, why="nothing is left")
            except process.Stopped as error:
                stopped = error.signal
                self._journal.add("close", session=self._session, why=str(error))
        self._clean()
        return told.result(self._plan, self._state, lacks, stopped)

    def _take_over(self) -> None:
        """End what a killed runner has left running, and bring files to their place."""
        for program in list(self._state.programs.values()):
            killed = process.clear(program)
            self._add("gone", mark=program.mark, killed=killed)
            if killed:
                self._tell(f"ended {killed} processes that an earlier runner has left")
        for one in self._plan.trials:
            if one.stem in self._state.ended:
                self._place(one)
        self._clean()  # a killed load may have left gigabytes

    def _clean(self) -> None:
        shutil.rmtree(self._folder / trial.WORK, ignore_errors=True)

    def _open(self, lacks: list[Lack]) -> None:
        self._add(
            "open",
            session=self._session,
            pid=os.getpid(),
            version=__version__,
            python=platform.python_version(),
            executable=sys.executable,
            lacks=[str(lack) for lack in lacks],
        )
        if done := sum(status["status"] == "done" for status in self._state.ended.values()):
            self._tell(f"going on: {done} of {len(self._plan.trials)} trials are done")
        for text in needs.warnings():
            self._tell(f"note: {text}")
        if self._settings.cool_down_c is not None and cooling.hottest_c() is None:
            self._tell(
                f"note: there is no temperature sensor to wait for {self._settings.cool_down_c:g}"
                f" degrees by: each trial is preceded by {self._settings.rest_s:g} s of rest"
            )

    def _run_all(self, left: list[Trial]) -> None:
        self._baseline("before")
        self._warm_up(left)
        for number, one in enumerate(left):
            self._tell(self._progress(one, left[number:]))
            self._trial(one, cooling.rest(self._settings, process.pause))
        if self._settings.baseline_s:
            cooling.rest(self._settings, process.pause)
        self._baseline("after")

    # --- one trial -------------------------------------------------------------------------------

    def _trial(self, one: Trial, rest: cooling.Rest) -> None:
        workload = self._plan.definition.workload(one.workload)
        attempt = self._state.attempts.get(one.stem, 0) + 1
        folder = trial.fresh(trial.folder_of(self._folder, one.stem, attempt))
        words = self._words(workload, one.trial)
        timeout_s = workload.timeout_s or self._settings.timeout_s
        begun, begun_s = ClockPair.now(), now_s()
        program = self._start(words, folder, trial=one.stem, attempt=attempt)
        try:
            in_time = process.pause(timeout_s, program.pid)
        except process.Stopped:
            self._end(program)
            raise
        if not in_time:
            process.end(program, GRACE_S)
        duration_s = now_s() - begun_s
        trial.settle(folder)
        # before it is reaped: until then no other process can be given its number
        lingering = process.clear(program, _LINGER_S)
        exit_code = process.reap(program)
        verdict = trial.judge(folder, exit_code, None if in_time else timeout_s)
        facts = {
            "trial": one.stem,
            "attempt": attempt,
            "session": self._session,
            "status": verdict.status,
            "reason": verdict.reason,
            "exit_code": exit_code,
            "duration_s": round(duration_s, 6),
            "waited_s": round(rest.waited_s, 3),
        }
        trial.seal(
            folder,
            {
                **facts,
                "trial": one.trial,
                "workload": one.workload,
                "family": workload.family,
                "block": one.block,
                "order": one.order,
                "study": self._plan.definition.name,
                "profile": self._plan.definition.profile,
                "plan": self._plan.hash,
                "command": words,
                "work": verdict.work,
                "marks": verdict.marks,
                "started_utc_s": round(begun.utc_s, 6),
                "ended_utc_s": round(ClockPair.now().utc_s, 6),
                "start_temp_c": rest.temp_c,
                "cooled_down": rest.reached,
                "ended_processes": lingering,
            },
        )
        self._add("end", mark=program.mark, **facts)
        self._place(one)
        self._tell(told.outcome(verdict, duration_s, lingering))

    def _place(self, one: Trial) -> None:
        entry = self._state.ended[one.stem]
        family = self._plan.definition.workload(one.workload).family
        has_failed = entry["status"] == "failed"
        trial.place(self._folder, one, family, entry["attempt"], has_failed=has_failed)

    # --- what stands around the trials -----------------------------------------------------------

    def _baseline(self, when: str) -> None:
        """Measure the machine at rest; that it cannot be measured ends no study."""
        if not self._settings.baseline_s:
            return
        power = self._folder / baseline_file(self._session, when)
        self._tell(f"the machine at rest, {when} the trials: {self._settings.baseline_s:g} s")
        folder = trial.fresh(self._folder / trial.WORK / "baseline")
        command = baseline_command(self._settings, power)
        program = self._start(command, folder, baseline=when)
        limit_s = self._settings.baseline_s + BASELINE_S
        try:
            in_time = process.pause(limit_s, program.pid)
        except process.Stopped:
            self._end(program)
            raise
        if not in_time:
            process.end(program, GRACE_S)
        process.clear(program, _LINGER_S)
        exit_code = process.reap(program)
        reason = why(exit_code, folder / trial.OUTPUT)
        if not in_time:
            reason = f"it had not ended after {limit_s:g} s"
        self._add(
            "baseline",
            session=self._session,
            when=when,
            file=power.name if reason is None else None,
            reason=reason,
        )
        self._add("gone", mark=program.mark)
        if reason is not None:
            self._tell(f"note: no baseline: {reason}")

    def _warm_up(self, left: list[Trial]) -> None:
        """Run a workload for some time; what it measures is thrown away."""
        if not self._settings.warm_up_s:
            return
        workload = self._plan.definition.workload(self._settings.control or left[0].workload)
        self._tell(f"warming up with {workload.name}: {self._settings.warm_up_s:g} s")
        folder = trial.fresh(self._folder / trial.WORK / "warm_up")
        program = self._start(self._words(workload, 1), folder, warm_up=workload.name)
        try:
            process.pause(self._settings.warm_up_s, program.pid)
        finally:
            self._end(program)
        trial.fresh(folder)

    def _words(self, workload: Workload, number: int) -> list[str]:
        return expand(
            workload.command,
            self._settings,
            file=self._plan.definition.file,
            name=workload.name,
            trial=number,
            seed=self._plan.seed,
        )

    def _start(self, words: list[str], folder: Path, **what: object) -> Program:
        def record(program: Program) -> None:
            self._add("start", session=self._session, **what, program=program.to_dict())

        return process.start(
            words,
            folder=folder,
            output=folder / trial.OUTPUT,
            environment=os.environ,
            mark=secrets.token_hex(8),
            record=record,
        )

    def _end(self, program: Program) -> None:
        """End a program whose result is not wanted."""
        process.end(program, GRACE_S)
        process.clear(program, _LINGER_S)
        process.reap(program)
        self._add("gone", mark=program.mark)

    def _add(self, event: str, **facts: object) -> None:
        self._state.take(self._journal.add(event, **facts))

    def _progress(self, one: Trial, left: list[Trial]) -> str:
        left_s = self._state.seconds_left_s(left, self._plan.definition)
        about = f", about {told.duration(left_s)} left" if left_s is not None else ""
        place = self._total - len(left) + 1
        return f"[{place}/{self._total}] {one.workload}, trial {one.trial}{about}"
