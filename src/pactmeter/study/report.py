"""What a study comes to: each workload over its trials, what they left uncovered, what they cost.

Trials of other devices (emulated, real), other data (made up, real) or other weights are never in
one row, and rows of such different worlds never in one table.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.agreement.compare import SPAN_S, compare_sources
from pactmeter.analysis.stats.intervals import mean_interval
from pactmeter.errors import PactError
from pactmeter.study.energy_stats import Stats, stats
from pactmeter.study.precision import noise_floor_pct
from pactmeter.study.report_idle import Rest, rests
from pactmeter.study.report_model import Modelled, modelled
from pactmeter.study.report_trial import Counted, counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pactmeter.study.results import Study

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over trials.

    Attributes:
        value: The mean, in the unit of the values.
        low: Lower end of its 95 % interval; None: one trial has none.
        high: Upper end.
        n: How many trials it is of.
        note: What speaks against the interval; None: nothing.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What a whole drew beyond its measured parts, over the trials of a row.

    Attributes:
        whole: Channel of the whole, such as ``psu.dc_output``.
        parts: Channels of the parts.
        energy_j: What is not covered in a mean trial, in joules.
        u_j: Its uncertainty (k=2), in joules; None: unknown.
        mean_w: Its mean power, in watts.
        share_pct: Its share of the whole, in percent.
        violated: Whether the parts exceed the whole beyond U; None: cannot be said.
    """

    whole: str
    parts: tuple[str, ...]
    energy_j: float
    u_j: float | None
    mean_w: float
    share_pct: float | None
    violated: bool | None


@dataclass(frozen=True, slots=True)
class Row:
    """One workload over its trials, all of one world.

    Attributes:
        workload: Its name.
        family: Its family.
        trials: Stems of the trials.
        world: What must stand beside every figure: ``emulated devices``, ``made up data``, ...;
            empty: all is real.
        told: What else the trials say of themselves and have in common: device, tool.
        channel: What the energy is that of; None: none was measured.
        label: That in words.
        origin: Measured, estimated or modelled.
        energy: Energy, in joules.
        u_j: Uncertainty of the sensors (k=2) of a mean trial's energy, in joules; None: unknown.
        above_idle: Energy above that of the machine at rest, in joules; None: not measured.
        time: Time measured, in seconds.
        power: Mean power, in watts.
        per: Energy of a unit of work, by unit (``steps``, ``samples``), in joules.
        amounts: Mean amount of work of a trial, by unit.
        left: What the parts leave of the whole.
        left_why: Why that is not known; None: it is.
    """

    workload: str
    family: str
    trials: tuple[str, ...]
    world: tuple[str, ...]
    told: tuple[str, ...]
    channel: str | None
    label: str | None
    origin: str | None
    energy: Figure | None
    u_j: float | None
    above_idle: Figure | None
    time: Figure
    power: Figure | None
    per: dict[str, Figure]
    amounts: dict[str, float]
    left: tuple[Left, ...]
    left_why: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a study comes to.

    Attributes:
        name: Name of the study.
        profile: Its profile, if it has one.
        seed: What the order of its trials was drawn by.
        host: The machine.
        folder: Where it lies.
        total: Trials in the plan.
        rows: Its workloads.
        failed: Trials that have failed, each with the reason.
        left: Trials that were not run.
        left_out: Trials that are done and have no figure, each with the reason.
        control: Name of the control workload, if it has one.
        noise_pct: What the control workload resolves, in percent; None: unknown.
        rests: The machine at rest.
        model: What a power model of the stress trials says of the others.
        stats: The original's table.
        notes: What must be known of all that.
    """

    name: str
    profile: str | None
    seed: int
    host: str
    folder: Path
    total: int
    rows: tuple[Row, ...]
    failed: tuple[tuple[str, str], ...]
    left: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    control: str | None
    noise_pct: float | None
    rests: tuple[Rest, ...]
    model: Modelled
    stats: Stats
    notes: tuple[str, ...]

    @property
    def worlds(self) -> list[tuple[str, ...]]:
        """The worlds there are; the real one first."""
        return sorted({row.world for row in self.rows}, key=lambda world: (len(world), world))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        return {"schema": SCHEMA, **asdict(self), "folder": str(self.folder)}


def report(study: Study) -> Report:
    """Return what a study comes to.

    Raises:
        PactError: No trial is done.
    """
    if not study.finished:
        told = "; ".join(f"{one.stem}: {why}" for one, why in study.failed[:3])
        raise PactError(
            f"no trial of {study.folder} is done" + (f" ({told})" if told else ""),
            "pactmeter study run goes on where the study was",
        )
    found: list[Counted] = []
    left_out: list[tuple[str, str]] = []
    for one in study.finished:
        try:
            found.append(counted(one))
        except PactError as error:
            left_out.append((one.trial.stem, error.message))
    left_out += [(one.stem, one.no_energy) for one in found if one.no_energy]
    groups: dict[tuple[object, ...], list[Counted]] = defaultdict(list)
    for each in found:
        if each.no_energy is None:
            groups[each.key].append(each)
    order = [one.name for one in study.plan.definition.workloads]
    rows = sorted(map(_row, groups.values()), key=lambda row: order.index(row.workload))
    settings = study.plan.definition.settings
    model = modelled(found, settings.measure_period_s)
    return Report(
        name=study.plan.definition.name,
        profile=study.plan.definition.profile,
        seed=study.plan.seed,
        host=study.plan.host,
        folder=study.folder,
        total=len(study.plan.trials),
        rows=tuple(rows),
        failed=tuple((one.stem, why) for one, why in study.failed),
        left=tuple(one.stem for one in study.left),
        left_out=tuple(left_out),
        control=settings.control,
        noise_pct=noise_floor_pct(study) if settings.control else None,
        rests=tuple(rests(study)),
        model=model,
        stats=stats(found, model),
        notes=tuple(_notes(study, rows)),
    )


def _row(trials: list[Counted]) -> Row:
    first = trials[0]
    energies = [one.energy for one in trials if one.energy is not None]
    u_j = [one.u_j for one in energies]
    known = [u for u in u_j if u is not None]
    nets = [one.above_idle_j for one in trials if one.above_idle_j is not None]
    amounts = [name for name in first.amounts if all(name in one.amounts for one in trials)]
    left, why = _left(trials)
    return Row(
        workload=first.workload,
        family=first.family,
        trials=tuple(one.stem for one in trials),
        world=first.world,
        told=first.told,
        channel=energies[0].channel if energies else None,
        label=energies[0].label if energies else None,
        origin=str(energies[0].origin) if energies else None,
        energy=_figure([one.energy_j for one in energies]) if energies else None,
        # the same sensors measured all: what they are wrong by is the same in all
        u_j=sum(known) / len(known) if known and len(known) == len(u_j) else None,
        above_idle=_figure(nets) if nets and len(nets) == len(trials) else None,
        time=_figure([one.duration_s for one in trials]),
        power=_figure([one.mean_w or 0.0 for one in energies]) if energies else None,
        per={
            name: _figure([one.energy.energy_j / one.amounts[name] for one in trials if one.energy])
            for name in amounts
            if energies
        },
        amounts={name: sum(o.amounts[name] for o in trials) / len(trials) for name in amounts},
        left=left,
        left_why=why,
    )


def _figure(values: Sequence[float]) -> Figure:
    if len(values) < 2:
        return Figure(values[0], None, None, 1, "one trial shows no spread")
    found = mean_interval(values)
    return Figure(found.value, found.low, found.high, len(values), found.note)


def _left(trials: list[Counted]) -> tuple[tuple[Left, ...], str | None]:
    """Return what the parts leave of the whole, or why that is not known."""
    try:
        agreed = compare_sources([one.run for one in trials], span_s=SPAN_S)
    except PactError as error:
        return (), error.message
    found = []
    for each in agreed.remainders:
        share = each.energy_j / len(set(each.run.tolist()))
        u_j = None if each.u_j is None else each.u_j / len(set(each.run.tolist()))
        mean_w = each.energy_j / each.covered_s
        found.append(
            Left(each.whole, each.parts, share, u_j, mean_w, each.share_pct, each.violated)
        )
    if found:
        return tuple(found), None
    whys = [one.why for one in agreed.refused if "draws beyond" in one.what]
    return (), whys[0] if whys else "no power supply was measured beside processors or GPUs"


def _notes(study: Study, rows: Sequence[Row]) -> list[str]:
    notes = list(study.notes)
    several = sorted({r.workload for r in rows if sum(o.workload == r.workload for o in rows) > 1})
    notes += [f"{name} stands in several rows: its trials are not alike" for name in several]
    channels = sorted({row.channel for row in rows if row.channel})
    if len(channels) > 1:
        notes.append(f"the energies are of different sources: {', '.join(channels)}")
    if rows and not channels:
        notes.append("no trial has a measured energy: `pactmeter doctor` says why")
    if study.plan.definition.settings.control is None:
        notes.append("no control workload was named, so the noise floor is not known")
    if any(row.time.n < 5 for row in rows):
        notes.append(
            "fewer than five trials: intervals are wide, and hold if trials scatter normally"
        )
    return notes
