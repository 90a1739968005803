"""The protocol of NZXT E-series supplies: requests and replies as bytes, no I/O.

A reply repeats neither page nor register, so that of another program looks the same. The packet
error code at its end covers both, and settles whose it is.
"""

from __future__ import annotations

from pactmeter.sensors.psu_pmbus import crc8

READ_TEMP_C = 0x8E
READ_RAIL_W = 0x96

RAILS = ("12v_peripherals", "12v_cpu", "12v_board", "5v", "3v3")
"""Rails by page number; there is no total."""

READABLE = (0xFC, 0x8E, 0x90)
"""Registers that can be read."""
READABLE_OF_RAIL = (0x20, 0x8B, 0x8C, 0x96)
"""The same of each rail."""

OTHERS = tuple((page, 0x8B) for page in range(len(RAILS)))
"""Page and register of what is read for nothing but its place in the queue: rails' voltages."""

PAUSE_S = 0.0025
"""Time the controller wants between two exchanges."""

ATTEMPTS = 3
"""How often a busy device is asked."""

_REQUEST, _REPLY = 0xAD, 0xAA
_ADDRESS = 0x60
_PAGE_PLUS_READ = 0x06
_VOUT_MODE = 0x20
_WORD = 2


def read_request(register: int) -> bytes:
    """Return the request for a register of one word."""
    return bytes((_REQUEST, 0, _WORD + 1, 1, _ADDRESS, register))


def rail_request(page: int, register: int) -> bytes:
    """Return the request for a register of one rail, which has one word (VOUT_MODE: a byte)."""
    size = 1 if register == _VOUT_MODE else _WORD
    return bytes((_REQUEST, 0, size + 2, 4, _ADDRESS, _PAGE_PLUS_READ, 2, page, register))


def is_answer(request: bytes, reply: bytes) -> bool:
    """Return whether a report answers a request, be it only to say "busy"."""
    body = _body(request, reply)
    if body is None:
        return False
    return is_busy(request, reply) or crc8(_covered(request) + body[:-1]) == body[-1]


def is_busy(request: bytes, reply: bytes) -> bool:
    """Return whether a reply is all ones: the device has no time. Comes before the checksum."""
    body = _body(request, reply)
    return body is not None and body == b"\xff" * len(body)


def payload(request: bytes, reply: bytes) -> bytes:
    """Return the data word of a reply."""
    start = 3 if _is_paged(request) else 2
    return reply[start : start + _WORD]


def _is_paged(request: bytes) -> bool:
    return request[5] == _PAGE_PLUS_READ


def _body(request: bytes, reply: bytes) -> bytes | None:
    """Return what follows the header, checksum included; None if it is no reply at all."""
    length = request[2]
    if reply[:2] != bytes((_REPLY, length)) or len(reply) < 2 + length:
        return None
    return reply[2 : 2 + length]


def _covered(request: bytes) -> bytes:
    """Return the bus traffic that precedes the data, as the checksum covers it."""
    write, read = _ADDRESS << 1, _ADDRESS << 1 | 1
    if _is_paged(request):
        return bytes((write, *request[5:], read))
    return bytes((write, request[5], read))
