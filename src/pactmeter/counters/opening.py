"""Opening every kernel group on every target, so that nothing is counted twice or left out."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pactmeter.counters import access, plan, tree
from pactmeter.counters.plan import KernelGroup, SamplingRefusedError
from pactmeter.counters.reading import AlwaysOn, Shared
from pactmeter.counters.records import Records, Stream
from pactmeter.errors import DeviceError
from pactmeter.kernel import perf
from pactmeter.kernel.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pactmeter.counters.plan import Column, Key
    from pactmeter.counters.reading import Section

_SETTLE_TRIES = 10
"""How often opening starts anew because threads were started meanwhile."""


Backend = Literal["ring", "poll"]
Target = tuple[int, int]
"""The pid and cpu of perf_event_open(2); -1: any."""

MOST_SAMPLED = 1000
"""Groups that are sampled. Each is inherited by each thread that starts, which takes it longer."""


@dataclass(slots=True)
class Opened:
    """What is open: all descriptors, and the sections that read them.

    Attributes:
        columns: The events asked for, each with its verdict.
        backend: ``ring`` where the kernel samples, ``poll`` where we read.
        groups: The kernel groups, each with the targets that were refused.
        sections: What is read, software first.
        descriptors: All descriptors, members after their leader.
        rings: Where samples are written, by CPU.
        records: What parses them.
        sampling: The members of groups that take samples.
        unsettled: Threads were started so fast that some may be missing.
    """

    columns: Sequence[Column]
    backend: Backend = "poll"
    groups: list[KernelGroup] = field(default_factory=list)
    sections: dict[Key, Section] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)
    rings: dict[int, Ring] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    sampling: list[int] = field(default_factory=list)
    unsettled: bool = False

    def close(self) -> None:
        """Close everything; may be called again."""
        self.sections.clear()
        for ring in self.rings.values():
            ring.close()
        self.rings.clear()
        self.records = Records()
        plan.close_all(self.descriptors)
        self.descriptors.clear()
        self.sampling.clear()

    @property
    def leaders(self) -> Iterator[int]:
        """The leader of each group on each target, those that are others' reference first."""
        for key in sorted(self.sections, key=lambda key: key[1]):
            for leaders in self.sections[key].leaders.values():
                yield from leaders


def open_columns(
    columns: Sequence[Column],
    pid: int,
    exclude_pids: Collection[int],
    *,
    backend: Backend = "poll",
    period_s: float = 0.0,
) -> Opened:
    """Open the events on their targets and enable them.

    Args:
        columns: The events; each gets its verdict.
        pid: Root of the process tree.
        exclude_pids: Processes to leave out of it.
        backend: ``ring``: the kernel samples every `period_s`; ``poll``: it only counts.
        period_s: Seconds of running time between two samples.

    Raises:
        DeviceError: The process is gone.
        SamplingRefusedError: The kernel cannot sample all that it can count.
        OSError: The kernel fails in a way that has nothing to do with single events.
    """
    opened = Opened(columns, backend)
    groups = plan.kernel_groups(columns)
    if backend == "ring":
        groups = _clocked(groups)
        for group in groups:
            group.sample(round(period_s * 1e9))
    machine = [group for group in groups if group.scope == "system"]
    threads = [group for group in groups if group.scope == "tree"]
    try:
        for group in machine:
            for cpu in group.cpus[:1]:
                group.probe(-1, cpu)
        if threads:
            threads = _probed(threads, pid, exclude_pids)
        if backend == "ring":
            machine, threads = plan.joined(machine), plan.joined(threads)
        opened.groups = [*machine, *threads]
        if backend == "ring":
            _check_sampled(columns, opened.groups, pid)
            if not any(column.verdict and column.verdict.status == "ok" for column in columns):
                return opened  # nobody is to pay for samples that hold nothing
        _open_all(opened, machine, threads, pid, exclude_pids)
        _enable(opened)
    except BaseException:
        opened.close()
        raise
    return opened


def _clocked(groups: list[KernelGroup]) -> list[KernelGroup]:
    """Return the groups with a software group in each scope, whose clock is always on."""
    scopes = {group.scope for group in groups}
    there = {group.key for group in groups}
    keys: list[Key] = [(scope, -1, "software") for scope in sorted(scopes)]
    missing = [
        KernelGroup(key, key[0], [], plan.cpus(key[0], None)) for key in keys if key not in there
    ]
    return [*missing, *groups]


def _check_sampled(columns: Sequence[Column], groups: list[KernelGroup], pid: int) -> None:
    """Make sure that nothing is left out only because it is to be sampled.

    Raises:
        SamplingRefusedError: An event opens where the kernel only counts it.
    """
    reasons = [group.unsampled for group in groups if group.unsampled]
    absent = [column for column in columns if column.verdict and column.verdict.status != "ok"]
    if reasons and len(absent) == len(columns):
        raise SamplingRefusedError(reasons[0])
    for group in plan.kernel_groups(absent):
        try:
            group.probe(*((pid, -1) if group.scope == "tree" else (-1, (group.cpus or (0,))[0])))
        except ProcessLookupError:
            continue
        for column in group.opened:
            if column is not None:
                raise SamplingRefusedError(
                    reasons[0] if reasons else f"{column.spec.name} cannot be sampled"
                )


def _probed(
    groups: list[KernelGroup], pid: int, exclude_pids: Collection[int]
) -> list[KernelGroup]:
    """Find out on one thread what opens; return the groups, with a reference of time if needed."""
    for tid in tree.threads(pid, exclude_pids):
        try:
            for group in groups:
                group.probe(tid, group.cpus[0] if group.period_ns else -1)
            if any(g.attrs for g in groups) and not any(
                g.attrs for g in groups if g.key == plan.TREE_SOFTWARE
            ):
                reference = KernelGroup(plan.TREE_SOFTWARE, "tree", [(plan.REFERENCE, None)])
                reference.probe(tid, -1)
                return [reference, *groups]
        except ProcessLookupError:  # this thread has ended; another will do
            continue
        return groups
    raise _gone(pid)


def _open_all(
    opened: Opened,
    machine: list[KernelGroup],
    threads: list[KernelGroup],
    pid: int,
    exclude_pids: Collection[int],
) -> None:
    """Open all CPUs and threads; start anew while threads are being started.

    A thread that appears meanwhile either inherits from one already open or does not: opening it
    could count it twice, leaving it out could miss it. So only a list that is the same before and
    after is taken; after some tries the last one, and that is told.
    """
    for _ in range(_SETTLE_TRIES):
        opened.close()
        for group in machine:
            group.refused.clear()
            _attach(opened, group, [(-1, cpu) for cpu in group.cpus])
        tids = tree.threads(pid, exclude_pids) if threads else []
        _check_number(opened, threads, tids)
        for group in threads:
            group.refused.clear()
            cpus = group.cpus if group.period_ns else (-1,)
            _attach(opened, group, [(tid, cpu) for tid in tids for cpu in cpus])
        opened.unsettled = bool(threads) and not set(tree.threads(pid, exclude_pids)) <= set(tids)
        if not opened.unsettled:
            break
    hopeful = [group for group in threads if group.attrs]
    if hopeful and not any(opened.sections[g.key].leaders or g.refused for g in hopeful):
        raise _gone(pid)


def _check_number(opened: Opened, threads: list[KernelGroup], tids: list[int]) -> None:
    number = len(tids) * sum(len(group.cpus) for group in threads if group.attrs)
    if opened.backend == "ring" and number > MOST_SAMPLED:
        raise SamplingRefusedError(f"{number} groups to sample, more than {MOST_SAMPLED}")


def _attach(opened: Opened, group: KernelGroup, targets: Iterable[Target]) -> None:
    """Open a group on targets."""
    if not group.attrs:
        return
    section = opened.sections.get(group.key)
    if section is None:
        section = opened.sections[group.key] = _section(opened, group.key)
    mine = section.columns
    columns = [None if c is None else _index(opened, c) for c in group.opened]
    slots = [mine.index(column) if column in mine else None for column in columns]
    held = len(opened.descriptors)
    for target in targets:
        try:
            descriptors = group.open(*target)
        except ProcessLookupError:  # the thread has ended since it was listed
            continue
        except OSError as error:
            if error.errno != errno.EMFILE:
                group.refused[max(target)] = error
                continue
            if opened.backend == "ring":
                raise SamplingRefusedError("EMFILE: not enough descriptors") from error
            # Figures of some of the threads would pass for those of all.
            plan.close_all(opened.descriptors[held:])
            del opened.descriptors[held:]
            del opened.sections[group.key]
            group.give_up(access.descriptors_exhausted())
            return
        opened.descriptors += descriptors
        section.add(target, descriptors[0], slots)
        if group.sampling:
            _record(opened, group, target[1], descriptors)


def _record(opened: Opened, group: KernelGroup, cpu: int, descriptors: list[int]) -> None:
    """Let the samples of a group go to the ring of its CPU.

    Raises:
        SamplingRefusedError: No ring may be mapped.
    """
    ring = opened.rings.get(cpu)
    if ring is None:
        try:
            ring = opened.rings[cpu] = Ring(descriptors[0])
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, str(error.errno))
            why = " of 8 pages (RLIMIT_MEMLOCK)" if error.errno == errno.EPERM else ""
            raise SamplingRefusedError(f"{code} for a ring{why}") from error
    for fd in descriptors:
        if fd != ring.fd:
            perf.redirect(fd, ring.fd)
    opened.sampling += [descriptors[place] for place in group.sampling]
    slots = tuple(
        (_index(opened, column), place)
        for place, column in enumerate(group.opened)
        if column is not None
    )
    stream = Stream(slots, len(descriptors), by_thread=group.scope == "tree")
    opened.records.add(perf.event_id(descriptors[0]), stream)


def _section(opened: Opened, key: Key) -> Section:
    """Return an empty section for the columns that some group of the key has opened."""
    scope, number, unit = key
    found = [c for g in opened.groups if g.key == key for c in g.opened if c is not None]
    # what samples may have software events too, which are read where they are always on
    columns = sorted({_index(opened, c) for c in found if c.spec.software == (number < 0)})
    clocked = opened.backend == "ring"
    if number < 0:
        return AlwaysOn(columns, clocked=clocked)
    # A thread leaves a PMU of some cores with the core, which is no sharing to be scaled away.
    return Shared(columns, scaled=clocked or scope == "system" or unit == "cpu", clocked=clocked)


def _index(opened: Opened, column: Column) -> int:
    return next(i for i, other in enumerate(opened.columns) if other is column)


def _enable(opened: Opened) -> None:
    """Start everything; a group's reference of time starts first."""
    for key, section in opened.sections.items():
        reference = opened.sections.get((key[0], -1, "software"))
        if isinstance(section, Shared) and isinstance(reference, AlwaysOn):
            section.reference = reference if key[0] == "tree" or section.clocked else None
    for leader in opened.leaders:
        perf.enable(leader)


def _gone(pid: int) -> DeviceError:
    return DeviceError(f"process {pid} does not exist (any more), so nothing can be counted")
