"""What RAPL's figures are worth, by processor; the same however they are read."""

from __future__ import annotations

from dataclasses import dataclass

from pactmeter.model.channel import Domain, Origin

UPDATE_PERIOD_S = 0.001
"""How often the registers are updated (976 us; Intel SDM volume 3B, section on RAPL)."""

_BEFORE_HASWELL = frozenset({0x2A, 0x2D, 0x3A, 0x3E})
"""Models of Intel's family 6 whose RAPL is a model: Sandy Bridge and Ivy Bridge, each with -E."""


@dataclass(frozen=True, slots=True)
class Trueness:
    """What is known of a domain's figure.

    Attributes:
        origin: Measured by the hardware, or modelled by it.
        accuracy_pct: Half-width (k=2) of its error, in percent; a judgement, no vendor gives any.
        source: What the judgement rests on.
    """

    origin: Origin
    accuracy_pct: float
    source: str


def trueness(cpuinfo: dict[str, str], domain: Domain) -> Trueness:
    """Return what a domain's energy is worth on the processor that ``/proc/cpuinfo`` describes."""
    if not _measures(cpuinfo):
        source = "Type B: modelled from events, blind to data (Schöne 2021, AMD Zen 2)"
        return Trueness(Origin.MODELLED, 20.0, source)
    if domain is Domain.DRAM:
        source = "Type B: mean absolute error 18.5 % on a Haswell desktop (Desrochers 2016)"
        return Trueness(Origin.MEASURED, 20.0, source)
    if domain is Domain.PSYS:
        source = "Type B: depends on the board's own sensor, may read high on old parts"
        return Trueness(Origin.MEASURED, 20.0, source)
    source = "Type B: follows plug power closely, Intel since Haswell (Khan 2018)"
    return Trueness(Origin.MEASURED, 10.0, source)


def _measures(cpuinfo: dict[str, str]) -> bool:
    if cpuinfo.get("vendor_id") != "GenuineIntel":
        return False  # AMD's is a model of events; of others nothing is known
    model = cpuinfo.get("model", "")
    return not (
        cpuinfo.get("cpu family") == "6" and model.isdecimal() and int(model) in _BEFORE_HASWELL
    )
