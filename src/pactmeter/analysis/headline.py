"""Which figure stands first: the one that covers most of the machine and is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.energy import total
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from pactmeter.model.energy import Energy

_LEFT_OUT = "memory, board, fans and supply losses"


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
    cpus = [e for e in measured if e.domain is Domain.PACKAGE]
    gpus = [e for e in measured if e.domain is Domain.GPU]
    if not cpus and not gpus:
        return None
    names = [name for name, parts in (("CPU", cpus), ("GPU", gpus)) if parts]
    left_out = _LEFT_OUT if cpus else f"CPU, {_LEFT_OUT}"
    label = f"{' + '.join(names)} measured subtotal, excludes {left_out}"
    return total([*cpus, *gpus], "+".join(names).lower(), label)
