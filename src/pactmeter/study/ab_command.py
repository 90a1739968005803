"""One command of a comparison, run to its end or its time-out, its files in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pactmeter
from pactmeter.errors import DeviceError
from pactmeter.study import child

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.study.child import Ended

POWER, OUTPUT, ERRORS = "PACT.csv", "out.txt", "err.txt"
"""Files of a run in its folder. What a command says on standard error stands apart: a progress bar
leaves its line open, and what the command tells of its work would be on the same line."""

_GRACE_S = 10.0
"""How long a command may take to end when it is asked to."""


def measured(
    words: Sequence[str], folder: Path, *, options: Sequence[str], timeout_s: float | None
) -> Ended:
    """Run a command by ``pactmeter run`` itself, its files in a folder.

    Args:
        words: The command.
        folder: Where the run and the command's output go.
        options: Further options of ``pactmeter run``.
        timeout_s: The longest it may take, in seconds; None: as long as it likes.

    Raises:
        DeviceError: It could not be measured, and so was not run.
    """
    # by path, so that it is this very package and the working directory is not searched
    ours = [sys.executable, str(Path(pactmeter.__file__).parent)]
    run = [*ours, "run", "-q", "-o", str(folder / POWER), *options, "--", *words]
    ended = plain(run, folder, timeout_s=timeout_s)
    if ended.code != 0 and not ended.timed_out and not (folder / POWER).exists():
        said = (folder / ERRORS).read_text(errors="replace").strip()
        raise DeviceError(said.removeprefix("pactmeter: ") or "the command could not be measured")
    return ended


def plain(words: Sequence[str], folder: Path, *, timeout_s: float | None) -> Ended:
    """Run a command unmeasured; arguments are those of `measured`."""
    with (folder / OUTPUT).open("wb") as output, (folder / ERRORS).open("wb") as errors:
        return child.run(words, output, errors, limit_s=timeout_s, soft_s=_GRACE_S)
