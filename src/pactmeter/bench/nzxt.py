"""Firmware of NZXT's E-series supplies, byte for byte as quoted from real ones."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pactmeter.bench.firmware import REPORT_BYTES, Firmware, latencies_s, linear11

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.bench.faults import Fault, FaultBoard
    from pactmeter.bench.supply import Supply

# Of a recorded E500: median 1.48 ms, 95 % below 2.2, and once 36.5.
_LATENCIES_S = (
    (0.0, 1.2e-3),
    (0.5, 1.48e-3),
    (0.95, 2.2e-3),
    (0.9995, 2.8e-3),
    (0.9995, 36.5e-3),
    (1.0, 36.5e-3),
)

REQUEST, REPLY = 0xAD, 0xAA
_ADDRESS = 0x60
_PAGE_PLUS_READ = 0x06
_PAGES = 5
_VERSION, _TEMPERATURE, _FAN = 0xFC, 0x8E, 0x90
VOUT_MODE, VOLTAGE, CURRENT, POWER = 0x20, 0x8B, 0x8C, 0x96
_MODE = 0x19
"""VOUT_MODE of real units: unsigned steps of 1/128 V."""

_FINEST = -7
"""Exponent of small currents and powers; whole numbers for temperature and fan."""


class NzxtFirmware(Firmware):
    """An NZXT supply. It has no state that a program could change."""

    def __init__(
        self,
        supply: Supply,
        faults: FaultBoard,
        clock: Callable[[], float],
        *,
        latency_s: float | None = None,
    ) -> None:
        """Make the firmware of a supply; `latency_s`: one for all replies, not as real ones."""
        latencies = (
            latencies_s(_LATENCIES_S, supply.name)
            if latency_s is None
            else itertools.repeat(latency_s)
        )
        super().__init__(supply.name, faults, clock, latencies)
        self._supply = supply
        self._spoilers = SPOILERS | self._spoilers

    def status_requests(self) -> list[bytes]:
        """Return what liquidctl's ``get_status`` asks, in its order."""
        return status_requests()

    def reset(self) -> None:
        """Start again, as after a replug: there is nothing to forget."""

    # --- replies ------------------------------------------------------------------------------

    def _reply(self, request: bytes, at_s: float) -> bytes | None:
        where = register_of(request)
        if where is None:
            # Nothing that is known to be a read, so it may be a write; what it does is not known.
            self._note(request, is_write=True)
            return None
        page, register = where
        data = self._plain(register, at_s) if page is None else self._paged(page, register, at_s)
        data = self._altered(register, data, is_power=register in {CURRENT, POWER})
        if data is None:
            # The bus floats where no chip answers.
            self._note(request, is_write=False)
            return all_ones(request)
        return report(request, data if page is None else bytes((len(data),)) + data)

    def _plain(self, register: int, at_s: float) -> bytes | None:
        if register == _TEMPERATURE:
            return _fitting(self._supply.temp_c(at_s), 0)
        if register == _FAN:
            return _fitting(self._supply.fan_rpm(at_s), 0)
        return b"\x11\x41" if register == _VERSION else None

    def _paged(self, page: int, register: int, at_s: float) -> bytes | None:
        if page >= _PAGES:
            return None
        supply = self._supply
        if register == POWER:
            return _fitting(supply.rails_w(at_s)[page], _FINEST)
        if register == CURRENT:
            return _fitting(supply.rails_w(at_s)[page] / supply.rails_v(at_s)[page], _FINEST)
        if register == VOLTAGE:
            return round(supply.rails_v(at_s)[page] * 128.0).to_bytes(2, "little")
        return bytes((_MODE,)) if register == VOUT_MODE else None

    # --- faults -------------------------------------------------------------------------------

    def _crossed(self, request: bytes, reply: bytes) -> bytes:
        return crossed(request, reply)

    def _other(self, request: bytes) -> bytes:
        return other_request(request)


def status_requests() -> list[bytes]:
    """Return what liquidctl's ``get_status`` asks, in its order."""
    asked = [_plain_request(register) for register in (_VERSION, _TEMPERATURE, _FAN)]
    for page in range(_PAGES):
        asked += [_paged_request(page, r) for r in (VOUT_MODE, VOLTAGE, CURRENT, POWER)]
    return asked


def crc8(data: bytes) -> int:
    """Return the SMBus packet error code of some bytes.

    >>> hex(crc8(b"123456789"))
    '0xf4'
    """
    crc = 0
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1) ^ 0x107 if byte & 0x80 else byte << 1
    return byte


_CRC = bytes(_crc_of(byte) for byte in range(256))


def pec(request: bytes, data: bytes) -> int:
    """Return the checksum of a reply: over the bus traffic of its request, then its data."""
    asked = request[5:9] if request[5] == _PAGE_PLUS_READ else request[5:6]
    return crc8(bytes((_ADDRESS << 1, *asked, _ADDRESS << 1 | 1)) + data)


def _plain_request(register: int) -> bytes:
    request = bytes((REQUEST, 0, 3, 1, _ADDRESS, register))
    return request.ljust(REPORT_BYTES, b"\0")


def _paged_request(page: int, register: int) -> bytes:
    length = 3 if register == VOUT_MODE else 4
    request = bytes((REQUEST, 0, length, 4, _ADDRESS, _PAGE_PLUS_READ, 2, page, register))
    return request.ljust(REPORT_BYTES, b"\0")


def register_of(request: bytes) -> tuple[int | None, int] | None:
    """Return page and register that a request reads; None if it is no read that is known."""
    if request[0] != REQUEST or request[4] != _ADDRESS:
        return None
    if request[3:7] == bytes((4, _ADDRESS, _PAGE_PLUS_READ, 2)):
        return request[7], request[8]
    return (None, request[5]) if request[3] == 1 else None


def other_request(request: bytes) -> bytes:
    """Return another request: for the same of the next rail, for the fan or the temperature."""
    where = register_of(request)
    if where is None or where[0] is None:
        return _plain_request(_FAN if request[5] != _FAN else _TEMPERATURE)
    return _paged_request((where[0] + 1) % _PAGES, where[1])


def report(request: bytes, data: bytes) -> bytes:
    """Return the report that answers a request with some data, its count included if paged."""
    reply = bytes((REPLY, len(data) + 1)) + data + bytes((pec(request, data),))
    return reply.ljust(REPORT_BYTES, b"\0")


def all_ones(request: bytes) -> bytes:
    """Return what a busy device answers: of a word of a rail ``AA 04 FF FF FF FF``."""
    length = min(request[2], REPORT_BYTES - 2)
    return (bytes((REPLY, length)) + b"\xff" * length).ljust(REPORT_BYTES, b"\0")


def crossed(request: bytes, reply: bytes) -> bytes:
    """Return a reply made over so that it answers another request than this one."""
    end = 1 + reply[1]
    return report(other_request(request), reply[2:end])


def _bad_pec(_request: bytes, reply: bytes, _fault: Fault) -> bytes:
    last = 1 + reply[1]
    return reply[:last] + bytes((reply[last] ^ 0x01,)) + reply[last + 1 :]


def _busy(request: bytes, _reply: bytes, _fault: Fault) -> bytes:
    return all_ones(request)


SPOILERS: dict[str, Callable[[bytes, bytes, Fault], bytes]] = {"busy": _busy, "bad_pec": _bad_pec}
"""How a reply goes wrong in ways that only this protocol knows."""


def _fitting(value: float, lowest: int) -> bytes:
    """Return LINEAR11 bytes with the finest exponent, from a lowest on, that the value fits."""
    exponent = lowest
    while abs(round(value / 2.0**exponent)) > 1023:
        exponent += 1
    return linear11(value, exponent)
