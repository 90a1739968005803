"""Device nodes of emulated USB power supplies: what the kernel's hidraw does with its openers."""

from __future__ import annotations

import errno
import functools
import math
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.bench.faults import FaultBoard
    from pactmeter.bench.loop import Loop

QUEUE_REPORTS = 64
"""Reports that one opener has not read yet; more are lost."""
REPORT_BYTES = 64
REPORT_DESCRIPTOR = bytes.fromhex(
    "0600ff 0901 a101"  # vendor page FF00, usage 1, an application collection of
    "1500 26ff00 7508 9540"  # 64 values of 8 bits, 0 to 255,
    "0901 8102"  # in
    "0902 9102 c0"  # and out; there are no report ids
)

POLLIN = 0x001 | 0x040  # and POLLRDNORM
POLLOUT = 0x004 | 0x100  # and POLLWRNORM
POLLERR = 0x008
POLLHUP = 0x010

_BUS_USB = 3
_MAGIC = ord("H")
_GRDESCSIZE, _GRDESC, _GRAWINFO, _GRAWNAME, _GRAWPHYS, _GRAWUNIQ = 1, 2, 3, 4, 5, 8
_READ_ONLY = 2  # direction of an ioctl that only fetches

Answer = bytes | int
"""What read(2) gets: a report, or an errno."""


class Reports(Protocol):
    """A firmware, as far as its node knows it.

    Attributes:
        device: Name under which faults are ordered for it, such as ``psu0``.
    """

    device: str

    def handle(self, request: bytes) -> list[tuple[float, bytes]]:
        """Return the reports that a request brings, each with its delay in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class HidIdentity:
    """What a HID device says of itself.

    Attributes:
        vid: USB vendor.
        pid: USB product.
        name: Maker and product.
        phys: Where it is plugged in, such as ``usb-0000:00:14.0-1/input0``.
        serial: Serial number; may be empty.
    """

    vid: int
    pid: int
    name: str
    phys: str
    serial: str


class Opener:
    """One open file of a node, with its own queue."""

    def __init__(
        self,
        node: HidrawNode,
        answer: Callable[[int, Answer], None],
        wake: Callable[[int], None],
    ) -> None:
        self._node = node
        self._answer = answer
        self._wake = wake
        self._queue: deque[bytes] = deque()
        self._parked: deque[tuple[int, int]] = deque()
        self._watch: int | None = None

    def read(self, token: int, size: int, *, nonblocking: bool) -> bytes | None:
        """Return the oldest report, cut to a size in bytes.

        Returns:
            None if there is none: the read is parked, and answered later under its token.

        Raises:
            OSError: EAGAIN where it may not wait, EIO after unplug.
        """
        self._node.fail_if_ordered()
        if self._queue:
            return self._queue.popleft()[:size]
        if not self._node.plugged:
            raise OSError(errno.EIO, "unplugged")
        if nonblocking:
            raise BlockingIOError(errno.EAGAIN, "no report")
        self._parked.append((token, size))
        return None

    def interrupt(self, token: int) -> bool:
        """Answer a parked read with EINTR; return whether there was one of this token."""
        for parked in self._parked:
            if parked[0] == token:
                self._parked.remove(parked)
                self._answer(token, errno.EINTR)
                return True
        return False

    def poll(self, watch: int | None) -> int:
        """Return what is ready, in the bits of the system call.

        Args:
            watch: What to wake, once, when there is something to read; None: nothing.
        """
        ready = self._node.ready() | (POLLIN if self._queue else 0)
        if watch is not None and ready == POLLOUT:
            self._watch = watch
        return ready

    def deliver(self, report: bytes) -> bool:
        """Take a report; return False if the queue is full and it is lost."""
        if self._parked:
            token, size = self._parked.popleft()
            self._answer(token, report[:size])
            return True
        if len(self._queue) >= QUEUE_REPORTS:
            return False
        self._queue.append(report)
        self._wake_once()
        return True

    def unplugged(self) -> None:
        """Let go of everyone who waits."""
        while self._parked:
            self._answer(self._parked.popleft()[0], errno.EIO)
        self._wake_once()

    def close(self) -> None:
        """Drop the queue."""
        self._node.forget(self)

    def _wake_once(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            self._wake(watch)


class HidrawNode:
    """The node of one device, from plug to unplug; plugged in again, it has a new one.

    Attributes:
        plugged: Whether the device is there.
        lost: Reports that found an opener's queue full.
        short_reports: Whether reports shorter than the descriptor says are delivered. Recent
            kernels (Linux 6.1 is one) throw them away.
    """

    def __init__(
        self,
        firmware: Reports,
        loop: Loop,
        identity: HidIdentity,
        faults: FaultBoard,
        *,
        short_reports: bool = True,
    ) -> None:
        self._firmware = firmware
        self._loop = loop
        self._identity = identity
        self._faults = faults
        self._openers: list[Opener] = []
        self._busy_until_s = -math.inf
        self.short_reports = short_reports
        self.plugged = True
        self.lost = 0

    def open(self, answer: Callable[[int, Answer], None], wake: Callable[[int], None]) -> Opener:
        """Open the node.

        Args:
            answer: Called with the token of a parked read, and its report or errno.
            wake: Called with the watch of a poll that may look again.

        Raises:
            OSError: ENODEV after unplug, or what was ordered.
        """
        if not self.plugged:
            raise OSError(errno.ENODEV, "unplugged")
        fault = self._faults.take(self._firmware.device, "open")
        if fault is not None:
            raise OSError(getattr(errno, fault.value or "EACCES"), "as ordered")
        opener = Opener(self, answer, wake)
        self._openers.append(opener)
        return opener

    def write(self, data: bytes) -> int:
        """Take an output report, and return how many bytes were written.

        Raises:
            OSError: EINVAL for a wrong length, ENODEV after unplug, EIO as ordered.
        """
        if not self.plugged:
            raise OSError(errno.ENODEV, "unplugged")
        self.fail_if_ordered()
        self.request(data)
        return len(data)

    def request(self, report: bytes) -> None:
        """Hand a request to the firmware, whose replies go to every opener.

        Args:
            report: 64 bytes, or 65 with the report id 0 in front.

        Raises:
            OSError: EINVAL for a wrong length.
        """
        if len(report) == REPORT_BYTES + 1 and report[0] == 0:
            report = report[1:]
        if len(report) != REPORT_BYTES:
            raise OSError(errno.EINVAL, "not an output report")
        # One controller answers all: what it is asked meanwhile has to wait.
        start_s = max(self._loop.clock(), self._busy_until_s)
        for delay_s, reply in self._firmware.handle(report):
            due_s = start_s + delay_s
            self._busy_until_s = max(self._busy_until_s, due_s)
            self._loop.call_at(due_s, functools.partial(self.inject, reply))

    def inject(self, report: bytes) -> None:
        """Give a report to every opener, whether anybody asked for it or not."""
        if not self.plugged or len(report) < (1 if self.short_reports else REPORT_BYTES):
            return
        for opener in self._openers:
            if not opener.deliver(report):
                self.lost += 1

    def unplug(self) -> None:
        """Take the device away; replies on their way are lost, who waits fails."""
        self.plugged = False
        for opener in self._openers:
            opener.unplugged()

    def ready(self) -> int:
        """Return what is ready for every opener, in bits of poll(2)."""
        if not self.plugged:
            return POLLOUT | POLLERR | POLLHUP
        if self._faults.active(self._firmware.device, "eio"):
            return POLLOUT | POLLIN  # a read fails at once: it need not be waited for
        return POLLOUT

    def fail_if_ordered(self) -> None:
        """Raise the EIO that a fault wants of this read or write."""
        if self._faults.take(self._firmware.device, "eio"):
            raise OSError(errno.EIO, "as ordered")

    def forget(self, opener: Opener) -> None:
        """Have nothing more for an opener."""
        if opener in self._openers:
            self._openers.remove(opener)

    def ioctl(self, command: int, size: int) -> tuple[int, bytes]:
        """Return the result of a control call, and the data it fetches.

        Args:
            command: Its number.
            size: Most bytes that it may fetch.

        Raises:
            OSError: ENOTTY if it is none of hidraw, EINVAL if it is none that is known,
                ENODEV after unplug.
        """
        if not self.plugged:
            raise OSError(errno.ENODEV, "unplugged")
        number, magic, direction = command & 0xFF, command >> 8 & 0xFF, command >> 30
        if magic != _MAGIC:
            raise OSError(errno.ENOTTY, "no ioctl of hidraw")
        if direction != _READ_ONLY:
            raise OSError(errno.EINVAL, "nothing can be set")
        me = self._identity
        if number == _GRDESCSIZE:
            return 0, struct.pack("<i", len(REPORT_DESCRIPTOR))[:size]
        if number == _GRDESC:
            length = struct.pack("<I", len(REPORT_DESCRIPTOR))
            return 0, (length + REPORT_DESCRIPTOR)[:size]
        if number == _GRAWINFO:
            return 0, struct.pack("<IHH", _BUS_USB, me.vid, me.pid)[:size]
        texts = {_GRAWNAME: me.name, _GRAWPHYS: me.phys, _GRAWUNIQ: me.serial}
        if number not in texts:
            raise OSError(errno.EINVAL, "unknown")
        text = (texts[number].encode() + b"\0")[:size]
        return len(text), text
