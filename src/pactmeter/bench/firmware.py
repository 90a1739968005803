"""What the firmware of every emulated supply shares: the log, latency, replies that go wrong.

A request is executed even where its reply is lost or spoilt: the fault is that of the way back.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pactmeter.bench.faults import Fault, FaultBoard

REPORT_BYTES = 64
_LONG_BYTES = 96
_DRAWS = 4000
_MOST_UNKNOWN = 1000
"""Unknown reads are logged up to here, and counted beyond; writes are logged without end."""

_SHORT_BYTES = 2
_DELAY_S = 0.05
_LATE_S = 0.4
_RAW = re.compile(r"(?P<register>[0-9a-f]{2}):(?P<data>(?:[0-9a-f]{2})+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request that is worth keeping.

    Attributes:
        t_s: When it came, in seconds since the command's start.
        request: The report, without its trailing zeros.
        is_write: Whether it is a write; else a read that the firmware does not know.
    """

    t_s: float
    request: bytes
    is_write: bool


class Firmware(ABC):
    """Firmware of one supply: a report in, reports out.

    Attributes:
        device: Name of the supply, under which faults are ordered.
        total: Number of requests so far.
        counts: The same by their first two bytes.
        log: Writes other than the handshake and the page selection, and unknown reads; runs are
            long, so of all other requests only the counts are kept.
    """

    def __init__(
        self,
        device: str,
        faults: FaultBoard,
        clock: Callable[[], float],
        latencies_s: Iterator[float],
    ) -> None:
        self.device = device
        self.total = 0
        self.counts: dict[bytes, int] = {}
        self.log: list[LoggedRequest] = []
        self._faults = faults
        self._clock = clock
        self._latencies_s = latencies_s
        self._now_s = 0.0
        self._seen_changes = -1
        self._any_ordered = False
        self._held: dict[str, Fault] = {}
        self._raws: list[Fault] = []
        self._raw_uses: dict[Fault, int] = {}
        # Applied in this order; a subclass puts its own first.
        self._spoilers: dict[str, Callable[[bytes, bytes, Fault], bytes]] = {
            "wrong_echo": lambda request, reply, _: self._crossed(request, reply),
            "short": lambda _, reply, fault: reply[: int(_argument(fault, _SHORT_BYTES))],
            "long": lambda _, reply, __: (reply * 2)[:_LONG_BYTES],
            "empty": lambda _, reply, __: bytes(len(reply)),
        }

    def handle(self, request: bytes) -> list[tuple[float, bytes]]:
        """Execute an output report and return the input reports it causes.

        Args:
            request: The report without its id, padded or not.

        Returns:
            Each with the seconds from now until it leaves.
        """
        self._now_s = now_s = self._clock()
        if len(request) < REPORT_BYTES:
            request = request.ljust(REPORT_BYTES, b"\0")
        head = request[:2]
        self.total += 1
        self.counts[head] = self.counts.get(head, 0) + 1
        if self._faults.changes != self._seen_changes:
            self._seen_changes = self._faults.changes
            self._any_ordered = any(fault.device == self.device for fault in self._faults.all())
        if self._any_ordered:
            return self._faulty(request)
        reply = self._reply(request, now_s)
        return [] if reply is None else [(self._latency_s(), reply)]

    def writes(self) -> list[dict[str, object]]:
        """Return every write other than the handshake and the page selection, as plain data."""
        return [
            # a zero may be the value written, so three bytes are shown at least
            {"t_s": logged.t_s, "request": logged.request.ljust(3, b"\0").hex()}
            for logged in self.log
            if logged.is_write
        ]

    @abstractmethod
    def status_requests(self) -> list[bytes]:
        """Return what liquidctl's ``get_status`` asks, in its order: a second program's traffic."""

    @abstractmethod
    def reset(self) -> None:
        """Start again, as after a replug."""

    # --- what a maker's firmware brings -------------------------------------------------------

    @abstractmethod
    def _reply(self, request: bytes, at_s: float) -> bytes | None:
        """Execute a request; return the report that answers it, with the values of a time."""

    @abstractmethod
    def _crossed(self, request: bytes, reply: bytes) -> bytes:
        """Return a reply made over so that it answers another request."""

    @abstractmethod
    def _other(self, request: bytes) -> bytes:
        """Return a request that another program could send at the same time."""

    # --- for use by it ------------------------------------------------------------------------

    def _latency_s(self) -> float:
        return next(self._latencies_s)

    def _note(self, request: bytes, *, is_write: bool) -> None:
        if is_write or len(self.log) < _MOST_UNKNOWN:
            self.log.append(LoggedRequest(self._now_s, request.rstrip(b"\0"), is_write))

    def _take(self, name: str) -> Fault | None:
        return self._faults.take(self.device, name) if name in self._held else None

    def _altered(self, register: int, data: bytes | None, *, is_power: bool) -> bytes | None:
        """Return a register's data as the faults that hold now make it."""
        if not self._held:
            return data
        for fault in self._raws:
            match = _RAW.fullmatch(fault.value or "")
            if match and int(match["register"], 16) == register and self._use_raw(fault):
                return bytes.fromhex(match["data"])
        if is_power and data is not None and self._take("zero"):
            # the exponent of a register is fixed: that of 0 too
            return bytes((0, data[1] & 0xF8))
        return data

    # --- faults -------------------------------------------------------------------------------

    def _faulty(self, request: bytes) -> list[tuple[float, bytes]]:
        """Handle a request while there may be faults."""
        mine = [
            fault
            for fault in self._faults.all()
            if fault.device == self.device and fault.holds(self._now_s)
        ]
        self._raws = [fault for fault in mine if fault.name == "raw"]
        self._held = {fault.name: fault for fault in mine}
        try:
            return self._spoilt(request)
        finally:
            self._held = {}

    def _spoilt(self, request: bytes) -> list[tuple[float, bytes]]:
        """Handle a request under the faults in `_held`."""
        frozen = self._take("frozen")
        reply = self._reply(request, frozen.start_s if frozen else self._now_s)
        latency_s = self._latency_s()
        reports = []
        if self._take("foreign"):
            foreign = self._reply(self._other(request), self._now_s)
            reports += [] if foreign is None else [(latency_s / 2.0, foreign)]
        if reply is None or self._take("drop"):
            return reports
        for name, spoil in self._spoilers.items():
            fault = self._take(name)
            if fault is not None:
                reply = spoil(request, reply, fault)
        for name, default_s in (("delay", _DELAY_S), ("late", _LATE_S)):
            fault = self._take(name)
            if fault is not None:
                latency_s += _argument(fault, default_s)
        return [*reports, (latency_s, reply)]

    def _use_raw(self, fault: Fault) -> bool:
        # Several may hold at once, one a register; the board could only use up the first.
        if fault.count is None:
            return True
        self._raw_uses[fault] = self._raw_uses.get(fault, 0) + 1
        return self._raw_uses[fault] <= fault.count


def linear11(value: float, exponent: int) -> bytes:
    """Return the LINEAR11 bytes nearest to a value.

    >>> linear11(139.2, 1).hex(), linear11(11.984375, -6).hex()
    ('4608', 'ffd2')

    Args:
        value: What to encode; held at the ends of the range.
        exponent: The register's exponent: its step is 2 to that power.
    """
    mantissa = max(-1024, min(1023, round(value / 2.0**exponent)))
    return ((exponent & 0x1F) << 11 | (mantissa & 0x7FF)).to_bytes(2, "little")


def latencies_s(points: Sequence[tuple[float, float]], seed: str) -> Iterator[float]:
    """Return an endless series of latencies, in seconds, in random order.

    Args:
        points: The distribution: shares from 0 to 1, each with the latency below which that share
            of the replies comes; straight between them.
        seed: What the order depends on.
    """
    return itertools.cycle(_draws_s(tuple(points), seed))


@functools.cache  # a test makes hundreds of supplies
def _draws_s(points: tuple[tuple[float, float], ...], seed: str) -> tuple[float, ...]:
    draws = []
    for index in range(_DRAWS):
        share = (index + 0.5) / _DRAWS
        for (low, low_s), (high, high_s) in itertools.pairwise(points):
            if low <= share <= high and low < high:
                draws.append(low_s + (high_s - low_s) * (share - low) / (high - low))
                break
    random.Random(seed).shuffle(draws)  # noqa: S311
    return tuple(draws)


def _argument(fault: Fault, default: float) -> float:
    return default if fault.value is None else float(fault.value)
