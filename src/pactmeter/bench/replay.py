"""Firmware that answers what a real supply was recorded to answer."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

from pactmeter.bench import corsair, nzxt
from pactmeter.bench.faults import FaultBoard
from pactmeter.bench.firmware import REPORT_BYTES, Firmware
from pactmeter.model.exchanges import exchanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pactmeter.model.exchanges import Exchange, Report
    from pactmeter.model.psu import PsuModel

_Key = tuple[bytes, int | None]

_PAGE_WRITE = bytes((corsair.WRITE, corsair.PAGE))
_PAGED = frozenset({0x40, 0x44, 0x46, 0x8B, 0x8C, 0x96})
_CORSAIR_RAILS = ("12v", "5v", "3v3")
_CORSAIR_WORDS = {
    0x40: ("high", "V"),
    0x44: ("low", "V"),
    0x46: ("high", "A"),
    0x4F: ("critical temperature", "°C"),
    0x88: ("input", "V"),
    0x89: ("input", "A"),
    0x8B: ("output", "V"),
    0x8C: ("output", "A"),
    0x8D: ("VRM temperature", "°C"),
    0x8E: ("case temperature", "°C"),
    0x90: ("fan", "rpm"),
    0x96: ("output", "W"),
    0xEE: ("total output", "W"),
}
_NZXT_RAILS = ("12v_peripherals", "12v_cpu", "12v_board", "5v", "3v3")
_NZXT_WORDS = {
    0x8E: ("temperature", "°C"),
    0x90: ("fan", "rpm"),
    nzxt.VOLTAGE: ("output", "V"),
    nzxt.CURRENT: ("output", "A"),
    nzxt.POWER: ("output", "W"),
}


class ReplayFirmware(Firmware):
    """A supply that answers each request as recorded, at the same time and with the same latency.

    The reply is the last one recorded up to now to the same request for the same rail, before its
    first the first, after the end the last. What was never answered is not supported. Faults
    befall a replay as they befall the other firmware.
    """

    def __init__(
        self,
        recorded: Iterable[Exchange],
        clock: Callable[[], float],
        *,
        device: str = "psu0",
        faults: FaultBoard | None = None,
        model: PsuModel | None = None,
    ) -> None:
        """Take over a recording, which starts when the clock shows 0.

        Args:
            recorded: The exchanges, in order.
            clock: Returns the seconds since the command's start.
            device: Name of the supply, under which faults are ordered.
            faults: Where they are ordered.
            model: Whose name answers a handshake that is not in the recording.
        """
        super().__init__(device, faults or FaultBoard(clock), clock, itertools.repeat(0.0))
        found = list(recorded)
        self.page = 0
        self._is_nzxt = any(map(_is_nzxt, found))
        self._name = corsair.product(model) if model else ""
        self._recorded: dict[_Key, tuple[list[float], list[tuple[float, bytes]]]] = {}
        self._replayed_s = 0.0
        start_s = found[0].t_s if found else 0.0
        for exchange, page in _paged(found):
            answer = _answer(exchange)
            if answer is not None:
                times_s, replies = self._recorded.setdefault(_key(exchange.request, page), ([], []))
                times_s.append(answer[0] - start_s)
                replies.append((answer[0] - exchange.t_s, answer[1]))
        if self._is_nzxt:
            self._spoilers = nzxt.SPOILERS | self._spoilers

    def status_requests(self) -> list[bytes]:
        """Return what liquidctl's ``get_status`` asks, in its order."""
        return nzxt.status_requests() if self._is_nzxt else corsair.status_requests()

    def reset(self) -> None:
        """Start again, as after a replug: page 0."""
        self.page = 0

    def _latency_s(self) -> float:
        return self._replayed_s

    def _reply(self, request: bytes, at_s: float) -> bytes | None:
        head = request[:2]
        is_read = (
            nzxt.register_of(request) is not None if self._is_nzxt else head[0] == corsair.READ
        )
        if not is_read and head not in {corsair.HANDSHAKE, _PAGE_WRITE}:
            self._note(request, is_write=True)
        found = self._recorded.get(_key(request, self.page))
        if found is None:
            reply = self._unrecorded(request)
            if is_read:
                self._note(request, is_write=False)
        else:
            times_s, replies = found
            index = max(0, bisect_right(times_s, at_s) - 1)
            self._replayed_s, reply = replies[index]
            if head == _PAGE_WRITE:
                self.page = request[2]
        if is_read and self._held:
            return self._with_faults(request, reply)
        return reply

    def _unrecorded(self, request: bytes) -> bytes:
        if self._is_nzxt:
            return nzxt.all_ones(request)
        if request[:2] == corsair.HANDSHAKE:
            return (corsair.HANDSHAKE + self._name.encode()).ljust(REPORT_BYTES, b"\0")
        return request[:1].ljust(REPORT_BYTES, b"\0")

    def _with_faults(self, request: bytes, reply: bytes) -> bytes:
        """Return the reply to a read with the data that the faults holding now give it."""
        if not self._is_nzxt:
            register = request[1]
            data = reply[2:] if reply[1] == register else None
            made = self._altered(register, data, is_power=register in corsair.POWERS)
            return reply if made is None else (request[:2] + made).ljust(REPORT_BYTES, b"\0")
        page, register = nzxt.register_of(request) or (None, 0)
        start, end = 2 if page is None else 3, 1 + reply[1]
        is_power = register in {nzxt.POWER, nzxt.CURRENT}
        made = self._altered(register, reply[start:end], is_power=is_power) or b""
        if made == reply[start:end]:
            return reply
        return nzxt.report(request, made if page is None else bytes((len(made),)) + made)

    def _crossed(self, request: bytes, reply: bytes) -> bytes:
        if self._is_nzxt:
            return nzxt.crossed(request, reply)
        return corsair.crossed(request, reply)

    def _other(self, request: bytes) -> bytes:
        if self._is_nzxt:
            return nzxt.other_request(request)
        return corsair.other_request(request)


def decoded(reports: Sequence[Report]) -> list[tuple[float, str, float, str]]:
    """Return what recorded traffic says: time in seconds, quantity, value and unit.

    Replies that do not answer the request before them are left out.
    """
    made = []
    exponents: dict[int, int] = {}
    for exchange, page in _paged(exchanges(reports)):
        answer = _answer(exchange)
        if answer is None:
            continue
        t_s, reply = answer
        if _is_nzxt(exchange):
            value = _nzxt_value(exchange.request, reply, exponents)
        else:
            value = _corsair_value(exchange.request, reply, page)
        if value is not None:
            made.append((t_s, *value))
    return made


def _corsair_value(request: bytes, reply: bytes, page: int) -> tuple[str, float, str] | None:
    register = request[1]
    if request[0] != corsair.READ or register not in _CORSAIR_WORDS:
        return None
    quantity, unit = _CORSAIR_WORDS[register]
    rail = f"{_CORSAIR_RAILS[page]} " if register in _PAGED else ""
    return rail + quantity, _linear11(reply[2:4]), unit


def _nzxt_value(
    request: bytes, reply: bytes, exponents: dict[int, int]
) -> tuple[str, float, str] | None:
    page, register = nzxt.register_of(request) or (None, 0)
    if page is None:
        word, rail = reply[2:4], ""
    else:
        word, rail = reply[3:5], f"{_NZXT_RAILS[page]} "
    if page is not None and register == nzxt.VOUT_MODE:
        exponents[page] = _signed(word[0] & 0x1F, 5)
    if register not in _NZXT_WORDS:
        return None
    quantity, unit = _NZXT_WORDS[register]
    if page is not None and register == nzxt.VOLTAGE:
        mantissa = float(int.from_bytes(word, "little"))
        return rail + quantity, mantissa * 2.0 ** exponents.get(page, -7), unit
    return rail + quantity, _linear11(word), unit


def _paged(recorded: Iterable[Exchange]) -> Iterator[tuple[Exchange, int]]:
    """Return each exchange with the page that was selected when it was made."""
    page = 0
    for exchange in recorded:
        if exchange.request[:2] == _PAGE_WRITE:
            page = min(exchange.request[2], len(_CORSAIR_RAILS) - 1)
        yield exchange, page


def _key(request: bytes, page: int) -> _Key:
    paged = request[0] == corsair.READ and request[1] in _PAGED
    return request.rstrip(b"\0"), page if paged else None


def _answer(exchange: Exchange) -> tuple[float, bytes] | None:
    """Return the first reply that answers the request, with its time.

    There is none if another program has selected a rail meanwhile: the answer may be of that one.
    """
    of_rail = exchange.request[0] == corsair.READ and exchange.request[1] in _PAGED
    for t_s, reply in exchange.replies:
        if of_rail and reply[:2] == _PAGE_WRITE:
            return None
        if _answers(exchange.request, reply):
            return t_s, reply
    return None


def _answers(request: bytes, reply: bytes) -> bool:
    if request[0] != nzxt.REQUEST:
        told = 3 if request[:2] == _PAGE_WRITE else 2  # of a selection also which rail
        return reply[:told] == request[:told]
    last = 1 + reply[1]
    if reply[0] != nzxt.REPLY or last >= len(reply) or nzxt.register_of(request) is None:
        return False
    # All ones is a busy device; only by chance the checksum could fit.
    return reply[2:last] != b"\xff" * (last - 2) and nzxt.pec(request, reply[2:last]) == reply[last]


def _is_nzxt(exchange: Exchange) -> bool:
    return exchange.request[0] == nzxt.REQUEST


def _linear11(word: bytes) -> float:
    raw = int.from_bytes(word, "little")
    return float(_signed(raw & 0x7FF, 11)) * 2.0 ** _signed(raw >> 11, 5)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
