"""Questions to a meter over HTTP: GET only, one connection that is kept, never longer than told."""

from __future__ import annotations

import http.client
import json
import math
import queue
import socket
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pactmeter.clock import now_s
from pactmeter.errors import ReadError
from pactmeter.sensors.wall_digest import Digest

if TYPE_CHECKING:
    from pactmeter.model.meter import MeterAddress

START_S = 1.5
"""A question and its whole answer before the run: the plug's radio may have to wake."""
TIMEOUT_S = 0.5
"""The same during the run; a plug in a Wi-Fi takes 10 to 100 ms."""
_MOST_BYTES = 65536
_UNAUTHORIZED, _FORBIDDEN = 401, 403


class _TimedSocket(socket.socket):
    """A socket whose answers end at one time, however slowly the bytes drip in."""

    until_s = math.inf

    def recv_into(self, *args: Any) -> int:
        """Receive; no longer than until that time."""
        left_s = self.until_s - now_s()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left_s)
        return super().recv_into(*args)


class MeterClient:
    """A connection to one meter, made when needed.

    Attributes:
        place: Host and port.
        timeout_s: How long a question and its whole answer may take.
    """

    def __init__(self, address: MeterAddress, timeout_s: float = TIMEOUT_S) -> None:
        self.place = address.place
        self.timeout_s = timeout_s
        self._address = address
        self._digest: Digest | None = None
        if address.kind == "shelly" and address.password is not None:
            self._digest = Digest(address.user, address.password)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> dict[str, Any]:
        """Return a page's JSON object; numbers with a point are `Decimal`, as written.

        Raises:
            ReadError: No answer in time, or not such a one.
        """
        kind = self._address.kind.capitalize()
        status, body = self._exchanged(path)
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise self.password_error()
        if status != http.client.OK:
            raise ReadError(
                f"{self.place} answers {path.partition('?')[0]} with HTTP status {status}",
                f"check that it is a {kind} and its firmware is up to date",
            )
        try:
            answer = json.loads(body, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError, ArithmeticError) as error:
            raise ReadError(
                f"what {self.place} answers is no JSON", f"check that it is a {kind}"
            ) from error
        if not isinstance(answer, dict):
            raise ReadError(
                f"{self.place} answers with JSON that is no object", f"check that it is a {kind}"
            )
        return answer

    def password_error(self) -> ReadError:
        """Return the error for a meter that wants a password, or another one."""
        kind = self._address.kind
        if self._address.password is None:
            fix = f"write it into the URL, as {kind}://:PASSWORD@{self.place}"
            return ReadError(f"the meter at {self.place} asks for a password", fix)
        fix = "check it; write / # ? @ and % in it as %2F %23 %3F %40 and %25"
        return ReadError(f"the meter at {self.place} refuses the password", fix)

    def close(self) -> None:
        """Close the connection. Never raises."""
        if self._connection is not None:
            try:
                self._connection.close()
            except OSError:
                pass  # it has gone already
        self._connection = None

    def _exchanged(self, path: str) -> tuple[int, bytes]:
        until_s = now_s() + self.timeout_s
        try:
            status, body, challenge = self._ask(path, until_s)
            if status == _UNAUTHORIZED and self._digest is not None:
                if not self._digest.learn(challenge):
                    raise ReadError(
                        f"the meter at {self.place} asks for a password in a way that is not known",
                        "bring its firmware up to date, or turn its password off",
                    )
                status, body, _ = self._ask(path, until_s)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            self.close()
            raise self._told(error) from error
        return status, body

    def _ask(self, path: str, until_s: float) -> tuple[int, bytes, str]:
        if self._connection is not None and self._connection.sock is not None:
            try:
                return self._exchange(self._connection, path, until_s)
            except ConnectionError:  # it may have been closed while it rested
                self.close()
        return self._exchange(self._connected(until_s), path, until_s)

    def _connected(self, until_s: float) -> http.client.HTTPConnection:
        self.close()
        host, port = self._address.host, self._address.port
        failed: OSError | None = None
        for family, kind, protocol, _, place in _resolved(host, port, until_s):
            sock = _TimedSocket(family, kind, protocol)
            try:
                sock.settimeout(_left_s(until_s))
                sock.connect(place)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                failed = error
                continue
            self._connection = http.client.HTTPConnection(host, port)
            self._connection.sock = sock
            return self._connection
        raise failed or OSError("no address")

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, until_s: float
    ) -> tuple[int, bytes, str]:
        sock: Any = connection.sock  # ours
        sock.settimeout(_left_s(until_s))
        sock.until_s = until_s
        headers = {"Accept": "application/json"}
        proof = self._digest.answer(path) if self._digest is not None else None
        if proof is not None:
            headers["Authorization"] = proof
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(_MOST_BYTES + 1)
        if len(body) > _MOST_BYTES:
            raise http.client.HTTPException("too long")
        return response.status, body, response.getheader("WWW-Authenticate", "")

    def _told(self, error: Exception) -> ReadError:
        """Return the error in words: the cause, and what to do."""
        check = f"check that it has power and is in this network: curl http://{self.place}/"
        if isinstance(error, socket.gaierror | UnicodeError):
            host = self._address.host
            return ReadError(f"there is no host {host!r}", "check its name, or use its IP address")
        if isinstance(error, TimeoutError):
            return ReadError(f"no answer from {self.place} within {self.timeout_s:g} s", check)
        if isinstance(error, ConnectionRefusedError):
            return ReadError(f"{self.place} refuses connections", "check its address and port")
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return ReadError(f"{self.place} does not answer in HTTP", "check its address and port")
        why = getattr(error, "strerror", None) or str(error)
        return ReadError(f"the connection to {self.place} failed: {why}", check)


_Places = list[tuple[Any, Any, int, str, Any]]


def _resolved(host: str, port: int, until_s: float) -> _Places:
    """Return the addresses of a host; asking for them may take no longer than until then."""
    try:
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        pass  # a name
    answers: queue.SimpleQueue[_Places | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # the system's resolver knows no time-out of ours: one that hangs is left behind
    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=_left_s(until_s))
    except queue.Empty:
        raise TimeoutError("timed out") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _left_s(until_s: float) -> float:
    return max(0.001, until_s - now_s())


def _refuse(constant: str) -> float:
    raise ValueError(constant)  # NaN and Infinity are no JSON
