"""An audit: everything that a run says, computed again from its raw files and compared.

The files tell most things twice: the rows of power and those of the counters add up the same
events, windows and calls tell the same time, power times time is the energy of a row, and the
manifest counts rows, late rows and calls. A report that was saved (``report --json``) is compared
figure by figure.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pactmeter.analysis import carbon
from pactmeter.analysis.baseline import idle_of, rest_of, subtract
from pactmeter.analysis.checks.about import disorder
from pactmeter.analysis.regions import region_rows, regions, windows
from pactmeter.analysis.summary import footprint_dict, summarize
from pactmeter.errors import FileError
from pactmeter.model.channel import Kind
from pactmeter.model.finite import not_finite
from pactmeter.session.regions import CALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pactmeter.analysis.baseline import Baseline
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.spans import Span
    from pactmeter.model.channel import Channel

SCHEMA = 1
Scalar = str | int | float | bool | None
_CLOSE = 1e-6
"""Figures are the same where they agree so closely, relatively or absolutely: in their last of six
places. Cells have six places too."""
_LATE_S = 0.05
"""A row that was read later than this is late; so long it waits for the last readings before it."""
_EDGE_POLLS = 2.0
"""Polls of a row that may stand for no time of their own: those at both edges."""
_NOT_FIGURES = {"rules", "budget", "aperiodic"}
_PROSE = {"label", "reason", "text", "rule", "todo", "source", "basis", "notes", "files"}
"""Words about the figures: they may be put otherwise in another version."""
_NAMES = ("channel", "id", "name", "index")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is told in two places.

    Attributes:
        name: What it is.
        told: What the manifest, the other file or the saved report tells; None: nothing.
        found: What the raw files come to; None: nothing.
        same: Whether they agree; None: only one of the two tells it.
    """

    name: str
    told: Scalar
    found: Scalar
    same: bool | None

    def to_dict(self) -> dict[str, Scalar]:
        """Return the item as plain data."""
        return {"name": self.name, "told": self.told, "found": self.found, "same": self.same}


def compared(name: str, told: Scalar, found: Scalar, share: float = _CLOSE) -> Item:
    """Return an item; numbers are the same within a share of them, or absolutely."""
    if told is None or found is None:
        return Item(name, told, found, None)
    return Item(name, told, found, _is_same(told, found, share))


def _is_same(told: Scalar, found: Scalar, share: float) -> bool:
    numbers = [v for v in (told, found) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == 2:
        return math.isclose(numbers[0], numbers[1], rel_tol=share, abs_tol=2 * share)
    return not numbers and told == found


def audit_files(run: RecordedRun) -> list[Item]:
    """Compare what the files of a run tell of each other."""
    manifest = run.manifest
    sampler = manifest.get("sampler") or {}
    late = sum(1 for late_s in run.columns.get("late_s", []) if (late_s or 0.0) > _LATE_S)
    gauges = [c for c in run.channels if c.kind is not Kind.QUANTITY]
    calls, calls_s = _calls(run)
    wrong = disorder(run, [channel.name for channel in gauges])
    return [
        compared("rows of power", sampler.get("rows"), len(run.windows_s)),
        compared("late rows", sampler.get("late_rows"), late),
        compared("rows out of order", 0, wrong),
        compared("calls", manifest.get("calls"), calls),
        compared("time of the calls, s", calls_s, round(run.duration_s, 6), share=1e-4),
        *(_energy(run, channel) for channel in gauges),
        *_counters(run),
    ]


def _calls(run: RecordedRun) -> tuple[int | None, float | None]:
    """Return how many calls the regions' file holds, and the time in which one was open."""
    try:
        rows = region_rows(run)
        next(rows)
        spans = sorted((float(r[0]), float(r[1])) for r in rows if r[2] == CALL)
    except (FileError, ValueError, IndexError):
        return None, None
    open_s, reached_s = 0.0, -math.inf
    for start_s, end_s in spans:
        open_s += max(0.0, end_s - max(start_s, reached_s))
        reached_s = max(reached_s, end_s)
    # a time that is none spreads into the sum
    return len(spans), round(open_s, 6) if math.isfinite(open_s) else None


def _energy(run: RecordedRun, channel: Channel) -> Item:
    """Compare a channel's joules with its power times time, row by row and in all.

    The power is that of the known time of a row, so the joules may be less, by what the polls that
    it lacks would have told; they are never more, but for what was read a moment later.
    """
    watts, joules, polls = (run.columns.get(name, []) for name in channel.columns)
    poll_s = float(run.about(channel.name).get("poll_period_s") or 0.1)
    late_j = _LATE_S * max((abs(w) for w in watts if w is not None), default=0.0) + _CLOSE
    told_j = found_j = less_j = before_j = 0.0
    rows = wrong = 0
    for window_s, mean_w, total_j, n in zip(run.windows_s, watts, joules, polls, strict=False):
        if mean_w is None or total_j is None:
            continue
        rows += 1
        row_j, most_j = total_j - before_j, mean_w * window_s
        unpolled_s = min(window_s, max(0.0, window_s - ((n or 0.0) - _EDGE_POLLS) * poll_s))
        unpolled_j = abs(mean_w) * unpolled_s
        wrong += not most_j - unpolled_j - late_j <= row_j <= most_j + late_j
        told_j, found_j, less_j = told_j + row_j, found_j + most_j, less_j + unpolled_j
        before_j = total_j
    name = f"{channel.name}: energy against power x time, J"
    if not rows:
        return Item(name, None, None, None)
    slack_j = late_j * max(1, int(run.manifest.get("calls") or 1)) + _CLOSE * rows
    same = not wrong and found_j - less_j - slack_j <= told_j <= found_j + slack_j
    return Item(name, round(told_j, 6), round(found_j, 6), same)


def _counters(run: RecordedRun) -> Iterator[Item]:
    """Compare the events' totals in the rows of power with those in the counters' own file."""
    counted = [e["column"] for e in run.manifest.get("events", []) if e.get("status") == "ok"]
    sums: dict[str, float | None] = dict.fromkeys(counted)
    try:
        with run.files.counters.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name in counted:
                    cell = row.get(name)
                    if cell:
                        sums[name] = (sums[name] or 0.0) + float(cell)
        sums = {n: v if v is None or math.isfinite(v) else None for n, v in sums.items()}
    except (OSError, ValueError, csv.Error):
        sums = dict.fromkeys(counted)
    for name in counted:
        values = [v for v in run.columns.get(name, []) if v is not None]
        told = None if sums[name] is None else round(sums[name] or 0.0)
        yield compared(f"{name}: counted", told, round(math.fsum(values)) if values else None)


_ASKED = ("calibrated", "curve")
"""Parts of a report that other files are behind: they are not computed again."""


def audit_report(saved: dict[str, Any], run: RecordedRun) -> list[Item]:
    """Compare a saved report with the run, computed again with the factors that the report names.

    What only the newer of the two has is no difference, but a source, counter or region that only
    one of them has is.

    Args:
        saved: What ``report --json`` printed.
        run: The run.
    """
    summary = _again(saved, run)
    items = []
    for part in ("sources", "counters", "regions"):
        if part in saved:
            was, now = (", ".join(_called(data.get(part))) for data in (saved, summary))
            items.append(compared(f"report: {part}", was, now))
    told, found = dict(figures(saved)), dict(figures(summary))
    for name, value in told.items():
        if name.partition(".")[0].partition("[")[0] in _ASKED:
            continue
        if "calibrated" in saved and name.startswith(("verdict.", "budget", "rules")):
            continue
        is_more = any(other.startswith(f"{name}.") for other in found)
        again = found.get(name, "more than that" if is_more else "absent")
        # null is a figure too: it says that nothing is known
        items.append(Item(f"report: {name}", value, again, _is_same(value, again, _CLOSE)))
    return items


def _again(saved: dict[str, Any], run: RecordedRun) -> dict[str, Any]:
    """Return the summary of a run with all that a saved report has."""
    run = replace(run, is_aperiodic=saved.get("aperiodic") is True)
    baselines, notes = _rest(saved, run)
    idle = idle_of(run, baselines)
    summary = summarize(run, with_regions="regions" in saved, idle=idle)
    if baselines:
        summary["baseline"] = subtract(run, baselines, notes)
    if spans := _spans(saved):
        summary["windows"] = windows(run, spans)
    each = saved.get("regions_each")
    if isinstance(each, list) and each and isinstance(each[0], dict):
        summary["regions_each"] = regions(run, each=str(each[0].get("name")))
    told, first = saved.get("footprint"), summary["headline"]
    if isinstance(told, dict) and first is not None:
        try:
            pue, g_per_kwh = float(told.get("pue", 1.0)), told.get("intensity_g_per_kwh")
            used = None if g_per_kwh is None else carbon.given(float(g_per_kwh))
            again = footprint_dict(carbon.footprint(first["energy_j"], pue=pue, intensity=used))
        except (TypeError, ValueError, OverflowError):  # factors that cannot be
            return summary
        # where and when the factor is from is not a figure of the run
        summary["footprint"] = {**again, **{key: told.get(key) for key in ("region", "year")}}
    return summary


def _rest(saved: dict[str, Any], run: RecordedRun) -> tuple[list[Baseline], list[str]]:
    """Return the baselines that a saved report names."""
    told = saved.get("baseline")
    files = told.get("files") if isinstance(told, dict) else None
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        return [], []
    return rest_of(run, files)


def _spans(saved: dict[str, Any]) -> list[Span]:
    """Return the windows of a saved report, whose names are their times."""
    told = saved.get("windows")
    listed = told if isinstance(told, list) else []
    names = [each.get("name") for each in listed if isinstance(each, dict)]
    try:
        return [(float(a), float(b)) for a, b in (str(name).split(":") for name in names)]
    except ValueError:
        return []


def _called(entries: Any) -> list[str]:
    """Return what the entries of a part of a report are called, in the order of their names."""
    if isinstance(entries, dict):
        return sorted(map(str, entries))
    return sorted(_name(entry, "") for entry in entries) if isinstance(entries, list) else []


def _name(entry: Any, otherwise: str) -> str:
    if not isinstance(entry, dict):
        return otherwise
    return " ".join(str(entry[key]) for key in _NAMES if entry.get(key) is not None) or otherwise


def figures(data: Any, name: str = "") -> Iterator[tuple[str, Scalar]]:
    """Yield the figures of a report by their path; those of lists by what they are called."""
    if isinstance(data, dict):
        for key, value in data.items():
            is_name = key in _NAMES and name.endswith("]")
            if not is_name and key not in _PROSE and (name or key not in _NOT_FIGURES):
                yield from figures(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from figures(value, f"{name}[{_name(value, str(number))}]")
    elif data is None or isinstance(data, str | int | float):
        yield name, data


def read_report(path: Path) -> dict[str, Any]:
    """Return a report that was saved.

    Raises:
        FileError: It cannot be read, is no report, or is of a newer schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"cannot read the report {path}: {error}") from error
    if not isinstance(data, dict) or not {"schema", "sources", "verdict"} <= set(data):
        raise FileError(
            f"{path} is not a report of PACT", "save one: pactmeter report FILE --json > FILE.json"
        )
    if (name := not_finite(data)) is not None:
        raise FileError(f"{path}: {name} is no number", "save the report again")
    if data["schema"] != SCHEMA:
        raise FileError(f"{path} has schema {data['schema']!r}, not {SCHEMA}", "upgrade pactmeter")
    return data
