"""Windows of runs: mean powers joined with the rates of events of the whole machine.

Counts of the workload's tree are refused: they describe the program, the power supply the machine.
Windows do not overlap, and never reach over a pause between calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.units import Unit

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun

DC, CPU, GPU = "dc_w", "cpu_w", "gpu_w"
_DOMAINS = {DC: Domain.DC, CPU: Domain.PACKAGE, GPU: Domain.GPU}
_PAUSE_S = 0.5
"""Rows that lie farther apart than this are of different calls."""
_ABSURD = 1e30
"""No power and no count is so large; its square would be no number."""
_LEAST_SHARE = 0.5
"""A window at the end of a call counts from this share of its length on."""
_HOST = ("name", "machine", "cpus")
SYSTEM_FIX = "record with `--scope system`, or name events as SYSTEMWIDE:CYCLES"


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one run.

    Attributes:
        file: The run.
        table: A row a window: ``dt_s``, of ``dc_w``, ``cpu_w``, ``gpu_w`` those there are, and the
            features: events a second, utilisations in percent. NaN where a part is not known.
        features: Names of the columns that are features: the events, then the utilisations.
        totals: Count of each event over the run.
        events: Full name of each event among the features, as the manifest has it.
        temperatures: Columns that are temperatures: no features, but a model's errors are held
            against them.
        tree: Events that were counted for the program alone, and so are no features.
        host: Name, machine and number of CPUs; empty where it is not recorded.
        source: ``pact``, or ``original`` for a file of the original PACT.
        synthetic: None for real hardware.
        span_s: When it was recorded, in seconds UTC; None where that is not known.
        accuracy_pct: Accuracy (k=2) of the power supply's own figure, where it is known.
        notes: What the reader should know.
    """

    file: str
    table: pd.DataFrame
    features: tuple[str, ...]
    totals: dict[str, float]
    events: dict[str, str]
    temperatures: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    host: dict[str, Any] | None = None
    source: str = "pact"
    synthetic: str | None = None
    span_s: tuple[float, float] | None = None
    accuracy_pct: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def meters(self) -> list[str]:
        """Which of CPU and GPU power there are."""
        return [name for name in (CPU, GPU) if name in self.table]


def windows(run: RecordedRun, window_s: float) -> Windows:
    """Return the windows of a run, each about `window_s` long.

    Raises:
        ConfigError: `window_s` is no length.
        FileError: The run's table cannot be used.
        PactError: No event of the whole machine was counted.
    """
    check_length(window_s)
    file = str(run.files.power)
    missing = {"read_s", "window_s"} - set(run.columns)
    if missing:
        raise FileError(f"{file} is not a power table of PACT: it has no column {min(missing)}")
    try:
        rows = known(pd.DataFrame(run.columns, dtype=float))
    except ValueError as error:
        raise FileError(f"{file} has two columns of one name") from error
    rows = rows[rows["read_s"].notna() & (rows["window_s"] > 0)]
    rows = rows.sort_values("read_s").drop_duplicates("read_s")
    channels = [c for c in _channels(run) if c.columns[0] in rows]
    events, refused, tree = _system_events(run.manifest.get("events"), rows, file)
    values: dict[str, pd.Series] = {}
    for name, domain in _DOMAINS.items():
        parts = [c.columns[0] for c in channels if c.domain is domain and _is_power(c)]
        if parts:
            values[name] = rows[parts].sum(axis=1, skipna=False)
    shares = [c.columns[0] for c in channels if c.unit is Unit.PERCENT and c.kind is Kind.QUANTITY]
    warm = [c.columns[0] for c in channels if c.unit is Unit.CELSIUS]
    for name, event in events.items():
        values[name] = rows[event["column"]] / rows["window_s"]
    for column in (*shares, *warm):
        values[column] = rows[column]
    running = _dict(run.manifest.get("running_shares"))
    notes = [f"{name} is left out: {reason}" for name, reason in refused.items()]
    notes += [
        f"{name} was counted {100 * share:.0f} % of the time, the rest is scaled"
        for name, event in events.items()
        if isinstance(share := running.get(str(event.get("group"))), float) and share < 0.99
    ]
    host = _dict(run.manifest.get("host"))
    marks = sorted({str(c.synthetic) for c in channels if c.synthetic})
    return Windows(
        file=file,
        table=means(pd.DataFrame(values, index=rows.index), rows, window_s),
        features=(*events, *shares),
        totals={name: float(rows[e["column"]].sum()) for name, e in events.items()},
        events={name: str(e.get("full_name") or name) for name, e in events.items()},
        temperatures=tuple(warm),
        tree=tree,
        host={key: host.get(key) for key in _HOST},
        synthetic=", ".join(marks) or None,
        span_s=_span_s(run.manifest, rows),
        accuracy_pct=max(
            (c.accuracy_pct or 0 for c in channels if c.domain is Domain.DC), default=0
        )
        or None,
        notes=tuple(notes),
    )


def check_length(window_s: float) -> None:
    """Refuse what is no length of a window."""
    if not 0 < window_s < 1e6:
        raise ConfigError(f"a window cannot be {window_s:g} s long", "--window 20")


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_power(channel: Channel) -> bool:
    return channel.kind is not Kind.QUANTITY and channel.origin is not Origin.ESTIMATED


def known(values: pd.DataFrame) -> pd.DataFrame:
    """Return the values; where one is negative or absurdly large, it is not known."""
    return values.where((values >= 0) & (values < _ABSURD))


def _channels(run: RecordedRun) -> list[Channel]:
    try:
        return run.channels
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the manifest describes a channel that is not known: {error}") from error


def _span_s(manifest: dict[str, Any], rows: pd.DataFrame) -> tuple[float, float] | None:
    try:
        start_s = float(manifest["clock"]["start"]["utc_s"])
    except (KeyError, TypeError, ValueError):
        return None
    if rows.empty:
        return None
    first_s = float((rows["read_s"] - rows["window_s"]).iloc[0])
    return start_s + first_s, start_s + float(rows["read_s"].iloc[-1])


def _system_events(
    recorded: object, rows: pd.DataFrame, file: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str], tuple[str, ...]]:
    """Return the events of the whole machine by feature, why others are none, those of the tree."""
    events: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    tree = []
    for event in recorded if isinstance(recorded, list) else ():
        if not isinstance(event, dict):
            raise FileError(f"the manifest of {file} describes an event that is none: {event!r}")
        column = str(event.get("column"))
        name = f"{column.removeprefix('systemwide:')}_per_s"
        if event.get("status") != "ok" or column not in rows or rows[column].isna().all():
            refused[column] = str(event.get("reason") or "it was not counted")
        elif event.get("scope") != "system":
            refused[column] = "it counts the program, power is that of the whole machine"
            tree.append(name)
        else:
            events[name] = event
    if not events:
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        told = why or "no event was asked for"
        raise PactError(f"{file} has no counts of the whole machine ({told})", SYSTEM_FIX)
    return events, refused, tuple(name for name in tree if name not in events)


def means(values: pd.DataFrame, rows: pd.DataFrame, window_s: float) -> pd.DataFrame:
    """Return the mean of each column over each window, weighted by time; NaN where not known.

    Args:
        values: What is averaged, a row a row of the run.
        rows: ``read_s``, the end of each row, and ``window_s``, its length, in seconds.
        window_s: Length of a window.
    """
    dt_s = rows["window_s"]
    starts_s = rows["read_s"] - dt_s
    call = (starts_s - rows["read_s"].shift() > _PAUSE_S).cumsum()
    place = ((dt_s.groupby(call).cumsum() - dt_s / 2) // window_s).astype(int)
    keys = [call.to_numpy(), place.to_numpy()]
    lengths_s = dt_s.groupby(keys).sum()
    sums = values.mul(dt_s, axis=0).groupby(keys).sum()
    result = sums.div(lengths_s, axis=0).where(~values.isna().groupby(keys).any())
    result.insert(0, "dt_s", lengths_s)
    return result[lengths_s >= _LEAST_SHARE * window_s].reset_index(drop=True)
