"""The work that a workload has done, as it says itself: one line of its standard output.

``PACT-WORK {"steps": 391, "samples": 50000, "data": "made up"}``. Numbers are amounts of work (or
results, as ``loss_first`` and ``loss_last``), texts are marks. Of several lines the last holds.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pactmeter.errors import FileError

MARK = "PACT-WORK "
AMOUNTS = ("samples", "images", "tokens", "requests", "steps", "iterations", "bogo_ops", "work")
"""What a workload may tell of that counts as work, the one that is compared first; any other number
(a loss, an accuracy) is a result."""


def report(**told: float | str) -> None:
    """Say what has been done.

    >>> report(steps=3)
    PACT-WORK {"steps": 3}
    """
    sys.stdout.write(f"{MARK}{json.dumps(told, allow_nan=False)}\n")
    sys.stdout.flush()


def find(output: str) -> dict[str, Any] | None:
    r"""Return what a workload's output says of its work; None where it says nothing.

    >>> find('epoch 1\nPACT-WORK {"steps": 3}\n')
    {'steps': 3}

    Raises:
        FileError: The line is damaged.
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
    return told
