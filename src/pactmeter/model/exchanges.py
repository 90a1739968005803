"""Recorded USB traffic of a power supply: its file, and the exchanges in it.

A CSV with the columns ``t_s,direction,report_hex``: seconds, ``out`` to the supply or ``in`` from
it, and the report without its trailing zeros. Above the header line may stand comment lines such
as ``# model: 1b1c:1c0d``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError, FileError
from pactmeter.model import psu

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

COLUMNS = "t_s,direction,report_hex"
REPORT_BYTES = 64

_LINE = re.compile(
    r"(?P<t_s>-?[0-9]+(?:\.[0-9]+)?),(?P<direction>out|in),(?P<report>(?:[0-9a-f]{2})*)",
    re.IGNORECASE,
)
_HANDSHAKE = b"\xfe\x03"
_NZXT_REQUEST, _NZXT_REPLY = 0xAD, 0xAA
_NZXT_DEFAULT = "7793:2500"
_RECORD_AGAIN = "record it again, or use a recording of `pactmeter`"


@dataclass(frozen=True, slots=True)
class Report:
    """One report on the wire.

    Attributes:
        t_s: When, in seconds; the zero is the recording's own.
        is_out: Whether it went to the supply.
        data: The report, at least 64 bytes where it was read from a file.
    """

    t_s: float
    is_out: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what came before the next one.

    Attributes:
        t_s: When it was sent, in seconds.
        request: The report sent.
        replies: The reports that came, each with its time in seconds.
    """

    t_s: float
    request: bytes
    replies: tuple[tuple[float, bytes], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file of recorded traffic holds.

    Attributes:
        reports: In the order of their times.
        header: What its comment lines say, by key.
        note: What was left out of it, if anything was.
    """

    reports: tuple[Report, ...]
    header: dict[str, str] = field(default_factory=dict)
    note: str | None = None


def read_reports(path: Path) -> Recording:
    """Return the traffic recorded in a file.

    A last line without an end is what a crash leaves; it is left out, with a note.

    Raises:
        FileError: It cannot be read, or is no such file.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            return _parsed(path, lines)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is no recording of PSU traffic: not text", _RECORD_AGAIN
        ) from error


def exchanges(reports: Iterable[Report]) -> list[Exchange]:
    """Return the exchanges in recorded traffic; what came before the first request is left out."""
    made: list[Exchange] = []
    request: Report | None = None
    replies: list[tuple[float, bytes]] = []
    for report in reports:
        if not report.is_out:
            replies.append((report.t_s, report.data))
            continue
        if request is not None:
            made.append(Exchange(request.t_s, request.data, tuple(replies)))
        request, replies = report, []
    if request is not None:
        made.append(Exchange(request.t_s, request.data, tuple(replies)))
    return made


def model_of(reports: Sequence[Report], header: Mapping[str, str]) -> psu.PsuModel:
    """Return the model that was recorded: by the header, else by what it says of itself.

    Supplies of NZXT do not say; without a header theirs is taken for that of an E850.

    Raises:
        FileError: It cannot be told, or PACT does not know it.
    """
    name = header.get("model") or _own_name(reports)
    if not name:
        raise FileError("the recording does not say of which PSU it is", _model_fix())
    try:
        return psu.match(name).model
    except ConfigError as error:
        raise FileError(
            f"the recording is of a PSU PACT does not know: {name!r}", _model_fix()
        ) from error


class Writer:
    """Appends traffic to a new file, line by line, so that a crash costs one line at most."""

    def __init__(self, path: Path, header: Mapping[str, str] | None = None) -> None:
        """Make the file.

        Raises:
            FileError: It exists already, or cannot be made.
        """
        self._path = path
        self._broken = False
        lines = [f"# {key}: {value}" for key, value in (header or {}).items()]
        if any(len(line.splitlines()) != 1 for line in lines):
            raise FileError(f"the header of {path} has a line break in a value")
        try:
            # Unbuffered: each line is in the file when `add` returns.
            self._file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise FileError(
                f"{path} exists, and a recording overwrites nothing",
                "give another name, as -o psu2.csv",
            ) from error
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from error
        try:
            self._write("\n".join([*lines, COLUMNS, ""]))
        except FileError:
            self.close()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, report: Report) -> None:
        """Append a report.

        Raises:
            FileError: It cannot be written, or an earlier one could not.
        """
        direction = "out" if report.is_out else "in"
        shown = report.data.rstrip(b"\0") or b"\0"
        self._write(f"{report.t_s:.6f},{direction},{shown.hex()}\n")

    def close(self) -> None:
        """Close the file. Never raises."""
        self._file.close()

    def _write(self, text: str) -> None:
        data = text.encode()
        # After a torn line nothing more: it would make the file unreadable, not just shorter.
        if self._broken:
            raise FileError(f"cannot write {self._path}: an earlier line failed")
        try:
            written = self._file.write(data)
        except (OSError, ValueError) as error:
            self._broken = True
            raise FileError(f"cannot write {self._path}: {error}") from error
        if written != len(data):
            self._broken = True
            raise FileError(f"cannot write {self._path}: the disk is full", "free some space")


def _parsed(path: Path, lines: Iterable[str]) -> Recording:
    numbered = enumerate(lines, 1)
    header = _header(path, numbered)
    reports: list[Report] = []
    same: dict[str, bytes] = {}  # a recording repeats few reports very often
    last_s = -math.inf
    for number, line in numbered:
        if not line.endswith("\n"):
            note = f"line {number} of {path} has no end and was left out: the recording broke off"
            return Recording(tuple(reports), header, note)
        match = _LINE.fullmatch(line.rstrip("\n"))
        if match is None:
            raise FileError(
                f"{path}, line {number}: {line.strip()[:60]!r} is no report",
                f"{COLUMNS}, such as 0.001852,in,03ee4608",
            )
        t_s, text = float(match["t_s"]), match["report"]
        if t_s < last_s:
            raise FileError(
                f"{path}, line {number}: the time {t_s:g} s is before that of the line above",
                "put the lines in order of time",
            )
        last_s = t_s
        if text not in same:
            same[text] = bytes.fromhex(text).ljust(REPORT_BYTES, b"\0")
        reports.append(Report(t_s, match["direction"].lower() == "out", same[text]))
    return Recording(tuple(reports), header)


def _header(path: Path, numbered: Iterator[tuple[int, str]]) -> dict[str, str]:
    """Read up to the line with the column names; return what the comments say."""
    header: dict[str, str] = {}
    where = f"{path} is empty"
    for number, line in numbered:
        where = f"{path}, line {number}"
        text = line.strip()
        if text == COLUMNS and line.endswith("\n"):
            return header
        if not text.startswith("#"):
            break
        key, colon, value = text.lstrip("# ").partition(":")
        if colon:
            header[key.strip()] = value.strip()
    raise FileError(
        f"{where}: no recording of PSU traffic, which has a line {COLUMNS!r}", _RECORD_AGAIN
    )


def _own_name(reports: Sequence[Report]) -> str:
    """Return the name in the reply to the handshake; ids for traffic in NZXT's protocol."""
    for report in reports:
        if not report.is_out and report.data[:2] == _HANDSHAKE:
            return report.data[2:].split(b"\0")[0].decode("ascii", "replace")
    nzxt = any(
        report.data[:1] == bytes((_NZXT_REQUEST if report.is_out else _NZXT_REPLY,))
        for report in reports
    )
    return _NZXT_DEFAULT if nzxt else ""


def _model_fix() -> str:
    return "write as its first line '# model: 1b1c:1c1f' with the ids that `lsusb` shows"
