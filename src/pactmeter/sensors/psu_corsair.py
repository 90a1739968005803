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


def selects_page(reply: bytes) -> bool:
    """Return whether a report is the echo of a page selection, whoever made it."""
    return reply[:2] == bytes((_WRITE, _PAGE))


def payload(reply: bytes) -> bytes:
    """Return the data word of a reply to `read_request`."""
    return reply[2 : 2 + _WORD]
