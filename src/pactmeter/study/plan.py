"""The plan of a study: which trial comes when, fixed before the first one and never changed.

Each block holds one trial of every workload, in an order of its own drawn by the seed: what drifts
slowly (a room, a fan, a neighbour) then hits all workloads alike. The control workload stands first
and last in each block.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.clock import ClockPair
from pactmeter.errors import ConfigError, FileError
from pactmeter.study.definition import Definition, Settings, Workload, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 1
FILE = "plan.json"
_KIND = "pactmeter study"
_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        order: Its place in the plan, from 1 on.
        block: Its block, from 1 on.
        workload: Name of its workload.
        trial: Number among the trials of that workload, from 1 on.
    """

    order: int
    block: int
    workload: str
    trial: int

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        return f"{self.workload}_{self.trial}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A study's plan.

    Attributes:
        definition: What was defined.
        seed: What the order was drawn by.
        trials: The trials in their order.
        host: The machine that it is for.
    """

    definition: Definition
    seed: int
    trials: tuple[Trial, ...]
    host: str

    @property
    def hash(self) -> str:
        """What tells this plan from every other."""
        return hash_of(self.definition.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "schema": SCHEMA,
            "kind": _KIND,
            "hash": self.hash,
            "seed": self.seed,
            "host": self.host,
            "made_utc_s": round(ClockPair.now().utc_s, 3),
            "file": str(self.definition.file.absolute()),
            "definition": self.definition.to_dict(),
            "trials": [asdict(trial) for trial in self.trials],
        }


def make(definition: Definition) -> Plan:
    """Return the plan of a study that begins now."""
    given = definition.settings.seed
    seed = random.SystemRandom().randrange(_SEEDS) if given is None else given
    return Plan(definition, seed, tuple(order(definition, seed)), platform.node())


def order(definition: Definition, seed: int) -> Iterator[Trial]:
    """Yield the trials in their order."""
    control = definition.settings.control
    names = [one.name for one in definition.workloads if one.name != control]
    place = 0
    for block in range(1, definition.settings.trials + 1):
        drawn = [(name, block) for name in names]
        random.Random(f"{seed}:{block}").shuffle(drawn)  # noqa: S311  no secret
        if control is not None:
            drawn = [(control, 2 * block - 1), *drawn, (control, 2 * block)]
        for name, trial in drawn:
            place += 1
            yield Trial(place, block, name, trial)


def hash_of(definition: dict[str, Any]) -> str:
    """Return the hash of a definition as plain data."""
    text = json.dumps(definition, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check(folder: Path, definition: Definition) -> Plan | None:
    """Return the plan of a study's folder if it is that of this study; None: the folder is new.

    Raises:
        ConfigError: The folder holds another study, something else, or that of another machine.
        FileError: Its plan cannot be read.
    """
    if not (folder / FILE).exists():
        _require_empty(folder)
        return None
    plan = read(folder)
    if plan.hash != hash_of(definition.to_dict()):
        found = differences(plan.definition.to_dict(), definition.to_dict())
        raise ConfigError(
            f"{folder} holds another study: {'; '.join(found[:5]) or 'its workloads are others'}",
            "-o ANOTHER_FOLDER, or give the study its earlier definition",
        )
    if plan.host != platform.node():
        raise ConfigError(
            f"{folder} was begun on {plan.host}, this machine is {platform.node()}",
            "-o ANOTHER_FOLDER: trials of two machines are not one study",
        )
    # the study's file may have been moved since
    return Plan(definition, plan.seed, plan.trials, plan.host)


def take(folder: Path, definition: Definition) -> Plan:
    """Return the plan of a study's folder; make it where the folder is new.

    Raises:
        ConfigError: As `check`.
        FileError: As `check`, or it cannot be written.
    """
    plan = check(folder, definition)
    if plan is None:
        plan = make(definition)
        write_json(folder / FILE, plan.to_dict())
    return plan


def read(folder: Path) -> Plan:
    """Return the plan of a study's folder.

    Raises:
        FileError: It holds no study, or its plan is damaged.
    """
    file = folder / FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(
            f"{folder} holds no study", "pactmeter study run STUDY.toml -o FOLDER"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"cannot read {file}: {error}") from error
    try:
        if data["kind"] != _KIND or data["schema"] != SCHEMA:
            raise FileError(f"{file} is no plan that this PACT reads", "upgrade pactmeter")
        trials = tuple(Trial(**each) for each in data["trials"])
        found = Plan(_definition(data), int(data["seed"]), trials, str(data["host"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{file} is damaged: {error!r}") from error
    return found


def _definition(data: dict[str, Any]) -> Definition:
    held = data["definition"]
    events = tuple(tuple(group) for group in held["settings"]["events"])
    workloads = (
        Workload(**{**one, "command": tuple(one["command"]), "needs": tuple(one["needs"])})
        for one in held["workloads"]
    )
    return Definition(
        file=Path(data["file"]),
        name=held["name"],
        profile=held["profile"],
        settings=Settings(**{**held["settings"], "events": events}),
        workloads=tuple(workloads),
    )


def _require_empty(folder: Path) -> None:
    """Refuse a folder that holds something else than what a killed beginning leaves."""
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise FileError(
            f"cannot use the folder {folder}: {error.strerror}", "-o A_FOLDER_YOU_MAY_WRITE_TO"
        ) from error
    others = sorted(names - {"study.lock", f".{FILE}.new"})
    if others:
        raise ConfigError(f"{folder} holds {others[0]!r}, but no study", "-o ANOTHER_FOLDER")


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Write a file as a whole or not at all, and see it onto the disk.

    Raises:
        FileError: It cannot be written.
    """
    beside = file.with_name(f".{file.name}.new")
    try:
        with beside.open("w", encoding="utf-8") as new:
            json.dump(data, new, indent=1, allow_nan=False)
            new.write("\n")
            new.flush()
            os.fsync(new.fileno())
        beside.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise FileError(f"cannot write {file}: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """See the names in a folder onto the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
