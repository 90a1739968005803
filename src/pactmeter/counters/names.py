"""Event names: what a user types becomes what the kernel is asked for.

::

    event    = ["SYSTEMWIDE:"] (generic | raw | pmu) modifier*
    generic  = any name of `generic.TABLE`, any case; a cache may be followed by
               :READ | :WRITE | :PREFETCH and :ACCESS | :MISS
    raw      = "r" hexadecimal
    pmu      = NAME "/" term ("," term)* "/"
    term     = an event of the PMU | a field ["=" number] | config[1|2] "=" number
    modifier = ":u" (user mode only) | ":k" (kernel mode only) | ":uk" (both, as without)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pactmeter.counters import generic
from pactmeter.errors import ConfigError, unknown_name
from pactmeter.kernel import perf, pmu

Scope = Literal["tree", "system"]

SYSTEMWIDE = "SYSTEMWIDE:"
_RAW = re.compile(r"r[0-9a-f]{1,16}", re.IGNORECASE)
_MODIFIER = re.compile(r"[uk]+", re.IGNORECASE)
_KERNEL_ONLY = (perf.SW_CONTEXT_SWITCHES, perf.SW_CPU_MIGRATIONS, perf.SW_CGROUP_SWITCHES)
_HELP = "`pactmeter events` lists the names"


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One event as asked for.

    Attributes:
        name: The name as typed.
        column: Its column in the files: the name in lower case.
        type: PMU number of ``perf_event_attr``.
        config: What to count; `config1` and `config2` alike.
        exclude_user: Whether what happens in user mode is left out.
        exclude_kernel: Whether what happens in kernel mode is left out.
        scope: ``system`` where the name says so, else None: the scope of the run.
        pmu: The PMU: ``software``, ``cpu`` (the core's own) or a name of sysfs.
        scale: What one count is worth in `unit`, where the kernel says so; counts stay raw.
        unit: The unit of `scale`, as the kernel spells it.
    """

    name: str
    column: str
    type: int
    config: int
    config1: int = 0
    config2: int = 0
    exclude_user: bool = False
    exclude_kernel: bool = False
    scope: Literal["system"] | None = None
    pmu: str = "cpu"
    scale: float | None = None
    unit: str | None = None

    @property
    def software(self) -> bool:
        """Whether the kernel itself counts it: such events are never multiplexed."""
        return self.type == perf.TYPE_SOFTWARE

    @property
    def kernel_only(self) -> bool:
        """Whether it happens in the kernel alone, so that without the kernel it reads 0."""
        return self.software and self.config in _KERNEL_ONLY

    @property
    def generic_hardware(self) -> bool:
        """Whether every core PMU of a hybrid CPU has to be asked for it by itself."""
        return self.type in (perf.TYPE_HARDWARE, perf.TYPE_HW_CACHE)


@dataclass(slots=True)
class _Parts:
    type: int
    config: int
    pmu: str
    rest: list[str]
    config1: int = 0
    config2: int = 0
    scale: float | None = None
    unit: str | None = None


def parse(name: str) -> EventSpec:
    """Return the event that a name stands for. Whether the machine can count it shows on opening.

    >>> parse("CACHE-MISSES:u").column
    'cache-misses:u'

    Raises:
        ConfigError: The name is not known, or a modifier or term of it is not.
    """
    text = name.strip()
    system = text.upper().startswith(SYSTEMWIDE)
    body = text[len(SYSTEMWIDE) :].strip() if system else text
    parts = _pmu_event(name, body) if "/" in body else _core_event(body)
    letters = _modifier(name, parts.rest)
    return EventSpec(
        name=name,
        column=text.lower(),
        type=parts.type,
        config=parts.config,
        config1=parts.config1,
        config2=parts.config2,
        exclude_user=letters == {"k"},
        exclude_kernel=letters == {"u"},
        scope="system" if system else None,
        pmu=parts.pmu,
        scale=parts.scale,
        unit=parts.unit,
    )


def _core_event(body: str) -> _Parts:
    base, *rest = body.upper().removeprefix("PERF::").split(":")
    if _RAW.fullmatch(base):
        return _Parts(perf.TYPE_RAW, int(base[1:], 16), "cpu", rest)
    if base not in generic.TABLE:
        raise unknown_name("event", body.partition(":")[0], _known_names(), fix=_HELP)
    kind, config = generic.TABLE[base]
    if base.startswith(generic.CACHE_PREFIX) and kind == perf.TYPE_HW_CACHE:
        config, rest = _cache_event(base.removeprefix(generic.CACHE_PREFIX), rest)
    return _Parts(kind, config, "software" if kind == perf.TYPE_SOFTWARE else "cpu", rest)


def _cache_event(cache: str, rest: list[str]) -> tuple[int, list[str]]:
    choice = {"operation": "READ", "result": "MISS"}
    others = []
    for word in rest:
        if word in generic.CACHE_OPERATIONS:
            choice["operation"] = word
        elif word in generic.CACHE_RESULTS:
            choice["result"] = word
        else:
            others.append(word)
    return generic.cache_config(cache, **choice), others


def _pmu_event(name: str, body: str) -> _Parts:
    device, _, after = body.partition("/")
    terms, slash, rest = after.rpartition("/")
    if not slash or not terms:
        raise ConfigError(f"event {name!r} is not complete", fix="write it as pmu/event/")
    unit = pmu.find(device)
    if unit is None:
        raise unknown_name("event", name, [f"{p.name}/{terms}/" for p in pmu.pmus()], fix=_HELP)
    try:
        encoding = unit.encode(terms)
        kind = unit.type
    except pmu.TermError as error:
        near = unknown_name("event", name, [f"{unit.name}/{e}/" for e in unit.events], fix=_HELP)
        raise ConfigError(f"{near.message}: {error}", near.fix) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"event {name!r}: the PMU {unit.name} cannot be read: {error}") from error
    event = next((term for term in terms.split(",") if term in unit.events), "")
    return _Parts(
        type=kind,
        config=encoding.config,
        config1=encoding.config1,
        config2=encoding.config2,
        pmu="software" if kind == perf.TYPE_SOFTWARE else unit.name,
        rest=[part for part in rest.split(":") if part],
        scale=unit.scale(event) if event else None,
        unit=unit.unit(event) if event else None,
    )


def _modifier(name: str, rest: list[str]) -> set[str]:
    """Return the modes to count: ``{"u"}``, ``{"k"}`` or both (also when none is named)."""
    for word in rest:
        if not _MODIFIER.fullmatch(word):
            raise ConfigError(
                f"unknown modifier ':{word.lower()}' of event {name!r}",
                fix="use ':u' (user mode), ':k' (kernel mode) or ':uk' (both)",
            )
    return set("".join(rest).lower()) or {"u", "k"}


def _known_names() -> list[str]:
    return [*generic.TABLE, *(f"{p.name}/{event}/" for p in pmu.pmus() for event in p.events)]
