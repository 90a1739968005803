"""Which figure stands first: the one that covers most of the machine and is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.energy import total
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from pactmeter.model.energy import Energy

SUBTOTAL = "CPU + GPU measured subtotal, excludes memory, board, fans and supply losses"


def headline(found: list[Energy]) -> Energy | None:
    """Return the headline: metered AC, else PSU DC output, else psys, else CPU + GPU, else None.

    Estimates are never a headline; several devices of one kind are summed.
    """
    measured = [e for e in found if e.origin is Origin.MEASURED and e.covered_s > 0]
    for domain, channel, label in (
        (Domain.AC, "wall", "AC input power, metered"),
        (Domain.DC, "psu.dc_output", "DC output of the power supply"),
        (Domain.PSYS, "cpu.psys", "the platform as the processor counts it (psys)"),
    ):
        parts = [e for e in measured if e.domain is domain]
        if len(parts) == 1:
            return parts[0]
        if parts:
            return total(parts, channel, f"{label}, {len(parts)} devices")
    parts = [e for e in measured if e.domain in {Domain.PACKAGE, Domain.GPU}]
    return total(parts, "cpu+gpu", SUBTOTAL) if parts else None
