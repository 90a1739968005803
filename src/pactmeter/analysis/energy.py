"""The energy of each channel of a run, with what it covers and how sure it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pactmeter.model.channel import Kind
from pactmeter.model.energy import BudgetItem, Energy

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel

ALIAS_PCT = {True: 0.8, False: 1.1}
"""Half-width of the aliasing of a sampled gauge, in percent, at 5 Hz and faster / slower: the
largest errors left in simulations of a training-like load over ten minutes."""
_LEAST_PAIRS = 10
"""From so many polls on, their own differences say what lies between them."""
_LAG_DOUBT = 0.25
"""Standard uncertainty of a lag correction, as a share of it: a Type B judgement."""


def energies(run: RecordedRun) -> list[Energy]:
    """Return the energy of every power and energy channel, in the order of the channels."""
    return [energy(run, c) for c in run.channels if c.kind is not Kind.QUANTITY]


def energy(run: RecordedRun, channel: Channel) -> Energy:
    """Return the energy of one channel over all calls of the run.

    The energy is that of the covered time alone; nothing is filled in for gaps. What a lagging
    sensor still owed is added, what a stuck one repeated is taken back.
    """
    watts, joules, polls = (run.columns.get(name, []) for name in channel.columns)
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
    covered_s = min(covered_s, duration_s) - float(back.get("covered_s", 0.0))
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
    poll_period_s = float(about.get("poll_period_s") or 0.1)
    update_s = channel.update_period_s or about.get("seen_update_period_s") or poll_period_s
    calls = max(1, int(run.manifest.get("calls") or 1))
    items = _budget(result, channel, poll_period_s, float(update_s), calls)
    if items and channel.kind is Kind.POWER:
        items += (_sampling(result, about.get("roughness"), poll_period_s),)
        if lag:
            basis = f"a quarter of the correction by {lag['energy_j']:.3g} J"
            u_j = abs(float(lag["energy_j"])) * _LAG_DOUBT
            items += (BudgetItem("lag", u_j, f"{basis}, tau {lag['tau_s']:g} s"),)
    return result.with_budget(items)


def _sampling(
    result: Energy, roughness: dict[str, float] | None, poll_period_s: float
) -> BudgetItem:
    """Return what lies between the polls, from how much they differ.

    Each poll stands for its share of the covered time as an independent draw would, with the
    variance that is half the mean square of successive differences (von Neumann 1941). That is too
    much for a load that the polls resolve. What repeats with the very period of the polls cannot be
    seen so.
    """
    if not roughness or roughness["pairs"] < _LEAST_PAIRS:
        alias = ALIAS_PCT[poll_period_s <= 0.2] / 100
        return BudgetItem("sampling", alias * result.energy_j / math.sqrt(3), "alias bound")
    variance_w2 = roughness["square_w2"] / roughness["pairs"] / 2
    # a device that takes longer to answer is polled as often as it can be
    apart_s = max(poll_period_s, result.covered_s / max(1, result.polls))
    u_j = math.sqrt(result.covered_s * apart_s * variance_w2)
    return BudgetItem("sampling", u_j, f"differences of {roughness['pairs']} pairs of polls")


def _budget(
    result: Energy, channel: Channel, poll_period_s: float, update_s: float, calls: int
) -> tuple[BudgetItem, ...]:
    """List the standard uncertainties (k=1, in joules) after GUM, each with its reason."""
    if channel.accuracy_pct is None:
        return ()
    mean_w = result.mean_w or 0.0
    items = [
        BudgetItem(
            "sensor",
            channel.accuracy_pct / 100 * result.energy_j / 2,
            channel.accuracy_source or "Type B",
        )
    ]
    if channel.kind is Kind.POWER:
        if channel.resolution:
            step_j = channel.resolution * result.covered_s / math.sqrt(12)
            items.append(BudgetItem("resolution", step_j, "step / sqrt(12), the same all along"))
    elif channel.resolution:
        step_j = channel.resolution * math.sqrt(calls / 6)
        items.append(BudgetItem("resolution", step_j, "difference of two readings, in each call"))
    edge_s = poll_period_s if channel.kind is Kind.POWER else update_s
    edge_j = mean_w * edge_s * math.sqrt(calls / 6)
    items.append(BudgetItem("edges", edge_j, f"{edge_s:g} s at both edges of each call / sqrt(12)"))
    return tuple(items)


def total(parts: list[Energy], channel: str, label: str) -> Energy:
    """Return the sum of energies that do not overlap, as one figure.

    Uncertainties add linearly: equal sensors err alike. The coverage is that of the part covered
    least.
    """
    first = parts[0]
    budget: tuple[BudgetItem, ...] = ()
    if all(part.u_j is not None for part in parts):
        budget = tuple(
            BudgetItem(part.channel, (part.u_j or 0.0) / 2, "adds linearly") for part in parts
        )
    least = min(parts, key=lambda part: part.covered_s)
    return Energy(
        channel=channel,
        label=label,
        domain=first.domain if len({part.domain for part in parts}) == 1 else None,
        origin=max((part.origin for part in parts), key=_WEAKNESS.index),
        synthetic=next((part.synthetic for part in parts if part.synthetic), None),
        energy_j=math.fsum(part.energy_j for part in parts),
        covered_s=least.covered_s,
        gap_s=least.gap_s,
        gaps=sum(part.gaps for part in parts),
        polls=least.polls,
        budget=budget,
        linear=True,
    )


_WEAKNESS = ["measured", "modelled", "estimated"]
