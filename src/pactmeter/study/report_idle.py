"""The machine at rest before and after the trials of a study, and how far it has drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.analysis.baseline import MOST_DRIFT, baseline
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline, sum_name
from pactmeter.analysis.run import load
from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pactmeter.study.results import Study


@dataclass(frozen=True, slots=True)
class Rest:
    """The machine at rest.

    Attributes:
        file: Name of the baseline.
        channel: What was measured; None: nothing.
        synthetic: None for real hardware.
        mean_w: Power at rest, in watts; None: unknown.
        u_w: Its uncertainty (k=2), in watts; None: unknown.
        duration_s: How long it was measured; None: unknown.
        drift_pct: By how much it is above that before the trials, in percent; None: unknown, or
            it is the one before.
        notes: What makes it weaker than it should be.
    """

    file: str
    channel: str | None
    synthetic: str | None
    mean_w: float | None
    u_w: float | None
    duration_s: float | None
    drift_pct: float | None
    notes: tuple[str, ...]


def rests(study: Study) -> Iterator[Rest]:
    """Yield each baseline that belongs to finished trials, in the order of their time."""
    files = dict.fromkeys(path for one in study.finished for path in one.baselines)
    before: Rest | None = None
    for path in sorted(files, key=_order):
        found = _rest(path, before)
        if "_before" in path.name:
            before = found
        yield found


def _order(path: Path) -> tuple[int, bool]:
    """Return the number of the runner that took a baseline, and whether it is that after."""
    words = path.stem.split("_")
    return int(words[1]), words[2] == "after"


def _rest(path: Path, before: Rest | None) -> Rest:
    try:
        run = load(path)
        found = baseline(run)
    except PactError as error:
        return Rest(path.name, None, None, None, None, None, None, (error.message,))
    each = energies(run)
    first, channel = headline(each), sum_name(each)
    if first is None or not first.mean_w:
        why = found.notes if first is not None and first.silent else ("no measured energy",)
        return Rest(path.name, None, None, None, None, found.duration_s, None, why)
    notes = list(found.notes)
    drift_pct = None
    is_after = "_after" in path.name and before is not None and before.channel == channel
    if is_after and before is not None and before.mean_w:
        drift_pct = 200 * (first.mean_w - before.mean_w) / (first.mean_w + before.mean_w)
        if abs(drift_pct) > 100 * MOST_DRIFT:
            notes.append(f"the machine at rest drifted by more than {100 * MOST_DRIFT:.0f} % (Q9)")
    u_w = None if first.u_j is None else first.u_j / first.covered_s
    return Rest(
        path.name,
        channel,
        first.synthetic,
        first.mean_w,
        u_w,
        found.duration_s,
        drift_pct,
        tuple(notes),
    )
