"""What is opened together: the kernel groups that the user's event groups come to.

All software events of a scope share one kernel group, which is always on. The hardware events of
each user group are a kernel group of their own, one a PMU where several are asked, and are opened
once a target: a thread (with what descends from it) or a CPU. Where the kernel samples, and half
of the hardware is enough for all of them, they are one (see `joined`).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pactmeter.counters import access
from pactmeter.counters.names import EventSpec, Scope, parse
from pactmeter.errors import ConfigError
from pactmeter.kernel import perf, pmu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HYBRID_SHIFT = 32
"""On hybrid CPUs the upper half of a generic event's config names the core PMU."""

Key = tuple[Scope, int, str]
"""Scope, number of the user's group (-1: software events of all), PMU."""
TREE_SOFTWARE: Key = ("tree", -1, "software")

REFERENCE = EventSpec("dummy", "dummy", perf.TYPE_SOFTWARE, perf.SW_DUMMY, pmu="software")
"""Counts nothing and is always on: the reference of time where no software event was asked for."""
CLOCK = EventSpec("cpu-clock", "cpu-clock", perf.TYPE_SOFTWARE, perf.SW_CPU_CLOCK, pmu="software")
"""Leads a group that is sampled and says how long its target has run. Another member like it ticks
every period of that, and may be switched off while this one counts on."""
SWITCHES = EventSpec(
    "context-switches",
    "context-switches",
    perf.TYPE_SOFTWARE,
    perf.SW_CONTEXT_SWITCHES,
    pmu="software",
)
"""Samples a thread's group whenever it leaves the CPU: without it what a thread counted before it
slept is found when it has run on, and lies in the wrong bin (18 to 61 % of bursty faults)."""

Member = tuple[EventSpec, "Column | None"]
"""An event of a kernel group, and the column it is for, if any."""


class SamplingRefusedError(Exception):
    """Events open here, but not so that the kernel samples them; the text says why."""


@dataclass(slots=True)
class Column:
    """One event asked for, and what came of it."""

    spec: EventSpec
    group: int
    scope: Scope
    verdict: access.Verdict | None = None
    flags: int = 0

    def settle(self, verdict: access.Verdict) -> None:
        """Take a verdict; one core PMU of several that counts is enough."""
        if self.verdict is None or self.verdict.status != "ok":
            self.verdict = verdict


@dataclass(slots=True)
class KernelGroup:
    """One kernel group, opened alike on every target of its scope.

    Attributes:
        key: The section it belongs to. Groups of one key on one target are the core PMUs of a
            hybrid CPU, of which a thread uses one at a time: their counts and times add up.
        scope: Whether its targets are threads or CPUs.
        members: The events wanted, leader first.
        cpus: The CPUs to open on, in system scope and where the kernel samples.
        pmu_type: Core PMU of a hybrid CPU, else 0.
        period_ns: How often the kernel samples; 0: it only counts.
        samples: Whether it samples this group; else another samples the same events.
        opened: The columns of the members that open, None for a member without.
        attrs: How each of them is opened.
        refused: Targets it did not open on.
        unsampled: Why the kernel does not sample the group, if it is to and does not.
    """

    key: Key
    scope: Scope
    members: list[Member]
    cpus: tuple[int, ...] = ()
    pmu_type: int = 0
    period_ns: int = 0
    samples: bool = True
    opened: list[Column | None] = field(default_factory=list)
    attrs: list[perf.Attr] = field(default_factory=list)
    refused: dict[int, OSError] = field(default_factory=dict)
    unsampled: str | None = None

    def sample(self, period_ns: int) -> None:
        """Have the kernel sample the group: behind its clock come the members that do it.

        In system scope the clock ticks on, whatever runs: there it is enough.
        """
        self.period_ns = period_ns
        clock = [m for m in self.members if _plain(m[0]) and m[0].config == CLOCK.config][:1]
        others = [member for member in self.members if member not in clock]
        sampling = [CLOCK]
        if self.scope == "tree":
            self.cpus = self.cpus or pmu.online_cpus()
            sampling.append(SWITCHES)
        self.members = [*(clock or [(CLOCK, None)]), *((spec, None) for spec in sampling), *others]

    def probe(self, pid: int, cpu: int) -> None:
        """Find out on one target which members open; each gets its verdict.

        Raises:
            ProcessLookupError: The target is gone.
        """
        self.opened.clear()
        self.attrs.clear()
        self.unsampled = None
        descriptors: list[int] = []
        try:
            for spec, column in self.members:
                self._probe_member(spec, column, descriptors, pid, cpu)
                if self.unsampled:
                    self.give_up(access.Verdict("missing", self.unsampled))
                    break
        finally:
            close_all(descriptors)
        if self.period_ns and self.attrs and self.key == TREE_SOFTWARE:
            # says when threads end. What they counted last (inherit_stat) it must not: the CPU they
            # end on writes that into the rings of all others, and no ring stands two writers (6.18)
            self.attrs[0].flags |= perf.FLAG_TASK

    def _probe_member(
        self, spec: EventSpec, column: Column | None, descriptors: list[int], pid: int, cpu: int
    ) -> None:
        verdict = access.meaningless(spec)
        if verdict is None:
            leader = descriptors[0] if descriptors else -1
            attr = self._attr(spec, place=len(descriptors))
            try:
                fd = access.open_permitted(spec, attr, pid=pid, cpu=cpu, group_fd=leader)
            except ProcessLookupError:
                raise
            except OSError as error:
                if len(descriptors) < self.sampling.stop:
                    code = errno.errorcode.get(error.errno or 0, str(error.errno))
                    self.unsampled = f"{code} where {spec.name} is to sample a group"
                verdict = access.explain(error, spec, self.scope, pid=pid)
                if error.errno == errno.EINVAL and leader >= 0:
                    verdict = self._alone(spec, attr, pid, cpu) or self._too_large()
            else:
                descriptors.append(fd)
                user_only = attr.flags & perf.FLAG_EXCLUDE_KERNEL
                if len(descriptors) <= self.sampling.stop and user_only:
                    self.unsampled = "only what happens in user mode may be counted"
                self.opened.append(column)
                self.attrs.append(attr)
                verdict = access.ok(attr, spec, self.scope)
                if column:
                    column.flags = attr.flags
        if column:
            column.settle(verdict)

    def _alone(self, spec: EventSpec, attr: perf.Attr, pid: int, cpu: int) -> access.Verdict | None:
        """Return why an event does not open outside the group either; None if it does."""
        try:
            os.close(access.open_raised(attr, pid=pid, cpu=cpu))
        except OSError as error:
            return access.explain(error, spec, self.scope, pid=pid)
        return None

    def _too_large(self) -> access.Verdict:
        return access.Verdict(
            "missing",
            f"group larger than the PMU: it holds {len(self.attrs)} of {len(self.members)} events",
            fix="split it into several groups",
        )

    def _attr(self, spec: EventSpec, *, place: int) -> perf.Attr:
        """Return how to open the member at this place; 0 leads."""
        flags = access.attr_flags(spec)
        if self.scope == "tree":
            flags |= perf.FLAG_INHERIT
        if not place:
            flags |= perf.FLAG_DISABLED
        config = spec.config | (self.pmu_type << _HYBRID_SHIFT if spec.generic_hardware else 0)
        more = {"config1": spec.config1, "config2": spec.config2, "flags": flags}
        if not self.period_ns:
            return perf.counting_attr(spec.type, config, **more)
        if place in self.sampling:
            more |= {"period": self.period_ns if spec is CLOCK else 1}
        return perf.sampling_attr(spec.type, config, **more)

    @property
    def sampling(self) -> range:
        """Places of the members that sample: a clock, and the switches of a tree."""
        if not self.period_ns or not self.samples:
            return range(0)
        return range(1, 3 if self.scope == "tree" else 2)

    def open(self, pid: int, cpu: int) -> list[int]:
        """Open what `probe` found on one target and return the descriptors, leader first.

        Raises:
            OSError: It did not open on this target; nothing of it stays open.
        """
        descriptors: list[int] = []
        try:
            for attr in self.attrs:
                leader = descriptors[0] if descriptors else -1
                descriptors.append(access.open_raised(attr, pid=pid, cpu=cpu, group_fd=leader))
        except OSError:
            close_all(descriptors)
            raise
        return descriptors

    def runs(self) -> bool:
        """Whether all events of the group count at the same time: tried where it harms nobody."""
        try:
            descriptors = self.open(*((0, -1) if self.scope == "tree" else (-1, self.cpus[0])))
        except OSError:
            return False
        try:
            perf.enable(descriptors[0])
            _, enabled_ns, running_ns, *_ = perf.GroupReader(
                descriptors[0], len(descriptors), ids=bool(self.period_ns)
            ).read()
        except OSError:
            return False
        finally:
            close_all(descriptors)
        return 0 < enabled_ns <= running_ns

    def give_up(self, verdict: access.Verdict) -> None:
        """Take the group out: better no figure than that of some of the targets."""
        for _, column in self.members:
            if column and (column.verdict is None or column.verdict.status == "ok"):
                column.verdict = verdict
        self.opened.clear()
        self.attrs.clear()


def columns(groups: Sequence[Sequence[str]], scope: Scope) -> list[Column]:
    """Return the events asked for, in order.

    A ``SYSTEMWIDE:`` event takes its whole group to system scope: the events of a group are there
    to be compared.

    Raises:
        ConfigError: A name is not known, appears twice, or a group is empty.
    """
    found: list[Column] = []
    seen: set[str] = set()
    for index, group in enumerate(groups):
        if isinstance(group, str) or not group:
            raise ConfigError(
                f"event group {group!r} is not a list of event names",
                fix="write events_groups as [['MIGRATIONS'], ['FAULTS', 'CYCLES']]",
            )
        specs = [parse(name) for name in group]
        wide: Scope = "system" if any(spec.scope for spec in specs) else scope
        for spec in specs:
            if spec.column in seen:
                raise ConfigError(
                    f"event {spec.name!r} appears twice in events_groups",
                    fix="name each event once",
                )
            seen.add(spec.column)
            found.append(Column(spec, index, wide))
    return found


def kernel_groups(wanted: Sequence[Column]) -> list[KernelGroup]:
    """Return the kernel groups for the columns, software first (they are the others' reference)."""
    cores = [unit for unit in pmu.pmus() if unit.cpus]
    groups: dict[tuple[Key, int], KernelGroup] = {}
    for column in sorted(wanted, key=lambda column: not column.spec.software):
        for key, core, only in _places(column, cores if len(cores) > 1 else []):
            kind = core.type if core else 0
            group = groups.setdefault(
                (key, kind),
                KernelGroup(key, column.scope, [], cpus(column.scope, only), pmu_type=kind),
            )
            group.members.append((column.spec, column))
    return list(groups.values())


def joined(groups: list[KernelGroup]) -> list[KernelGroup]:
    """Return the groups of a scope, all probed, so that a moment is sampled once for all of them.

    A sample interrupts the thread for some 20 us on a virtual machine, and each group that samples
    takes its own. So the hardware's groups become one that samples and has the software events too;
    those count on in their own group, always on, which samples no more.

    Not where that would take more than half of the hardware's counters: a group runs whole or not
    at all, and whoever else counts for the machine goes first. Groups that stay apart take turns.
    """
    software = [group for group in groups if group.key[1] < 0 and group.attrs]
    apart = [
        g for g in groups if g.key[1] >= 0 and g.key[2] == "cpu" and not g.pmu_type and g.attrs
    ]
    if not software or not apart:
        return groups
    always_on, first = software[0], apart[0]
    whole = replace(
        first,
        members=list(always_on.members),
        opened=list(always_on.opened),
        attrs=list(always_on.attrs),
    )
    ticks = first.sampling.stop  # the clock and what samples: once
    for group in apart:
        whole.members += group.members[ticks:]
        whole.opened += group.opened[ticks:]
        whole.attrs += group.attrs[ticks:]
    hardware = whole.attrs[len(always_on.attrs) :]
    if not replace(whole, attrs=[*whole.attrs, *hardware]).runs():
        return groups
    for each in (always_on.members, always_on.opened, always_on.attrs):
        del each[1:ticks]
    always_on.samples = False
    return [group if group is not first else whole for group in groups if group not in apart[1:]]


def _plain(spec: EventSpec) -> bool:
    """Whether an event counts what the kernel does in both modes, like `CLOCK`."""
    software = spec.type == perf.TYPE_SOFTWARE
    return software and not spec.exclude_kernel and not spec.exclude_user


def _places(
    column: Column, cores: list[pmu.Pmu]
) -> Iterator[tuple[Key, pmu.Pmu | None, tuple[int, ...] | None]]:
    """Yield the section, core PMU and CPUs of each event to open for a column."""
    spec, scope = column.spec, column.scope
    if spec.software:
        yield (scope, -1, "software"), None, None
        return
    if spec.generic_hardware and cores:
        for core in cores:
            yield (scope, column.group, "cpu"), core, core.cpus
        return
    unit = pmu.find(spec.pmu)
    # What counts for the machine (a cpumask) or on some cores only shares no group with others.
    only = unit.cpumask if unit else None
    if unit and any(core.name == unit.name for core in cores):
        only = unit.cpus
    yield (scope, column.group, spec.pmu if only else "cpu"), None, only


def cpus(scope: Scope, only: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the CPUs to open on: those online, or of them those named; none for a whole thread."""
    if scope == "tree" and only is None:
        return ()
    online = pmu.online_cpus()
    return online if only is None else tuple(cpu for cpu in only if cpu in online)


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors, members before their leader."""
    for descriptor in reversed(list(descriptors)):
        os.close(descriptor)
