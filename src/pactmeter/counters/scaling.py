"""What a count stands for when its group had to share the hardware (multiplexing). Pure arithmetic.

A group that shares counts for part of the time only. The whole time is taken from an always-on
software event of the same target, not from the group's own enabled time: some kernels lose part
of that when a thread ends while its group is rotated out, and the figure comes out low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLACK_NS = 1_000_000
_SLACK_SHARE = 1000


class Part(NamedTuple):
    """One group on one target (a thread with its descendants, or a CPU), cumulative."""

    counts: Sequence[int]
    enabled_ns: int
    running_ns: int
    reference_ns: int
    """Enabled time of the always-on event; 0 where there is none."""


class Scaled(NamedTuple):
    """The targets together."""

    counts: tuple[int, ...] | None
    """None: the group never got a counter though its targets ran; that is unknown, not 0."""
    enabled_ns: int
    running_ns: int


def whole_ns(enabled_ns: int, running_ns: int, reference_ns: int) -> int:
    """Return the time that a count of `running_ns` stands for, in nanoseconds.

    Groups are enabled and read one after the other, so the reference of a group that was never
    rotated out differs from it by microseconds: within a slack of 1 ms and 0.1 % an unshared
    count is taken as it is, exactly.
    """
    whole = max(enabled_ns, reference_ns, running_ns)
    if running_ns >= enabled_ns and _about(running_ns, whole):
        return running_ns
    return whole


def clocked_ns(running_ns: int, reference_ns: int) -> int:
    """Return the enabled time of a group that is known by the reference's clock alone, in ns."""
    whole = max(running_ns, reference_ns)
    return running_ns if _about(running_ns, whole) else whole


def _about(running_ns: int, whole_ns: int) -> bool:
    return whole_ns - running_ns <= _SLACK_NS + whole_ns // _SLACK_SHARE


def combine(parts: Sequence[Part]) -> Scaled:
    """Return the sum over the targets, each scaled by its own share of running time.

    A target that ran but whose group never did is taken to behave like the others.

    >>> combine([Part((100,), 10_000_000, 5_000_000, 10_000_000)])
    Scaled(counts=(200,), enabled_ns=10000000, running_ns=5000000)
    """
    width = len(parts[0].counts) if parts else 0
    totals = [0] * width
    counted_ns = unseen_ns = running_ns = 0
    for counts, enabled, running, reference in parts:
        whole = whole_ns(enabled, running, reference)
        if running == 0:
            unseen_ns += whole
            continue
        counted_ns += whole
        running_ns += running
        for index, count in enumerate(counts):
            totals[index] += _share(count, whole, running)
    if unseen_ns and not counted_ns:
        return Scaled(None, unseen_ns, 0)
    if unseen_ns:
        totals = [_share(total, counted_ns + unseen_ns, counted_ns) for total in totals]
    return Scaled(tuple(totals), counted_ns + unseen_ns, running_ns)


def _share(count: int, whole: int, part: int) -> int:
    """Return count * whole / part, rounded; integers keep an unshared count exact."""
    return count if whole == part else (count * whole + part // 2) // part
