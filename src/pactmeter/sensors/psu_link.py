"""One exchange with a supply over hidraw: lock, drain, ask, wait for the reply that is ours.

The kernel hands every report to every program that has the node open, and another program's
question may come between ours and its answer. So each exchange holds a lock that other runs of
PACT respect, and reads on until a reply matches, for the programs that do not.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from pactmeter.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REPLY_S = 0.25
"""How long a reply may take; real ones take 1 to 3 ms, at worst 36."""

LOCK_S = 0.25
"""How long another run may hold the device; an exchange of its takes some milliseconds."""

_LOCK_RETRY_S = 0.001
_REPORT_BYTES = 64
# What hidapi and the wrapper above it raise: read and write errors, a handle that is closed, a
# report or a description that lacks something, an open that failed half-way.
TRANSPORT_ERRORS = (OSError, ValueError, LookupError, RuntimeError)


class CrossedError(ReadError):
    """Another program changed the device's state between our question and its answer."""


class Handle(Protocol):
    """A connected HID device."""

    def write(self, report: bytes) -> None:
        """Send a report, its leading report id included."""

    def read(self, timeout_s: float) -> bytes:
        """Return the next report, or nothing if none came in time."""

    def drain(self) -> None:
        """Drop the reports that are waiting."""

    def close(self) -> None:
        """Disconnect."""


class Link:
    """The exchange loop over one handle; for one thread."""

    def __init__(
        self,
        handle: Handle,
        node: Path,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Take over a connected handle; `OSError` if its node cannot be opened for the lock."""
        self.clock = clock
        self.sleep = sleep
        self._handle = handle
        self._node = node
        # Read by nobody: the kernel drops what does not fit into this opener's queue.
        self._lock_fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Hold the device for one exchange, starting with no old replies in the queue.

        Raises:
            ReadError: Another program has it for too long, or it is gone.
        """
        self._lock()
        try:
            with self._reading("read"):
                self._handle.drain()
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def ask(
        self,
        request: bytes,
        is_answer: Callable[[bytes, bytes], bool],
        spoils: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """Send a request and return the report that answers it.

        Args:
            request: What to send, without report id and padding.
            is_answer: Whether a report answers a request.
            spoils: Whether a report of another program, seen before the answer, makes it worthless.

        Raises:
            CrossedError: The answer would be another program's.
            ReadError: No such report came in time, or the device is gone.
        """
        deadline_s = self.clock() + REPLY_S
        with self._reading("write to"):
            # The leading 0: reports of these devices are not numbered.
            self._handle.write(b"\0" + request.ljust(_REPORT_BYTES, b"\0"))
        foreign = b""
        while (left_s := deadline_s - self.clock()) > 0.0:
            with self._reading("read"):
                reply = self._handle.read(left_s)
            if reply and is_answer(request, reply):
                return reply
            if reply and spoils is not None and spoils(reply):
                raise CrossedError(f"another program uses {self._node} too: {reply[:8].hex()}")
            foreign = reply or foreign
        seen = f" (last other report: {foreign[:8].hex()})" if foreign else ""
        raise ReadError(
            f"{self._node} gave no valid reply to {request.hex()} in {REPLY_S * 1e3:.0f} ms{seen}"
        )

    def close(self) -> None:
        """Let go of the device. Never raises."""
        with suppress(*TRANSPORT_ERRORS):
            self._handle.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _lock(self) -> None:
        deadline_s = self.clock() + LOCK_S
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if self.clock() >= deadline_s:
                    raise ReadError(
                        f"another program holds the lock on {self._node} for more than "
                        f"{LOCK_S * 1e3:.0f} ms"
                    ) from error
                self.sleep(_LOCK_RETRY_S)
            except OSError as error:
                raise ReadError(f"cannot lock {self._node}: {error}") from error

    @contextmanager
    def _reading(self, verb: str) -> Iterator[None]:
        try:
            yield
        except TRANSPORT_ERRORS as error:
            raise ReadError(f"cannot {verb} {self._node}: {error}") from error
