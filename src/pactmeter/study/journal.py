"""The journal of a study: one line of JSON for each thing that happened, on the disk at once.

Lines are only ever added, so that a kill at any moment leaves all of them whole but, at most, the
last one, which is then as if it had never been written. A trial is finished when its line says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

from pactmeter.clock import ClockPair, now_s
from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "journal.jsonl"
LOCK = "study.lock"
_PATIENCE_S = 1.0
"""A trial that was about to start when its runner was killed holds the lock a moment longer."""

Entry = dict[str, Any]


class Journal:
    """The journal of a study, open for writing; for the one who holds the lock."""

    def __init__(self, folder: Path) -> None:
        """Open it; a line that was torn by a kill is taken away.

        Raises:
            FileError: It cannot be written, or is damaged in its middle.
        """
        self._file = folder / FILE
        self.entries = read(folder)
        try:
            self._fd = os.open(
                self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
            )
            whole = _whole_bytes(self._file.read_bytes())
            if os.fstat(self._fd).st_size > whole:
                os.ftruncate(self._fd, whole)
        except OSError as error:
            raise FileError(f"cannot write {self._file}: {error.strerror}") from error

    def add(self, event: str, **told: Any) -> Entry:
        """Add a line and see it onto the disk.

        Raises:
            FileError: It cannot be written: nothing can be resumed from here on.
        """
        entry = {"event": event, "utc_s": round(ClockPair.now().utc_s, 3), **told}
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        try:
            if os.write(self._fd, line) != len(line):
                raise FileError(f"{self._file}: the disk is full")
            os.fsync(self._fd)
        except OSError as error:
            raise FileError(f"cannot write {self._file}: {error.strerror}") from error
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def read(folder: Path) -> list[Entry]:
    """Return the entries of a study's journal; none where there is no journal yet.

    Raises:
        FileError: It cannot be read, or is damaged in its middle.
    """
    file = folder / FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}") from error
    entries = []
    for number, line in enumerate(data[: _whole_bytes(data)].splitlines(), 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry["event"], str):
                raise TypeError("its event has no name")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileError(
                f"{file} is damaged in line {number}: {error}",
                "it is only ever added to: take it from a backup",
            ) from error
        entries.append(entry)
    return entries


def _whole_bytes(data: bytes) -> int:
    return data.rfind(b"\n") + 1


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a study's folder: one runner at a time. The lock goes with its owner, so is never stale.

    Raises:
        FileError: Another runner holds it, or the folder cannot be written.
    """
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FileError(
            f"cannot use the folder {folder}: {error.strerror}", "-o A_FOLDER_YOU_MAY_WRITE_TO"
        ) from error
    try:
        until_s = now_s() + _PATIENCE_S
        while not _locked(fd, folder):
            if now_s() > until_s:
                raise FileError(
                    f"another runner is at work in {folder} (process {_owner(fd)})",
                    "wait for it, end it, or -o ANOTHER_FOLDER",
                )
            time.sleep(0.05)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def runner(folder: Path) -> str | None:
    """Return the process that holds a study's folder now; None: nobody does."""
    try:
        fd = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(fd)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(fd)
    return None


def _locked(fd: int, folder: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise FileError(
            f"{folder} cannot be locked: {error.strerror}", "-o A_FOLDER on a local disk"
        ) from error
    return True


def _owner(fd: int) -> str:
    return os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
