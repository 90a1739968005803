"""Parquet: the long table with types, compressed; what the run is stands in its metadata."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from pactmeter.export.base import about
from pactmeter.export.figures import Figure, figures
from pactmeter.export.times import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun

NAME = "parquet"
EXTRA = "parquet"
METADATA = b"pactmeter"
"""Key of the file's metadata: the run and its summary as JSON."""

_AT_ONCE = 200_000
_NUMBERS = frozenset({"start_s", "end_s", "value", "u"})


def write(run: RecordedRun, path: Path) -> None:
    """Write all figures; ``start_utc`` is the time of day of ``start_s``."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    words = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field(name, _type(pa, name, words)) for name in Figure._fields]
    fields.append(pa.field("start_utc", pa.timestamp("us", tz="UTC")))
    schema = pa.schema(fields, metadata={METADATA: json.dumps(about(run)).encode()})
    clock = Clock(run)
    remaining = figures(run)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while part := list(islice(remaining, _AT_ONCE)):
            columns: list[list[Any]] = [list(column) for column in zip(*part, strict=True)]
            columns.append([_utc_us(clock, f.start_s) for f in part])
            arrays = [
                _coded(pa, column) if field.type == words else pa.array(column, type=field.type)
                for column, field in zip(columns, fields, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _utc_us(clock: Clock, run_s: float | None) -> int | None:
    """Return microseconds since 1970, which is what a timestamp is made of."""
    if run_s is None or not clock.is_known:
        return None
    return round(clock.utc_s(run_s) * 1e6)


def _type(pa: Any, name: str, words: Any) -> Any:
    if name in _NUMBERS:
        return pa.float64()
    return pa.int64() if name == "index" else words


def _coded(pa: Any, column: list[str | None]) -> Any:
    """Return a column of few words as their numbers; half a character becomes a question mark."""
    known = dict.fromkeys(word for word in column if word is not None)
    numbers = {word: number for number, word in enumerate(known)}
    words = [str(word).encode("utf-8", "replace").decode() for word in numbers]
    codes = [None if word is None else numbers[word] for word in column]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.string()))
