"""The exporters there are.

An exporter of this package is one line in `BUILT_IN`; one of another package is an entry point of
the group ``pactmeter.exporters`` that loads to an `Exporter` and is called as the entry point is.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING

from pactmeter.errors import PactError, unknown_name

if TYPE_CHECKING:
    from pactmeter.export.base import Exporter

BUILT_IN = {
    "original": "pactmeter.export.original",
    "long": "pactmeter.export.long",
    "parquet": "pactmeter.export.parquet",
    "hdf5": "pactmeter.export.hdf5",
    "trace": "pactmeter.export.trace",
    "latex": "pactmeter.export.latex",
}
"""Modules of the exporters by name; another package's of the same name is not asked."""

ENTRY_POINTS = "pactmeter.exporters"


def names() -> list[str]:
    """Return the names of all exporters, those of this package first."""
    others = {entry.name for entry in metadata.entry_points(group=ENTRY_POINTS)}
    return [*BUILT_IN, *sorted(others - BUILT_IN.keys())]


def find(name: str) -> Exporter:
    """Return the exporter of a name.

    Raises:
        ConfigError: There is none of that name; names the nearest.
        PactError: That of another package cannot be loaded.
    """
    if name in BUILT_IN:
        exporter: Exporter = importlib.import_module(BUILT_IN[name])
        return exporter
    entry = next(iter(metadata.entry_points(group=ENTRY_POINTS, name=name)), None)
    if entry is None:
        raise unknown_name("format", name, names(), fix=f"one of: {', '.join(names())}")
    try:
        loaded: Exporter = entry.load()
    except Exception as error:  # what another package raises is not known
        raise PactError(
            f"the exporter {name!r} ({entry.value}) cannot be loaded: {error}",
            "repair or remove the package that brings it",
        ) from error
    if not callable(getattr(loaded, "write", None)):
        raise PactError(f"the exporter {name!r} ({entry.value}) has no function 'write'")
    return loaded
