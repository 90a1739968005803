"""What tools of the field would have said of a run, beside its power supply."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pactmeter.analysis.agreement.estimators import FieldEstimate, Seen, field_estimates
from pactmeter.model.channel import Domain, Origin
from pactmeter.sensors.cpu_estimate import IDLE_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.analysis.agreement.pairs import Array
    from pactmeter.analysis.agreement.rows import Rows
    from pactmeter.analysis.agreement.source import Source

_MODEL = re.compile(r"utilisation of (\d+) x ([\d.]+) W TDP")


@dataclass(frozen=True, slots=True)
class Beside:
    """The estimates of one run.

    They cover other parts of the machine than the reference, so that what they miss of it is no
    error alone.

    Attributes:
        run: The run's file.
        reference: Channel that they stand beside: metered AC, else DC output; None: there is none.
        reference_j: Its energy in joules.
        estimates: What each tool would have said.
    """

    run: str
    reference: str | None
    reference_j: float | None
    estimates: tuple[FieldEstimate, ...]

    def share_pct(self, estimate: FieldEstimate) -> float | None:
        """Return an estimate in percent of the reference; None where there is none."""
        return 100 * estimate.energy_j / self.reference_j if self.reference_j else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        estimates = [
            {**asdict(each), "of_reference_pct": self.share_pct(each)} for each in self.estimates
        ]
        return {
            "run": self.run,
            "reference": self.reference,
            "reference_j": self.reference_j,
            "estimates": estimates,
        }


def beside(rows: Rows, tdp_w: float | None = None, ram_bytes: int | None = None) -> Beside:
    """Return what tools of the field would have said of a run.

    They see what it saw of processors and GPUs; of rows in which a device gave no reading, nothing.

    Args:
        rows: The rows of the run.
        tdp_w: Thermal design power of all processors in watts; without, that of the run's own
            estimate, and where it has none, what needs it is left out.
        ram_bytes: Size of the memory; what needs it is left out without.
    """
    real = [s for s in rows.sources if s.origin is not Origin.ESTIMATED and not s.is_beside]
    rapl = [s for s in real if s.domain in {Domain.PACKAGE, Domain.DRAM}]
    packages = [s for s in rapl if s.domain is Domain.PACKAGE]
    gpus = [s for s in real if s.domain is Domain.GPU]
    supplies = [s for s in real if s.domain is Domain.DC]
    dc_w = np.sum([s.power_w for s in supplies], axis=0) if supplies else np.empty(0)
    known = ~np.isnan(dc_w)
    loads_pct: list[float] = []
    if estimated := rows.source("cpu.estimate"):
        stated_w, loads_pct = _load(estimated)
        tdp_w = tdp_w or stated_w
    seen = Seen(
        float(rows.window_s.sum()),
        package_j=_joules(rows, packages),
        gpu_j=_joules(rows, gpus),
        rapl_w=_readings(rapl),
        gpu_w=_readings(gpus),
        tdp_w=tdp_w,
        load_pct=loads_pct,
        ram_bytes=ram_bytes,
        arm=rows.arm,
        dc_w=dc_w[known].tolist(),
        row_s=rows.window_s[known].tolist() if supplies else (),
    )
    whole = rows.meters or supplies
    if rows.lacks(whole):
        whole = []
    names = [each.channel for each in whole]
    return Beside(
        rows.name,
        " + ".join(names) or None,
        _joules(rows, whole),
        tuple(field_estimates(seen)),
    )


def _load(estimate: Source) -> tuple[float | None, list[float]]:
    """Return the TDP in watts and the CPU load of each row in percent that an estimate is made of.

    They are unknown where the estimate does not tell its model.
    """
    found = _MODEL.search(estimate.label)
    if not found:
        return None, []
    full_w = int(found.group(1)) * float(found.group(2))
    power_w = estimate.power_w[~np.isnan(estimate.power_w)]
    shares = (power_w / full_w - IDLE_SHARE) / (1 - IDLE_SHARE)
    return full_w, (100 * np.clip(shares, 0, 1)).tolist()


def _joules(rows: Rows, sources: Sequence[Source]) -> float | None:
    """Return what sources drew where they have readings, in joules."""
    if not sources:
        return None
    return sum(float(np.nansum(each.power_w * rows.window_s)) for each in sources)


def _readings(sources: Sequence[Source]) -> list[list[float]]:
    """Return the powers of all sources, row by row, where all have one."""
    if not sources:
        return []
    powers: Array = np.stack([each.power_w for each in sources], axis=1)
    found: list[list[float]] = powers[~np.isnan(powers).any(axis=1)].tolist()
    return found
