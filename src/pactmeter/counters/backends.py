"""Which way of counting serves on this machine: found out by opening, the best one first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pactmeter.counters import opening, plan
from pactmeter.counters.groups import Counters
from pactmeter.counters.proc import ProcCounters, open_proc
from pactmeter.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pactmeter.counters.names import Scope

Choice = Literal["auto", "ring", "poll", "proc"]
AnyCounters = Counters | ProcCounters


def open_counters(
    groups: Sequence[Sequence[str]],
    *,
    pid: int,
    scope: Scope,
    exclude_pids: Collection[int] = (),
    backend: Choice = "auto",
    period_s: float = 0.01,
) -> AnyCounters:
    """Open event groups and start counting.

    An event that is known but cannot be opened here never raises: its total is None and
    `Counters.describe` says why.

    Args:
        groups: Event names, those of one group counted at the same time.
        pid: Root of the process tree; its threads and descendants are counted, also later ones.
        scope: ``tree`` or ``system`` (every process on every CPU).
        exclude_pids: Processes below `pid` to leave out with their descendants, such as the one
            that measures. What `pid` starts after this call is always counted.
        backend: ``ring`` (the kernel samples), ``poll`` (we read), ``proc`` (no perf events) or
            ``auto``: the first of these that opens.
        period_s: Seconds of running time between two samples of a ring.

    Raises:
        ConfigError: A name is not known, or appears twice.
        DeviceError: The process does not exist, or the backend asked for does not serve here.
    """
    why = None
    if backend in ("auto", "ring"):
        columns = plan.columns(groups, scope)
        try:
            return Counters(
                opening.open_columns(columns, pid, exclude_pids, backend="ring", period_s=period_s)
            )
        except (plan.SamplingRefusedError, OSError) as error:
            why = f"ring: {error}"
            if backend == "ring":
                raise DeviceError(
                    f"the counter backend 'ring' does not serve here: {error}",
                    fix="leave the choice to PACT: counter_backend='auto'",
                ) from error
    columns = plan.columns(groups, scope)
    if backend != "proc":
        polled = Counters(opening.open_columns(columns, pid, exclude_pids), why)
        if backend == "poll" or not columns or counts_anything(polled):
            return polled
        counters = open_proc(columns, pid, exclude_pids)
        if not counts_anything(counters):
            return polled
        polled.close()
        counters.why = "ring and poll: no perf event opens"
        return counters
    return open_proc(columns, pid, exclude_pids)


def counts_anything(counters: AnyCounters) -> bool:
    """Whether anything is counted."""
    return any(event["status"] == "ok" for event in counters.describe())
