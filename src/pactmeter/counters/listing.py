"""What could be counted on this machine: the rows of ``pactmeter events``."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.counters import access, generic, plan
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


def list_events(pattern: str | None = None) -> list[EventRow]:
    """Return the generic events and those of the machine's PMUs, each tried by opening it.

    Args:
        pattern: Part of a name, alias or PMU, or a shell pattern over them; any case.
    """
    rows = []
    for name, aliases, unit in _candidates():
        if _matches(pattern, (name, *aliases, unit.name if unit else "")):
            row = _row(name, aliases, unit)
            rows.append(row)
    return rows


def _candidates() -> Iterator[tuple[str, tuple[str, ...], pmu.Pmu | None]]:
    for names, _, _ in generic.events():
        yield names[0], names[1:], None
    for unit in pmu.pmus():
        for event in unit.events:
            yield f"{unit.name}/{event}/", (), unit


def _matches(pattern: str | None, names: tuple[str, ...]) -> bool:
    if not pattern:
        return True
    wanted = pattern.lower()
    if any(sign in wanted for sign in "*?["):
        return any(fnmatch.fnmatchcase(name.lower(), wanted) for name in names)
    return any(wanted in name.lower() for name in names)


def _row(name: str, aliases: tuple[str, ...], unit: pmu.Pmu | None) -> EventRow:
    mask = unit.cpumask if unit else None
    scope: Scope = "system" if mask else "tree"
    try:
        spec = parse(name)
    except ConfigError as error:  # an event that needs a number from the user, or a strange file
        return EventRow(
            name, aliases, unit.name if unit else "", scope, "missing", error.message, error.fix
        )
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


def _try(spec: EventSpec, scope: Scope, cpu: int) -> access.Verdict:
    """Open the event on this very process, or on a CPU of its PMU, and close it again."""
    column = plan.Column(spec, 0, scope)
    group = plan.KernelGroup((scope, 0, spec.pmu), scope, [column])
    group.probe(os.getpid() if scope == "tree" else -1, cpu)
    return column.verdict or access.Verdict("missing")
