"""The form of a manifest: whether what was read can be what a sampler wrote.

It is checked once, on reading, so that whoever uses a manifest may rely on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.model.channel import Channel
from pactmeter.model.finite import not_finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST = 1e18
"""No number of a run is larger, in whatever unit."""
_LATEST_S = 1e11
"""No clock of a run shows more seconds (of UTC: the year 5138)."""
_CLOCKS = {"monotonic_s": float, "utc_s": float}
_CHANNEL = {
    "name": str,
    "description": str,
    "resolution": float,
    "update_period_s": float,
    "accuracy_pct": float,
    "accuracy_source": str,
    "synthetic": str,
    "device": str,
    "poll_period_s": float,
    "seen_update_period_s": float,
    "window_s": float,
    "most_w": float,
    "roughness": {"pairs": float, "square_w2": float, "triples": float, "square2_w2": float},
    "lag": {"energy_j": float, "tau_s": float},
    "taken_back": {"energy_j": float, "covered_s": float},
}
_GAP = {"channels": [str], "start_s": float, "end_s": float, "reason": str}
_EVENT = {"column": str, "scope": str, "status": str, "reason": str, "group": str}
_FORM: dict[str, Any] = {
    "status": str,
    "calls": float,
    "config": {"measure_period_s": float, "marks": {}},
    "host": {"name": str},
    "clock": {"start": _CLOCKS, "end": _CLOCKS},
    "channels": [_CHANNEL],
    "events": [_EVENT],
    "gaps": [_GAP],
    "notes": [str],
    "problems": [str],
    "sampler": {"cpu_s": float, "rows": float, "late_rows": float},
    "used": {},
}
_FORM_OR_NULL: dict[str, Any] = {
    "reason": str,
    "marks": str,
    "zero_monotonic_s": float,
    "running_shares": {},
    "baseline": {"busy_pct": float, "gpu_context": str},
}
_WHOLE = (
    {"energy_j", "tau_s"},
    {"pairs", "square_w2"},
    {"monotonic_s", "utc_s"},
)
"""Parts that are there as a whole, or null."""


def flaw(manifest: dict[str, Any], columns: Sequence[str]) -> str | None:
    """Return what is wrong with a manifest, or with the table beside it; None: nothing.

    Args:
        manifest: The manifest.
        columns: The columns of the power table.
    """
    return next(_flaws(manifest, columns), None)


def _flaws(manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[str]:
    for key in _FORM.keys() & manifest.keys():
        for name in _misfits(manifest[key], _FORM[key], key):
            yield f"{name} is not of its kind"
    for key in _FORM_OR_NULL.keys() & manifest.keys():
        for name in _misfits({key: manifest[key]}, {key: _FORM_OR_NULL[key]}, ""):
            yield f"{name.removeprefix('.')} is not of its kind"
    shares = manifest.get("running_shares") or {}
    for name in _misfits(shares, dict.fromkeys(shares, float), "running_shares"):
        yield f"{name} is not of its kind"
    marks = manifest.get("config", {}).get("marks") or {}
    if not all(isinstance(told, str) for told in marks.values()):
        yield "config.marks is not of its kind"
    if (where := not_finite(manifest)) is not None:
        yield f"{where} is no number"
    yield from _clock_flaws(manifest)
    for event in manifest.get("events", []):
        if not _EVENT.keys() <= event.keys() or event["column"] is None:
            yield "an event is not described whole"
    for gap in manifest.get("gaps", []):
        if not _GAP.keys() <= gap.keys() or None in (gap["channels"], gap["start_s"]):
            yield "a gap is not described whole"
    yield from _channel_flaws(manifest, columns)


def _clock_flaws(manifest: dict[str, Any]) -> Iterator[str]:
    clock = manifest.get("clock") or {}
    for which in ("start", "end"):
        for key, value in (clock.get(which) or {}).items():
            if key in _CLOCKS and not 0 <= value < _LATEST_S:
                yield f"clock.{which}.{key} is no time"
    if abs(manifest.get("zero_monotonic_s") or 0.0) > _LATEST_S:
        yield "zero_monotonic_s is no time"


def _channel_flaws(manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[str]:
    names = set()
    for about in manifest.get("channels", []):
        try:
            channel = Channel.from_dict(about)
        except (KeyError, TypeError, ValueError) as error:
            yield f"a channel is not described whole ({error})"
            continue
        if channel.name in names:
            yield f"{channel.name} is described twice"
        names.add(channel.name)
        for column in ("read_s", *channel.columns):
            if column not in columns:
                yield f"the table has no column {column!r}"


def _misfits(value: Any, form: Any, name: str) -> Iterator[str]:
    """Yield the names of what does not fit its form; below the top null always does."""
    if isinstance(form, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _misfits(item, form[0], f"{name}[{number}]")
    elif isinstance(form, dict) and isinstance(value, dict):
        for whole in _WHOLE:
            if whole <= form.keys() and any(value.get(key) is None for key in whole):
                yield name
        for key, part in form.items():
            if value.get(key) is not None:
                yield from _misfits(value[key], part, f"{name}.{key}")
    elif form is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) < _MOST:
            yield name
    elif isinstance(form, list | dict) or not isinstance(value, form):
        yield name
