"""The manifest (``PACT.json``): replaced as a whole, so a reader never sees half of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1


def write_manifest(path: Path, data: dict[str, Any]) -> None:
    """Write the manifest beside its place and move it there; raises `OSError`."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # a full disk keeps the manifest before this one
        raise


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest.

    Raises:
        FileError: It is not there, or is not a manifest.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileError(f"no manifest {path}", "give the run's power file, as PACT.csv") from error
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read the manifest {path}: {error}") from error
    if not isinstance(data, dict) or "schema" not in data:
        raise FileError(f"{path} is not a manifest of PACT")
    if data["schema"] > SCHEMA:
        raise FileError(
            f"{path} was written by a newer PACT (schema {data['schema']})", "upgrade pactmeter"
        )
    return data
