"""Firmware of power supplies, byte for byte, with replies that go wrong by order."""

from __future__ import annotations

from dataclasses import dataclass, field


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def encode_linear11(value, exponent):
    return ((exponent & 0x1F) << 11 | (round(value / 2.0**exponent) & 0x7FF)).to_bytes(2, "little")


@dataclass
class Firmware:
    """What all firmware has in common: the requests seen, and replies that go wrong by order.

    Each entry of `faults` is used up by one request: None for a good reply, else a function from
    the good reply to the reports that come instead, each with its delay in seconds.
    """

    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    latency_s: float = 0.002

    def handle(self, request):
        self.requests.append(request)
        reply = self.reply(request)
        fault = self.faults.pop(0) if self.faults else None
        reports = fault(reply) if fault else [(self.latency_s, reply)]
        return [(delay_s, report.ljust(64, b"\0")[:64]) for delay_s, report in reports]

    def writes(self):
        """Return every request that is no read, as hex without padding."""
        return [r.rstrip(b"\0").hex() for r in self.requests if r[0] not in (0x03, 0xAD)]


@dataclass
class CorsairFirmware(Firmware):
    ready: bool = True
    total_w: float = 140.0
    input_v: float = 230.0
    temp_c: float = 33.5
    rails_w: tuple = (124.0, 8.0, 1.5)
    raw: dict = field(default_factory=dict)
    page: int = 0
    stays_unready: bool = False

    def reply(self, request):
        if request[:2] == b"\xfe\x03":
            self.ready = not self.stays_unready
            return b"\xfe\x03HX1500i"
        if not self.ready:
            return bytes((request[0], 0xFE, 0, 0))
        if request[:2] == b"\x02\x00":
            self.page = request[2]
            return request[:3]
        register = request[1]
        known = {
            0xEE: encode_linear11(self.total_w, 1),
            0x88: encode_linear11(self.input_v, -1),
            0x8D: encode_linear11(self.temp_c, -2),
            0x96: encode_linear11(self.rails_w[self.page], (1, -1, -1)[self.page]),
        } | self.raw
        data = known.get(register)
        # Left-overs after the data, as a real unit sends them.
        return request[:2] + data + b"\0\0HX1500i" if data else bytes((request[0], 0))


@dataclass
class NzxtFirmware(Firmware):
    rails_w: tuple = (10.0, 40.0, 25.0, 5.0, 2.5)
    temp_c: float = 30.0

    def reply(self, request):
        if request[3] == 4:
            page, register = request[7], request[8]
            data = b"\x02" + encode_linear11(self.rails_w[page], -3)
            covered = bytes((0xC0, 6, 2, page, register, 0xC1)) + data
        else:
            data = encode_linear11(self.temp_c, -2)
            covered = bytes((0xC0, request[5], 0xC1)) + data
        return bytes((0xAA, request[2])) + data + bytes((crc8(covered),))


def foreign_first(reply):
    return [(0.001, bytes.fromhex("0388ccf9")), (0.002, reply)]


def dropped(_reply):
    return []


def late(reply):
    return [(0.3, reply)]


def cut(reply):
    return [(0.002, reply[:2])]


BUSY = bytes.fromhex("aa04ffffffff")
