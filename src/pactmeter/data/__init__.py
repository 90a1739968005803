"""Reference tables; each file names its source and licence in its first lines."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO


def open_table(name: str) -> TextIO:
    """Open a packaged table for reading; lines that start with ``#`` are comments."""
    return (Path(__file__).parent / name).open(encoding="utf-8")
