"""One command of a comparison, run to its end or its time-out, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pactmeter
from pactmeter.errors import DeviceError
from pactmeter.kernel.process import ended_within, open_pidfd

if TYPE_CHECKING:
    from collections.abc import Sequence

POWER, OUTPUT, ERRORS = "PACT.csv", "out.txt", "err.txt"
"""Files of a run in its folder. What a command says on standard error stands apart: a progress bar
leaves its line open, and what the command tells of its work would be on the same line."""

_GRACE_S = 10.0
"""How long a command may take to end when it is asked to."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; 128 + n where signal n ended it.
        timed_out: Whether it was ended because it took too long.
    """

    code: int
    timed_out: bool = False


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
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,  # what one run reads, the next could not
            stdout=output,
            stderr=errors,
            process_group=0,
        )
        try:
            if _ends_within(process, timeout_s):
                return _ended(process)
            _end(process, signal.SIGTERM)
            return Ended(_ended(process).code, timed_out=True)
        except BaseException:  # Ctrl-C, or an end from outside: nothing of it goes on without us
            _end(process, signal.SIGINT)
            raise


def _ends_within(process: subprocess.Popen[bytes], wait_s: float | None) -> bool:
    fd = open_pidfd(process.pid)
    try:
        return ended_within(fd, wait_s)
    finally:
        os.close(fd)


def _ended(process: subprocess.Popen[bytes]) -> Ended:
    code = process.wait()
    return Ended(code if code >= 0 else 128 - code)


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Ask a command to end (``pactmeter run`` passes that on), then see that all of it has."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        _ends_within(process, _GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
