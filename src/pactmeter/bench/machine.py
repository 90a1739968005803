"""The emulated machine: components that draw P(t), and the supplies that feed them."""

from __future__ import annotations

import fnmatch
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.bench.loads import FOLLOW, Span, pieces
from pactmeter.bench.supply import Supply
from pactmeter.bench.timeline import Source, Timeline
from pactmeter.errors import ConfigError, unknown_name
from pactmeter.model import psu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE = Span(15.0, 150.0)
DRAM = Span(3.0, 12.0)
REST = Span(45.0, 45.0)
"""Board, fans, disks: what no meter but the power supply sees."""

_CORE_SHARE, _UNCORE_SHARE = 0.8, 0.1
_OPTIONS = ("serial", "share", "tau", "standby", "input_v", "hwmon")
_MOST = 500.0
"""More no option can be: volts are told in steps up to 511."""
_EXAMPLE = "--psu hx1500i,tau=0.3,input_v=115,hwmon"


@dataclass(frozen=True, slots=True)
class PsuSpec:
    """A power supply as asked for.

    Attributes:
        model: Which one.
        serial: Its serial number; empty for none.
        share: Its part of the machine's power, relative to the other supplies.
        tau_s: Time constant of its power sensor, in seconds; 0: instant.
        standby_w: Power of its 5 V standby rail, which its sensor does not see, in watts.
        input_v: Mains voltage, in volts.
        hwmon: Whether the kernel's driver holds it.
        replayed: Whether it only repeats what a real one once said: it feeds nothing, and what
            truly flowed through the real one is not known.
    """

    model: psu.PsuModel
    serial: str = ""
    share: float = 1.0
    tau_s: float = 0.0
    standby_w: float = 0.0
    input_v: float = 230.0
    hwmon: bool = False
    replayed: bool = False

    @property
    def order(self) -> tuple[str, str]:
        """Supplies are numbered in this order, which is the product's too."""
        return self.model.name, self.serial


def parse_psu(text: str) -> PsuSpec:
    """Return the supply that ``NAME[,OPTION=VALUE...]`` names, such as ``hx1500i,tau=0.3,hwmon``.

    Raises:
        ConfigError: The name or an option is not known.
    """
    name, *options = text.split(",")
    model = psu.match(name).model
    given: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in _OPTIONS:
            raise unknown_name("option of a power supply", key, _OPTIONS)
        if bool(equals) == (key == "hwmon"):
            what = "takes no value" if equals else "wants a value"
            raise ConfigError(f"{text!r}: {key} {what}", _EXAMPLE)
        given[key] = value
    spec = PsuSpec(
        model,
        serial=given.get("serial", ""),
        share=_number(text, "share", given.get("share", "1")),
        tau_s=_number(text, "tau", given.get("tau", "0")),
        standby_w=_number(text, "standby", given.get("standby", "0")),
        input_v=_number(text, "input_v", given.get("input_v", "230")),
        hwmon="hwmon" in given,
    )
    if spec.hwmon and model.protocol is psu.Protocol.NZXT:
        raise ConfigError(f"no kernel driver exists for {model.name}", f"leave out hwmon: {name}")
    if not spec.share:
        raise ConfigError(f"{text!r}: share should be above 0", _EXAMPLE)
    return spec


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if 0.0 <= number < _MOST:
        return number
    raise ConfigError(f"{text!r}: {key}={value} should be a number from 0 to {_MOST:g}", _EXAMPLE)


class Machine:
    """All components with their P(t), and the supplies that feed them.

    Args:
        psus: The power supplies; the order of their names is that of `supplies`.
        packages: Number of processor packages.
        gpus: Idle and full power of each GPU.
        load: Load of processors, memory and GPUs.
        loads: Loads of single components, by name or pattern (``cpu``, ``gpu1``, ``rest``).
        seed: Of everything random.
        is_replay: Whether nothing is asked for but a replayed supply: then no truth is known.
    """

    def __init__(
        self,
        psus: Iterable[PsuSpec] = (),
        *,
        packages: int = 1,
        gpus: Iterable[Span] = (),
        load: str = "training",
        loads: Mapping[str, str] | None = None,
        seed: int = 0,
        is_replay: bool = False,
    ) -> None:
        self.seed = seed
        self.spans = {f"cpu.package{n}": PACKAGE for n in range(packages)}
        self.spans |= {f"cpu.dram{n}": DRAM for n in range(packages)}
        self.spans |= {f"gpu{n}": span for n, span in enumerate(gpus)}
        self.spans["rest"] = REST
        wanted = dict.fromkeys(self.spans, load) | {"rest": "steady:45"}
        for pattern, spec in (loads or {}).items():
            wanted |= dict.fromkeys(self.matching(pattern), spec)
        self.loads = wanted
        """The load of each component as typed."""
        self.timelines = {
            name: Timeline(pieces(spec, self.spans[name], seed)) for name, spec in wanted.items()
        }
        self.sources = self._sources(packages)
        specs = sorted(psus, key=lambda psu: psu.order)
        self.supplies = self._supplies(specs)
        self._replayed = {index for index, spec in enumerate(specs) if spec.replayed}
        self._is_replay = is_replay

    def matching(self, pattern: str) -> list[str]:
        """Return the components that a name stands for: ``cpu``, ``gpu``, ``dram``, or one.

        Raises:
            ConfigError: There is none.
        """
        kinds = {"cpu": "cpu.package*", "dram": "cpu.dram*", "gpu": "gpu*"}
        found = fnmatch.filter(self.spans, kinds.get(pattern, pattern))
        if not found:
            there = [kind for kind, names in kinds.items() if fnmatch.filter(self.spans, names)]
            raise unknown_name("component", pattern, [*there, *self.spans])
        return found

    def set_load(self, pattern: str, spec: str, at_s: float) -> None:
        """Give components another load from a time on.

        Raises:
            ConfigError: The component or the load is not known.
        """
        for name in self.matching(pattern):
            self.loads[name] = spec
            self.timelines[name].switch(at_s, pieces(spec, self.spans[name], self.seed))

    def set_share(self, name: str, share: float, at_s: float) -> None:
        """Let a component draw a share between idle and busy from a time on (`follow`)."""
        self.set_load(name, f"steady:{self.spans[name].at(share):.6f}", at_s)
        self.loads[name] = FOLLOW

    def true_energy(self, from_s: float, to_s: float) -> dict[str, float]:
        """Return the joules of every component and of both sides of every supply.

        Of a replayed supply none are known. A machine that is nothing but a replay has none.
        """
        if self._is_replay:
            return {}
        truth = {name: source.energy_j(from_s, to_s) for name, source in self.sources.items()}
        for index, supply in enumerate(self.supplies):
            if index in self._replayed:
                continue
            prefix = f"psu{index or ''}"
            truth[f"{prefix}.dc_output"] = supply.true_dc_j(from_s, to_s)
            truth[f"{prefix}.ac_input"] = supply.true_ac_j(from_s, to_s)
        return truth

    def _sources(self, packages: int) -> dict[str, Source]:
        lines = self.timelines
        found = {name: Source((line, 1.0)) for name, line in lines.items()}
        for n in range(packages):
            package = lines[f"cpu.package{n}"]
            found[f"cpu.core{n}"] = Source((package, _CORE_SHARE))
            found[f"cpu.uncore{n}"] = Source((package, _UNCORE_SHARE))
        platform = [line for name, line in lines.items() if not re.match(r"gpu\d", name)]
        found["cpu.psys"] = Source(*((line, 1.0) for line in platform))
        return found

    def _supplies(self, psus: list[PsuSpec]) -> list[Supply]:
        shares = [0.0 if spec.replayed else spec.share for spec in psus]
        whole = sum(shares) or 1.0
        return [
            Supply(
                f"psu{index}",
                spec.model,
                Source(*((line, share / whole) for line in self.timelines.values())),
                serial=spec.serial,
                tau_s=spec.tau_s,
                standby_w=spec.standby_w,
                input_v=spec.input_v,
            )
            for index, (spec, share) in enumerate(zip(psus, shares, strict=True))
        ]
