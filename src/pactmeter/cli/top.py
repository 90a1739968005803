"""Follow a running run from its files, once a second: what each source and event says now.

On a terminal a block that is drawn again, in a pipe a line for each new row. It ends with the run;
Ctrl-C leaves it and the run goes on. No uncertainty is told before the end: `pactmeter report` is
for that.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.report.top import Follower, block, head, line
from pactmeter.store.files import RunFiles

if TYPE_CHECKING:
    import argparse

    from pactmeter.report.top import View

NAME = "top"
HELP = "follow a running run"
PERIOD_S = 1.0


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", help="the run's power file, as PACT.csv")


def run(args: argparse.Namespace) -> int:
    """Show the run until it ends."""
    files = RunFiles(Path(args.file).absolute())
    follower = Follower(files)
    shown = 0
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    due_s = now_s()
    while True:
        view = follower.look()
        is_over = view.status not in {"starting", "running"}
        if is_terminal:
            shown = _draw(files, view, shown)
        elif view.is_new:
            _write(f"{line(view)}\n")
        if is_over:
            if not is_terminal:
                _write(f"{head(files, view)}\n")
            return 0
        # a machine that was asleep meanwhile shows the next second, not all it has missed
        due_s = max(due_s + PERIOD_S, now_s())
        time.sleep(max(0.0, due_s - now_s()))


def _draw(files: RunFiles, view: View, shown: int) -> int:
    """Draw the block in place of the one before, of so many lines; return its own number."""
    size = shutil.get_terminal_size()
    lines = block(files, view, size.columns - 1, size.lines - 1)
    up = f"\x1b[{min(shown, size.lines - 1)}A" if shown else ""
    _write(up + "".join(f"\r\x1b[K{text}\n" for text in lines) + "\x1b[J")
    return len(lines)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
