"""One trial: what came of it, judged, and its files brought to their place.

A trial runs in a folder of its own. At its end its files and a record of it are seen onto the disk,
then its line in the journal makes it finished, then its files are moved to their names; a move that
a kill has cut short is made good by the next runner.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.clock import now_s
from pactmeter.errors import FileError
from pactmeter.store.files import RunFiles, is_live
from pactmeter.store.manifest import read_manifest
from pactmeter.study import work
from pactmeter.study.plan import sync_folder, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.study.plan import Trial

SCHEMA = 1
POWER = "PACT.csv"
OUTPUT = ".pactmeter-out"
RECORD = ".pactmeter-trial"
WORK = ".work"
FAILED = "failed"
REST_OF = "_files"
"""What a trial leaves beside its own files is kept in ``<name>_<trial>_files``."""
_LAST_WORDS = 200
_SETTLE_S = 5.0
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a trial.

    Attributes:
        reason: Why it has failed; None: it has not.
        work: Amounts of work that it told of.
        marks: What else it told, such as where its data are from.
    """

    reason: str | None
    work: dict[str, float]
    marks: dict[str, str]

    @property
    def status(self) -> str:
        """``done`` or ``failed``."""
        return "done" if self.reason is None else "failed"


def settle(folder: Path) -> None:
    """Wait until no sampler writes in a folder any more, at most some seconds."""
    until_s = now_s() + _SETTLE_S
    while any(map(is_live, folder.glob("*.csv"))) and now_s() < until_s:
        time.sleep(_LOOK_S)


def judge(folder: Path, exit_code: int, timeout_s: float | None) -> Verdict:
    """Say whether a trial that has ended is one that counts.

    Args:
        folder: Where it ran.
        exit_code: Its exit code; -n where signal n ended it.
        timeout_s: The time-out that ended it; None: it ended by itself.
    """
    output = work.tail(folder / OUTPUT)
    told: dict[str, float | str] = {}
    damaged = None
    try:
        told = work.find(output) or {}
    except FileError as error:
        damaged = error.message
    nothing = work.nothing_done(told)
    reason = (
        _ended_badly(exit_code, timeout_s, output)
        or damaged
        or _measured_badly(folder / POWER)
        or (nothing and f"it {nothing}")
    )
    return Verdict(
        reason,
        {name: value for name, value in told.items() if not isinstance(value, str)},
        {name: value for name, value in told.items() if isinstance(value, str)},
    )


def _ended_badly(exit_code: int, timeout_s: float | None, output: str) -> str | None:
    if timeout_s is not None:
        return f"it had not ended after {timeout_s:g} s"
    if exit_code == 0:
        return None
    told = (line.strip() for line in output.splitlines())
    lines = [line for line in told if line and not line.startswith("PACT: ")]
    words = f"; its last words: {lines[-1][:_LAST_WORDS]}" if lines else ""
    if exit_code > 0:
        return f"exit code {exit_code}{words}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    hint = " (out of memory?)" if -exit_code == signal.SIGKILL else ""
    return f"ended by {name}{hint}{words}"


def _measured_badly(power: Path) -> str | None:
    if not power.exists():
        return f"it measured nothing: it left no {POWER}"
    try:
        manifest = read_manifest(RunFiles(power).manifest)
    except FileError as error:
        return error.message
    if manifest.get("status") != "complete":
        return f"its run is {manifest.get('status')}: {manifest.get('reason') or 'no reason told'}"
    return None


def power_name(trial: Trial) -> str:
    """Return the name of a trial's power file."""
    return f"{trial.stem}_{POWER}"


def record_name(trial: Trial) -> str:
    """Return the name of a trial's record."""
    return f"{trial.stem}_trial.json"


def output_name(trial: Trial, family: str) -> str:
    """Return the name of what a trial has printed; that of ``stress`` ends in csv, as ever."""
    return f"{trial.stem}_out.{'csv' if family == 'stress' else 'txt'}"


def seal(folder: Path, record: dict[str, Any]) -> None:
    """Write a trial's record beside its files, and see all of it onto the disk.

    Raises:
        FileError: It cannot be written.
    """
    write_json(folder / RECORD, {"schema": SCHEMA, "kind": "pactmeter trial", **record})
    try:
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror}") from error


def folder_of(study: Path, stem: str, attempt: int) -> Path:
    """Return where an attempt of a trial runs: what one leaves is never taken for another's."""
    return study / WORK / f"{stem}-{attempt}"


def place(study: Path, trial: Trial, family: str, attempt: int, *, has_failed: bool) -> None:
    """Move a finished trial's files to their names; what is there already is not moved again.

    Args:
        study: The study's folder.
        trial: The trial.
        family: That of its workload.
        attempt: Which attempt has ended.
        has_failed: Whether it has failed: such attempts lie in folders of their own.

    Raises:
        FileError: A file cannot be moved.
    """
    source = folder_of(study, trial.stem, attempt)
    if not source.exists():
        return
    target = study
    if has_failed:
        target = study / FAILED / f"{trial.stem}-{attempt}"
    names = {RECORD: record_name(trial), OUTPUT: output_name(trial, family)}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            if path.name not in names and not path.name.startswith("PACT."):
                beside = target / f"{trial.stem}{REST_OF}"
                beside.mkdir(exist_ok=True)
                path.rename(beside / path.name)
                continue
            path.rename(target / names.get(path.name, f"{trial.stem}_{path.name}"))
        sync_folder(target)
        source.rmdir()
    except OSError as error:
        raise FileError(f"cannot move the files of {trial.stem}: {error}") from error


def fresh(folder: Path) -> Path:
    """Return a folder to run in, made empty: what a killed attempt left there is gone.

    Raises:
        FileError: It cannot be made.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder
