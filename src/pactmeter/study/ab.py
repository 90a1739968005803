"""Two commands run in pairs, in random order within each.

A and B are run in turns: what drifts over minutes or hours meets both alike. Of every two pairs
that follow one another one begins with A and one with B, which one by chance (permuted blocks:
Matts and Lachin, Controlled Clinical Trials 9, 1988), so that neither gains by being first. The
seed is recorded. Nothing is resumed and nothing overwritten: a comparison has its own folder.
"""

from __future__ import annotations

import random
import shlex
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter import __version__
from pactmeter.clock import ClockPair
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.store.files import short_path
from pactmeter.store.manifest import write_manifest
from pactmeter.study import ab_stats
from pactmeter.study.ab_command import POWER
from pactmeter.study.ab_result import Result, judge, metered_pairs, whole_pairs
from pactmeter.study.ab_trial import Trial, read_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pactmeter.study.child import Ended

    Record = Callable[[list[str], Path], Ended]
    """Runs a command, its run and its output into a folder."""

FILE = "ab.json"
"""What was planned, what has become of each run, and at the end the answer."""

_MOST_RUNS = 1000
_MOST_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A comparison that is to be made.

    Attributes:
        commands: The two commands, by ``A`` and ``B``.
        folder: Where it goes; made if it is not there, refused unless empty.
        runs: Number of pairs, the most of them where ``until_pct`` is given.
        seed: Of the order of the runs.
        warm_up: Whether each command is run once before, unmeasured.
        cool_down_s: Rest before each run, in seconds.
        until_pct: Half-width of the interval, in percent, at which it stops; None: after all runs.
        margin_pct: Largest difference that counts as none, in percent; None: none was stated.
    """

    commands: dict[str, list[str]]
    folder: Path
    runs: int
    seed: int
    warm_up: bool = False
    cool_down_s: float = 0.0
    until_pct: float | None = None
    margin_pct: float | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ConfigError: A number is not possible.
        """
        if not 2 <= self.runs <= _MOST_RUNS:
            raise ConfigError(
                f"{self.runs} pairs of runs are no comparison",
                f"--runs 10 (2 are the least, 5 or more are wanted, {_MOST_RUNS} the most)",
            )
        if not 0 <= self.cool_down_s <= _MOST_S:
            raise ConfigError(
                f"a cool-down of {self.cool_down_s:g} s is not possible", "--cool-down 10"
            )
        for name, value in (("until", self.until_pct), ("margin", self.margin_pct)):
            if value is not None and not 0 < value < 100:
                raise ConfigError(
                    f"--{name} {value:g} is not possible", f"--{name} 1 (above 0, below 100)"
                )
        if self.until_pct is not None and self.runs <= ab_stats.FIRST_LOOK:
            raise ConfigError(
                f"with --until it never stops before pair {ab_stats.FIRST_LOOK}, and --runs"
                f" {self.runs} are not more",
                "--runs 30, the most of them",
            )

    @property
    def most_failed(self) -> int:
        """How many pairs may fail before it is given up: a quarter of them, one at least."""
        return max(1, self.runs // 4)


def orders(runs: int, seed: int) -> list[str]:
    """Return the order within each pair.

    >>> orders(5, seed=1)
    ['AB', 'BA', 'BA', 'AB', 'BA']
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    found: list[str] = []
    while len(found) < runs:
        found += chance.sample(["AB", "BA"], 2)
    return found[:runs]


def compare(
    plan: Plan,
    record: Record,
    warm: Record,
    *,
    tell: Callable[[str], None],
    rest: Callable[[float], None] = time.sleep,
) -> Result:
    """Run both commands in pairs and return what they came to.

    Args:
        plan: What is to be done.
        record: Runs a command, measured.
        warm: Runs a command, unmeasured.
        tell: Says how far it is, a line at a time.
        rest: Waits for so many seconds.

    Raises:
        FileError: The folder is in use or cannot be written.
        PactError: Too many runs failed; what there is is kept.
    """
    journal = _Journal(plan)
    try:
        result = _compare(plan, record, warm, journal, tell=tell, rest=rest)
    except PactError as error:
        if journal.trials:
            journal.write("failed", error=error.message)
        else:
            journal.undo()
        raise
    except BaseException:
        journal.write("broken off")
        tell(f"broken off: the runs are kept in {short_path(plan.folder)}")
        again = _again(plan.folder, journal.trials)
        if again is not None:
            tell(f"the whole pairs so far: {again}")
        raise
    journal.write("complete", result=result.to_dict())
    return result


def _compare(
    plan: Plan,
    record: Record,
    warm: Record,
    journal: _Journal,
    *,
    tell: Callable[[str], None],
    rest: Callable[[float], None],
) -> Result:
    if plan.warm_up:
        for side in orders(1, plan.seed)[0]:
            folder = journal.folder(f"warm_up_{side}")
            ended = warm(plan.commands[side], folder)
            said = "" if ended.code == 0 else f"; exit code {ended.code}"
            tell(f"warm-up of {side}, not measured{said}")
            rest(plan.cool_down_s)
    trials = journal.trials
    tell(f"{plan.runs} pairs into {short_path(plan.folder)}, seed {plan.seed}")
    for number, order in enumerate(orders(plan.runs, plan.seed), 1):
        for side in order:
            if trials:
                rest(plan.cool_down_s)
            folder = journal.folder(f"{side}_{number:0{max(2, len(str(plan.runs)))}d}")
            ended = record(plan.commands[side], folder)
            trial = read_trial(side, number, folder, ended)
            trials.append(trial)
            journal.write("running")
            tell(f"pair {number} of {plan.runs}: {_told(trial)}")
            if trial.reason is not None:
                break  # the pair does not count, so its other half need not be run
        _give_up(plan, trials)
        if plan.until_pct is not None and _is_enough(plan, trials, plan.until_pct):
            break
    return judge(
        trials,
        plan.commands,
        folder=plan.folder,
        seed=plan.seed,
        runs=plan.runs,
        until_pct=plan.until_pct,
        margin_pct=plan.margin_pct,
    )


def _again(folder: Path, trials: list[Trial]) -> str | None:
    """Return the command that compares the pairs so far; None where there are not two."""
    pairs = metered_pairs(whole_pairs(trials))
    if not pairs:
        return None
    a, b = (
        [short_path(folder / trial.folder / POWER) for trial in side]
        for side in zip(*pairs, strict=True)
    )
    return shlex.join(["pactmeter", "compare", "--paired", *a, "--vs", *b])


def _told(trial: Trial) -> str:
    if trial.reason is not None:
        return f"{trial.side} {trial.reason}; the pair is left out"
    used = f", {trial.energy.energy_j:.5g} J" if trial.energy else ""
    return f"{trial.side} {trial.duration_s:.4g} s{used}"


def _give_up(plan: Plan, trials: list[Trial]) -> None:
    """End a comparison of which too much fails.

    Raises:
        PactError: It does; the reasons are named.
    """
    failed = [trial for trial in trials if trial.reason is not None]
    begun = trials[-1].pair
    if len(failed) > plan.most_failed or plan.runs - len(failed) < 2:
        last = failed[-1]
        raise PactError(
            f"{len(failed)} of {begun} pairs failed; the last: {last.name} {last.reason}",
            f"see {short_path(plan.folder / last.folder)}, then start anew with another -o",
        )


def _is_enough(plan: Plan, trials: list[Trial], until_pct: float) -> bool:
    """Whether the interval is as narrow as wanted: nothing else may be looked at here."""
    counted = [trial for trial in trials if trial.reason is None]
    if len(counted) < 2 * ab_stats.FIRST_LOOK:
        return False
    found = judge(trials, plan.commands, folder=plan.folder, until_pct=until_pct)
    return found.main.n >= ab_stats.FIRST_LOOK and found.main.half_pct <= until_pct


@dataclass(slots=True)
class _Journal:
    """The folder of a comparison, and what its `FILE` says."""

    plan: Plan
    trials: list[Trial] = field(default_factory=list)
    started_s: float = 0.0

    def __post_init__(self) -> None:
        """Take the folder.

        Raises:
            FileError: It is in use, or cannot be made.
        """
        folder = self.plan.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            used = next(folder.iterdir(), None)
            if used is None:
                (folder / FILE).open("x").close()  # of two that come at once, one gets it
        except FileExistsError:
            used = folder
        except OSError as error:
            raise FileError(
                f"cannot use the folder {folder}: {error.strerror}",
                "name a folder that you may write to with -o",
            ) from error
        if used is not None:
            raise FileError(
                f"{short_path(folder)} is in use: it holds an earlier comparison, or other files",
                f"-o {short_path(next(_others(folder)))}",
            )
        self.started_s = ClockPair.now().utc_s
        self.write("running")

    def folder(self, name: str) -> Path:
        """Make a folder for a run."""
        made = self.plan.folder / name
        try:
            made.mkdir()
        except OSError as error:
            raise FileError(
                f"cannot make the folder {made}: {error.strerror}", "-o another folder"
            ) from error
        return made

    def undo(self) -> None:
        """Leave the folder empty: nothing could be measured, and the next try may have it."""
        for path in self.plan.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def write(self, status: str, **more: Any) -> None:
        """Write how far it is.

        Raises:
            FileError: The disk is full, or the folder has gone.
        """
        plan = self.plan
        told = {
            "schema": 1,
            "kind": "pactmeter ab",
            "version": __version__,
            "status": status,
            "started_utc_s": self.started_s,
            "commands": plan.commands,
            "runs": plan.runs,
            "seed": plan.seed,
            "orders": orders(plan.runs, plan.seed),
            "warm_up": plan.warm_up,
            "cool_down_s": plan.cool_down_s,
            "until_pct": plan.until_pct,
            "margin_pct": plan.margin_pct,
            "trials": [trial.to_dict() for trial in self.trials],
            **more,
        }
        path = plan.folder / FILE
        try:
            write_manifest(path, told)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error


def _others(folder: Path) -> Iterator[Path]:
    """Yield names of folders that are free."""
    for number in range(2, _MOST_RUNS):
        other = folder.with_name(f"{folder.name}-{number}")
        if not other.exists():
            yield other
