"""Marks on their way to a run: shared memory that outlives the process that writes it.

A process marks regions into a chunk, a file of `SIZE` bytes in a folder of shared memory that the
sampler makes for its run. The memory is taken before the chunk is used, so that neither a full
disk nor a full memory can hurt who marks; it needs no system call a mark, and keeps what was
marked whichever way the process ends. The writer (`session.marks`) holds a lock on its chunk; one
without a lock is finished.

A chunk is a header, then names (length, UTF-8), then slots of one mark each. A slot counts once
its last field is set: the place of its name, which is written last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pactmeter.clock import now_s
from pactmeter.store.table import format_cell

MEMORY = Path("/dev/shm")  # noqa: S108  memory, where every writer has its own locked files
SIZE = 1 << 17
NAMES_AT = 64
SLOTS_AT = 1 << 14
HEADER = struct.Struct("<8sQ")
"""What the file is, and how many marks its process could not record so far."""
MAGIC = b"PACTmrk1"
LENGTH = struct.Struct("<H")
SLOT = struct.Struct("<qqqII")
"""Start and end (ns on CLOCK_MONOTONIC), index, thread, place of the name (0: not yet a mark)."""
SLOTS = (SIZE - SLOTS_AT) // SLOT.size
NO_INDEX = -(1 << 63)
LONGEST_NAME = 200
"""Characters of a region's name that are kept."""
_KEPT_S = 86_400.0
"""How long what a dead sampler has left is kept for readers of its run."""
_HOLE_S = 1.0
"""A slot that is still empty after this long was taken by a thread that will not fill it."""
_TICK_NS = 50_000_000
"""Files made within a tick of the kernel's coarse clock (10 ms at most) have the same time."""


class Mark(NamedTuple):
    """One region that has ended."""

    start_ns: int
    end_ns: int
    name: str
    number: int | None
    tid: int

    def line(self, zero_s: float) -> str:
        """Return the mark as a line of ``PACT.regions.csv``."""
        zero_ns = round(zero_s * 1e9)
        start, end = (f"{(t - zero_ns) / 1e9:.6f}" for t in (self.start_ns, self.end_ns))
        index = "" if self.number is None else self.number
        return f"{start},{end},{format_cell(self.name)},{index},{self.tid}\n"


def printable(name: str) -> str:
    r"""Return a name as it is recorded: one line, cut, whatever cannot be printed a space.

    >>> printable("a\nb")
    'a b'
    """
    name = name[:LONGEST_NAME]
    return name if name.isprintable() else "".join(c if c.isprintable() else " " for c in name)


def marks_left(folder: Path) -> list[Mark]:
    """Return all marks in a folder, taken into the run or not; none where it is gone."""
    found: list[Mark] = []
    for path in _chunks(folder):
        with contextlib.suppress(OSError, struct.error):
            data = path.read_bytes()
            names = _names(data)
            slots = SLOT.iter_unpack(data[SLOTS_AT:SIZE])
            found += [_mark(slot, names) for slot in slots if slot[-1] in names]
    return found


@dataclass(slots=True)
class _Progress:
    """How far one chunk has been taken in."""

    slot: int = 0
    hole_since_s: float | None = None


class SpoolReader:
    """Takes the marks of a run out of its folder, each once, and removes what is finished."""

    def __init__(self, folder: Path | None, lock_fd: int | None = None) -> None:
        self.folder = folder
        self._lock_fd = lock_fd
        self._progress: dict[str, _Progress] = {}
        self._empty_ns = 0
        """When the folder had last changed when it was found empty, if that was a while before."""
        self._lost: dict[str, int] = {}

    @classmethod
    def create(cls) -> SpoolReader:
        """Make the folder for one run and lock it; without shared memory there is none."""
        _sweep()
        folder = MEMORY / f"pactmeter-{os.getpid()}-{time.monotonic_ns():x}"
        beside = folder.with_name(f".{folder.name}")
        try:
            beside.mkdir(mode=0o700)
            lock_fd = os.open(beside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beside.rename(folder)
        except OSError:
            return cls(None)
        return cls(folder, lock_fd)

    @property
    def lost(self) -> int:
        """Marks that could not be recorded, as far as their processes could tell."""
        return sum(self._lost.values())

    def take(self, most: int | None = None, *, final: bool = False) -> list[Mark]:
        """Return marks that were not returned before.

        Args:
            most: About how many at most, so that whoever reads is not kept for long.
            final: Take also what a living process has in its chunk, and remove all.
        """
        found: list[Mark] = []
        for path in self._chunks():
            if most is not None and len(found) >= most:
                break
            with contextlib.suppress(OSError, struct.error):  # gone or cut: another's doing
                found += self._take(path, final=final)
        return found

    def _chunks(self) -> list[Path]:
        """Return the chunks; nothing is listed while the folder stays as it was when empty."""
        if self.folder is None:
            return []
        try:
            changed_ns = os.stat(self.folder).st_mtime_ns  # noqa: PTH116  once a second
            if changed_ns == self._empty_ns:
                return []
            if not os.listdir(self.folder):  # noqa: PTH208
                quiet = time.time_ns() - changed_ns > _TICK_NS
                self._empty_ns = changed_ns if quiet else 0
        except OSError:
            return []
        return _chunks(self.folder)

    def remove(self) -> None:
        """Remove the folder: who still marks finds it gone, and stops."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                path.unlink(missing_ok=True)
            self.folder.rmdir()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _take(self, path: Path, *, final: bool) -> list[Mark]:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            over = final or _is_free(fd)
            seen = os.pread(fd, SIZE, 0)
            # what was set in the first reading is whole in the second, on every processor
            data = os.pread(fd, SIZE, 0)
        finally:
            os.close(fd)
        magic, lost = HEADER.unpack_from(data)
        if magic == MAGIC:
            writer = path.name.partition("-")[0]
            self._lost[writer] = max(lost, self._lost.get(writer, 0))
        progress = self._progress.setdefault(path.name, _Progress())
        names, found = _names(data), []
        at = SLOTS_AT + progress.slot * SLOT.size
        for first, slot in zip(
            SLOT.iter_unpack(seen[at:]), SLOT.iter_unpack(data[at:]), strict=True
        ):
            if first[-1] in names:
                found.append(_mark(slot, names))
            elif not over and not self._is_to_be_skipped(seen, progress):
                break
            progress.slot, progress.hole_since_s = progress.slot + 1, None
        if over or progress.slot == SLOTS:
            path.unlink(missing_ok=True)
            self._progress.pop(path.name, None)
        return found

    @staticmethod
    def _is_to_be_skipped(data: bytes, progress: _Progress) -> bool:
        """Whether an empty slot is one that will stay so, with marks behind it."""
        at = SLOTS_AT + progress.slot * SLOT.size
        if data.count(0, at) == SIZE - at:  # nothing comes behind it: that is the end
            progress.hole_since_s = None
            return False
        if progress.hole_since_s is None:
            progress.hole_since_s = now_s()
        return now_s() >= progress.hole_since_s + _HOLE_S


def _sweep() -> None:
    """Remove what samplers that were killed have left: at once if it is empty, else after a day."""
    for folder in MEMORY.glob("pactmeter-*"):
        with contextlib.suppress(OSError):  # another user's, or not empty
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if _is_free(fd):
                    if folder.stat().st_uid == os.getuid() and _age_s(folder) > _KEPT_S:
                        for path in list(folder.iterdir()):
                            path.unlink()
                    folder.rmdir()
            finally:
                os.close(fd)


def _age_s(path: Path) -> float:
    return time.time_ns() / 1e9 - path.stat().st_mtime


def _chunks(folder: Path | None) -> list[Path]:
    """The chunks in their order; one whose name begins with a dot is being made."""
    if folder is None:
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _is_free(fd: int) -> bool:
    """Whether the process that wrote here has gone, or has gone on to its next chunk."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _names(data: bytes) -> dict[int, str]:
    """Names by their place."""
    names, place = {}, NAMES_AT
    while place + LENGTH.size < SLOTS_AT:
        (length,) = LENGTH.unpack_from(data, place)
        if not length:
            break
        text = data[place + LENGTH.size : place + LENGTH.size + length]
        names[place] = text.decode("utf-8", "replace")
        place += LENGTH.size + length
    return names


def _mark(slot: tuple[int, ...], names: dict[int, str]) -> Mark:
    start_ns, end_ns, index, tid, place = slot
    return Mark(start_ns, end_ns, names[place], None if index == NO_INDEX else index, tid)
