"""Opening every kernel group on every target, so that nothing is counted twice or left out."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.counters import access, plan, tree
from pactmeter.counters.plan import KernelGroup
from pactmeter.counters.reading import AlwaysOn, Shared
from pactmeter.errors import DeviceError
from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pactmeter.counters.plan import Column, Key
    from pactmeter.counters.reading import Section

_SETTLE_TRIES = 10
"""How often opening starts anew because threads were started meanwhile."""

_TREE_SOFTWARE: Key = ("tree", -1, "software")


@dataclass(slots=True)
class Opened:
    """What is open: all descriptors, and the sections that read them.

    Attributes:
        columns: The events asked for, each with its verdict.
        groups: The kernel groups, each with the targets that were refused.
        sections: What is read, software first.
        descriptors: All descriptors, members after their leader.
        unsettled: Threads were started so fast that some may be missing.
    """

    columns: Sequence[Column]
    groups: list[KernelGroup] = field(default_factory=list)
    sections: dict[Key, Section] = field(default_factory=dict)
    descriptors: list[int] = field(default_factory=list)
    unsettled: bool = False

    def close(self) -> None:
        """Close everything; may be called again."""
        self.sections.clear()
        plan.close_all(self.descriptors)
        self.descriptors.clear()


def open_columns(columns: Sequence[Column], pid: int, exclude_pids: Collection[int]) -> Opened:
    """Open the events on their targets and enable them.

    Raises:
        DeviceError: The process is gone.
        OSError: The kernel fails in a way that has nothing to do with single events.
    """
    opened = Opened(columns)
    groups = plan.kernel_groups(columns)
    machine = [group for group in groups if group.scope == "system"]
    threads = [group for group in groups if group.scope == "tree"]
    try:
        for group in machine:
            _open_machine(opened, group)
        if threads:
            _open_tree(opened, _probed(threads, pid, exclude_pids), pid, exclude_pids)
        _enable(opened)
    except BaseException:
        opened.close()
        raise
    return opened


def _open_machine(opened: Opened, group: KernelGroup) -> None:
    for cpu in group.cpus[:1]:
        group.probe(-1, cpu)
    opened.groups.append(group)
    _attach(opened, group, [(cpu, -1, cpu) for cpu in group.cpus])


def _probed(
    groups: list[KernelGroup], pid: int, exclude_pids: Collection[int]
) -> list[KernelGroup]:
    """Find out on one thread what opens; return the groups, with a reference of time if needed."""
    for tid in tree.threads(pid, exclude_pids):
        try:
            for group in groups:
                group.probe(tid, -1)
            if any(g.attrs for g in groups) and not any(
                g.attrs for g in groups if g.key == _TREE_SOFTWARE
            ):
                reference = KernelGroup(_TREE_SOFTWARE, "tree", [None])
                reference.probe(tid, -1)
                return [reference, *groups]
        except ProcessLookupError:  # this thread has ended; another will do
            continue
        return groups
    raise _gone(pid)


def _open_tree(
    opened: Opened, groups: list[KernelGroup], pid: int, exclude_pids: Collection[int]
) -> None:
    """Open every thread; start anew while threads are being started.

    A thread that appears meanwhile either inherits from one already open or does not: opening it
    could count it twice, leaving it out could miss it. So only a list that is the same before and
    after is taken; after some tries the last one, and that is told.
    """
    opened.groups += groups
    held = len(opened.descriptors)
    for _ in range(_SETTLE_TRIES):
        plan.close_all(opened.descriptors[held:])
        del opened.descriptors[held:]
        for group in groups:
            opened.sections.pop(group.key, None)
            group.refused.clear()
        tids = tree.threads(pid, exclude_pids)
        for group in groups:
            _attach(opened, group, [(tid, tid, -1) for tid in tids])
        opened.unsettled = not set(tree.threads(pid, exclude_pids)) <= set(tids)
        if not opened.unsettled:
            break
    hopeful = [group for group in groups if group.attrs]
    if hopeful and not any(opened.sections[g.key].leaders or g.refused for g in hopeful):
        raise _gone(pid)


def _attach(opened: Opened, group: KernelGroup, targets: Iterable[tuple[int, int, int]]) -> None:
    """Open a group on targets, each given as (key, pid, cpu)."""
    if not group.attrs:
        return
    section = opened.sections.get(group.key)
    if section is None:
        section = opened.sections[group.key] = _section(opened, group.key)
    slots = [None if c is None else section.columns.index(_index(opened, c)) for c in group.opened]
    held = len(opened.descriptors)
    for target, pid, cpu in targets:
        try:
            descriptors = group.open(pid, cpu)
        except ProcessLookupError:  # the thread has ended since it was listed
            continue
        except OSError as error:
            if error.errno != errno.EMFILE:
                group.refused[target] = error
                continue
            # Figures of some of the threads would pass for those of all.
            plan.close_all(opened.descriptors[held:])
            del opened.descriptors[held:]
            del opened.sections[group.key]
            group.give_up(access.descriptors_exhausted())
            return
        opened.descriptors += descriptors
        section.add(target, descriptors[0], slots)


def _section(opened: Opened, key: Key) -> Section:
    """Return an empty section for the columns that some group of the key has opened."""
    found = [c for g in opened.groups if g.key == key for c in g.opened if c is not None]
    columns = sorted({_index(opened, column) for column in found})
    scope, number, unit = key
    if number < 0:
        return AlwaysOn(columns)
    # A thread leaves a PMU of some cores with the core, which is no sharing to be scaled away.
    return Shared(columns, scaled=scope == "system" or unit == "cpu")


def _index(opened: Opened, column: Column) -> int:
    return next(i for i, other in enumerate(opened.columns) if other is column)


def _enable(opened: Opened) -> None:
    """Start everything; a group's reference of time starts first."""
    reference = opened.sections.get(_TREE_SOFTWARE)
    for key in sorted(opened.sections, key=lambda key: key[1]):
        section = opened.sections[key]
        if isinstance(section, Shared) and isinstance(reference, AlwaysOn) and key[0] == "tree":
            section.reference = reference
        for leaders in section.leaders.values():
            for leader in leaders:
                perf.enable(leader)


def _gone(pid: int) -> DeviceError:
    return DeviceError(f"process {pid} does not exist (any more), so nothing can be counted")
