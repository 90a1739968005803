"""A study as its TOML file defines it: settings, profiles, workloads; what is wrong is named."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.config.run import DEFAULT_EVENTS_GROUPS, from_arguments
from pactmeter.errors import ConfigError, FileError, unknown_name
from pactmeter.study import values
from pactmeter.study.command import check_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.study.values import Check

SCHEMA = 1
FILE = "study.toml"
"""The study of a folder."""
FAMILIES = ("cv", "nlp", "rl", "stress", "other")
_COOL_DOWN_S, _MOST_COOL_DOWN_S = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all trials of a study.

    Attributes:
        trials: Trials of each workload, one in each block.
        seed: Of the order within the blocks; None: drawn when the study begins, and recorded.
        measure_period_s: Seconds a row of power covers.
        perf_period_s: Seconds a row of counters covers.
        events: Groups of events; empty: those of the workload.
        psu: A power supply, ``auto`` or ``none``.
        threads: Threads of a workload; None: its own choice.
        baseline_s: Length of the idle baselines before and after; 0: none.
        warm_up_s: How long a workload runs before the first trial, unmeasured; 0: not at all.
        cool_down_s: Rest before each trial; the longest one where a temperature is waited for.
        cool_down_c: Temperature that is waited for before each trial; None: none.
        timeout_s: When a trial is ended and has failed; None: never.
        control: Workload that runs first and last in each block, for the noise floor; or None.
    """

    trials: int = 5
    seed: int | None = None
    measure_period_s: float = 1.0
    perf_period_s: float = 0.01
    events: tuple[tuple[str, ...], ...] = ()
    psu: str = "auto"
    threads: int | None = None
    baseline_s: float = 60.0
    warm_up_s: float = 0.0
    cool_down_s: float | None = None
    cool_down_c: float | None = None
    timeout_s: float | None = None
    control: str | None = None

    @property
    def rest_s(self) -> float:
        """Rest before a trial, in seconds: as long as it is, or at most."""
        if self.cool_down_s is not None:
            return self.cool_down_s
        return _COOL_DOWN_S if self.cool_down_c is None else _MOST_COOL_DOWN_S


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload.

    Attributes:
        name: Its name in the names of result files.
        family: ``cv``, ``nlp``, ``rl``, ``stress`` or ``other``.
        command: What is run, with `command.PLACEHOLDERS`.
        needs: What it needs, such as ``python:torch``, ``tool:stress``, ``gpu``.
        memory_mb: Memory it needs; 0: unknown.
        disk_mb: Disk it needs; 0: unknown.
        timeout_s: When a trial of it is ended and has failed; None: never.
        expected_s: How long a trial takes, for the plan; None: unknown.
    """

    name: str
    family: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    memory_mb: int = 0
    disk_mb: int = 0
    timeout_s: float | None = None
    expected_s: float | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A study under one profile.

    Attributes:
        file: The TOML file.
        name: Name of the study.
        profile: The profile that was chosen; None: none.
        settings: What holds for all trials.
        workloads: The workloads, in the order of the file.
    """

    file: Path
    name: str
    profile: str | None
    settings: Settings
    workloads: tuple[Workload, ...]

    def workload(self, name: str) -> Workload:
        """Return the workload of that name."""
        return next(one for one in self.workloads if one.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return as plain data what makes it this study and no other: not where its file lies."""
        told: dict[str, Any] = json.loads(  # as it is read again: lists, no tuples
            json.dumps(
                {
                    "schema": SCHEMA,
                    "name": self.name,
                    "profile": self.profile,
                    "settings": asdict(self.settings),
                    "workloads": [asdict(one) for one in self.workloads],
                }
            )
        )
        return told


_SETTINGS: dict[str, Check] = {
    "trials": values.whole(1, 10_000),
    "seed": values.whole(0, 2**63),
    "measure_period_s": values.number(0.001, 3600),
    "perf_period_s": values.number(0.0005, 3600),
    "events": values.events,
    "psu": values.text,
    "threads": values.whole(1, 65_536),
    "baseline_s": values.number(1, 86_400, or_zero=True),
    "warm_up_s": values.number(0, 86_400),
    "cool_down_s": values.number(0, 86_400),
    "cool_down_c": values.number(10, 120),
    "timeout_s": values.number(0.1, 1e8),
    "control": values.name,
}
_WORKLOAD: dict[str, Check] = {
    "name": values.name,
    "family": values.one_of(FAMILIES),
    "command": check_command,
    "needs": values.needs,
    "memory_mb": values.whole(0, 10**9),
    "disk_mb": values.whole(0, 10**9),
    "timeout_s": values.number(0.1, 1e8),
    "expected_s": values.number(0, 1e8),
}
_OVERRIDES = {**_WORKLOAD, "skip": values.flag}
"""What a profile changes in a workload; with ``skip = true`` it leaves it out."""
_TOP = {"schema", "name", "include", "settings", "profile", "workload"}


def read(path: str | Path, profile: str | None = None) -> Definition:
    """Read a study's file (of a folder: its ``study.toml``) under a profile of it.

    Raises:
        ConfigError: Something in it is wrong; the message names the place, near names, the fix.
        FileError: There is no such file.
    """
    file = Path(path)
    if file.is_dir():
        file = file / FILE
    data = _toml(file)
    whole = [*_included(file, data), *data.get("workload", [])] if "include" in data else None
    return _define(file, data if whole is None else {**data, "workload": whole}, profile)


def _included(file: Path, data: dict[str, Any]) -> list[object]:
    """Return the workloads of the files beside a study that it includes; of these nothing else."""
    found: list[object] = []
    for name in values.texts(f"{file.name}: include", data["include"]):
        other = _toml(file.parent / name)
        if "include" in other:
            raise ConfigError(
                f"{file.name}: {name} includes others itself", "include each file by its name"
            )
        found += other.get("workload", [])
    return found


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(f"there is no study {file}", "name a study's TOML file") from error
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:  # of TOML, or of the encoding
        raise ConfigError(f"{file} is no TOML: {error}") from error


def _define(file: Path, data: dict[str, Any], profile: str | None) -> Definition:
    _known(file.name, data, _TOP)
    if data.get("schema") != SCHEMA:
        raise ConfigError(
            f"{file.name}: schema is {data.get('schema')!r}, this PACT reads {SCHEMA}",
            f"begin the file with: schema = {SCHEMA}",
        )
    settings = _table(f"{file.name}, [settings]", data.get("settings", {}), _SETTINGS)
    profiles = _object(f"{file.name}, [profile]", data.get("profile", {}))
    checked = {  # all of them: a slip in another one is better found today
        key: _table(f"{file.name}, [profile.{key}]", table, _SETTINGS)
        for key, table in profiles.items()
    }
    if profile is not None:
        if profile not in checked:
            no_profile = "the file has none: leave --profile out"
            raise unknown_name("profile", profile, checked, fix=None if checked else no_profile)
        settings |= checked[profile]
    workloads = _workloads(file.name, data.get("workload"), list(checked), profile)
    found = Definition(
        file=file,
        name=values.name(f"{file.name}: name", data.get("name", _name_of(file))),
        profile=profile,
        settings=Settings(**settings),
        workloads=workloads,
    )
    _check_whole(file.name, found)
    return found


def _name_of(file: Path) -> str:
    """Return a name for a study that has none: its file's, or its folder's."""
    stem = file.stem if file.name != FILE else file.absolute().parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "study"


def _workloads(
    where: str, data: object, profiles: list[str], profile: str | None
) -> tuple[Workload, ...]:
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{where}: there is no workload", "add a table [[workload]]")
    found = []
    for number, raw in enumerate(data, 1):
        place = f"{where}, [[workload]] {number}"
        table = dict(_object(place, raw))
        label = table.get("name")
        if isinstance(label, str):
            place = f"{where}, workload {label!r}"
        overrides = _object(f"{place}, [profile]", table.pop("profile", {}))
        own = _table(place, table, _WORKLOAD)
        changes = {}
        for key, other in overrides.items():
            if key not in profiles:
                error = unknown_name("profile", key, profiles, fix=f"declare it: [profile.{key}]")
                raise ConfigError(f"{place}: {error.message}", error.fix)
            changes[key] = _table(f"{place}, profile {key!r}", other, _OVERRIDES)
        own |= changes.get(profile or "", {})
        if own.pop("skip", False):
            continue
        for key in ("name", "command"):
            if key not in own:
                under = f" under profile {profile!r}" if profile else ""
                raise ConfigError(f"{place} has no {key!r}{under}", f"add: {key} = ...")
        found.append(Workload(**{"family": "other", **own}))
    return tuple(found)


def _check_whole(where: str, found: Definition) -> None:
    """Refuse what no single value shows."""
    names = [one.name for one in found.workloads]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: two workloads are called {twice!r}", "give each its own name")
    if not names:
        raise ConfigError(f"{where}: profile {found.profile!r} leaves out every workload")
    settings = found.settings
    if settings.control is not None and settings.control not in names:
        error = unknown_name("workload", settings.control, names)
        raise ConfigError(f"{where}, control: {error.message}", error.fix)
    try:  # what every run checks, before any begins
        from_arguments(
            measure_period=settings.measure_period_s,
            perf_measure_period=settings.perf_period_s,
            events_groups=settings.events or DEFAULT_EVENTS_GROUPS,
            PSU=None if settings.psu.lower() == "none" else settings.psu,
        )
    except ConfigError as error:
        raise ConfigError(f"{where}, [settings]: {error.message}", error.fix) from error


def _table(where: str, data: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return a table's values, checked."""
    table = _object(where, data)
    _known(where, table, checks)
    return {key: checks[key](f"{where}: {key}", value) for key, value in table.items()}


def _known(where: str, table: Mapping[str, Any], known: Mapping[str, Any] | set[str]) -> None:
    for key in table:
        if key not in known:
            error = unknown_name("key", key, sorted(known))
            raise ConfigError(f"{where}: {error.message}", error.fix)


def _object(where: str, data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is {data!r}, not a table")
    return data


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return what differs between two definitions as plain data, in words, the old one first."""
    found = [
        f"{key} was {one.get(key)!r}, is {other.get(key)!r}"
        for key in ("name", "profile")
        if one.get(key) != other.get(key)
    ]
    old, new = one.get("settings", {}), other.get("settings", {})
    found += [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in [field.name for field in fields(Settings)]
        if old.get(key) != new.get(key)
    ]
    before = {each["name"]: each for each in one.get("workloads", [])}
    after = {each["name"]: each for each in other.get("workloads", [])}
    for name in {**before, **after}:
        if name not in after or name not in before:
            found.append(f"workload {name!r} is {'new' if name in after else 'gone'}")
        elif before[name] != after[name]:
            keys = [k for k in before[name] if before[name][k] != after[name].get(k)]
            found.append(f"workload {name!r} has another {', '.join(keys)}")
    return found
