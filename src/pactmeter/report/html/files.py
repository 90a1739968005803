"""The raw files that a page was made from, told apart by name or path, with their hashes."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class RawFile(NamedTuple):
    """A file as it was when the page was made.

    Attributes:
        path: Where it lies.
        size: Its length in bytes.
        sha256: Its hash, in hexadecimal.
    """

    path: Path
    size: int
    sha256: str


def hashes(paths: Iterable[Path]) -> list[RawFile]:
    """Return those files that are there, with size and SHA-256.

    Raises:
        FileError: One cannot be read.
    """
    told = []
    for path in paths:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                told.append(RawFile(path, file.tell(), digest))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileError(f"cannot read {path}: {error.strerror}") from error
    return told


def apart(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what tells files apart: their names, in several folders with what differs of these.

    >>> from pathlib import Path
    >>> list(apart([Path("/a/one/PACT.csv"), Path("/a/two/PACT.csv")]).values())
    ['one/PACT.csv', 'two/PACT.csv']
    """
    known = list(paths)
    if not known:
        return {}
    folder = os.path.commonpath([path.parent.absolute() for path in known])
    return {path: path.absolute().relative_to(folder).as_posix() for path in known}
