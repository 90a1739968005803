"""The work that a workload has done, as it says itself: one line of its standard output.

``PACT-WORK {"steps": 391, "samples": 50000, "data": "made up"}``. Numbers are amounts of work (or
results, as ``loss_first`` and ``loss_last``), texts are marks; whatever else is there says nothing.
Of several lines the last holds.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARK = "PACT-WORK "
AMOUNTS = (
    *("samples", "images", "tokens", "requests", "steps", "iterations"),
    *("bogo_ops", "gflop", "work"),
)
"""What a workload may tell of that counts as work, the one that is compared first; any other number
(a loss, an accuracy) is a result."""
_TAIL_BYTES = 1 << 20


def report(**told: float | str) -> None:
    """Say what has been done.

    >>> report(steps=3)
    PACT-WORK {"steps": 3}
    """
    sys.stdout.write(f"{MARK}{json.dumps(told, allow_nan=False)}\n")
    sys.stdout.flush()


def find(output: str) -> dict[str, float | str] | None:
    r"""Return what a workload's output says of its work; None where it says nothing.

    >>> find('epoch 1\nPACT-WORK {"steps": 3}\n')
    {'steps': 3}

    Raises:
        FileError: The line is damaged, or holds a number that is none, as the loss of a training
            that has diverged.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        return None
    try:
        told = json.loads(lines[-1].removeprefix(MARK))
    except (ValueError, RecursionError) as error:
        raise FileError(
            f"what the workload says of its work is damaged: {lines[-1][:80]}"
        ) from error
    if not isinstance(told, dict):
        raise FileError(f"what the workload says of its work is no object: {lines[-1][:80]}")
    found: dict[str, float | str] = {}
    for name, value in told.items():
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:  # so it would be with NaN
                raise FileError(f"the workload says that its {name} is {str(value)[:20]}")
            found[name] = value
    return found


def nothing_done(told: Mapping[str, float | str]) -> str | None:
    """Return what a workload says where it has done no work; None: it has, or does not say.

    >>> nothing_done({"steps": 0, "loss_last": 2.3})
    'did no work, as it says itself: steps 0'
    """
    amounts = {name: told[name] for name in AMOUNTS if isinstance(told.get(name), int | float)}
    if not amounts or any(float(amount) > 0 for amount in amounts.values()):
        return None
    listed = ", ".join(f"{name} {amount:g}" for name, amount in amounts.items())
    return f"did no work, as it says itself: {listed}"


def tail(file: Path) -> str:
    """Return the end of an output, from the start of a line on; empty where there is none."""
    try:
        with file.open("rb") as text:
            size = os.fstat(text.fileno()).st_size
            text.seek(max(0, size - _TAIL_BYTES))
            found = text.read().decode(errors="replace")
    except OSError:
        return ""
    return found if size <= _TAIL_BYTES else found.partition("\n")[2]
