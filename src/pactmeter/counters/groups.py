"""Counters of a process tree or of the whole machine, read as cumulative totals."""

from __future__ import annotations

import errno
import time
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pactmeter.counters import access
from pactmeter.counters.budget import Budget
from pactmeter.counters.records import number
from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.counters.opening import Opened
    from pactmeter.counters.plan import Column, Key
    from pactmeter.counters.records import Grid, Span
    from pactmeter.kernel.ring import Ring


class Sample(NamedTuple):
    """One reading of all counters, cumulative since they were enabled.

    Attributes:
        time_s: CLOCK_MONOTONIC at the middle of the reading, in seconds.
        totals: One count a column, scaled where the group shared the hardware; None: unknown.
        times: Enabled and running seconds of each group, summed over threads or CPUs; None where
            nothing of the group is known.
    """

    time_s: float
    totals: tuple[int | None, ...]
    times: tuple[tuple[float, float] | None, ...]


class Counters:
    """Open counters, made by `backends.open_counters`, counting from then on until `close`.

    Attributes:
        columns: One name an event, in the order asked, lower-case as typed.
        groups: One name an event group: its columns joined with ``+``.
        backend: ``ring`` where the kernel samples, ``poll`` where only `read` tells.
        why: Why no better backend serves.
    """

    def __init__(self, opened: Opened, why: str | None = None) -> None:
        self._opened = opened
        self.backend: str = opened.backend
        self.why = why
        columns = opened.columns
        count = columns[-1].group + 1 if columns else 0
        self.columns = tuple(column.spec.column for column in columns)
        self.groups = tuple(
            "+".join(column.spec.column for column in columns if column.group == index)
            for index in range(count)
        )
        self._times_from = [_section_of(opened, index) for index in range(count)]
        self._last: list[int | None] = [None] * len(columns)
        clock_hz = sum(1e9 / group.period_ns for group in opened.groups if group.sampling)
        self._budget = Budget(opened.sampling, len(opened.rings), clock_hz, now_s=time.monotonic())

    def read(self) -> Sample:
        """Return the totals since enabling; a total never falls.

        Raises:
            OSError: A descriptor is not readable any more.
        """
        begin_s = time.monotonic()
        last = self._last
        totals: list[int | None] = [None] * len(last)
        times: dict[Key | None, tuple[float, float] | None] = {}
        for key, section in self._opened.sections.items():
            counts, times[key] = section.read()
            if counts is None:
                continue
            for column, count in zip(section.columns, counts, strict=True):
                before = last[column]
                # whatever the kernel says: no bin has a negative count
                total = count if before is None or count > before else before
                totals[column] = last[column] = total
        middle_s = (begin_s + time.monotonic()) / 2
        return Sample(middle_s, tuple(totals), tuple([times.get(key) for key in self._times_from]))

    @property
    def rings(self) -> list[Ring]:
        """Where the kernel's samples are, one a CPU; none of a polled backend."""
        return list(self._opened.rings.values())

    @property
    def shared(self) -> list[bool]:
        """Of each column whether it may have to share the hardware."""
        return [not column.spec.software for column in self._opened.columns]

    @property
    def joined(self) -> bool:
        """Whether software events are sampled with those of the hardware, or not at all."""
        return any(not group.samples for group in self._opened.groups)

    @property
    def filled(self) -> float:
        """How full the fullest ring is, as a share."""
        return max((ring.filled for ring in self.rings), default=0.0)

    def collect(self, grid: Grid) -> Iterator[Span]:
        """Take in what the kernel has sampled since the last time; yield what fits no bin.

        All is to be taken before the next time, and the grid is that of the moment when it is.
        """
        records = self._opened.records
        records.forget_ended()
        drained = [ring.drain() for ring in self.rings]
        self._budget.saw([number(data) for data in drained], time.monotonic())
        return chain.from_iterable(records.feed(data, grid) for data in drained)

    @property
    def lost_records(self) -> int:
        """Samples the kernel could not keep; totals have what they would have told."""
        return self._opened.records.lost

    @property
    def throttled(self) -> int:
        """How often the kernel held samples back."""
        return self._opened.records.throttled

    @property
    def unsampled(self) -> bool:
        """Whether the kernel takes no samples now, because there were too many."""
        return self._budget.spent

    @property
    def unsampled_s(self) -> float:
        """How long that was so until it sampled again, in seconds."""
        return self._budget.off_s

    def stop_sampling(self) -> None:
        """Count on without samples, for good."""
        self._budget.close()

    def pause(self) -> None:
        """Stop counting, so that nobody pays for it, until `resume`."""
        for leader in self._opened.leaders:
            perf.disable(leader)
        self._budget.restore(time.monotonic())

    def resume(self) -> None:
        """Count on.

        Twice: a thread that is being started meanwhile may inherit what was off, and is not yet
        among those the first time reaches.
        """
        for _ in range(2):
            for leader in self._opened.leaders:
                perf.enable(leader)

    @property
    def stale_reads(self) -> int:
        """How often a group could not be read, so that its last values stood in."""
        return sum(section.stale for section in self._opened.sections.values())

    def describe(self) -> list[dict[str, Any]]:
        """Return what became of each event, as plain data for the manifest."""
        return [self._describe(column) for column in self._opened.columns]

    def _describe(self, column: Column) -> dict[str, Any]:
        spec, flags = column.spec, column.flags
        verdict = column.verdict or access.Verdict("missing", "none of its CPUs is online")
        attr = {
            "type": spec.type,
            "config": spec.config,
            "config1": spec.config1,
            "config2": spec.config2,
            "exclude_user": bool(flags & perf.FLAG_EXCLUDE_USER),
            "exclude_kernel": bool(flags & perf.FLAG_EXCLUDE_KERNEL),
            "exclude_hv": bool(flags & perf.FLAG_EXCLUDE_HV),
            "inherit": bool(flags & perf.FLAG_INHERIT),
        }
        told = described(column, verdict, self._shortfall(column))
        return told | {"group": self.groups[column.group], "attr": attr, "backend": self.backend}

    def _shortfall(self, column: Column) -> str | None:
        """Return what an event that counts may have missed."""
        groups = [g for g in self._opened.groups if any(c is column for c in g.opened)]
        refused = [refusal for group in groups for refusal in group.refused.items()]
        if refused:
            target, error = refused[0]
            kind = "CPU" if column.scope == "system" else "thread"
            code = errno.errorcode.get(error.errno or 0, str(error.errno))
            return f"not counted: {kind} {target} ({code}) and {len(refused) - 1} more"
        if self._opened.unsettled and column.scope == "tree":
            return "threads were being started while opening: some may not be counted"
        return None

    def close(self) -> None:
        """Close all descriptors; may be called again."""
        self._opened.close()

    def __enter__(self) -> Counters:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def described(column: Column, verdict: access.Verdict, shortfall: str | None) -> dict[str, Any]:
    """Return what every backend says of an event, as plain data."""
    spec = column.spec
    return {
        "column": spec.column,
        "name": spec.name,
        "scope": column.scope,
        "status": verdict.status,
        "reason": "; ".join(filter(None, (verdict.reason, shortfall))) or None,
        "fix": verdict.fix,
        "pmu": spec.pmu,
        "encoded_by": spec.encoded_by,
        "full_name": spec.full_name,
        "scale": spec.scale,
        "unit": spec.unit,
    }


def _section_of(opened: Opened, group: int) -> Key | None:
    """Return where a group's times come from: its hardware events, else the software ones."""
    mine = {index for index, column in enumerate(opened.columns) if column.group == group}
    keys = [key for key, section in opened.sections.items() if mine & set(section.columns)]
    return max(keys, key=lambda key: key[1], default=None)
