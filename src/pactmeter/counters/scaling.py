"""What a count stands for when its group had to share the hardware (multiplexing). Pure arithmetic.

A group that shares counts in turns. What was counted stands as it is; to the time it waited goes
the rate of the turn just counted, so that a stretch is scaled by itself, an estimate once made is
never taken back, and totals only grow.

The time it waited is that of an always-on software event of the same target less its own running
time, not its own enabled time: some kernels lose part of that when a thread ends while its group
is rotated out, and the figure comes out low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SLACK_NS = 1_000_000
_SLACK_SHARE = 1000

_TURN_NS = 4_000_000
"""A rate is that of one turn at least: the kernel's perf_event_mux_interval_ms is 4 by default."""
_LEAST_NS = 1_000_000
"""Before the first turn is over, that of its part; but nothing is made of less than this."""


class Rate(NamedTuple):
    """Counts, and the nanoseconds they were counted in."""

    counts: Sequence[int]
    running_ns: int

    def plus(self, other: Rate) -> Rate:
        """Return both together."""
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Rate(counts, self.running_ns + other.running_ns)


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


class Turns:
    """One group on one target (a thread with its descendants, or a CPU), reading by reading.

    Attributes:
        counted: Counts at the last reading.
        enabled_ns: The time that the counts with their estimates stand for.
    """

    def __init__(self, width: int) -> None:
        self.counted = Rate([0] * width, 0)
        self.enabled_ns = 0
        self._estimates = [0.0] * width
        self._waited_ns = 0
        """What is not estimated yet."""
        self._before = self._turn = self.counted

    @property
    def running_ns(self) -> int:
        """How long it counted."""
        return self.counted.running_ns

    @property
    def totals(self) -> list[int]:
        """What was counted with what is estimated of the time that the group waited."""
        pairs = zip(self.counted.counts, self._estimates, strict=True)
        return [count + int(estimate) for count, estimate in pairs]

    def take(self, counts: Sequence[int], running_ns: int, whole_ns: int) -> None:
        """Take a reading; all figures are cumulative.

        Args:
            counts: Of each event.
            running_ns: How long they were counted.
            whole_ns: How long they might have been.
        """
        before = self.counted
        ran_ns = max(running_ns - before.running_ns, 0)
        # within the slack that makes an unshared group exact, the whole time may step back
        enabled_ns = max(self.enabled_ns + ran_ns, whole_ns)
        self._waited_ns += enabled_ns - self.enabled_ns - ran_ns
        self.enabled_ns = enabled_ns
        self.counted = Rate(counts, running_ns)
        pairs = zip(counts, before.counts, strict=True)
        self._turn = self._turn.plus(Rate([max(new - old, 0) for new, old in pairs], ran_ns))
        if self._turn.running_ns >= _TURN_NS:
            self._before, self._turn = self._turn, Rate([0] * len(counts), 0)
            self._estimate(self._before)
        else:
            self._estimate(self._before.plus(self._turn))

    def wait_like(self, others: Rate) -> None:
        """Take the rate of others for the time this group waited before it ever counted."""
        if self._waited_ns and not self.running_ns:
            self._estimate(others)

    def _estimate(self, rate: Rate) -> None:
        if self._waited_ns and rate.running_ns >= _LEAST_NS:
            factor = self._waited_ns / rate.running_ns
            self._estimates = [
                estimate + count * factor
                for estimate, count in zip(self._estimates, rate.counts, strict=True)
            ]
            self._waited_ns = 0


class Scaled(NamedTuple):
    """The targets together."""

    counts: tuple[int, ...] | None
    """None: the group never got a counter though its targets ran; that is unknown, not 0."""
    enabled_ns: int
    running_ns: int


def combine(targets: Iterable[Turns], *, estimating: bool = True) -> Scaled:
    """Return the sum over the targets, with or without estimates of the time that groups waited.

    A target that ran but whose group never did is taken to behave like the others.

    >>> turns = Turns(1)
    >>> turns.take([100], running_ns=5_000_000, whole_ns=10_000_000)
    >>> combine([turns])
    Scaled(counts=(200,), enabled_ns=10000000, running_ns=5000000)
    """
    targets = list(targets)
    enabled_ns = sum(target.enabled_ns for target in targets)
    together = Rate(
        [sum(column) for column in zip(*(t.counted.counts for t in targets), strict=True)],
        sum(target.running_ns for target in targets),
    )
    if enabled_ns and not together.running_ns:
        return Scaled(None, enabled_ns, 0)
    if not estimating:
        return Scaled(tuple(together.counts), enabled_ns, together.running_ns)
    for target in targets:
        target.wait_like(together)
    totals = zip(*(target.totals for target in targets), strict=True)
    return Scaled(tuple([sum(column) for column in totals]), enabled_ns, together.running_ns)
