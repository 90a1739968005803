"""Messages between a program and its sampler: one JSON object a packet, on a socket pair."""

from __future__ import annotations

import errno
import fcntl
import json
import select
import socket
from typing import Any

Message = dict[str, Any]
_LARGEST = 1 << 20


class Link:
    """One end of the socket pair (SOCK_SEQPACKET: packets stay whole, the end shows as EOF)."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0.0)
        self._socket = sock

    @classmethod
    def pair(cls) -> tuple[Link, socket.socket]:
        """Return our end, and the other end's socket to hand to a child."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, theirs = _above_stdio(pair[0]), _above_stdio(pair[1])
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Send without ever blocking; return False if the other end does not take it now.

        Raises:
            EOFError: The other end is gone.
        """
        try:
            self._socket.send(json.dumps(message).encode())
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise ValueError("message too long") from error
            raise EOFError from error
        return True

    def wait_writable(self, timeout_s: float) -> bool:
        """Wait until the other end takes more; return whether it does."""
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        return bool(poller.poll(max(0.0, timeout_s) * 1000))

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None if none came in time.

        Raises:
            EOFError: The other end is gone.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if not poller.poll(max(0.0, timeout_s) * 1000):
            return None
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        message: Message = json.loads(data)
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _above_stdio(sock: socket.socket) -> socket.socket:
    """Move a socket off descriptors 0 to 2, which a program may have closed and others reuse."""
    if sock.fileno() > 2:
        return sock
    fd = fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 3)
    sock.close()
    return socket.socket(fileno=fd)
