"""What text is shown on: a terminal with its width and colours, or a pipe that has neither."""

from __future__ import annotations

import os
import shutil
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

INDENT = 10
"""Width of the first column, which says what a line tells of."""
_LEAST_WIDTH = 40


class Style(StrEnum):
    """How a line looks, as the sequence that begins it (ECMA-48, SGR)."""

    PLAIN = ""
    BOLD = "\x1b[1m"
    WARN = "\x1b[33m"


def cut(name: str, most: int) -> str:
    r"""Return a name as a cell of a table: one line, not longer than so many letters.

    >>> cut("a\nb", 9), cut("x" * 99, 9)
    ('a b', 'xxxx…xxxx')
    """
    if len(name) > most:
        name = f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"
    return "".join(letter if letter.isprintable() else " " for letter in name)


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen.

    Attributes:
        width: Columns; None: lines may be as long as they are.
        is_coloured: Whether colours are shown and wanted.
    """

    width: int | None = None
    is_coloured: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Screen:
        """Return what a stream writes to; ``NO_COLOR`` (no-color.org) and ``TERM=dumb`` count."""
        if stream is None or not stream.isatty():
            return cls()
        width = max(_LEAST_WIDTH, shutil.get_terminal_size().columns)
        is_coloured = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(width, is_coloured)

    def lines(self, line: str, style: Style = Style.PLAIN) -> Iterator[str]:
        """Yield a line as it is shown: in several where it is too long.

        >>> list(Screen(30).lines("files     a/long/folder with/PACT.csv"))
        ['files     a/long/folder', '          with/PACT.csv']
        """
        line = "".join(letter if letter.isprintable() else " " for letter in line)
        shown = [line]
        if self.width is not None and len(line) > self.width:
            shown = textwrap.wrap(line, self.width, subsequent_indent=" " * INDENT)
        for part in shown:
            yield f"{style}{part}\x1b[0m" if style and self.is_coloured else part
