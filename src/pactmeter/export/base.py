"""What an exporter is, and what every export tells of its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pactmeter import __version__
from pactmeter.analysis.summary import summarize
from pactmeter.errors import PactError
from pactmeter.store.output import save

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun

SCHEMA = 1
KIND = "pactmeter export"


class Exporter(Protocol):
    """An exporter: a module (or an object) that writes a run as one format.

    What has no place in the format (unit, origin, uncertainty, synthetic mark) goes into a file
    beside it, so that no figure travels without them.
    """

    NAME: str
    """Name by which it is asked for."""
    EXTRA: str | None
    """Extra of this package that brings what it needs; None: the standard library is enough."""

    def write(self, run: RecordedRun, path: Path) -> None:
        """Write a run.

        Args:
            run: The run; it may still be going on, and may have measured no energy.
            path: The file to write. It lies in an empty folder: whatever else is written there
                goes where the file goes.

        Raises:
            ImportError: A package is missing.
            OSError: It cannot be written.
        """


def export(
    run: RecordedRun,
    exporter: Exporter,
    out: Path,
    *,
    force: bool = False,
    write: Callable[[RecordedRun, Path], None] | None = None,
    inputs: Sequence[Path] = (),
) -> list[Path]:
    """Export a run and return the files written, the one named first.

    Args:
        run: The run.
        exporter: How.
        out: The file to write; its folder must be there.
        force: Whether files that are there are written over; those of the run never are.
        write: What writes, instead of the exporter's own ``write``.
        inputs: Further files that it reads, and so are never written over.

    Raises:
        FileError: A file is there already, or cannot be written.
        PactError: A package is missing.
    """
    writes = write or exporter.write
    try:
        keep = [*run.files.all, *inputs]
        return save(out, lambda path: writes(run, path), force=force, keep=keep)
    except ImportError as error:
        extra = getattr(exporter, "EXTRA", None)
        raise PactError(
            f"the format {exporter.NAME!r} needs {error.name or error}",
            f"pip install 'pactmeter[{extra}]'" if extra else None,
        ) from error


def about(run: RecordedRun) -> dict[str, Any]:
    """Return what a run is and comes to, as plain data to go with its figures."""
    summary = summarize(run)
    started_s = run.started_s
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "pactmeter": __version__,
        "file": run.files.power.name,
        "host": (run.manifest.get("host") or {}).get("name"),
        "started_utc": None
        if started_s is None
        else datetime.fromtimestamp(started_s, UTC).isoformat(timespec="milliseconds"),
        "channels": run.manifest.get("channels", []),
        "summary": summary,
    }
