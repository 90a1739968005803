"""Draw a picture and write its file, whole or not at all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from pactmeter.errors import ConfigError, unknown_name
from pactmeter.report.plots import KINDS
from pactmeter.report.plots.style import RC
from pactmeter.store.output import require_free, save

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from pactmeter.report.plots.asked import Asked

# without the day, so that one run gives one file
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


def make(kind: str, asked: Asked, output: Path, *, force: bool = False) -> None:
    """Draw a picture of a kind and write it.

    Args:
        kind: One of `KINDS`.
        asked: What is to be drawn.
        output: The file: ``.png``, ``.pdf`` or ``.svg``.
        force: Whether an earlier file may be written over.

    Raises:
        ConfigError: There is no such kind, or no such format.
        FileError: The file is there already (unless forced), or cannot be written.
        PactError: The files do not hold what is to be drawn.
    """
    if kind not in KINDS:
        raise unknown_name("kind of picture", kind, KINDS)
    form = output.suffix.lower()
    if form not in _METADATA:
        raise ConfigError(f"{output} names no picture", "let its name end in .png, .pdf or .svg")
    require_free(output, force=force)
    module = importlib.import_module(f"pactmeter.report.plots.{kind.replace('-', '_')}")
    with mpl.rc_context():
        mpl.rcdefaults()  # what a user has set for other pictures is not for these
        mpl.rcParams.update(RC)
        figure: Figure = module.draw(asked)
        save(
            output,
            lambda path: figure.savefig(path, format=form[1:], metadata=_METADATA[form]),
            force=force,
        )
