"""Orders to an emulated machine that runs: from programs on it, through its socket."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

from pactmeter.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = "PACTMETER_BENCH"
"""Environment variable with the path of the socket, set for what runs on the machine."""
_ANSWER_S = 5.0
_START = "pactmeter bench run ... -- command"


def ask(path: Path | str, order: dict[str, Any], answer_s: float = _ANSWER_S) -> dict[str, Any]:
    """Send an order and return the answer.

    Orders: ``load`` {component, spec}, ``fault`` text, ``clear`` {device, name}, ``energy`` [from,
    to] on CLOCK_MONOTONIC in seconds, which is answered by ``energy_j``, the true joules of every
    component. All answers hold ``t_s`` and ``zero_s``.

    Args:
        path: The socket.
        order: The order.
        answer_s: How long the answer may take, in seconds.

    Raises:
        ConfigError: The order was refused.
        DeviceError: Nobody answers there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("")  # the kernel chooses a name that answers find
        link.settimeout(answer_s)
        try:
            link.sendto(json.dumps(order).encode(), str(path))
            answer: dict[str, Any] = json.loads(link.recv(1 << 20))
        except OSError as error:
            raise DeviceError(
                f"no emulated machine answers at {path}: {error}",
                f"start it with {_START}; {CONTROL} is set there",
            ) from error
    if "error" in answer:
        raise ConfigError(answer["error"])
    return answer


def tell(order: dict[str, Any]) -> dict[str, Any]:
    """Send an order to the machine that this program runs on; see `ask`.

    Raises:
        ConfigError: It does not run on an emulated machine, or the order was refused.
    """
    path = os.environ.get(CONTROL)
    if not path:
        raise ConfigError(
            "this program does not run on an emulated machine", f"start it with {_START}"
        )
    return ask(path, order)
