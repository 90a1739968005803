"""Registers of a supply over USB: the protocols of the two makers on the exchange loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pactmeter.errors import ReadError
from pactmeter.sensors import psu_corsair as corsair
from pactmeter.sensors import psu_nzxt as nzxt
from pactmeter.sensors.psu_link import CrossedError
from pactmeter.sensors.psu_pmbus import linear11

if TYPE_CHECKING:
    from pactmeter.sensors.psu_link import Link

_ATTEMPTS = 3
"""How often a rail is read while another program selects rails too."""


class CorsairReader:
    """A Corsair HXi or RMi; one register is one exchange, one of a rail two."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def total_w(self) -> float:
        """Return the total DC output power, in watts."""
        return self._register(corsair.READ_TOTAL_W)

    def rails_w(self) -> tuple[float, ...]:
        """Return the output power of the 12 V, 5 V and 3.3 V rails, in watts."""
        pages = range(len(corsair.RAILS))
        return tuple(self._register(corsair.READ_RAIL_W, page) for page in pages)

    def input_v(self) -> float:
        """Return the input voltage, in volts."""
        return self._register(corsair.READ_INPUT_V)

    def temp_c(self) -> float:
        """Return the temperature of the voltage regulator, in degrees Celsius."""
        return self._register(corsair.READ_TEMP_C)

    def settle(self, turn: int) -> None:
        """Ask for something else: what was asked before has been answered once this is."""
        request = corsair.read_request(corsair.OTHERS[turn % len(corsair.OTHERS)])
        with self._link.exchange():
            self._link.ask(request, corsair.is_reaction)

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def _register(self, register: int, page: int | None = None) -> float:
        # The page is one state for all programs: selecting it and reading is one exchange.
        requests = [] if page is None else [corsair.page_request(page)]
        requests.append(corsair.read_request(register))
        reply: bytes | None = None
        for left in reversed(range(_ATTEMPTS)):
            try:
                with self._link.exchange():
                    reply = self._answer(requests)
                    if reply is None:
                        # After power-up, replug and resume the device wants this once.
                        self._link.ask(corsair.HANDSHAKE, corsair.is_answer)
                        reply = self._answer(requests)
                break
            except CrossedError:
                if not left:
                    raise
        if reply is None:
            raise ReadError(f"the PSU is still not initialised after {corsair.HANDSHAKE.hex()}")
        return linear11(corsair.payload(reply))

    def _answer(self, requests: list[bytes]) -> bytes | None:
        """Return the answer to the last request; None if the device is not initialised.

        The device answers in order, and everybody sees every answer: a page selected by another
        program between our selection and our reading shows as its echo before our answer.
        """
        reply, spoils = b"", None
        for request in requests:
            reply = self._link.ask(request, corsair.is_answer, spoils)
            if corsair.is_uninitialised(request, reply):
                return None
            spoils = corsair.selects_page
        return reply


class NzxtReader:
    """An NZXT E-series: five rails, no total and no input side."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._last_s = -math.inf

    def total_w(self) -> float:
        """Return the sum of the rails' output powers, in watts."""
        return sum(self.rails_w())

    def rails_w(self) -> tuple[float, ...]:
        """Return the output power of each rail, in watts."""
        pages = range(len(nzxt.RAILS))
        return tuple(self._word(nzxt.rail_request(page, nzxt.READ_RAIL_W)) for page in pages)

    def input_v(self) -> float:
        """Raise `ReadError`: these supplies measure no input voltage."""
        raise ReadError("an NZXT E-series PSU measures no input voltage")

    def temp_c(self) -> float:
        """Return the temperature, in degrees Celsius."""
        return self._word(nzxt.read_request(nzxt.READ_TEMP_C))

    def settle(self, turn: int) -> None:
        """Ask for something else: what was asked before has been answered once this is."""
        self._word(nzxt.rail_request(*nzxt.OTHERS[turn % len(nzxt.OTHERS)]))

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def _word(self, request: bytes) -> float:
        for _ in range(nzxt.ATTEMPTS):
            self._pause()
            with self._link.exchange():
                reply = self._link.ask(request, nzxt.is_answer)
            self._last_s = self._link.clock()
            if not nzxt.is_busy(request, reply):
                return linear11(nzxt.payload(request, reply))
        raise ReadError(f"the PSU was busy {nzxt.ATTEMPTS} times when asked {request.hex()}")

    def _pause(self) -> None:
        """Leave the controller the time it wants; asked too fast, it answers "busy"."""
        left_s = self._last_s + nzxt.PAUSE_S - self._link.clock()
        if left_s > 0.0:
            self._link.sleep(left_s)
