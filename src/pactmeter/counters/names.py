"""Event names: what a user types becomes what the kernel is asked for.

::

    event    = ["SYSTEMWIDE:"] (generic | pmu | raw | trace | library) modifier*
    generic  = ["perf::"] any name of `generic.TABLE`, any case; a cache may be followed by
               :READ | :WRITE | :PREFETCH and :ACCESS | :MISS
    pmu      = NAME "/" term ("," term)* "/"
    term     = an event of the PMU | a field ["=" number] | config[1|2] "=" number
    raw      = ["perf_raw::"] "r" hexadecimal
    trace    = subsystem ":" event, a tracepoint of the kernel
    library  = [pmu "::"] EVENT (":" part)*, as libpfm4 spells it
    modifier = ":u" (user mode only) | ":k" (kernel mode only) | ":uk" (both, as without)

The first that knows the name encodes it, in this order; `EventSpec.encoded_by` says which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from pactmeter.counters import generic, libpfm, tracepoints
from pactmeter.errors import ConfigError, unknown_name
from pactmeter.kernel import perf, pmu

Scope = Literal["tree", "system"]
Source = Literal["generic", "sysfs", "raw", "tracepoint", "libpfm", "perfmon"]

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
        pmu: The PMU: ``software``, ``tracepoint``, ``cpu`` (the core's own) or a name of sysfs.
        scale: What one count is worth in `unit`, where the kernel says so; counts stay raw.
        unit: The unit of `scale`, as the kernel spells it.
        encoded_by: Where type and config come from.
        full_name: The name in full, as that source spells it.
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
    encoded_by: Source = "generic"
    full_name: str = ""

    @property
    def software(self) -> bool:
        """Whether the kernel itself counts it: such events are never multiplexed.

        Tracepoints are: the kernel takes them into a group with its software events.
        """
        return self.type in (perf.TYPE_SOFTWARE, perf.TYPE_TRACEPOINT)

    @property
    def kernel_only(self) -> bool:
        """Whether it happens in the kernel alone, so that without the kernel it reads 0."""
        if self.type == perf.TYPE_TRACEPOINT:
            return self.full_name.partition(":")[0] not in tracepoints.USER_SIDE
        return self.type == perf.TYPE_SOFTWARE and self.config in _KERNEL_ONLY

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
    encoded_by: Source
    full_name: str
    config1: int = 0
    config2: int = 0
    scale: float | None = None
    unit: str | None = None
    exclude_user: bool = False
    exclude_kernel: bool = False


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
    parts = _pmu_event(name, body) if "/" in body else _core_event(body) or _named(name, body)
    letters = _modifier(name, parts.rest)
    return EventSpec(
        name=name,
        column=text.lower(),
        type=parts.type,
        config=parts.config,
        config1=parts.config1,
        config2=parts.config2,
        exclude_user=letters == {"k"} or parts.exclude_user,
        exclude_kernel=letters == {"u"} or parts.exclude_kernel,
        scope="system" if system else None,
        pmu=parts.pmu,
        scale=parts.scale,
        unit=parts.unit,
        encoded_by=parts.encoded_by,
        full_name=parts.full_name,
    )


def _core_event(body: str) -> _Parts | None:
    base, *rest = body.upper().removeprefix("PERF_RAW::").removeprefix("PERF::").split(":")
    if base in generic.TABLE:
        kind, config = generic.TABLE[base]
        if base.startswith(generic.CACHE_PREFIX) and kind == perf.TYPE_HW_CACHE:
            config, rest = _cache_event(base.removeprefix(generic.CACHE_PREFIX), rest)
        unit = "software" if kind == perf.TYPE_SOFTWARE else "cpu"
        return _Parts(kind, config, unit, rest, "generic", generic.full_name(kind, config))
    if _RAW.fullmatch(base):
        return _Parts(perf.TYPE_RAW, int(base[1:], 16), "cpu", rest, "raw", base.lower())
    return None


def _named(name: str, body: str) -> _Parts:
    """Return the event of a name that only the machine can resolve: its tracepoints, its CPU."""
    closed: tracepoints.NoTracefsError | None = None
    trace = tracepoints.NAME.fullmatch(body)
    if trace and not _MODIFIER.fullmatch(trace["event"]):
        try:
            found = tracepoints.find(trace["subsystem"], trace["event"])
        except tracepoints.NoTracefsError as error:
            closed = error
        else:
            if found:
                full_name, number = found
                rest = trace["rest"].split(":") if trace["rest"] is not None else []
                return _Parts(
                    perf.TYPE_TRACEPOINT, number, tracepoints.PMU, rest, "tracepoint", full_name
                )
    return _library_event(name, body) or _refuse(body, closed)


def _library_event(name: str, body: str) -> _Parts | None:
    words = body.split(":")
    rest: list[str] = []
    while len(words) > 1 and _MODIFIER.fullmatch(words[-1]):
        rest.insert(0, words.pop())
    letters = _modifier(name, rest)
    levels = libpfm.PLM_USER * ("u" in letters) | libpfm.PLM_KERNEL * ("k" in letters)
    try:
        found = libpfm.encode(":".join(words), levels)
    except libpfm.RefusedError as error:
        raise ConfigError(f"event {name!r}: {error.reason}", error.fix or _HELP) from error
    if found is None:
        return None
    return _Parts(
        type=found.type,
        config=found.config,
        config1=found.config1,
        config2=found.config2,
        pmu=_pmu_of(found.type) or found.pmu,
        rest=rest,
        encoded_by=found.encoded_by,
        full_name=found.full_name,
        exclude_user=found.exclude_user,
        exclude_kernel=found.exclude_kernel,
    )


def _pmu_of(kind: int) -> str | None:
    """Return the PMU of that number in sysfs, by which its CPUs are found."""
    if kind <= perf.TYPE_RAW:
        return "software" if kind == perf.TYPE_SOFTWARE else "cpu"
    for unit in pmu.pmus():
        try:
            if unit.type == kind:
                return unit.name
        except (OSError, ValueError):
            continue
    return None


def _refuse(body: str, closed: tracepoints.NoTracefsError | None) -> NoReturn:
    """Raise the error for a name that nothing knows, with what might make it known."""
    words = body.split(":")
    wanted, known = words[0], _known_names()
    vendors = [event for event, _ in libpfm.names()]
    if "::" in body:
        wanted = ":".join(words[:3])
        known += vendors
    else:
        known += [event.partition("::")[2] for event in vendors]
        if len(words) > 1 and (traced := list(tracepoints.names(words[0]))):
            wanted, known = ":".join(words[:2]), traced
    error = unknown_name("event", wanted, known, fix=_HELP)
    # tracepoints are written small, processors' events large
    if closed and not ":".join(words[:2]).isupper():
        raise ConfigError(
            f"event {body!r} cannot be looked up among the tracepoints: {closed.reason}",
            f"{closed.fix}; if it is no tracepoint: {error.fix}",
        )
    foreign = "::" in body and not body.lower().startswith("perf::")
    if foreign or (error.fix == _HELP and ("_" in body or len(words) > 1)):
        error = ConfigError(error.message, "; ".join(filter(None, (error.fix, _vendor_hint()))))
    raise error


def _vendor_hint() -> str | None:
    """Return what an event of the processor's own may lack."""
    if not libpfm.installed():
        return (
            "processors' own names need libpfm4: apt-get install libpfm4 "
            "(or pip install 'pactmeter[perf]')"
        )
    if not libpfm.knows_processor():
        return (
            "libpfm4 has no table for the counters of this machine's processor: "
            "write the event as rNNN or cpu/event=0x..,umask=0x../"
        )
    return None


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
        encoded_by="sysfs",
        full_name=f"{unit.name}/{terms}/",
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
