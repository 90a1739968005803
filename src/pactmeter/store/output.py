"""Write what was asked for into a file: all of it or nothing, and nothing over what is there."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def require_free(out: Path, *, force: bool = False, keep: Sequence[Path] = ()) -> None:
    """Refuse a file that may not be written: said before the work, not after it.

    Args:
        out: The file.
        force: Whether what is there may be written over.
        keep: Files that may not even then: those of the run itself.

    Raises:
        FileError: It is there, or is no plain file.
    """
    try:
        found = out.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise FileError(f"{out} is there and is no plain file", "name another file")
        own = next((one for one in keep if one.exists() and one.samefile(out)), None)
    except FileNotFoundError:
        return
    except OSError as error:  # as of a name that is too long
        raise FileError(f"cannot write {out}: {error.strerror}", "name another file") from error
    if own is not None:
        raise FileError(f"{out} is what this is made from", "name another file")
    if not force:
        raise FileError(f"{out} is there already", "--force to write over it, or name another")


def save(
    out: Path, write: Callable[[Path], object], *, force: bool = False, keep: Sequence[Path] = ()
) -> list[Path]:
    """Write a file, and those that belong beside it; return them, the one named first.

    Args:
        out: The file; its folder must be there.
        write: Writes the file it is given, in an empty folder; whatever else it writes there goes
            where the file goes.
        force: Whether files that are there are written over.
        keep: Files that are not even then.

    Raises:
        FileError: A file is there already, or cannot be written.
    """
    out = out.absolute()
    require_free(out, force=force, keep=keep)
    try:
        folder = Path(tempfile.mkdtemp(prefix=".pactmeter-", dir=out.parent))
    except OSError as error:
        raise FileError(
            f"cannot write into the folder {out.parent}: {error.strerror}",
            "name a file in a folder that is there and that you may write to",
        ) from error
    try:
        write(folder / out.name)
        made = sorted(folder.iterdir(), key=lambda path: (path.name != out.name, path.name))
        for path in made:
            require_free(out.with_name(path.name), force=force, keep=keep)
        return [_put(path, out.with_name(path.name), force=force) for path in made]
    except OSError as error:
        raise FileError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(made: Path, out: Path, *, force: bool) -> Path:
    """Move a file to its place; what another program put there meanwhile is kept too."""
    if force:
        made.replace(out)
        return out
    try:
        os.link(made, out)
    except FileExistsError as error:
        raise FileError(
            f"{out} is there already", "--force to write over it, or name another"
        ) from error
    except OSError:  # a file system without links
        made.rename(out)
    return out
