"""The manifest (``PACT.json``): replaced as a whole, so a reader never sees half of one."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
_ROOM = 4096


def write_manifest(path: Path, data: dict[str, Any]) -> None:
    """Write the manifest beside its place and move it there.

    Room is kept at the end of each, so that on a full disk it can still be changed in place.

    Raises:
        OSError: It cannot be written; the manifest before it stays.
    """
    text = json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_bytes(text + b" " * _ROOM + b"\n")
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if not _change_in_place(path, text):
            raise


def _change_in_place(path: Path, text: bytes) -> bool:
    """Write over the manifest if it fits into the room it has; return whether it did."""
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if len(text) > size:
                return False
            file.seek(0)
            file.write(text + b" " * (size - len(text)))
    except OSError:
        return False
    return True


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest.

    Raises:
        FileError: It is not there, or is not a manifest.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(f"no manifest {path}", "give the run's power file, as PACT.csv") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"cannot read the manifest {path}: {error}") from error
    if not isinstance(data, dict) or not _is_whole(data):
        raise FileError(f"{path} is not a manifest of PACT")
    if data["schema"] > SCHEMA:
        raise FileError(
            f"{path} was written by a newer PACT (schema {data['schema']})", "upgrade pactmeter"
        )
    return data


def _is_whole(data: dict[str, Any]) -> bool:
    return isinstance(data.get("schema"), int) and isinstance(data.get("calls", 0), int)
