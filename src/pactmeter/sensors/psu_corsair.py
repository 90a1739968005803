"""The protocol of Corsair HXi and RMi supplies: requests and replies as bytes, no I/O.

Both ways go un-numbered 64-byte reports. A reply repeats the first two bytes of its request,
then gives the data; what follows the data is left-overs, not zeros.
"""

from __future__ import annotations

READ_INPUT_V = 0x88
READ_TEMP_C = 0x8D
READ_RAIL_W = 0x96
READ_TOTAL_W = 0xEE

RAILS = ("12v", "5v", "3v3")
"""Rails by page number."""

# D4 can be read too, but what it says is not known: it may name the unit.
READABLE = (0x3B, 0x4F, 0x88, 0x89, 0x8D, 0x8E, 0x90, 0x99, 0x9A, 0xD1, 0xD2, 0xD8, 0xEE, 0xF0)
"""Registers with a known meaning that can be read; not all models have all."""
READABLE_OF_RAIL = (0x40, 0x44, 0x46, 0x8B, 0x8C, 0x96)
"""The same of each rail."""

OTHERS = (0x8E, 0x90, 0x8B, 0x8C, 0xD1, 0xD2)
"""Registers that all models have and that are read for nothing but their place in the queue."""

HANDSHAKE = b"\xfe\x03"
"""Wakes the controller; harmless when repeated. With the page selection the only write sent."""

_READ, _WRITE, _PAGE = 0x03, 0x02, 0x00
_NOT_READY = 0xFE
_WORD = 2


def read_request(register: int) -> bytes:
    """Return the request for a register."""
    return bytes((_READ, register))


def page_request(page: int) -> bytes:
    """Return the request that selects the rail of the paged registers."""
    return bytes((_WRITE, _PAGE, page))


def is_answer(request: bytes, reply: bytes) -> bool:
    """Return whether a report answers a request, be it only to say "not initialised"."""
    if is_uninitialised(request, reply):
        return True
    if request[0] == _READ:
        return reply[:2] == request and len(reply) >= 2 + _WORD
    return reply[: len(request)] == request


def is_uninitialised(request: bytes, reply: bytes) -> bool:
    """Return whether a reply says that the device wants the handshake first."""
    return len(reply) >= 2 and reply[0] == request[0] and reply[1] == _NOT_READY


def is_unsupported(request: bytes, reply: bytes) -> bool:
    """Return whether a reply says that the device has no such register."""
    return request[0] == _READ and reply[:2] == bytes((_READ, 0))


def is_reaction(request: bytes, reply: bytes) -> bool:
    """Return whether a report answers a request, be it only that it cannot be answered."""
    return is_answer(request, reply) or is_unsupported(request, reply)


def selects_page(reply: bytes) -> bool:
    """Return whether a report is the echo of a page selection, whoever made it."""
    return reply[:2] == bytes((_WRITE, _PAGE))


def payload(reply: bytes) -> bytes:
    """Return the data word of a reply to `read_request`."""
    return reply[2 : 2 + _WORD]
