"""Chrome trace: power, events and regions on one time line, for Perfetto and chrome://tracing.

A trace of the torch profiler counts its microseconds from the start of a period of three months,
which it states as ``baseTimeNanoseconds``. So does this one: the events of both can stand in one
file. All that is ours belongs to a process of its own, whose number no real process has.

A counter of a trace holds its value until the next one. Where nothing is known it therefore falls
to 0, and a slice ``not measured`` above says that this is no measurement.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.regions import Marks
from pactmeter.errors import FileError
from pactmeter.export.base import about
from pactmeter.export.times import Clock
from pactmeter.model.channel import mark
from pactmeter.store.table import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun

NAME = "trace"
EXTRA = None

_PERIOD_S = 7_889_238
"""Kineto, ``ChromeTraceBaseTime``: times count from a whole multiple of it since 1970."""
_NO_PID = 1 << 22
"""Linux has no process and no thread of this number or above (``PID_MAX_LIMIT``)."""
_GAP_S = 1e-3
"""What lies farther apart than this was not measured between."""
_GZIP = b"\x1f\x8b"


def write(run: RecordedRun, path: Path, *, merge: Path | None = None) -> None:
    """Write the run as a trace.

    Args:
        run: The run.
        path: The file.
        merge: A trace of a profiler whose events are to stand beside; None: none.

    Raises:
        FileError: `merge` is no trace, or shares no time with the run.
    """
    clock = Clock(run)
    if merge is not None and not clock.is_known:
        raise FileError(f"{run.files.manifest} does not tell the time of day, as a merge needs it")
    other = {} if merge is None else _read(merge)
    base_ns = _base_ns(other) if merge else int(clock.utc_s(0.0) // _PERIOD_S) * _PERIOD_S * 10**9
    trace = _Trace(run, clock, base_ns)
    if merge is not None:
        _check_times(merge, other["traceEvents"], trace)
    head = {key: value for key, value in other.items() if key != "traceEvents"}
    head |= {"baseTimeNanoseconds": base_ns, "pactmeter": about(run)}
    head.setdefault("displayTimeUnit", "ms")
    with _open(path) as file:
        file.write(f'{_text(head)[:-1]}, "traceEvents": [\n')
        file.write(",\n".join(map(_text, other.get("traceEvents", []))))
        is_first = not other.get("traceEvents")
        for event in trace.events():
            file.write(event if is_first else f",\n{event}")
            is_first = False
        file.write("\n]}\n")


class _Trace:
    """The events of a run, as JSON."""

    def __init__(self, run: RecordedRun, clock: Clock, base_ns: int) -> None:
        self._run = run
        self._clock = clock
        self._base_s = base_ns / 1e9
        self._lines = itertools.count(_NO_PID)  # what stands on a line of its own is no thread
        sampler = (run.manifest.get("sampler") or {}).get("pid")
        self.pid = _NO_PID + (sampler % _NO_PID if isinstance(sampler, int) else 0)

    def ns(self, run_s: float) -> int:
        """Return a time of the run in nanoseconds since the trace's own zero.

        Whole ones: slices that end together must do so in the trace too, or they do not nest.
        """
        return round((self._clock.utc_s(run_s) - self._base_s) * 1e9)

    @property
    def span_us(self) -> tuple[float, float]:
        """Start and end of the run, in microseconds since the trace's own zero."""
        read_s = [value for value in self._run.columns["read_s"] if value is not None]
        return self.ns(0.0) / 1e3, self.ns(max(read_s, default=0.0)) / 1e3

    def events(self) -> Iterator[str]:
        """Yield names, power, counters, what was not measured, and regions."""
        host = (self._run.manifest.get("host") or {}).get("name")
        yield self._named("process_name", 0, "name", f"PACT on {host or 'an unknown host'}")
        marks_of = sorted({c.synthetic for c in self._run.channels if c.synthetic})
        labels = [self._run.status, *(f"{word} devices" for word in marks_of)]
        yield self._named("process_labels", 0, "labels", ", ".join(labels))
        yield self._named("process_sort_index", 0, "sort_index", -1)
        yield from self._power()
        yield from self._counters()
        yield from self._gaps()
        yield from self._regions()

    def _power(self) -> Iterator[str]:
        rows = [
            (read_s - window_s, read_s, row)
            for row, (read_s, window_s) in enumerate(
                zip(self._run.columns["read_s"], self._run.windows_s, strict=True)
            )
            if read_s is not None and window_s > 0
        ]
        for channel in self._run.channels:
            unit = "W" if len(channel.columns) > 1 else channel.unit.symbol
            values = self._run.columns[channel.columns[0]]
            emit = self._counter(f"{channel.name}{mark(channel.origin, channel.synthetic)}", unit)
            yield from _held(((start_s, end_s, values[row]) for start_s, end_s, row in rows), emit)

    def _counters(self) -> Iterator[str]:
        for event in self._run.manifest.get("events", []):
            emit = self._counter(f"{event['column']} ({event['scope']})", "1/s")
            yield from _held(self._rates(event["column"]), emit)

    def _rates(self, name: str) -> Iterator[tuple[float, float, float | None]]:
        """Yield start, end and events a second of each bin."""
        try:
            header, rows = read_table(self._run.files.counters)
            if header[:2] != ["start_s", "dt_s"] or name not in header:
                return
            place = header.index(name)
            for row in rows:
                try:
                    start_s, length_s = float(row[0]), float(row[1])
                    count = float(row[place]) if row[place] else None
                except ValueError:  # not written by PACT
                    continue
                if 0 < length_s < float("inf") and abs(start_s) < float("inf"):
                    rate = None if count is None else count / length_s
                    yield start_s, start_s + length_s, rate
        except FileError:
            return

    def _counter(self, name: str, unit: str) -> Callable[[float, float], str]:
        """Return what gives the event of a counter at a time (s) with a value."""
        head = f'{{"ph": "C", "pid": {self.pid}, "name": {_text(name)}, "ts": '
        middle = f', "args": {{{_text(unit)}: '
        return lambda run_s, value: f"{head}{self.ns(run_s) / 1e3:.3f}{middle}{value:.6g}}}}}"

    def _gaps(self) -> Iterator[str]:
        """Yield what was not measured: pauses between calls, and gaps of devices."""
        line = next(self._lines)
        yield self._named("thread_name", line, "name", "not measured")
        before_s: float | None = None
        last_s = 0.0
        for read_s, window_s in zip(self._run.columns["read_s"], self._run.windows_s, strict=True):
            if read_s is None or window_s <= 0:
                continue
            if before_s is not None and read_s - window_s > before_s + _GAP_S:
                told = {"reason": "no call was open"}
                yield self._slice("not measured", line, before_s, read_s - window_s, told)
            before_s = last_s = read_s
        for gap in self._run.manifest.get("gaps", []):
            end_s = last_s if gap["end_s"] is None else gap["end_s"]
            if end_s < gap["start_s"]:
                continue
            what = ", ".join(map(str, gap["channels"]))
            line = next(self._lines)
            yield self._named("thread_name", line, "name", f"not measured: {what}")
            told = {"channels": what, "reason": gap["reason"]}
            yield self._slice("not measured", line, gap["start_s"], end_s, told)

    def _regions(self) -> Iterator[str]:
        """Yield calls and regions, each thread's on as many lines as it takes for them to nest."""
        lanes: dict[int, list[list[float]]] = {}
        lines: dict[int, list[int]] = {}
        for name, index, start_s, end_s, tid in sorted(
            Marks(self._run), key=lambda item: (item[4], item[2], -item[3])
        ):
            mine = lanes.setdefault(tid, [])
            before = len(mine)
            number = _lane(mine, start_s, end_s)
            if len(mine) > before:
                line = next(self._lines) if number else tid
                lines.setdefault(tid, []).append(line)
                more = f", overlapping {number}" if number else ""
                yield self._named("thread_name", line, "name", f"regions of thread {tid}{more}")
            label = name if index is None else f"{name} {index}"
            told = {} if index is None else {"index": index}
            yield self._slice(label, lines[tid][number], start_s, end_s, told)

    def _slice(
        self, name: str, tid: int, start_s: float, end_s: float, told: dict[str, Any]
    ) -> str:
        start_ns = self.ns(start_s)
        event = {
            "ph": "X",
            "cat": "pactmeter",
            "name": name,
            "pid": self.pid,
            "tid": tid,
            "ts": start_ns / 1e3,
            "dur": (self.ns(end_s) - start_ns) / 1e3,
            "args": told,
        }
        return _text(event)

    def _named(self, what: str, tid: int, key: str, value: str | int) -> str:
        event = {"ph": "M", "name": what, "pid": self.pid, "tid": tid, "args": {key: value}}
        return _text(event)


def _text(value: Any) -> str:
    """Return JSON; letters stand as they are, since Perfetto shows an escaped unit as it is."""
    return json.dumps(value, ensure_ascii=False)


def _held(
    values: Iterator[tuple[float, float, float | None]], emit: Callable[[float, float], str]
) -> Iterator[str]:
    """Yield the changes of a counter that holds its value, and 0 where what follows is unknown."""
    end_s: float | None = None
    held: float | None = None
    for start_s, until_s, value in values:
        if held is not None and end_s is not None and (value is None or start_s > end_s + _GAP_S):
            yield emit(end_s, 0.0)
            held = None
        if value is not None and value != held:
            yield emit(start_s, value)
            held = value
        end_s = until_s
    if held is not None and end_s is not None:
        yield emit(end_s, 0.0)


def _lane(lanes: list[list[float]], start_s: float, end_s: float) -> int:
    """Put a region on the first line where it nests; return the line's number.

    Each line holds the ends of the regions that are open on it, the innermost last, below them a
    mark that never ends.
    """
    for number, ends in enumerate(lanes):
        while ends[-1] <= start_s:
            ends.pop()
        if ends[-1] >= end_s:
            ends.append(end_s)
            return number
    lanes.append([float("inf"), end_s])
    return len(lanes) - 1


def _read(path: Path) -> dict[str, Any]:
    """Return a trace of another tool: its events, and what else it holds."""
    try:
        data = path.read_bytes()
        found = json.loads(gzip.decompress(data) if data.startswith(_GZIP) else data)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise FileError(f"cannot read the trace {path}: {error}") from error
    if isinstance(found, list):  # the format's older form
        found = {"traceEvents": found}
    events = found.get("traceEvents") if isinstance(found, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise FileError(f"{path} is no Chrome trace", "name what `export_chrome_trace` has written")
    whole: dict[str, Any] = found
    return whole


def _base_ns(other: dict[str, Any]) -> int:
    """Return what the times of another trace count from; the older torch's count from 1970."""
    found = other.get("baseTimeNanoseconds", 0)
    return int(found) if _is_number(found) else 0


def _check_times(path: Path, events: list[dict[str, Any]], trace: _Trace) -> None:
    """Refuse a trace that shares no time with the run: it is of another, or of another clock."""
    times_us = [
        (event["ts"], event["ts"] + (event["dur"] if _is_number(event.get("dur")) else 0.0))
        for event in events
        if event.get("ph") in {"X", "B", "C", "i"} and _is_number(event.get("ts"))
    ]
    start_us, end_us = trace.span_us
    if not any(first <= end_us and last >= start_us for first, last in times_us):
        raise FileError(
            f"{path} shares no time with the run", "name the trace of a profiler that ran within it"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@contextmanager
def _open(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a text file; what does not end in ``.json`` is compressed, without name and date."""
    with path.open("wb") as plain:
        if path.name.lower().endswith(".json"):
            with io.TextIOWrapper(plain, encoding="utf-8", errors="replace") as text:
                yield text
            return
        with (
            gzip.GzipFile("", "wb", 6, plain, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", errors="replace") as text,
        ):
            yield text
