"""What could be counted on this machine: the rows of ``pactmeter events``."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.counters import access, generic, libpfm, plan, tracepoints
from pactmeter.counters.names import EventSpec, Scope, parse
from pactmeter.errors import ConfigError
from pactmeter.kernel import pmu

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event.

    Attributes:
        name: The name PACT prints.
        aliases: Other names of the same event.
        pmu: What counts it: ``software``, ``cpu`` or a PMU of sysfs.
        scope: ``tree`` where it counts for a process, ``system`` where for the whole machine only.
        status: ``ok``, ``missing`` or ``denied``, found out by opening it.
        reason: Why it does not open, or what it leaves out.
        fix: What to do about it.
        unit: Unit of the counts times `scale`, where the kernel says so.
        scale: What one count is worth.
    """

    name: str
    aliases: tuple[str, ...]
    pmu: str
    scope: Scope
    status: access.Status
    reason: str | None = None
    fix: str | None = None
    unit: str | None = None
    scale: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def list_events(pattern: str | None = None, *, everything: bool = False) -> list[EventRow]:
    """Return the events of this machine, each tried by opening it.

    The generic events and those of the PMUs in sysfs always; those that libpfm4 knows of the PMUs
    present with a pattern or `everything`, as there may be thousands; tracepoints with a pattern
    that has a colon, as trying one takes some 40 ms.

    Args:
        pattern: Part of a name, alias or PMU, or a shell pattern over them; any case.
        everything: Also libpfm4's events where there is no pattern.
    """
    rows = []
    for name, aliases, unit in _candidates(pattern, everything=everything):
        if _matches(pattern, (name, *aliases, unit.name if unit else "")):
            rows.append(_row(name, aliases, unit))
    return rows


def _candidates(
    pattern: str | None, *, everything: bool
) -> Iterator[tuple[str, tuple[str, ...], pmu.Pmu | None]]:
    for names, _, _ in generic.events():
        yield names[0], names[1:], None
    for unit in pmu.pmus():
        for event in unit.events:
            yield f"{unit.name}/{event}/", (), unit
    if pattern or everything:
        for name in _library_names():
            yield name, (), None
    if pattern and ":" in pattern:
        for name in tracepoints.names():
            yield name, (), None


def _library_names() -> Iterator[str]:
    for event, masks in libpfm.names():
        unit, _, name = event.partition("::")
        if name not in generic.TABLE and unit != "perf_raw":  # rNNN is no event to list
            yield from (f"{event}:{mask}" for mask in masks) if masks else (event,)


def _matches(pattern: str | None, names: tuple[str, ...]) -> bool:
    if not pattern:
        return True
    wanted = pattern.lower()
    if any(sign in wanted for sign in "*?["):
        return any(fnmatch.fnmatchcase(name.lower(), wanted) for name in names)
    return any(wanted in name.lower() for name in names)


def _row(name: str, aliases: tuple[str, ...], unit: pmu.Pmu | None) -> EventRow:
    try:
        spec = parse(name)
    except ConfigError as error:  # an event that lacks a number or a part, or a strange file
        scope = _scope(unit)
        return EventRow(
            name, aliases, unit.name if unit else "", scope, "missing", error.message, error.fix
        )
    unit = unit or pmu.find(spec.pmu)
    mask, scope = unit.cpumask if unit else None, _scope(unit)
    verdict = _try(spec, scope, mask[0] if mask else -1)
    return EventRow(
        name=name,
        aliases=aliases,
        pmu=unit.name if unit else spec.pmu,
        scope=scope,
        status=verdict.status,
        reason=verdict.reason,
        fix=verdict.fix,
        unit=spec.unit,
        scale=spec.scale,
    )


def _scope(unit: pmu.Pmu | None) -> Scope:
    return "system" if unit and unit.cpumask else "tree"


def _try(spec: EventSpec, scope: Scope, cpu: int) -> access.Verdict:
    """Open the event on this very process, or on a CPU of its PMU, and close it again."""
    column = plan.Column(spec, 0, scope)
    group = plan.KernelGroup((scope, 0, spec.pmu), scope, [(spec, column)])
    group.probe(os.getpid() if scope == "tree" else -1, cpu)
    return column.verdict or access.Verdict("missing")
