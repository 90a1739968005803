"""Which figure stands first: the one that covers most of the machine and is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pactmeter.analysis.energy import total
from pactmeter.model.channel import WALL_REFERENCE, Domain, Origin

if TYPE_CHECKING:
    from pactmeter.model.energy import Energy

_WHOLES: dict[Domain | None, tuple[str, str]] = {
    Domain.AC: ("wall", "AC input power, metered"),
    Domain.DC: ("psu.dc_output", "DC output of the power supply"),
    Domain.PSYS: ("cpu.psys", "the platform as the processor counts it (psys)"),
}
"""What covers all of the machine, the most of it first: name and words for several devices."""
_KINDS = (*((domain,) for domain in _WHOLES), (Domain.PACKAGE, Domain.GPU))
"""What a headline is of, the first that was read."""
_LEFT_OUT = "memory, board, fans and supply losses"


def headline(found: list[Energy]) -> Energy | None:
    """Return the headline: metered AC, else PSU DC output, else psys, else CPU + GPU, else None.

    Estimates are never a headline; several devices of one kind are summed. One of them that gave
    no reading makes the sum less than it says: label, coverage and uncertainty tell so.
    """
    parts = headline_parts(found)
    if len(parts) == 1 and parts[0].domain in _WHOLES:
        return parts[0]
    if not parts:
        return None
    if parts[0].domain in _WHOLES:
        channel, label = _WHOLES[parts[0].domain]
        return _named(total(parts, channel, f"{label}, {len(parts)} devices"))
    domains = {part.domain for part in parts}
    kinds = (("CPU", Domain.PACKAGE), ("GPU", Domain.GPU))
    names = [name for name, domain in kinds if domain in domains]
    left_out = _LEFT_OUT if Domain.PACKAGE in domains else f"CPU, {_LEFT_OUT}"
    label = f"{' + '.join(names)} measured subtotal, excludes {left_out}"
    return _named(total(parts, "+".join(names).lower(), label))


def _named(whole: Energy) -> Energy:
    """Return a sum whose label names what gave no reading."""
    return replace(whole, label=f"{whole.label} ({whole.silence})") if whole.silent else whole


def why_none(found: list[Energy]) -> str:
    """Return why some energies give no headline."""
    measured = [energy for energy in found if energy.origin is Origin.MEASURED]
    read = [energy.channel for energy in measured if energy.covered_s > 0]
    if read:
        is_one = len(read) == 1
        return (
            f"{', '.join(read)} {'is' if is_one else 'are'} measured, but"
            f" {'covers' if is_one else 'cover'} no whole machine, processor or GPU"
        )
    if measured:
        return f"{', '.join(energy.channel for energy in measured)} gave no reading"
    origins = sorted({energy.origin.value for energy in found})
    return f"what was found is {' or '.join(origins)}" if origins else "no source was found"


def sum_name(found: list[Energy]) -> str | None:
    """Return the name of the headline by which it is told from its parts; None: there is none.

    The sum of two supplies is called as the first of them is; where one must not be taken for the
    other, it is ``psu*.dc_output``.
    """
    first, parts = headline(found), headline_parts(found)
    if first is None:
        return None
    if len(parts) > 1 and any(part.channel == first.channel for part in parts):
        return first.channel.replace(".", "*.", 1)
    return first.channel


def headline_parts(found: list[Energy]) -> list[Energy]:
    """Return the energies that the headline is the sum of; none where there is no headline.

    A device that gave no reading is one of them where another of its kind did. A meter's own file
    stands for all that was metered: it was named for that.
    """
    measured = [energy for energy in found if energy.origin is Origin.MEASURED]
    named = [e for e in measured if e.channel == WALL_REFERENCE and e.covered_s > 0]
    if named:
        return named
    for domains in _KINDS:
        parts = [e for domain in domains for e in measured if e.domain is domain]
        if any(part.covered_s > 0 for part in parts):
            return parts
    return []
