"""Where a run's files lie, and how an earlier run's are kept.

A run is four files beside one another: ``PACT.csv`` (power), ``PACT.counters.csv``,
``PACT.regions.csv`` and ``PACT.json`` (the manifest). The power file is locked by the sampler as
long as it writes, so a lock is never stale: it goes with its owner.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pactmeter.errors import FileError
from pactmeter.store.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of one run."""

    power: Path

    @property
    def counters(self) -> Path:
        """Counter rows."""
        return self._beside(".counters.csv")

    @property
    def regions(self) -> Path:
        """Calls and regions."""
        return self._beside(".regions.csv")

    @property
    def manifest(self) -> Path:
        """What was measured, how and when."""
        return self._beside(".json")

    @property
    def all(self) -> tuple[Path, ...]:
        """All four, the power file first."""
        return (self.power, self.counters, self.regions, self.manifest)

    def _beside(self, ending: str) -> Path:
        name = self.power.name
        stem = name[:-4] if name.lower().endswith(".csv") else name
        return self.power.with_name(stem + ending)

    def with_suffix(self, suffix: str) -> RunFiles:
        """Return the files with ``suffix`` put behind the stem: ``PACT.csv`` -> ``PACT-2.csv``."""
        name = self.power.name
        stem, ending = (name[:-4], name[-4:]) if name.lower().endswith(".csv") else (name, "")
        return RunFiles(self.power.with_name(f"{stem}{suffix}{ending}"))


def is_live(power: Path) -> bool:
    """Return whether a sampler is writing to this run now (it holds the file's lock)."""
    try:
        fd = os.open(power, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def claim(wanted: RunFiles) -> tuple[RunFiles, int]:
    """Create the power file of a new run and lock it; keep whatever lies there already.

    An earlier run of that name is renamed with its own start time; the file of a run that is
    still being written is left alone, and ``-2``, ``-3``, ... is tried.

    Returns:
        The files to use, and the locked descriptor of the (empty) power file.

    Raises:
        FileError: The folder or the file cannot be written.
    """
    try:
        wanted.power.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot create the folder {wanted.power.parent}: {error.strerror}",
            "name a 'tracker_file_name' in a folder you may write to",
        ) from error
    for number in range(1, 1000):
        files = wanted if number == 1 else wanted.with_suffix(f"-{number}")
        fd = _create_locked(files)
        if fd is not None:
            return files, fd
    raise FileError(f"a thousand runs are writing to {wanted.power}", "name another file")


def _create_locked(files: RunFiles) -> int | None:
    """Return the new file's locked descriptor, or None where a live run holds the name."""
    while True:
        if is_live(files.power):
            return None
        _set_aside(files)
        try:
            # O_EXCL: of two programs that come at once, one creates it and the other looks again
            fd = os.open(files.power, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise FileError(
                f"cannot write {files.power}: {error.strerror}",
                "name a 'tracker_file_name' in a folder you may write to",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # seen by `is_live` of another program for a moment
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # set aside between creation and lock: begin again


def _set_aside(files: RunFiles) -> None:
    """Rename an earlier run's files with its start time; nothing recorded is ever lost."""
    present = [path for path in files.all if path.exists()]
    if not present:
        return
    started = _started(files)
    stamp = started.strftime("-%Y%m%dT%H%M%S") + f"{started.microsecond // 1000:03d}"
    aside, attempt = files.with_suffix(stamp), 1
    while any(path.exists() for path in aside.all):
        attempt += 1
        aside = files.with_suffix(f"{stamp}-{attempt}")
    try:
        for old, new in zip(files.all, aside.all, strict=True):
            if old.exists():
                old.rename(new)
    except FileNotFoundError:
        pass  # another program set it aside at the same moment
    except OSError as error:
        raise FileError(
            f"cannot keep the earlier run {files.power} under another name: {error.strerror}",
            "move it away, or name another file",
        ) from error


def _started(files: RunFiles) -> datetime:
    """When the run in these files began (local time), or when its file was last written."""
    try:
        utc_s = float(read_manifest(files.manifest)["clock"]["start"]["utc_s"])
    except (FileError, KeyError, TypeError, ValueError):
        present = next(path for path in files.all if path.exists())
        utc_s = present.stat().st_mtime
    return datetime.fromtimestamp(utc_s).astimezone()
