"""`read`: a run as pandas frames, for notebooks and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.regions import region_rows
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.errors import PactError
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd


_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Run:
    """A recorded run.

    Attributes:
        power: One row a `measure_period`: times (s), ``<channel>_w``, ``_j``, ``_n``, events.
        counters: One row a `perf_measure_period`: ``start_s``, ``dt_s``, events, running shares.
        regions: Calls and regions: ``start_s``, ``end_s``, ``name``, ``index``, ``tid``.
        manifest: What was measured, how and when.
        summary: As ``pactmeter report --json``.
    """

    power: pd.DataFrame
    counters: pd.DataFrame
    regions: pd.DataFrame
    manifest: dict[str, Any]
    summary: dict[str, Any]


def read(path: str | Path) -> Run:
    """Read a run by its power file; torn tails are repaired, empty cells become NaN.

    Raises:
        FileError: There is no such run.
        PactError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise PactError("reading frames needs pandas", "pip install 'pactmeter[report]'") from error
    run = load(path)

    def frame(header: list[str], rows: Iterable[list[str]]) -> pd.DataFrame:
        remaining = iter(rows)
        parts = []
        while part := list(islice(remaining, _ROWS_AT_ONCE)):
            data = pd.DataFrame(part, columns=header)
            numbers = [name for name in header if name != "name"]
            data[numbers] = data[numbers].apply(pd.to_numeric, errors="coerce")
            parts.append(data)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=header)

    files = run.files
    manifest = {**run.manifest, "status": run.status, "reason": run.reason}
    marked = region_rows(run)
    return Run(
        frame(*read_table(files.power)),
        frame(*read_table(files.counters)),
        frame(next(marked), marked),
        manifest,
        summarize(run),
    )
