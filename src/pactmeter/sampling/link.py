"""Messages between a program and its sampler: one JSON object a packet, on a socket pair."""

from __future__ import annotations

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
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
            raise EOFError from error
        return True

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
