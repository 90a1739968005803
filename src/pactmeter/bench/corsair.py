"""Firmware of Corsair's HXi and RMi supplies, byte for byte as recorded from real ones."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pactmeter.bench.firmware import REPORT_BYTES, Firmware, latencies_s, linear11

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.bench.faults import Fault, FaultBoard
    from pactmeter.bench.supply import Supply
    from pactmeter.model.psu import PsuModel

# Of a recorded RM1000i: all between 1.2 and 2.8 ms, 95 % below 2.2.
_LATENCIES_S = ((0.0, 1.2e-3), (0.5, 1.7e-3), (0.95, 2.2e-3), (1.0, 2.8e-3))

HANDSHAKE = b"\xfe\x03"
READ, WRITE = 0x03, 0x02
PAGE, _OCP, _FAN_MODE, _FAN_DUTY = 0x00, 0xD8, 0xF0, 0x3B
POWERS = (0xEE, 0x96, 0x8C)
"""Registers that read 0 by the fault ``zero``."""

# By page: 12 V, 5 V, 3.3 V. The limits are those of real units.
_HIGH_V = (998 / 64, 416 / 64, 275 / 64)
_LOW_V = (538 / 64, 224 / 64, 148 / 64)
_HIGH_A = 40.0
_OVERLOAD = {0x1C1F: 1.35}
"""12 V limit over rated current, where it is not that of an RM1000i."""
_POWER_EXPONENTS = (1, -1, -1)
_CURRENT_EXPONENTS = (-2, -4, -4)
_CRITICAL_C = 70.0

_AGE_S = 1_132_322
_UPTIME_S = 50_707
_INPUT_CURRENT_PIDS = range(0x1C05, 0x1C09)
"""Models that answer 89. No RMi and no newer HXi is known to; that these do is a guess."""


class CorsairFirmware(Firmware):
    """A Corsair supply, in the state it has after power-up: it wants the handshake.

    Attributes:
        ready: Whether it has had the handshake.
        page: Selected rail, one state for all programs.
        ocp_mode: Over-current protection of 12 V: 1 single rail, 2 multi rail.
        fan_mode: Who controls the fan: 0 hardware, 1 software.
        fan_duty: Duty of the fan in percent.
    """

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
        self.ready = False
        self.page = 0
        self.ocp_mode = 2
        self.fan_mode = 0
        self.fan_duty = 0x1B
        self._supply = supply
        self._product = product(supply.model)
        # An HX1500i leaves what stood in its buffer behind the data; RMi send zeros.
        self._leaves_rest = self._product.startswith("HX")
        self._buffer = bytes(REPORT_BYTES)
        self._forgot: set[Fault] = set()
        self._registers = self._readable(supply)

    def status_requests(self) -> list[bytes]:
        """Return what liquidctl's ``get_status`` asks, in its order."""
        return status_requests()

    def reset(self) -> None:
        """Start again, as after a replug: page 0, and the handshake is wanted."""
        self.ready = False
        self.page = 0
        self._buffer = bytes(REPORT_BYTES)

    # --- replies ------------------------------------------------------------------------------

    def _reply(self, request: bytes, at_s: float) -> bytes:
        first, register = request[0], request[1]
        if first != READ:
            return self._report(self._executed(request))
        if not self.ready:
            return self._report(b"\x03\xfe\0\0")
        read = self._registers.get(register)
        data = read(at_s) if read else None
        data = self._altered(register, data, is_power=register in POWERS)
        if data is None:
            self._note(request, is_write=False)
            return self._report(_unsupported(request))
        return self._report(request[:2] + data)

    def _executed(self, request: bytes) -> bytes:
        """Do what a request other than a read wants; return the reply without padding."""
        head = request[:2]
        if head == HANDSHAKE:
            self.ready = True
            return head + self._product.encode() + b"\0"
        if head != bytes((WRITE, PAGE)):
            self._note(request, is_write=True)
        if not self.ready:
            return bytes((request[0], 0xFE, 0, 0))
        if request[0] == WRITE and self._set(request[1], request[2]):
            return request[:3]
        return _unsupported(request)

    def _set(self, register: int, value: int) -> bool:
        """Write a register; return whether it took the value."""
        if register == PAGE and value <= 2:
            self.page = value
        elif register == _OCP and value in {1, 2}:
            self.ocp_mode = value
        elif register == _FAN_MODE and value in {0, 1}:
            self.fan_mode = value
        elif register == _FAN_DUTY and value <= 100:
            self.fan_duty = value
        else:
            return False
        return True

    def _report(self, reply: bytes) -> bytes:
        if self._leaves_rest:
            self._buffer = report = reply + self._buffer[len(reply) :]
            return report
        return reply.ljust(REPORT_BYTES, b"\0")

    def _readable(self, supply: Supply) -> dict[int, Callable[[float], bytes]]:
        """Return what each register answers at a time; the exponents are those of real units."""
        rated_a = supply.model.rated_w / 12.0
        high_a = (_OVERLOAD.get(supply.model.pid, 1.2) * rated_a, _HIGH_A, _HIGH_A)
        made: dict[int, Callable[[float], bytes]] = {
            _FAN_DUTY: lambda _: bytes((self.fan_duty,)),
            0x40: lambda _: linear11(_HIGH_V[self.page], -6),
            0x44: lambda _: linear11(_LOW_V[self.page], -6),
            0x46: lambda _: linear11(high_a[self.page], _CURRENT_EXPONENTS[self.page]),
            0x4F: lambda _: linear11(_CRITICAL_C, 0),
            0x88: lambda _: linear11(supply.input_v, -1),
            0x8B: lambda t_s: linear11(supply.rails_v(t_s)[self.page], -6),
            0x8C: self._current,
            0x96: lambda t_s: linear11(supply.rails_w(t_s)[self.page], _POWER_EXPONENTS[self.page]),
            0x8D: lambda t_s: linear11(supply.temp_c(t_s), -2),
            0x8E: lambda t_s: linear11(supply.case_temp_c(t_s), -2),
            0x90: lambda t_s: linear11(supply.fan_rpm(t_s), 2),
            0x99: lambda _: b"CORSAIR\0",
            0x9A: lambda _: self._product.encode() + b"\0",
            0xD1: lambda t_s: _seconds(_AGE_S + t_s),
            0xD2: lambda t_s: _seconds(_UPTIME_S + t_s),
            0xD4: lambda _: b"\x6d\x9f\xeb\xfe",
            _OCP: lambda _: bytes((self.ocp_mode,)),
            0xEE: lambda t_s: linear11(supply.dc_output_w(t_s), 1),
            _FAN_MODE: lambda _: bytes((self.fan_mode,)),
        }
        if supply.model.pid in _INPUT_CURRENT_PIDS:
            made[0x89] = lambda t_s: linear11(
                supply.true_ac_w(supply.dc_output_w(t_s)) / max(1.0, supply.input_v), -4
            )
        return made

    def _current(self, t_s: float) -> bytes:
        supply, page = self._supply, self.page
        current_a = supply.rails_w(t_s)[page] / supply.rails_v(t_s)[page]
        return linear11(current_a, _CURRENT_EXPONENTS[page])

    # --- faults -------------------------------------------------------------------------------

    def _spoilt(self, request: bytes) -> list[tuple[float, bytes]]:
        self._forget(request)
        return super()._spoilt(request)

    def _forget(self, request: bytes) -> None:
        """Forget the handshake: so many times, as long as the fault holds, else once."""
        fault = self._held.get("uninitialised")
        if fault is None or request[:2] == HANDSHAKE:
            return
        if fault.count is None and fault.duration_s is None:
            if fault in self._forgot:
                return
            self._forgot.add(fault)
        self._take("uninitialised")
        self.ready = False

    def _crossed(self, request: bytes, reply: bytes) -> bytes:
        return crossed(request, reply)

    def _other(self, request: bytes) -> bytes:
        return other_request(request)


def status_requests() -> list[bytes]:
    """Return what liquidctl's ``get_status`` asks, in its order."""
    asked = [b"\x02\x00\x00"]
    asked += [bytes((READ, r)) for r in (0x88, 0xD2, 0xD1, 0x8D, 0x8E, 0xF0, 0x90, 0xD8)]
    for page in range(3):
        asked += [bytes((WRITE, PAGE, page))]
        asked += [bytes((READ, r)) for r in (0x8B, 0x8C, 0x96)]
    asked += [b"\x03\xee", b"\x02\x00\x00"]
    return [request.ljust(REPORT_BYTES, b"\0") for request in asked]


def other_request(request: bytes) -> bytes:
    """Return a request for another register than this one."""
    return bytes((READ, 0x88 if request[1] != 0x88 else 0x8D)).ljust(REPORT_BYTES, b"\0")


def crossed(request: bytes, reply: bytes) -> bytes:
    """Return a reply made over so that it answers another request than this one."""
    return bytes((reply[0], other_request(request)[1])) + reply[2:]


def product(model: PsuModel) -> str:
    """Return the product string of a model: ``HX1000i`` whatever its year."""
    return model.name.split()[1]


def _unsupported(request: bytes) -> bytes:
    # Nothing left over behind it: a refused page would look like the one selected before.
    return bytes((request[0], 0, 0, 0))


def _seconds(uptime_s: float) -> bytes:
    return int(uptime_s).to_bytes(4, "little")
