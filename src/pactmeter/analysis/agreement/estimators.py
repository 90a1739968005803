"""What tools of the field would have said of the same run, by the formulas that they publish.

They are named comparisons beside a measurement, never a figure of our own. Each holds for the
release that is named with it, as installed for the benchmarks; what is not a formula of the tool
but a fault of its reading (a failed read, a lost GPU) is not reproduced, but where it is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pactmeter.errors import ConfigError, PactError
from pactmeter.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Sequence

CODECARBON = "CodeCarbon 3.3.2"
CARBONTRACKER = "carbontracker 2.4.7"
ORIGINAL = "PACT (original, 43e7d51)"

CARBONTRACKER_PUE = 1.58
"""Power usage effectiveness by which carbontracker multiplies (Uptime Institute survey, 2023)."""
ORIGINAL_EFFICIENCY = 0.92
"""Efficiency that the original takes every power supply to have at every load."""
ORIGINAL_G_PER_KWH = 646.0
"""Carbon intensity by which the original multiplies, everywhere and always."""

_GIB = 1024**3
_MODULES = ((2, 1), (16, 2), (64, 4), (128, 8))
"""Up to so many GiB, CodeCarbon takes a machine to have so many memory modules..."""
_SIZES_GIB = (128, 64, 32, 16, 8, 4)
_DISCOUNTS = ((4, 1.0), (4, 0.9), (8, 0.8), (math.inf, 0.7))
"""... and these shares of a module's power to count for the first 4, the next 4, and so on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tools see of a run; what is None or empty they do not see.

    Attributes:
        duration_s: How long it was, in seconds.
        package_j: Energy of all processor packages in joules, where there is RAPL.
        gpu_j: Energy of all GPUs in joules.
        rapl_w: Readings of one update after another, one for each package and memory, in watts.
        gpu_w: The same of the GPUs.
        tdp_w: Thermal design power of all processors in watts.
        load_pct: Load of all CPUs of the machine, one figure after another, in percent.
        ram_bytes: Size of the memory.
        arm: Whether the processor is an ARM.
        dc_w: DC output of the power supply in each row, in watts.
        row_s: How long each row was, in seconds.
    """

    duration_s: float
    package_j: float | None = None
    gpu_j: float | None = None
    rapl_w: Sequence[Sequence[float]] = ()
    gpu_w: Sequence[Sequence[float]] = ()
    tdp_w: float | None = None
    load_pct: Sequence[float] = ()
    ram_bytes: int | None = None
    arm: bool = False
    dc_w: Sequence[float] = ()
    row_s: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class FieldEstimate:
    """What a tool would have said.

    Attributes:
        tool: Name and release.
        covers: What part of the machine it speaks of.
        formula: How it is computed, and where that stands.
        energy_j: Energy in joules.
        carbon_g: CO2 equivalents in grams, where the tool has a constant for them.
    """

    tool: str
    covers: str
    formula: str
    energy_j: float
    carbon_g: float | None = None


def codecarbon_constant_w(tdp_w: float) -> float:
    """Return the CPU power in watts where CodeCarbon knows no load: half of the TDP."""
    return 0.5 * _positive(tdp_w, "the TDP")


def codecarbon_load_w(tdp_w: float, load_pct: float) -> float:
    """Return the CPU power in watts from the load of the whole machine (its mode `machine`).

    A tenth of the TDP, and the rest of it by the third power of the load.
    """
    share = _positive(load_pct, "the load") / 100
    if share > 1:
        raise ConfigError(f"a load of {load_pct:g} % of the machine", "give 0 to 100 %")
    return _positive(tdp_w, "the TDP") * (0.1 + 0.9 * share**3)


def codecarbon_ram_w(ram_bytes: int, *, arm: bool = False) -> float:
    """Return the memory power in watts: a constant for each module that the size suggests.

    5 W a module (1.5 W on ARM), less for those beyond the fourth, at least that of two modules.
    """
    gib = _positive(ram_bytes, "the memory") / _GIB
    each_w = 1.5 if arm else 5.0
    left, power_w = float(_modules(gib)), 0.0
    for most, share in _DISCOUNTS:
        taken = min(left, most)
        power_w += each_w * share * taken
        left -= taken
    return max(2 * each_w, power_w)


def _modules(gib: float) -> int:
    """Return how many memory modules CodeCarbon takes a machine to have."""
    for most_gib, modules in _MODULES:
        if gib <= most_gib:
            return modules
    size_gib = next(size for size in _SIZES_GIB if size <= gib / 8)
    return min(32, math.ceil(gib / size_gib))


def carbontracker_cpu_w(tdp_w: float) -> float:
    """Return the CPU power in watts where carbontracker finds no meter: half of the TDP."""
    return 0.5 * _positive(tdp_w, "the TDP")


def carbontracker_energy_j(
    readings_w: Sequence[Sequence[float]],
    duration_s: float,
    pue: float = CARBONTRACKER_PUE,
    *,
    flattened: bool = False,
) -> float:
    """Return the energy of one component (all GPUs, or all of RAPL) of an epoch, in joules.

    The mean of each device's readings, whenever they were taken, times the duration, summed over
    the devices, times the PUE.

    Args:
        readings_w: The readings of one update after another, one for each device, in watts.
        duration_s: How long the epoch was, in seconds.
        pue: Power usage effectiveness.
        flattened: As released since 2024-03: one mean over the readings of all devices, so that N
            devices give 1/N of their energy.

    Raises:
        PactError: There are no readings, or not as many at each update.
    """
    if not readings_w or not readings_w[0] or len({len(each) for each in readings_w}) > 1:
        raise PactError("there are no readings, or not of the same devices at each update")
    powers = np.asarray(readings_w, np.float64)
    mean_w = float(powers.mean() if flattened else powers.mean(axis=0).sum())
    return _positive(mean_w, "a power") * _positive(duration_s, "the duration") * pue


def original_energy_j(dc_w: Sequence[float], duration_s: Sequence[float]) -> float:
    """Return the AC energy in joules that the original PACT gives: the sum of P x d over 0.92.

    Args:
        dc_w: `Total_PSU_Power(W)` of each row: DC output in watts, though it calls it wall power.
        duration_s: `duration(s)` of each row, which in its files is that of the row before.

    Raises:
        PactError: The columns differ in length, or a row has no figure.
    """
    power, time = np.asarray(dc_w, np.float64), np.asarray(duration_s, np.float64)
    if power.shape != time.shape or power.ndim != 1 or not power.size:
        raise PactError("power and duration are not columns of the same rows")
    return _positive(float(power @ time), "the energy") / ORIGINAL_EFFICIENCY


def field_estimates(seen: Seen) -> list[FieldEstimate]:
    """Return what each tool would have said of a run, as far as what it needs was seen.

    Raises:
        ConfigError: A figure is negative, infinite or not a number.
        PactError: Columns or readings differ in number.
    """
    duration_s = _positive(seen.duration_s, "the duration")
    found = _codecarbon(seen, duration_s)
    parts = [("CPU", seen.rapl_w), ("GPU", seen.gpu_w)]
    if not len(seen.rapl_w) and seen.tdp_w is not None:
        parts[0] = ("CPU, TDP / 2", [[carbontracker_cpu_w(seen.tdp_w)]])
    metered = [(name, readings) for name, readings in parts if len(readings)]
    for flattened, how in ((False, "of each device, summed"), (True, "of all devices at once")):
        if metered:
            energy_j = sum(
                carbontracker_energy_j(readings, duration_s, flattened=flattened)
                for _, readings in metered
            )
            formula = f"mean reading {how}, x duration x PUE {CARBONTRACKER_PUE} (component.py)"
            covers = " + ".join(name for name, _ in metered)
            tool = CARBONTRACKER if flattened else "carbontracker before 2024-03"
            found.append(FieldEstimate(tool, covers, formula, energy_j))
    if len(seen.dc_w):
        formula = f"sum of power x duration / {ORIGINAL_EFFICIENCY} (regression.py)"
        energy_j = original_energy_j(seen.dc_w, seen.row_s)
        carbon_g = energy_j / JOULES_PER_KWH * ORIGINAL_G_PER_KWH
        found.append(
            FieldEstimate(ORIGINAL, "AC input of the machine", formula, energy_j, carbon_g)
        )
    return found


def _codecarbon(seen: Seen, duration_s: float) -> list[FieldEstimate]:
    """Return what CodeCarbon would have said with RAPL, from the load, and from the TDP alone."""
    rest_j = 0.0 if seen.gpu_j is None else _positive(seen.gpu_j, "the energy of the GPUs")
    rest = "" if seen.gpu_j is None else " + GPU"
    if seen.ram_bytes is not None:
        rest_j += codecarbon_ram_w(seen.ram_bytes, arm=seen.arm) * duration_s
        rest += " + memory"
    ways = []
    if seen.package_j is not None:
        ways.append(("RAPL", _positive(seen.package_j, "the energy of the packages")))
    if seen.tdp_w is not None and len(seen.load_pct):
        mean_w = float(np.mean([codecarbon_load_w(seen.tdp_w, load) for load in seen.load_pct]))
        ways.append(("TDP x (0.1 + 0.9 load^3)", mean_w * duration_s))
    if seen.tdp_w is not None:
        ways.append(("TDP / 2", codecarbon_constant_w(seen.tdp_w) * duration_s))
    memory = ", a constant for each memory module (ram.py)" if seen.ram_bytes is not None else ""
    return [
        FieldEstimate(CODECARBON, f"CPU{rest}", f"CPU: {way} (hardware.py){memory}", cpu_j + rest_j)
        for way, cpu_j in ways
    ]


def _positive(value: float, what: str) -> float:
    """Return the value if it is one that nature allows.

    Raises:
        ConfigError: It is negative, infinite or not a number.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{what} is {value}", "give a figure that is not below zero")
    return float(value)
