"""Where a run's files lie, and how an earlier run's are kept.

A run is four files beside one another: ``PACT.csv`` (power), ``PACT.counters.csv``,
``PACT.regions.csv`` and ``PACT.json`` (the manifest). The power file is locked by the sampler as
long as it writes, so a lock is never stale: it goes with its owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pactmeter.errors import FileError
from pactmeter.store.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    def namesakes(self) -> tuple[Path, ...]:
        """Power files of other names that have the same sidecars: ``run`` and ``run.csv``."""
        stem = self.manifest.with_suffix("")
        names = {stem.name, stem.name + ".csv", stem.name + ".CSV"} - {self.power.name}
        return tuple(stem.with_name(name) for name in sorted(names))

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


def short_path(path: str | os.PathLike[str]) -> str:
    """Return a path relative to the working directory where it lies below it."""
    try:
        relative = os.path.relpath(path)
    except OSError:  # the working directory has been deleted
        return os.fspath(path)
    return os.fspath(path) if relative.startswith("..") else relative


def is_live(power: Path) -> bool:
    """Return whether a sampler is writing to this run now (it holds the file's lock)."""
    try:
        fd = os.open(power, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
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
    with _claiming(wanted.power.parent):
        for number in range(1, 1000):
            files = wanted if number == 1 else wanted.with_suffix(f"-{number}")
            if not _is_taken(files):
                _set_aside(files)
                return files, _create_locked(files.power)
    raise FileError(f"a thousand runs are writing to {wanted.power}", "name another file")


@contextlib.contextmanager
def _claiming(folder: Path) -> Iterator[None]:
    """Let one program at a time look for a name in this folder (the folder itself is locked)."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(
            f"cannot use the folder {folder}: {error.strerror}",
            "name a 'tracker_file_name' in a folder you may write to",
        ) from error
    try:
        # a claim takes a millisecond; a lock held longer is somebody else's and no reason to wait
        for _ in range(100):
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _is_taken(files: RunFiles) -> bool:
    """Whether a run is being written here, or the sidecars are those of another power file."""
    if any(map(is_live, (files.power, *files.namesakes))):
        return True
    try:
        owner = read_manifest(files.manifest)["used"]["file"]
    except (FileError, KeyError, TypeError):
        return False
    return any(str(one) == owner and _exists(one) for one in files.namesakes)


def _create_locked(power: Path) -> int:
    """Return the new file's locked descriptor."""
    try:
        fd = os.open(power, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FileError(
            f"cannot write {power}: {error.strerror}",
            "name a 'tracker_file_name' in a folder you may write to",
        ) from error
    with contextlib.suppress(OSError):  # a file system without locks: the run is not protected
        fcntl.flock(fd, fcntl.LOCK_EX)  # at most a reader's glance to wait for
    return fd


def _set_aside(files: RunFiles) -> None:
    """Rename an earlier run's files with its start time; nothing recorded is ever lost."""
    if not any(map(_exists, files.all)):
        return
    started = _started(files)
    stamp = started.strftime("-%Y%m%dT%H%M%S") + f"{started.microsecond // 1000:03d}"
    aside, attempt = files.with_suffix(stamp), 1
    while any(map(_exists, aside.all)):
        attempt += 1
        aside = files.with_suffix(f"{stamp}-{attempt}")
    try:
        for old, new in zip(files.all, aside.all, strict=True):
            if _exists(old):
                old.rename(new)
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
        present = next(filter(_exists, files.all))
        utc_s = present.stat().st_mtime
    return datetime.fromtimestamp(utc_s).astimezone()


def _exists(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is not."""
    try:
        path.lstat()
    except OSError:
        return False
    return True
