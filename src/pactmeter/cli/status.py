"""What a command says while a run goes on, on standard error."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.session.run import say

if TYPE_CHECKING:
    from pactmeter.store.files import RunFiles

PERIOD_S = 1.0
_TAIL_BYTES = 65536


def tell(text: str) -> None:
    """Say a line in the name of the command line; what a run says for `PACT` too."""
    say(f"pactmeter: {text.removeprefix('PACT: ')}")


class StatusLine:
    """Shows the last row of the power file once a second: on a terminal, never in a pipe.

    It reads the file, never the sampler.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._shown = False
        self._start_s = now_s()
        self._last_s = self._start_s
        try:
            self._on = os.isatty(2) and os.environ.get("TERM") != "dumb"
        except OSError:
            self._on = False

    @property
    def period_s(self) -> float:
        """How long to wait at most before the next `show`; long where nothing is shown."""
        return PERIOD_S if self._on else 3600.0

    def show(self) -> None:
        """Write the line if a second has gone by."""
        if not self._on or now_s() < self._last_s + PERIOD_S:
            return
        self._last_s = now_s()
        text = f"PACT {self._last_s - self._start_s:.0f} s{self._power()}"
        width = shutil.get_terminal_size().columns - 1
        self._write(f"\r\x1b[K{text[:width]}")
        self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            os.write(2, text.encode())
        except OSError:  # the terminal has gone; the command goes on
            self._on = False

    def _power(self) -> str:
        """The channels' power in the last whole row, as text."""
        try:
            with self._files.power.open("rb") as table:
                header = table.readline().decode().rstrip("\n").split(",")
                table.seek(max(table.tell(), os.fstat(table.fileno()).st_size - _TAIL_BYTES))
                rows = table.read().decode().split("\n")[:-1]
        except (OSError, UnicodeDecodeError):
            return ""
        cells = rows[-1].split(",") if rows else []
        if len(cells) != len(header):
            return ""
        row = dict(zip(header, cells, strict=True))
        shown = [
            f"  {name.removesuffix('_w')} {float(row[name]):.0f} W {float(row[total]):.0f} J"
            for name in header
            if (total := name.removesuffix("_w") + "_j") in row
            and row[name]
            and row[total]
            and name != total
        ]
        return "".join(shown) or "  no power source"
