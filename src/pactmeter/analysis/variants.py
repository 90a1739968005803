"""Sets of runs compared by energy, time and power, for ``pactmeter compare --vs``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.comparable import comparable, ordered_energies, too_little
from pactmeter.analysis.stats.compare import compare_many
from pactmeter.errors import ConfigError, PactError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.analysis.stats.compare import SetsCompared
    from pactmeter.model.energy import Energy

SCHEMA = 1
_LEAST_RUNS, _WANTED_RUNS = 2, 5
FIGURES: dict[str, Callable[[Energy], float]] = {
    "energy_j": lambda energy: energy.energy_j,
    "duration_s": lambda energy: energy.covered_s + energy.gap_s,
    "mean_w": lambda energy: energy.mean_w or 0.0,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant against the base.

    Attributes:
        name: Of the variant: B, or B1, B2, ...
        files: Its runs.
        figures: Energy (J), duration (s) and mean power (W), each compared.
        u_ratio_pct: What the sensors' own errors may change in the ratio of the energies (k=2), in
            percent: nothing where the same sensors measured both; None where it is unknown.
    """

    name: str
    files: tuple[str, ...]
    figures: dict[str, SetsCompared]
    u_ratio_pct: float | None


@dataclass(frozen=True, slots=True)
class Variants:
    """Variants against one base.

    Attributes:
        channel: What was compared.
        label: What that is, in words.
        origin: Measured, estimated or modelled.
        synthetic: None for real hardware.
        base: Files of the base.
        hosts: Names of the machines.
        variants: The variants.
        notes: What must be known of them.
    """

    channel: str
    label: str
    origin: str
    synthetic: str | None
    base: tuple[str, ...]
    hosts: tuple[str, ...]
    variants: tuple[Variant, ...]
    notes: tuple[str, ...]

    @property
    def first_line(self) -> str:
        """What must be said before any figure."""
        where = " and ".join(self.hosts) or "an unknown machine"
        marks = f"  [{self.synthetic} devices]" if self.synthetic else ""
        return f"{self.channel} ({self.label}), {self.origin}, on {where}{marks}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        told = []
        for variant in self.variants:
            figures = {
                name: {**asdict(found), "differ": found.differ, "verdict": found.verdict}
                for name, found in variant.figures.items()
            }
            told.append({**asdict(variant), "figures": figures})
        return {"schema": SCHEMA, **asdict(self), "variants": told}


def compare_runs(
    base: Sequence[RecordedRun],
    variants: Mapping[str, Sequence[RecordedRun]],
    *,
    channel: str | None = None,
    margin_pct: float | None = None,
    paired: bool = False,
    tests: Collection[str] = (),
) -> Variants:
    """Compare sets of runs by energy, duration and mean power of one source.

    Args:
        base: The runs that the variants are compared with, in the order of their measurement.
        variants: The runs of each variant, by name.
        channel: The source; None: each run's headline, which must be the same in all.
        margin_pct: Largest difference that counts as none, in percent.
        paired: Whether the n-th of the runs belong together.
        tests: Further tests, as in `compare_sets`.

    Raises:
        ConfigError: The runs cannot be compared: other sources, domains, or a run in both sets.
        PactError: There are too few runs (says how many are needed), or one has no such energy.
    """
    sets = {"A": base, **variants}
    everything = [run for runs in sets.values() for run in runs]
    for name, runs in sets.items():
        if len(runs) < _LEAST_RUNS:
            raise PactError(
                f"set {name} has {len(runs)} run, at least {_LEAST_RUNS} are needed, {_WANTED_RUNS}"
                " or more are wanted",
                "repeat the run",
            )
    files = [run.files.power for run in everything]
    if len(set(files)) < len(files):
        raise ConfigError("a run is named twice", "name each run once")
    known = {name: [_energy(run, channel) for run in runs] for name, runs in sets.items()}
    _require_alike([one for each in known.values() for one in each])
    found = {name: [energy for energy, _ in each] for name, each in known.items()}
    measured = [energy for each in found.values() for energy in each]
    hosts = sorted({str((run.manifest.get("host") or {}).get("name") or "") for run in everything})
    labels = sorted({energy.label for energy in measured})
    same = len(hosts) == len(labels) == 1 and bool(hosts[0])
    compared: dict[str, dict[str, SetsCompared]] = {name: {} for name in variants}
    for figure, value_of in FIGURES.items():
        values = {name: [value_of(energy) for energy in each] for name, each in found.items()}
        results = compare_many(
            {name: values[name] for name in variants},
            values["A"],
            margin_pct=margin_pct,
            paired=paired,
            tests=tests,
        )
        for name, result in results.items():
            compared[name][figure] = result
    first = found["A"][0]
    return Variants(
        first.channel,
        first.label,
        first.origin,
        first.synthetic,
        tuple(str(run.files.power) for run in base),
        tuple(filter(None, hosts)),
        tuple(
            Variant(
                name,
                tuple(str(run.files.power) for run in runs),
                compared[name],
                _sensor_pct(found["A"], found[name], same=same),
            )
            for name, runs in variants.items()
        ),
        tuple(_notes(everything, hosts, labels)),
    )


def _energy(run: RecordedRun, channel: str | None) -> tuple[Energy, str]:
    """Return a run's energy of a source, and the channels that it is the sum of.

    Raises:
        ConfigError: There is no such source.
        PactError: It was not measured, or not enough of it.
    """
    if channel is None:
        whole = comparable(run)
        found, sources, gaps = whole.energy, " + ".join(sorted(whole.sources)), whole.gaps
        if found is None and gaps is None:
            raise PactError(
                f"{run.files.power} has no measured energy", "leave it out, or name a --channel"
            )
    else:
        each = ordered_energies(run)
        found = next((energy for energy in each if energy.channel == channel), None)
        if found is None:
            raise unknown_name("channel", channel, [energy.channel for energy in each])
        sources, gaps = channel, too_little(found)
    if found is None or gaps is not None:
        raise PactError(f"{run.files.power}: {gaps}", "leave the run out, or measure it again")
    return found, sources


def _require_alike(found: Sequence[tuple[Energy, str]]) -> None:
    """Refuse to set side by side what is not the same measurand."""
    for what, values in (
        ("sources", sorted({sources for _, sources in found})),
        ("domains", sorted({str(energy.domain) for energy, _ in found})),
        ("origins", sorted({str(energy.origin) for energy, _ in found})),
        ("marks", sorted({energy.synthetic or "real" for energy, _ in found})),
    ):
        if len(values) > 1:
            raise ConfigError(
                f"the runs have different {what}: {', '.join(values)}",
                "compare runs of one source: name it with --channel",
            )


def _sensor_pct(base: Sequence[Energy], new: Sequence[Energy], *, same: bool) -> float | None:
    """Return by how much the sensors' own errors may change the ratio (k=2), in percent."""
    if same:
        return 0.0
    shares = []
    for each in (base, new):
        known = [e.u_j / e.energy_j for e in each if e.u_j is not None and e.energy_j > 0]
        if len(known) < len(each):
            return None
        shares.append(max(known))
    return 100 * math.hypot(*shares)


def _notes(runs: Sequence[RecordedRun], hosts: Sequence[str], labels: Sequence[str]) -> list[str]:
    notes = _mark_notes(runs)
    if len(hosts) > 1:
        notes.append("the runs are of several machines: their sensors' own errors do not cancel")
    elif len(labels) > 1:
        notes.append(f"the runs have several sensors: {'; '.join(labels)}")
    elif not hosts[0]:
        notes.append("what machines the runs are of is not known: nor whether errors cancel")
    else:
        notes.append("the same sensors measured all: what they are wrong by cancels in the ratio")
    scopes = {
        str(event.get("scope")) for run in runs for event in run.manifest.get("events", []) if event
    }
    if len(scopes) > 1:
        notes.append("the counters of the runs are of different scopes and are not compared")
    open_runs = [run.files.power.name for run in runs if run.status != "complete"]
    if open_runs:
        notes.append(f"not complete: {', '.join(open_runs)}")
    return notes


def _mark_notes(runs: Sequence[RecordedRun]) -> list[str]:
    """Return what the programs have told of what was measured, and where they were not alike."""
    notes = []
    for name in sorted({name for run in runs for name in run.marks}):
        values = sorted({run.marks.get(name, "not told") for run in runs})
        if len(values) > 1:
            told = ", ".join(values)
            notes.append(f"the runs are not alike in {name} ({told}): no like is compared")
        else:
            notes.append(f"all runs are marked {name}: {values[0]}")
    return notes
