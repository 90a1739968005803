"""Wall meters on this machine: HTTP endpoints that show a load whose integral is known.

They say of themselves that they are emulated, as `pactmeter.bench` does of its devices.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Load:
    """Legs of (seconds, watts), over and over, from time 0 on."""

    def __init__(self, *legs):
        self.legs = legs
        self.period_s = sum(length_s for length_s, _ in legs)
        self.period_j = sum(length_s * power_w for length_s, power_w in legs)

    def power_w(self, time_s):
        left_s = time_s % self.period_s
        for length_s, power_w in self.legs:
            if left_s < length_s:
                return power_w
            left_s -= length_s
        return self.legs[-1][1]

    def energy_j(self, from_s, to_s):
        return self._total_j(to_s) - self._total_j(from_s)

    def _total_j(self, time_s):
        rounds, left_s = divmod(time_s, self.period_s)
        total_j = rounds * self.period_j
        for length_s, power_w in self.legs:
            total_j += min(left_s, length_s) * power_w
            left_s = max(0.0, left_s - length_s)
        return total_j


class Bench:
    """What the emulated meters share: a server, its faults, and what it was asked.

    Attributes:
        edit: Changes an answer's JSON before it is sent.
        raw: Status and bytes that are sent instead of any answer.
        delay_s: So long an answer waits.
        drip_s: So long every byte of an answer waits.
        asked: Method and path of every request.
        devices: What read it; closed with it.
        unit: Which unit it says that it is.
    """

    def __init__(self, load, clock=time.monotonic, *, outlets=1, password=None, update_s=None):
        self.load, self.clock, self.password = load, clock, password
        self.outlets, self.update_s = outlets, update_s
        self.edit = lambda path, answer: answer
        self.raw = None
        self.delay_s = self.drip_s = 0.0
        self.closes = False
        self.asked = []
        self.devices = []
        self.unit = "a1b2c3"
        self.is_on = True
        self.ended = threading.Event()
        self.answered = threading.Condition()
        self._zero_s = clock() - 1000.0
        self._server = None
        self._sockets = []
        self.port = 0
        self.start()

    def start(self):
        """Listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"bench": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        serve = self._server.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.is_listening = True

    def stop(self):
        """Refuse connections, and cut those that there are."""
        if self.is_listening:
            self._server.shutdown()
            self._server.server_close()
        self.is_listening = False
        self.cut()

    def cut(self):
        """Cut the connections that there are, as a meter does that was restarted."""
        while self._sockets:
            with contextlib.suppress(OSError):
                self._sockets.pop().shutdown(socket.SHUT_RDWR)

    def close(self):
        self.ended.set()
        self.stop()
        for one in self.devices:
            one.close()

    def reset(self):
        """Set the energy counter to 0."""
        self._zero_s = self.clock()

    def url(self, rest="", login=""):
        return f"{self.kind}://{login}127.0.0.1:{self.port}{rest}"

    def shown_w(self):
        """Return what the meter shows now: the load, or its mean over the last update."""
        if not self.is_on:
            return 0.0
        now_s = self.clock()
        if self.update_s is None:
            return self.load.power_w(now_s)
        until_s = now_s // self.update_s * self.update_s
        return self.load.energy_j(until_s - self.update_s, until_s) / self.update_s

    def total_j(self):
        return self.load.energy_j(self._zero_s, self.clock())

    def wait_asked(self, count, timeout_s=10.0):
        """Wait until so many requests more have been answered."""
        with self.answered:
            wanted = len(self.asked) + count
            assert self.answered.wait_for(lambda: len(self.asked) >= wanted, timeout_s)


class ShellyBench(Bench):
    """A Shelly Plus Plug S, or one with more outlets."""

    kind = "shelly"
    parts = None
    """Parts and fields of it; None: a switch for each outlet."""

    def page(self, handler, path, query):
        if path == "/shelly":
            return {
                "name": "desk",
                "id": f"shellyplugsg3-{self.unit}",
                "mac": self.unit.upper(),
                "model": "S3PL-00112EU",
                "gen": 3,
                "fw_id": "20260101-000000/pactmeter-bench",
                "auth_en": self.password is not None,
            }
        if self.password is not None and not self._knows(handler):
            return None
        status = self.parts or {f"switch:{number}": self.switch(number) for number in self.outlet}
        if path == "/rpc/Shelly.GetStatus":
            return {"sys": {"uptime": 5}, "wifi": {"rssi": -60}, **status}
        match = re.fullmatch(r"/rpc/(\w+)\.GetStatus", path)
        part = f"{match[1].lower()}:{query['id'][0]}" if match else None
        return status.get(part, (404, {"code": 404, "message": "No handler"}))

    @property
    def outlet(self):
        return range(self.outlets)

    def switch(self, number):
        share = (number + 1) / sum(one + 1 for one in self.outlet)
        return {
            "id": number,
            "source": "init",
            "output": self.is_on,
            "apower": round(self.shown_w() * share, 1),
            "voltage": 229.8,
            "current": 0.435,
            "aenergy": {
                "total": round(self.total_j() * share / 3600, 3),
                "by_minute": [0.0, 0.0, 0.0],
                "minute_ts": 1_700_000_000,
            },
            "temperature": {"tC": 36.0, "tF": 96.8},
        }

    nonces = itertools.count(1)
    nonce, count = "n0", 0

    def _knows(self, handler):
        """Check the digest, and that its counter was not used before."""
        given = handler.headers.get("Authorization", "")
        told = {k: a or b for k, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', given)}
        realm = f"shellyplugsg3-{self.unit}"
        first = _sha256(f"admin:{realm}:{self.password}")
        second = _sha256(f"{handler.command}:{handler.path}")
        words = (first, self.nonce, told.get("nc"), told.get("cnonce"), "auth", second)
        wanted = _sha256(":".join(map(str, words)))
        count = int(told.get("nc", "0"), 16)
        if told.get("response") == wanted and count > self.count:
            self.count = count
            return True
        self.nonce, self.count = f"n{next(self.nonces)}", 0
        handler.challenge = (
            f'Digest qop="auth", realm="{realm}", nonce="{self.nonce}", algorithm=SHA-256'
        )
        return False


class TasmotaBench(Bench):
    """A plug with Tasmota."""

    kind = "tasmota"
    digits = 3

    def page(self, _handler, path, query):
        if path != "/cm":
            return 404, {}
        login = [query.get(key, [None])[0] for key in ("user", "password")]
        if self.password is not None and login != ["admin", self.password]:
            return 401, {"WARNING": "Need user=<username>&password=<password>"}
        command = query["cmnd"][0]
        state = {"StatusSTS": {"UptimeSec": 5, "POWER": "ON" if self.is_on else "OFF"}}
        if command == "Status 11":
            return state
        sensors = {"StatusSNS": {"Time": "2026-01-01T00:00:00", "ENERGY": self._energy()}}
        if command == "Status 10":
            return sensors
        return {
            "Status": {"Module": 0, "DeviceName": "plug", "Topic": "tasmota_C3"},
            "StatusFWR": {"Version": "14.2.0(pactmeter-bench)"},
            "StatusNET": {"Hostname": "plug", "Mac": self.unit},
            **sensors,
            **state,
        }

    def _energy(self):
        power_w = round(self.shown_w())
        return {
            "Total": round(self.total_j() / 3_600_000, self.digits),
            "Power": power_w if self.outlets == 1 else [power_w] * self.outlets,
            "ApparentPower": power_w,
            "Factor": 0.99,
            "Voltage": 230,
            "Current": 0.43,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        self.bench._sockets.append(self.request)
        super().setup()

    def handle_one_request(self):
        with contextlib.suppress(OSError):
            super().handle_one_request()
            return
        self.close_connection = True

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):  # whatever is asked is noted, so that a test sees it
            return self.do_GET
        raise AttributeError(name)

    def do_GET(self):
        bench = self.bench
        self.challenge = None
        url = urlsplit(self.path)
        if bench.delay_s:
            bench.ended.wait(bench.delay_s)
        answer = bench.page(self, url.path, parse_qs(url.query))
        status = 200 if answer is not None else 401
        if isinstance(answer, tuple):
            status, answer = answer
        body = json.dumps(bench.edit(url.path, answer)).encode()
        if bench.raw is not None:
            status, body = bench.raw
        self.send_response(status)
        if self.challenge is not None:
            self.send_header("WWW-Authenticate", self.challenge)
        if bench.closes:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body if bench.drip_s else ():
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            bench.ended.wait(bench.drip_s)
        self.wfile.write(b"" if bench.drip_s else body)
        self.wfile.flush()
        with bench.answered:
            bench.asked.append((self.command, self.path))
            bench.answered.notify_all()


def _sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()
