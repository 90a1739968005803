"""Writes marks of this process into shared memory, from where the run's sampler takes them."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import FileError
from pactmeter.session import cuda
from pactmeter.store import spool
from pactmeter.store.files import RunFiles
from pactmeter.store.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHUNKS = 256
"""Chunks (of 3584 marks, 128 KiB) that may wait for the sampler; marks beyond are counted lost."""
_RETRY_NS = 50_000_000
_pack = spool.SLOT.pack_into


class _Thread(threading.local):
    """The thread's id, which takes a system call to learn."""

    def __init__(self) -> None:
        self.id = threading.get_native_id()


class _Chunk:
    """One chunk of this process; see `store.spool`."""

    __slots__ = ("_names_end", "map", "names", "path", "places")

    def __init__(self, folder: Path, number: int, lost: int) -> None:
        """Make it: under another name until it is locked, or its reader would think it finished.

        Raises:
            OSError: The folder is gone, or the memory is full.
        """
        self.path = folder / f"{os.getpid()}-{number:09d}"
        beside = folder / f".{self.path.name}"
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, spool.SIZE)
            self.map = mmap.mmap(fd, spool.SIZE)  # holds the file open, and so the lock
            spool.HEADER.pack_into(self.map, 0, spool.MAGIC, lost)
            beside.rename(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self.names: dict[str, int] = {}
        self._names_end = spool.NAMES_AT
        self.places: Iterator[int] = iter(range(spool.SLOTS_AT, spool.SIZE, spool.SLOT.size))

    def add_name(self, name: str) -> bool:
        """Write a name; return False where there is no room for it."""
        data = spool.printable(name).encode("utf-8", "replace")
        place = self._names_end
        end = place + spool.LENGTH.size + len(data)
        if end > spool.SLOTS_AT:
            return False
        self.map[place + spool.LENGTH.size : end] = data
        spool.LENGTH.pack_into(self.map, place, len(data))
        self._names_end = end
        self.names[name] = place
        return True


class Spool:
    """Where the marks of this process go for one run. Never raises, never blocks for long."""

    def __init__(self, power: str, born_ns: int = 0) -> None:
        self.power = power
        self._born_ns = born_ns
        self._lock = threading.RLock()  # a signal handler may mark while its thread holds it
        self._thread = _Thread()
        self._chunk: _Chunk | None = None
        self._last: _Chunk | None = None
        self._full: list[Path] = []
        self._number = 0
        self._lost = 0
        self._retry_ns = 0
        self._folder: Path | None = None
        self._is_over = self._told = False
        self._sync: bool | None = None

    def mark(self, name: str, index: int, start_ns: int, end_ns: int) -> None:
        """Record a region; one that began before this process was forked is its parent's."""
        if start_ns < self._born_ns:
            return
        chunk = self._chunk or self._next(None)
        while chunk is not None:
            try:
                at = chunk.names[name]
                _pack(chunk.map, next(chunk.places), start_ns, end_ns, index, self._thread.id, at)
            except KeyError:
                with self._lock:
                    known = name in chunk.names or chunk.add_name(name)
                if not known:
                    chunk = self._next(chunk)
            except StopIteration:
                chunk = self._next(chunk)
            else:
                return

    def synchronize(self) -> None:
        """Wait for CUDA where it is up and the run's settings allow it."""
        if self._sync is None:
            self._find()
        if self._sync and not self._is_over:
            cuda.synchronize()

    def _find(self) -> None:
        """Learn from the run's manifest where its marks go."""
        path = RunFiles(Path(self.power)).manifest
        try:
            manifest = read_manifest(path)
        except FileError:  # perhaps it is being written on a full disk: then it can be read later
            self._is_over = not path.exists()
            return
        self._sync = bool(manifest.get("config", {}).get("sync", True))
        folder = manifest.get("marks")
        if folder is None:
            self._is_over = True
            self._tell(f"there is no memory in {spool.MEMORY}")
        else:
            self._folder = Path(folder)

    def _next(self, used: _Chunk | None) -> _Chunk | None:
        """Return the chunk to use after one that is full; None where the mark is lost."""
        with self._lock:
            if self._is_over:
                return None
            if self._chunk is not used:
                return self._chunk
            if used is not None:
                self._full.append(used.path)
            self._chunk = None
            now_ns = time.monotonic_ns()
            if now_ns >= self._retry_ns:
                self._chunk = self._new()
            if self._chunk is None:
                self._lost += 1
                if self._last is not None:  # where the sampler will see it
                    spool.HEADER.pack_into(self._last.map, 0, spool.MAGIC, self._lost)
                if now_ns >= self._retry_ns:
                    self._retry_ns = now_ns + _RETRY_NS
            return self._chunk

    def _new(self) -> _Chunk | None:
        if self._folder is None:
            self._find()
        self._full = [path for path in self._full if path.exists()]
        if self._folder is None or len(self._full) >= MOST_CHUNKS:
            return None
        try:
            chunk = _Chunk(self._folder, self._number, self._lost)
        except FileNotFoundError:  # the run has ended
            self._is_over = True
        except OSError as error:  # no memory, no descriptor: perhaps there is one later
            self._tell(error.strerror or str(error))
        else:
            self._number += 1
            self._last = chunk
            return chunk
        return None

    def _tell(self, why: str) -> None:
        """Say once that marks are lost; those of a chunk that was had are in the run's report."""
        if not self._told and self._last is None:
            from pactmeter.session.run import warn

            self._told = True
            warn(f"PACT: regions are not recorded for now: {why}")
