"""`RunConfig`: the arguments of `PACT`, checked and in SI units."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pactmeter.errors import ConfigError, FileError

_Word = TypeVar("_Word", bound=str)

DEFAULT_EVENTS_GROUPS = (("MIGRATIONS",), ("FAULTS",), ("CACHE-MISSES",), ("CYCLES",))
_ON_ERROR: tuple[Literal["raise"], Literal["warn"]] = ("raise", "warn")
_SCOPES: tuple[Literal["tree"], Literal["system"]] = ("tree", "system")
_BACKENDS: tuple[Literal["auto"], Literal["ring"], Literal["poll"], Literal["proc"]] = (
    "auto",
    "ring",
    "poll",
    "proc",
)
_MOST_MARKS, _LONGEST_MARK = 8, 40
"""Of all marks, and letters of a name or a text: they are to be read in one line of a report."""
MIN_PERF_PERIOD_S = 0.0005
"""Below this a polled counter misses most of its ticks, and measuring disturbs the workload."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The settings of one run.

    Attributes:
        measure_period_s: Seconds a row of power covers.
        perf_measure_period_s: Seconds a row of counters covers; at most `measure_period_s`.
        events_groups: Groups of event names; a group is counted together.
        file: The run's power file; its sidecars stand beside it.
        psu: ``("auto",)``, ``()`` for none, or names of PSUs.
        meters: URLs of wall meters.
        on_error: ``raise`` or ``warn`` when what was asked for by name is not there.
        scope: Whose events are counted: ``tree`` (the workload) or ``system``.
        sync: Whether CUDA is synchronised at the edges of a call.
        realtime: Whether the sampler asks for SCHED_FIFO.
        rails: Whether the PSU's rails are recorded as channels of their own.
        estimate_cpu: Whether `cpu.estimate` is recorded even where the CPU is measured.
        counter_backend: How events are counted: ``auto``, ``ring``, ``poll`` or ``proc``.
        marks: What a reader must know of what was measured: names and texts, by name.
    """

    measure_period_s: float = 1.0
    perf_measure_period_s: float = 0.01
    events_groups: tuple[tuple[str, ...], ...] = DEFAULT_EVENTS_GROUPS
    file: str = "PACT.csv"
    psu: tuple[str, ...] = ("auto",)
    meters: tuple[str, ...] = field(default=(), repr=False)  # they may hold passwords
    on_error: Literal["raise", "warn"] = "raise"
    scope: Literal["tree", "system"] = "tree"
    sync: bool = True
    realtime: bool = False
    rails: bool = False
    estimate_cpu: bool = False
    counter_backend: Literal["auto", "ring", "poll", "proc"] = "auto"
    marks: tuple[tuple[str, str], ...] = ()

    @property
    def events_asked(self) -> bool:
        """Whether the events were named by the user (the default groups were not)."""
        return self.events_groups != DEFAULT_EVENTS_GROUPS

    def resolved(self) -> RunConfig:
        """Return the same settings with an absolute file name (the working directory of now)."""
        try:
            path = Path(self.file)
            return replace(self, file=str(path.parent.resolve() / path.name))
        except OSError as error:
            raise FileError(
                f"the working directory is gone, so {self.file!r} has no place",
                "name a 'tracker_file_name' that starts with /",
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {**asdict(self), "marks": dict(self.marks)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RunConfig:
        """Return the settings that `to_dict` described."""
        groups = tuple(tuple(group) for group in data["events_groups"])
        tuples: dict[str, Any] = {key: tuple(data[key]) for key in ("psu", "meters")}
        tuples["marks"] = tuple(data["marks"].items())
        return cls(**{**data, "events_groups": groups, **tuples})


def from_arguments(
    *,
    measure_period: float = 1,
    perf_measure_period: float = 0.01,
    events_groups: Any = DEFAULT_EVENTS_GROUPS,
    tracker_file_name: str | os.PathLike[str] = "PACT.csv",
    PSU: Any = "auto",  # noqa: N803  the documented name
    meters: Any = (),
    on_error: str = "raise",
    scope: str = "tree",
    sync: bool = True,
    realtime: bool = False,
    rails: bool = False,
    estimate_cpu: bool = False,
    counter_backend: str = "auto",
    marks: Any = None,
) -> RunConfig:
    """Check the documented arguments and return them as a `RunConfig`.

    Raises:
        ConfigError: An argument is wrong; the message says which, and what is allowed.
    """
    period_s = _period("measure_period", measure_period)
    perf_period_s = _period("perf_measure_period", perf_measure_period)
    if perf_period_s > period_s:
        raise ConfigError(
            f"'perf_measure_period' ({perf_period_s:g} s) is longer than"
            f" 'measure_period' ({period_s:g} s)",
            "counters are read at least once a power row: make it at most as long",
        )
    if perf_period_s < MIN_PERF_PERIOD_S:
        raise ConfigError(
            f"'perf_measure_period' of {perf_period_s:g} s is too short to be read reliably",
            f"use at least {MIN_PERF_PERIOD_S:g} s",
        )
    return RunConfig(
        measure_period_s=period_s,
        perf_measure_period_s=perf_period_s,
        events_groups=_groups(events_groups),
        file=_file(tracker_file_name),
        psu=_psu(PSU),
        meters=_meters(meters),
        on_error=_choice("on_error", on_error, _ON_ERROR),
        scope=_choice("scope", scope, _SCOPES),
        sync=_flag("sync", sync),
        realtime=_flag("realtime", realtime),
        rails=_flag("rails", rails),
        estimate_cpu=_flag("estimate_cpu", estimate_cpu),
        counter_backend=_choice("counter_backend", counter_backend, _BACKENDS),
        marks=_marks(marks),
    )


def _period(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(
            f"{name!r} is {value!r}, not a number of seconds", "pass a number, as 0.5"
        )
    if value <= 0:  # the original's text, which programs may look for
        raise ConfigError(f"{name!r} should be positive number")
    if math.isinf(value):
        raise ConfigError(f"{name!r} is infinite", "pass a number of seconds, as 0.5")
    return float(value)


def _groups(value: Any) -> tuple[tuple[str, ...], ...]:
    fix = "pass a list of groups, each a list of names, as [['MIGRATIONS'], ['FAULTS']]"
    if not isinstance(value, list | tuple):
        raise ConfigError(f"'events_groups' is {value!r}, not a list of groups", fix)
    if not value:
        raise ConfigError("'events_groups' is empty", fix)
    groups = []
    for group in value:
        if not isinstance(group, list | tuple) or not group:
            raise ConfigError(f"'events_groups' holds {group!r}, not a group of names", fix)
        for event in group:
            if not isinstance(event, str) or not event.strip():
                raise ConfigError(f"'events_groups' holds {event!r}, not an event's name", fix)
        groups.append(tuple(event.strip() for event in group))
    columns = [event.lower() for group in groups for event in group]
    for column in columns:
        if columns.count(column) > 1:
            raise ConfigError(f"'events_groups' names {column!r} twice", "name each event once")
    return tuple(groups)


def _file(value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"'tracker_file_name' is {value!r}, not a file name")
    name = os.fspath(value)
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigError(f"'tracker_file_name' is {value!r}, not a file name")
    if name.endswith(os.sep) or _is_folder(name):
        raise ConfigError(
            f"'tracker_file_name' {name!r} is a directory",
            f"name a file, as {name.rstrip('/')}/PACT.csv",
        )
    return name


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a folder that may not be searched: told when the run starts
        return False


def _psu(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ConfigError(f"'PSU' is {value!r}", "pass a name, a list of names, 'auto' or None")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"'PSU' holds {name!r}, not a name", "pass names, 'auto' or None")
    wanted = tuple("auto" if name.strip().lower() == "auto" else name.strip() for name in names)
    for name in wanted:
        if name != "auto":
            from pactmeter.model.psu import match

            match(name)  # an unknown name is told with the names there are
    return wanted


def _meters(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    urls = (value,) if isinstance(value, str) else value
    fix = "pass a list of URLs, as ['shelly://192.168.1.20', 'tasmota://plug.local']"
    if not isinstance(urls, list | tuple):
        raise ConfigError(f"'meters' is a {type(value).__name__}", fix)  # it may hold a password
    for url in urls:
        if not isinstance(url, str) or not url.strip():
            raise ConfigError(f"'meters' holds a {type(url).__name__} that is no URL", fix)
    wanted = tuple(url.strip() for url in urls)
    if wanted:
        from pactmeter.model.meter import parse_all

        parse_all(wanted)  # a wrong one is told here, before anything starts
    return wanted


def _marks(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    fix = "pass names with short texts, as {'data': 'made up', 'weights': 'random'}"
    if not isinstance(value, Mapping):
        raise ConfigError(f"'marks' is {value!r}, no mapping", fix)
    if len(value) > _MOST_MARKS:
        raise ConfigError(f"'marks' holds {len(value)} marks", f"pass {_MOST_MARKS} at most")
    for name, text in value.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > _LONGEST_MARK:
            raise ConfigError(
                f"'marks' holds {name!r}, not a name",
                f"name a mark as a variable, in {_LONGEST_MARK} letters at most, as 'data'",
            )
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise ConfigError(f"'marks' says {text!r} of {name!r}, not a text of one line", fix)
        if len(text.strip()) > _LONGEST_MARK:
            raise ConfigError(
                f"'marks' says {len(text.strip())} letters of {name!r}",
                f"say it in {_LONGEST_MARK} at most",
            )
    return tuple(sorted((name, text.strip()) for name, text in value.items()))


def _choice(name: str, value: object, known: tuple[_Word, ...]) -> _Word:
    for word in known:
        if value == word:
            return word
    raise ConfigError(f"{name!r} is {value!r}", f"use one of: {', '.join(known)}")


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name!r} is {value!r}", "use True or False")
    return value
