"""A source of power over the rows of a run, and whether two of them measure the same."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.errors import ConfigError
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.agreement.pairs import Array

_CPU = frozenset({Domain.PACKAGE, Domain.CORE, Domain.UNCORE, Domain.DRAM})
_INSIDE = _CPU | {Domain.PSYS, Domain.GPU}
HOLDS = {
    Domain.AC: _INSIDE | {Domain.DC},
    Domain.DC: _INSIDE,
    Domain.PSYS: _CPU,
    Domain.PACKAGE: frozenset({Domain.CORE, Domain.UNCORE}),
}
"""What each domain contains, where one supply feeds all of the machine."""
_NUMBERED = re.compile(r"(?:gpu|cpu\.(?:package|core|uncore|dram))(\d+)(?:\.|$)")
_WHAT_IS_LEFT = "look at the uncovered remainder: the whole less the parts it contains"


@dataclass(frozen=True, slots=True)
class Source:
    """One source over the rows of a run.

    Attributes:
        channel: Its channel.
        domain: What part of the machine it covers; None where that is unknown.
        power_w: Mean power in each row, in watts; NaN where there is no reading.
        u_pct: Uncertainty (k=2) in percent of the energy; None where it is unknown.
        synthetic: None for real hardware.
        origin: Measured, estimated or modelled.
        counts: Whether it counts energy itself, so that nothing lies between its readings.
        label: What it is, in words.
    """

    channel: str
    domain: Domain | None
    power_w: Array
    u_pct: float | None = None
    synthetic: str | None = None
    origin: Origin = Origin.MEASURED
    counts: bool = False
    label: str = ""

    @property
    def is_beside(self) -> bool:
        """Whether it tells of a device that another source stands for: a GPU's second reading."""
        return bool(re.match(r"gpu\d+\.|.*\.rail\.\*$", self.channel))

    @property
    def device(self) -> str:
        """Number of the processor or GPU, name of the supply; empty: the machine has one of it."""
        if found := _NUMBERED.match(self.channel):
            return found.group(1)
        if self.channel == "cpu.estimate" and " of 1 x " in self.label:
            return "0"  # that of all packages is that of the only one
        if self.domain is Domain.DC or self.channel.startswith("psu"):
            return self.channel.partition(".")[0]
        whole = {Domain.AC, Domain.PSYS, Domain.BATTERY, Domain.MACHINE}
        return "" if self.domain in whole else self.channel


def together(sources: Sequence[Source], channel: str) -> Source:
    """Return sources that do not overlap as one; where one has no reading, the sum has none.

    Their errors add linearly: equal sensors err alike.
    """
    if len(sources) == 1:
        return sources[0]
    power_w = np.sum([each.power_w for each in sources], axis=0)
    shares = [float(np.nansum(each.power_w)) for each in sources]
    u_pct = None
    if sum(shares) > 0 and all(each.u_pct is not None for each in sources):
        parts = [s * (each.u_pct or 0.0) for s, each in zip(shares, sources, strict=True)]
        u_pct = sum(parts) / sum(shares)
    return replace(sources[0], channel=channel, power_w=power_w, u_pct=u_pct)


def require_same_measurand(reference: Source, source: Source, *, supplies: int = 1) -> None:
    """Refuse to compare what is not one quantity of one device: AC with AC, DC with DC.

    Sources of unequal perimeters correlate, and the difference is no error of either.

    Args:
        reference: What is compared with.
        source: What is compared.
        supplies: How many power supplies feed the machine.

    Raises:
        ConfigError: They cover different parts of the machine, or one of them no known part; or
            one is synthetic and the other is not.
    """
    require_same_world(reference, source)
    names = f"{reference.channel} and {source.channel}"
    if reference.channel == source.channel:
        raise ConfigError(f"{source.channel} is compared with itself")
    if reference.domain is None or source.domain is None:
        raise ConfigError(f"{names}: what part of the machine one of them covers is unknown")
    if reference.domain is not source.domain:
        raise ConfigError(
            f"{names} measure different things ({reference.domain} and {source.domain})",
            _WHAT_IS_LEFT,
        )
    both_metered = reference.origin is source.origin is Origin.MEASURED
    if reference.domain is Domain.AC and both_metered and supplies > 1:
        raise ConfigError(f"{names} are meters of {supplies} supplies", "compare each with its own")
    if reference.device == source.device:
        return
    if reference.domain is Domain.AC and "" in {reference.device, source.device}:
        if supplies > 1:  # else the meter is taken to be that of the one supply
            raise ConfigError(
                f"{names}: which of the {supplies} supplies the meter measures is unknown",
                "compare the meter with what is fed through it alone",
            )
        return
    raise ConfigError(f"{names} are different devices", "compare the sources of one device")


def require_same_world(first: Source, second: Source) -> None:
    """Refuse to set real readings against those of an emulated or replayed machine.

    Raises:
        ConfigError: One is synthetic and the other is not, or otherwise.
    """
    if first.synthetic != second.synthetic:
        marks = [f"{each.channel} is {each.synthetic or 'real'}" for each in (first, second)]
        raise ConfigError(", ".join(marks), "compare what was measured on one machine")


def require_parts(whole: Source, parts: tuple[Source, ...]) -> None:
    """Refuse parts that are not in the whole, or one inside another.

    Raises:
        ConfigError: There are no parts, or the whole does not contain them, or they overlap.
    """
    if not parts:
        raise ConfigError(
            f"no part of {whole.channel} was measured", "`pactmeter doctor` says what could be"
        )
    holds = HOLDS.get(whole.domain, frozenset()) if whole.domain else frozenset()
    for place, part in enumerate(parts):
        require_same_world(whole, part)
        other_chip = whole.domain is Domain.PACKAGE and whole.device != part.device
        if part.domain not in holds or other_chip:
            raise ConfigError(
                f"{part.channel} ({part.domain}) is no part of {whole.channel} ({whole.domain})"
            )
        for other in (*parts[:place], *parts[place + 1 :]):
            inside = part.domain in HOLDS.get(other.domain or Domain.MACHINE, frozenset())
            same = part.domain is other.domain and part.device == other.device
            if inside or same:
                raise ConfigError(
                    f"{part.channel} is counted in {other.channel} already",
                    "a part is never added to its whole: leave one of them out",
                )
