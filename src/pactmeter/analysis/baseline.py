"""Idle baselines: what the machine draws at rest, and the energy of a run above that.

A baseline is an ordinary run, recorded by ``pactmeter baseline`` while nothing else ran; what it
was taken under stands in its manifest under ``baseline``. Nothing is subtracted unless a baseline
is named, and the total stays the headline: what was measured may not be subtracted afterwards
(EEHPC, Power Measurement Methodology 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.checks.about import disorder
from pactmeter.analysis.checks.check import MOST_BUSY_PCT, Idle
from pactmeter.analysis.combined import difference
from pactmeter.analysis.energy import energies, total
from pactmeter.analysis.headline import headline, headline_parts, sum_name
from pactmeter.analysis.run import load
from pactmeter.errors import ConfigError, FileError
from pactmeter.model.channel import Origin
from pactmeter.model.energy import BudgetItem, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.energy import Energy

LEAST_S = 60.0
"""EEHPC's levels 2 and 3 and MLPerf Training ask for a minute."""
MOST_DRIFT = 0.02
"""Between the baselines before and after a run (check Q9)."""
OLD_S = 7 * 86400.0
_HOUR_S, _DAY_S = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The machine at rest.

    Attributes:
        file: The run that holds it.
        taken_s: When it began, in seconds since 1970 (UTC).
        duration_s: How long it was measured.
        busy_pct: Share of the processors' time that was not idle, in percent; None: unknown.
        gpu_context: Whether the GPUs held a context, in words.
        idle: Energy of each channel over that time.
        notes: What makes it weaker than it should be.
    """

    file: str
    taken_s: float
    duration_s: float
    busy_pct: float | None
    gpu_context: str
    idle: dict[str, Energy]
    notes: tuple[str, ...]

    @property
    def taken(self) -> str:
        """When it was taken, as a date."""
        return datetime.fromtimestamp(self.taken_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True, slots=True)
class Net:
    """What a channel took above its idle power.

    Attributes:
        energy: The energy above idle; its budget holds that of the idle power.
        idle_w: The idle power that was subtracted.
        u_idle_w: Its U (k=2), without the sensor's own error, which total and idle share.
    """

    energy: Energy
    idle_w: float
    u_idle_w: float


def baseline(run: RecordedRun) -> Baseline:
    """Return the baseline that a run is.

    Raises:
        FileError: It is no baseline, is not whole, or measured nothing.
    """
    about = run.manifest.get("baseline")
    if not isinstance(about, dict):
        raise FileError(
            f"{run.files.power} is a run, but no baseline", "pactmeter baseline -o idle.csv"
        )
    every = energies(run)
    if wrong := disorder(run, [energy.channel for energy in every]):
        raise FileError(
            f"the baseline {run.files.power} has {wrong} rows out of order", "use the original file"
        )
    idle = {e.channel: e for e in every if e.covered_s > 0}
    if not idle or run.status == "running":
        why = "is still being written" if run.status == "running" else "holds no power"
        raise FileError(f"the baseline {run.files.power} {why}", "pactmeter baseline -o idle.csv")
    taken_s = run.started_s
    if taken_s is None:
        raise FileError(
            f"the baseline {run.files.power} does not tell when it was taken",
            "pactmeter baseline -o idle.csv",
        )
    busy_pct = about.get("busy_pct")
    silent = [e.channel for e in every if e.covered_s <= 0 and e.origin is Origin.MEASURED]
    notes = [f"{', '.join(silent)} gave no reading"] if silent else []
    if run.duration_s < LEAST_S - 0.5:
        notes.append(f"it lasted {run.duration_s:.0f} s, {LEAST_S:.0f} s is what the rules ask for")
    if busy_pct is None:
        notes.append("how busy the processors were is not known")
    elif busy_pct > MOST_BUSY_PCT:
        notes.append(f"the machine was not idle: its processors worked {busy_pct:.0f} %")
    return Baseline(
        file=str(run.files.power),
        taken_s=taken_s,
        duration_s=run.duration_s,
        busy_pct=busy_pct,
        gpu_context=str(about.get("gpu_context", "unknown")),
        idle=idle,
        notes=tuple(notes),
    )


def fitting(run: RecordedRun, found: Baseline, of: RecordedRun) -> tuple[str, ...]:
    """Return what to say of a baseline that is used for a run: its age, what has changed since.

    Args:
        run: The run whose idle power is wanted.
        found: The baseline.
        of: The run that the baseline is.

    Raises:
        ConfigError: It was taken on another machine, or of emulated devices for real ones.
    """
    host, other = run.manifest.get("host", {}), of.manifest.get("host", {})
    if host.get("name") != other.get("name"):
        raise ConfigError(
            f"the baseline {found.file} was taken on {other.get('name')},"
            f" the run was made on {host.get('name')}",
            "take a baseline on the machine of the run",
        )
    marks = {energy.synthetic for energy in found.idle.values()}
    wanted = {channel.synthetic for channel in run.channels if channel.name in found.idle}
    if wanted and marks != wanted:
        raise ConfigError(
            f"the baseline {found.file} and the run do not both stem from real devices",
            "take a baseline with the devices of the run",
        )
    notes = []
    if run.started_s is None:
        notes.append("when the run was made is not known, so neither is how old it is")
    else:
        apart_s = found.taken_s - run.started_s
        when = "after" if apart_s > 0 else "before"
        notes.append(f"taken {_span(abs(apart_s))} {when} the run")
        if abs(apart_s) > OLD_S:
            notes.append("it is old: idle power changes with updates and with what is plugged in")
    if host.get("boot_id") != other.get("boot_id"):
        notes.append("the machine was started anew in between")
    if host.get("kernel") != other.get("kernel"):
        notes.append(f"the kernel was another ({other.get('kernel')})")
    return tuple(notes)


def drift(before: Baseline, after: Baseline) -> dict[str, float]:
    """Return how much idle power has changed, as a share of its mean, by channel."""
    changes = {}
    for channel in before.idle.keys() & after.idle.keys():
        one, two = before.idle[channel].mean_w or 0.0, after.idle[channel].mean_w or 0.0
        if one + two > 0:
            changes[channel] = 2 * (two - one) / (one + two)
    return changes


def above_idle(whole: Energy, baselines: Sequence[Baseline]) -> Net | None:
    """Return the energy of a channel above its idle power; None where no baseline holds it.

    The sensor's own error is taken as a gain, which total and idle share: that of what is left
    remains. With two baselines (before and after) idle is their mean, and half their difference
    its limit.
    """
    idle = [
        _stretched(b.idle[whole.channel], whole.covered_s)
        for b in baselines
        if whole.channel in b.idle
    ]
    if not idle or whole.covered_s <= 0 or whole.silent:
        return None
    mean = _mean(idle)
    left = difference(whole, mean, same_sensor=True)
    energy = replace(
        whole,
        energy_j=left.energy_j,
        budget=left.budget,
        label=f"{whole.label}, above idle",
    )
    own_j = math.hypot(*(item.u_j for item in mean.budget if not item.is_systematic))
    return Net(energy, mean.energy_j / whole.covered_s, 2 * own_j / whole.covered_s)


def _stretched(idle: Energy, seconds_s: float) -> Energy:
    """Return what the idle machine takes in another time, at the same power."""
    times = seconds_s / idle.covered_s
    items = tuple(replace(item, u_j=item.u_j * times) for item in idle.budget)
    return replace(idle, energy_j=idle.energy_j * times, covered_s=seconds_s, budget=items)


def _mean(idle: Sequence[Energy]) -> Energy:
    """Return the mean of one or two energies of the same time; how far they lie apart is in U."""
    first, last = idle[0], idle[-1]
    if len(idle) == 1:
        return first
    apart_j = abs(last.energy_j - first.energy_j)
    items = [
        # the same error of the same sensor in both is that of the mean
        replace(item, u_j=item.u_j if item.is_systematic else item.u_j / math.sqrt(2))
        for item in max(first, last, key=lambda one: one.u_j or 0.0).budget
    ]
    if items:
        basis = "half of what both baselines differ by"
        items.append(BudgetItem("drift", apart_j / 2 / math.sqrt(3), basis, Shape.RECTANGULAR))
    return replace(first, energy_j=(first.energy_j + last.energy_j) / 2, budget=tuple(items))


def rest_of(run: RecordedRun, files: Sequence[str]) -> tuple[list[Baseline], list[str]]:
    """Return the baselines of a run in the order of their time, and what is to be said of them.

    Args:
        run: The run.
        files: One baseline, or that before and that after the run.

    Raises:
        ConfigError: More than two, one twice, or one that does not fit the run.
        FileError: One is no baseline.
    """
    if len(files) > 2:
        raise ConfigError(f"{len(files)} baselines are named", "name one, or that before and after")
    baselines: list[Baseline] = []
    notes: list[str] = []
    for file in files:
        rest = load(file)
        baselines.append(baseline(rest))
        said = (*fitting(run, baselines[-1], rest), *baselines[-1].notes)
        notes.append(f"{rest.files.power.name}: {'; '.join(said)}")
    if len({b.file for b in baselines}) < len(baselines):
        raise ConfigError(f"{baselines[0].file} is named twice", "name each baseline once")
    return sorted(baselines, key=lambda b: b.taken_s), notes


def idle_of(run: RecordedRun, baselines: Sequence[Baseline]) -> tuple[Idle, ...]:
    """Return what a run's headline drew at rest, in each baseline that holds all of it."""
    if not baselines:
        return ()
    channels = [part.channel for part in headline_parts(energies(run))]
    return tuple(
        Idle(math.fsum(b.idle[name].mean_w or 0.0 for name in channels), b.duration_s, b.busy_pct)
        for b in baselines
        if channels and all(name in b.idle for name in channels)
    )


def subtract(
    run: RecordedRun, baselines: Sequence[Baseline], notes: Sequence[str]
) -> dict[str, Any]:
    """Return a run's energies above idle as the plain data of ``report --json`` (``baseline``)."""
    found = energies(run)
    net = [n for e in found if (n := above_idle(e, baselines)) is not None]
    parts, first = headline_parts(found), headline(found)
    if first is not None and len(parts) > 1:
        name = sum_name(found) or first.channel
        sums = [
            replace(b, idle={name: total([b.idle[p.channel] for p in parts], name, first.label)})
            for b in baselines
            if all(p.channel in b.idle for p in parts)
        ]
        if first.silent:
            notes = [*notes, f"{first.silence}: {name} above idle is unknown"]
        for rest in baselines:
            lacks = ", ".join(p.channel for p in parts if p.channel not in rest.idle)
            if lacks:
                file = Path(rest.file).name
                notes = [*notes, f"{file} lacks {lacks}: it does not tell {name} at rest"]
        summed = above_idle(replace(first, channel=name), sums)
        net = [*([summed] if summed else []), *net]
    less = [n.energy.channel for n in net if n.energy.energy_j < -(n.energy.u_j or 0.0)]
    if less:
        notes = [*notes, f"{', '.join(less)} drew less in the run than at rest: it was no rest"]
    if len(baselines) == 2:
        changes = drift(*baselines)
        notes = [
            *notes,
            *(
                f"idle power of {channel} drifted by {100 * change:+.1f} %, 2 % is the limit (Q9)"
                for channel, change in changes.items()
                if abs(change) > MOST_DRIFT
            ),
        ]
    return _told(baselines, notes, net)


def _told(
    baselines: Sequence[Baseline], notes: Sequence[str], net: Sequence[Net]
) -> dict[str, Any]:
    return {
        "files": [b.file for b in baselines],
        "taken_utc_s": [round(b.taken_s, 3) for b in baselines],
        "duration_s": [round(b.duration_s, 3) for b in baselines],
        "busy_pct": [b.busy_pct for b in baselines],
        "gpu_context": [b.gpu_context for b in baselines],
        "notes": list(notes),
        "net": [
            {
                "channel": n.energy.channel,
                "idle_w": round(n.idle_w, 6),
                "u_idle_w": round(n.u_idle_w, 6),
                "energy_j": round(n.energy.energy_j, 6),
                "u_j": None if n.energy.u_j is None else round(n.energy.u_j, 6),
            }
            for n in net
        ],
    }


def _span(seconds: float) -> str:
    if seconds < 2 * _HOUR_S:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.1f} days"
