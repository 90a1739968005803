"""The energy of each channel of a run, with what it covers and how sure it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.budget import LOW_LOAD_PCT, Seen, items
from pactmeter.model.channel import Domain, Kind, Origin
from pactmeter.model.energy import BudgetItem, Energy
from pactmeter.model.psu import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel
    from pactmeter.model.psu import PsuModel

_LEAST_EFFICIENCY = 0.8
"""What a supply of any 80 PLUS tier has, about, at a tenth of its load."""


def energies(run: RecordedRun) -> list[Energy]:
    """Return the energy of every power and energy channel, in the order of the channels."""
    return [energy(run, c) for c in run.channels if c.kind is not Kind.QUANTITY]


def energy(run: RecordedRun, channel: Channel) -> Energy:
    """Return the energy of one channel over all calls of the run.

    The energy is that of the covered time alone; nothing is filled in for gaps, and the uncertainty
    holds what they may hide. What a lagging sensor still owed is added, what a stuck one repeated
    is taken back.
    """
    watts, joules, polls = (_known(run.columns.get(name, [])) for name in channel.columns)
    covered_s = 0.0
    before_j = 0.0
    in_gap = False
    gaps = 0
    for window_s, mean_w, total_j in zip(run.windows_s, watts, joules, strict=True):
        if window_s <= 0 and mean_w is None:
            continue
        if mean_w is None or total_j is None:
            gaps += not in_gap
            in_gap = True
            continue
        in_gap = False
        # the mean is energy over covered time, so that time need not be stored beside it
        covered_s += (total_j - before_j) / mean_w if mean_w > 0 else window_s
        before_j = total_j
    duration_s = run.duration_s
    about = run.about(channel.name)
    lag, back = about.get("lag") or {}, about.get("taken_back") or {}
    covered_s = max(0.0, min(covered_s, duration_s) - float(back.get("covered_s", 0.0)))
    noted = [g for g in run.manifest.get("gaps", []) if channel.name in g.get("channels", ())]
    result = Energy(
        channel=channel.name,
        label=channel.description,
        domain=channel.domain,
        origin=channel.origin,
        synthetic=channel.synthetic,
        energy_j=before_j + lag.get("energy_j", 0.0) - back.get("energy_j", 0.0),
        covered_s=covered_s,
        gap_s=max(0.0, duration_s - covered_s),
        gaps=max(gaps, len(noted)),
        polls=int(sum(n or 0 for n in polls)),
        budget=(),
    )
    poll_s = float(about.get("poll_period_s") or 0.1)
    known_w = [w for w in watts if w is not None]
    supply = _supply(channel)
    seen = Seen(
        calls=max(1, int(run.manifest.get("calls") or 1)),
        poll_s=poll_s,
        update_s=_known([channel.update_period_s])[0]
        or about.get("seen_update_period_s")
        or poll_s,
        low_w=min(known_w, default=0.0),
        peak_w=max(known_w, default=0.0),
        roughness=about.get("roughness"),
        lag=about.get("lag"),
        window_s=about.get("window_s"),
        most_w=about.get("most_w"),
        is_aperiodic=run.is_aperiodic,
        curve_pct=supply.efficiency.accuracy_pct if supply else 0.0,
        low_load_j=_low_load_j(run, channel, about, supply.rated_w) if supply else 0.0,
        rated_w=supply.rated_w if supply else 0.0,
    )
    return result.with_budget(items(result, channel, seen))


def _known(cells: list[float | None]) -> list[float | None]:
    """Return the cells with None for what is no number: a damaged file shall not spread it."""
    return [cell if cell is not None and math.isfinite(cell) else None for cell in cells]


def _supply(channel: Channel) -> PsuModel | None:
    """Return the supply whose AC power is estimated; None for all else."""
    if channel.domain is not Domain.AC or channel.origin is Origin.MEASURED:
        return None
    named = [model for model in MODELS if model.name in channel.description]
    return max(named, key=lambda model: len(model.name), default=None)


def _low_load_j(run: RecordedRun, channel: Channel, about: dict[str, Any], rated_w: float) -> float:
    """Return the AC energy of the rows in which a supply gave less than a tenth of its rating."""
    beside = (
        c
        for c in run.channels
        if c.domain is Domain.DC and run.about(c.name).get("device") == about.get("device")
    )
    dc = next(beside, None)
    least_w = LOW_LOAD_PCT / 100 * rated_w
    watts, joules, _ = (_known(run.columns.get(name, [])) for name in channel.columns)
    loads = _known(run.columns.get(dc.columns[0], [])) if dc else []
    if not any(w is not None for w in loads):
        loads, least_w = watts, least_w / _LEAST_EFFICIENCY
    low_j = before_j = 0.0
    for load_w, total_j in zip(loads, joules, strict=True):
        if total_j is None:
            continue
        if load_w is not None and load_w < least_w:
            low_j += total_j - before_j
        before_j = total_j
    return low_j


def total(parts: list[Energy], channel: str, label: str) -> Energy:
    """Return the sum of energies that do not overlap, as one figure.

    Uncertainties of equal sensors add linearly: they err alike. The mean power is the sum of the
    parts' means, whatever part of the time each is of; so the covered time is that in which such a
    power gives the known energy. What a part without any reading drew is unknown, and so are mean
    and uncertainty; the covered share is that of all parts' time, as if all drew the same.
    """
    first = parts[0]
    silent = tuple(part.channel for part in parts if part.covered_s <= 0)
    least = min(parts, key=lambda part: part.covered_s)
    least_read_s = min((part.covered_s for part in parts if part.covered_s > 0), default=0.0)
    energy_j = math.fsum(part.energy_j for part in parts)
    mean_w = math.fsum(part.mean_w or 0.0 for part in parts)
    covered_s = energy_j / mean_w if mean_w > 0 else least_read_s
    covered_s *= 1 - len(silent) / len(parts)
    return Energy(
        channel=channel,
        label=label,
        domain=first.domain if len({part.domain for part in parts}) == 1 else None,
        origin=max((part.origin for part in parts), key=_WEAKNESS.index),
        synthetic=next((part.synthetic for part in parts if part.synthetic), None),
        energy_j=energy_j,
        covered_s=covered_s,
        gap_s=max(0.0, least.covered_s + least.gap_s - covered_s),
        gaps=sum(part.gaps for part in parts),
        polls=least.polls,
        budget=() if silent else _added(parts),
        silent=silent,
    )


def _added(parts: Sequence[Energy]) -> tuple[BudgetItem, ...]:
    """Return the budget of a sum.

    Sensors of one domain count as equal: the accuracy of a card is that of its kind, and what the
    polls miss is of one load. Those of different domains are independent. Empty where the
    uncertainty of one part is unknown.
    """
    if any(not part.budget for part in parts):
        return ()
    kinds = [part.domain.value if part.domain else part.channel for part in parts]
    several = len(set(kinds)) > 1
    grouped: dict[tuple[str, str], list[BudgetItem]] = {}
    for kind, part in zip(kinds, parts, strict=True):
        for item in part.budget:
            grouped.setdefault((kind, item.name), []).append(item)
    return tuple(
        BudgetItem(
            f"{kind} {name}" if several else name,
            math.fsum(item.u_j for item in alike),
            alike[0].basis if len(alike) == 1 else f"of {len(alike)} alike, added linearly",
            alike[0].shape,
            min((item.dof for item in alike if item.dof), default=None),
            alike[0].is_systematic,
        )
        for (kind, name), alike in grouped.items()
    )


_WEAKNESS = ["measured", "modelled", "estimated"]
