"""Write an export: all of it or nothing, and nothing over what is there."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import FileError, PactError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.export.base import Exporter


def save(
    run: RecordedRun,
    exporter: Exporter,
    out: Path,
    *,
    force: bool = False,
    write: Callable[[RecordedRun, Path], None] | None = None,
) -> list[Path]:
    """Export a run and return the files written, the one named first.

    Args:
        run: The run.
        exporter: How.
        out: The file to write; its folder must be there.
        force: Whether files that are there are written over; those of the run never are.
        write: What writes, instead of the exporter's own ``write``.

    Raises:
        FileError: A file is there already, or cannot be written.
        PactError: A package is missing.
    """
    out = out.absolute()
    _check(out, run, force=force)  # said before the work, not after it
    try:
        folder = Path(tempfile.mkdtemp(prefix=".pactmeter-", dir=out.parent))
    except OSError as error:
        raise FileError(
            f"cannot write into the folder {out.parent}: {error.strerror}",
            "name a file in a folder that is there and that you may write to",
        ) from error
    try:
        (write or exporter.write)(run, folder / out.name)
        made = sorted(folder.iterdir(), key=lambda path: (path.name != out.name, path.name))
        for path in made:
            _check(out.with_name(path.name), run, force=force)
        return [_put(path, out.with_name(path.name), force=force) for path in made]
    except ImportError as error:
        extra = getattr(exporter, "EXTRA", None)
        raise PactError(
            f"the format {exporter.NAME!r} needs {error.name or error}",
            f"pip install 'pactmeter[{extra}]'" if extra else None,
        ) from error
    except OSError as error:
        raise FileError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(out: Path, run: RecordedRun, *, force: bool) -> None:
    """Refuse to write over a file of the run, what is no file, and, not forced, what is there."""
    try:
        found = out.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise FileError(f"{out} is there and is no plain file", "name another file")
        own = next((one for one in run.files.all if one.exists() and one.samefile(out)), None)
    except FileNotFoundError:
        return
    except OSError as error:  # as of a name that is too long
        raise FileError(f"cannot write {out}: {error.strerror}", "name another file") from error
    if own is not None:
        raise FileError(f"{out} is part of the run itself", "name another file")
    if not force:
        raise FileError(f"{out} is there already", "--force to write over it, or name another")


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
