"""The kernel's corsair-psu driver: the files that it makes of a supply's firmware."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pactmeter.bench.faults import Fault, FaultBoard
    from pactmeter.bench.firmware import Firmware
    from pactmeter.bench.sysfs import Text

NAME = "corsairpsu"

_TIMEOUT_S = 0.25
"""How long the driver waits for a reply."""
_REPORT_BYTES = 64
_MICRO, _MILLI, _ONE = 1_000_000, 1_000, 1

_ALWAYS = (
    # file, register, page if it is of a rail, steps a unit, label
    ("power1", 0xEE, None, _MICRO, "power total"),
    ("power2", 0x96, 0, _MICRO, "power +12v"),
    ("power3", 0x96, 1, _MICRO, "power +5v"),
    ("power4", 0x96, 2, _MICRO, "power +3.3v"),
    ("in0", 0x88, None, _MILLI, "v_in"),
    ("in1", 0x8B, 0, _MILLI, "v_out +12v"),
    ("in2", 0x8B, 1, _MILLI, "v_out +5v"),
    ("in3", 0x8B, 2, _MILLI, "v_out +3.3v"),
    ("curr2", 0x8C, 0, _MILLI, "curr +12v"),
    ("curr3", 0x8C, 1, _MILLI, "curr +5v"),
    ("curr4", 0x8C, 2, _MILLI, "curr +3.3v"),
    ("temp1", 0x8D, None, _MILLI, "vrm temp"),
    ("temp2", 0x8E, None, _MILLI, "case temp"),
    ("fan1", 0x90, None, _ONE, "psu fan"),
)
_INPUT_CURRENT = ("curr1", 0x89, None, _MILLI, "curr in")
_LIMITS = (
    # asked once, when the driver takes the device
    *((f"temp{n + 1}_crit", 0x4F, None) for n in range(2)),
    *((f"in{page + 1}_crit", 0x40, page) for page in range(3)),
    *((f"in{page + 1}_lcrit", 0x44, page) for page in range(3)),
    *((f"curr{page + 2}_crit", 0x46, page) for page in range(3)),
)
_ERRORS = {
    "eio": errno.EIO,
    "etimedout": errno.ETIMEDOUT,
    "eopnotsupp": errno.EOPNOTSUPP,
    "enodev": errno.ENODEV,
}


class CorsairDriver:
    """The driver of one supply: every read of a file asks the firmware.

    A reply takes no time here: the server answers one request after another, and may not wait.
    One that would come too late for the driver is a timeout all the same.

    Args:
        firmware: That of the supply; the same that answers at its hidraw node.
        faults: What is ordered for it.
        clock: Tells the time, in seconds since the command's start.
        overheard: Called with each reply: hidraw gives it to whoever has the node open.
    """

    def __init__(
        self,
        firmware: Firmware,
        faults: FaultBoard,
        clock: Callable[[], float],
        overheard: Callable[[bytes], None] | None = None,
    ) -> None:
        self._firmware = firmware
        self._faults = faults
        self._clock = clock
        self._overheard = overheard
        self._raw_uses: dict[Fault, int] = {}

    def probe(self) -> Mapping[str, Text]:
        """Take the device, and return the files of its hwmon directory.

        Raises:
            OSError: It does not answer the handshake.
        """
        self._command(0xFE, 0x03, 0)
        channels = list(_ALWAYS)
        # What the firmware does not know, the driver does not show.
        with contextlib.suppress(OSError):
            self._request(_INPUT_CURRENT[1], None)
            channels.append(_INPUT_CURRENT)
        files: dict[str, Text] = {"name": NAME}
        for name, register, page, scale, label in channels:
            file = f"{name}_input"
            files[file] = partial(self._shown, file, register, page, scale)
            files[f"{name}_label"] = label
        for file, register, page in _LIMITS:
            with contextlib.suppress(OSError):
                files[file] = str(integer(self._request(register, page), _MILLI))
        return files

    def _shown(self, file: str, register: int, page: int | None, scale: int) -> str:
        """Return what a file holds now."""
        device = self._firmware.device
        for name, number in _ERRORS.items():
            if self._faults.take(device, name):
                raise OSError(number, os.strerror(number))
        text = self._ordered(file)
        if text is None:
            text = str(integer(self._request(register, page), scale))
        return f"{text}\n"

    def _ordered(self, file: str) -> str | None:
        """Return the text that a fault wants in a file, if one does."""
        now_s = self._clock()
        for fault in self._faults.all():
            if (fault.device, fault.name) == (self._firmware.device, "raw") and fault.holds(now_s):
                name, _, text = (fault.value or "").partition(":")
                if name == file and self._use(fault):
                    return text
        return None

    def _use(self, fault: Fault) -> bool:
        # Several may hold at once, one a file; the board could only use up the first.
        self._raw_uses[fault] = self._raw_uses.get(fault, 0) + 1
        return fault.count is None or self._raw_uses[fault] <= fault.count

    def _request(self, register: int, page: int | None) -> bytes:
        if page is not None:
            self._command(0x02, 0x00, page)
        return self._command(0x03, register, 0)

    def _command(self, first: int, second: int, third: int) -> bytes:
        """Return the data of the first report that comes in time, as the driver does."""
        replies = self._firmware.handle(bytes((first, second, third)).ljust(_REPORT_BYTES, b"\0"))
        if self._overheard is not None:
            for _, reply in replies:
                self._overheard(reply)
        for delay_s, reply in replies:
            # The HID core of recent kernels throws shorter reports away.
            if delay_s <= _TIMEOUT_S and len(reply) >= _REPORT_BYTES:
                if reply[:2] != bytes((first, second)):
                    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
                return reply[2:]
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def integer(data: bytes, scale: int) -> int:
    """Return a LINEAR11 word times ``scale``, in the driver's 32 bits: floored, and wrapping.

    >>> integer(bytes.fromhex("41d1"), 1000), integer(bytes.fromhex("ff7b"), 1_000_000)
    (5015, -555745280)
    """
    word = int.from_bytes(data[:2], "little")
    exponent = (word >> 11) - (32 if word & 0x8000 else 0)
    mantissa = (word & 0x7FF) - (2048 if word & 0x400 else 0)
    scaled = mantissa * scale
    shifted = scaled << exponent if exponent >= 0 else scaled >> -exponent
    return (shifted + 2**31) % 2**32 - 2**31
