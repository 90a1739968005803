"""Append-only CSV tables: every row whole on disk, a torn tail repaired on reading."""

from __future__ import annotations

import csv
import os
from itertools import chain, islice
from typing import TYPE_CHECKING, TextIO

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Cell = float | int | str | None
_LINES_AT_ONCE = 1024


def format_cell(value: Cell) -> str:
    """Return a value as it stands in a table: empty where there is none, times to the microsecond.

    >>> format_cell(None), format_cell(0.1 + 0.2), format_cell(7)
    ('', '0.3', '7')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        text = f"{value:.6f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    if isinstance(value, int):
        return str(value)
    if any(mark in value for mark in ',"\n\r'):
        return '"' + value.replace('"', '""') + '"'
    return value


class TableWriter:
    """Appends rows to a CSV file, whole rows or nothing.

    What cannot be written (disk full) is kept and tried again with the next row; only what is
    beyond `MOST_KEPT` bytes, or cannot be written at the end either, is lost and counted in
    `lost_rows`. Nothing is raised while a run goes on.
    """

    MOST_KEPT = 4_000_000

    def __init__(self, fd: int, columns: Sequence[str]) -> None:
        self._fd = fd
        self._size = 0
        self._pending: list[bytes] = []
        self._kept = 0
        self.lost_rows = 0
        self.problem: str | None = None
        """The first error of writing, as text."""
        self.add(columns)
        if self.problem is not None:
            raise FileError(
                f"cannot write the first line: {self.problem}", "free space on the disk"
            )

    @classmethod
    def create(cls, path: Path, columns: Sequence[str]) -> TableWriter:
        """Create the file (which must not exist) and write its header."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error
        return cls(fd, columns)

    def add(self, row: Sequence[Cell]) -> None:
        """Append one row."""
        self.add_rows((row,))

    def add_rows(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Append rows."""
        self.add_text(",".join(map(format_cell, row)) + "\n" for row in rows)

    def add_text(self, texts: Iterable[str]) -> None:
        """Append ready-made lines, one or more in a text."""
        for text in texts:
            data = text.encode()
            if self._kept + len(data) > self.MOST_KEPT:
                self._flush()
            if self._pending and self._kept + len(data) > self.MOST_KEPT:
                self.lost_rows += data.count(b"\n")
                continue
            self._pending.append(data)
            self._kept += len(data)
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pending)
        if not data:
            return
        try:
            written = os.pwrite(self._fd, data, self._size)
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        else:
            reason = "disk full"
        if written == len(data):
            self._size += written
            self._pending.clear()
            self._kept = 0
            return
        self.problem = self.problem or reason
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # the torn tail stays, and reading repairs it

    def close(self) -> None:
        """Write what is pending, if it can be, and close the file (its lock goes with it)."""
        self._flush()
        self.lost_rows += sum(data.count(b"\n") for data in self._pending)
        self._pending.clear()
        os.close(self._fd)


def read_table(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Return the header and the whole rows of a table, which are read as they are asked for.

    A last line without its newline was torn by a crash and is left out; so is a row with another
    number of cells than the header.

    Raises:
        FileError: The file cannot be read or has no header; also while rows are asked for.
    """
    header = next(_rows(path), None)
    if header is None:
        raise FileError(f"{path} is empty")
    return header, islice(_rows(path, len(header)), 1, None)


def _rows(path: Path, cells: int | None = None) -> Iterator[list[str]]:
    """Yield the cells of each whole line, of lines with another number of cells none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(chain.from_iterable(_whole_lines(file))):
                if cells is None or len(row) == cells:
                    yield row
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} is not a table of PACT") from error


def _whole_lines(file: TextIO) -> Iterator[list[str]]:
    while lines := list(islice(file, _LINES_AT_ONCE)):
        if not lines[-1].endswith("\n"):
            lines.pop()
        yield lines
