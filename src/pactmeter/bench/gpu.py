"""The emulated machine's GPUs: what each generation's NVML shows of its power."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from pactmeter.errors import ConfigError, unknown_name

DEFAULT = "a100"
MOST_GPUS = 16
"""More GPUs are not emulated."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One type of GPU, and what NVML shows of its power.

    Attributes:
        name: Product name.
        compute_capability: CUDA's, such as ``(8, 0)``.
        architecture: NVML's number of the generation.
        pci_id: PCI device number.
        memory_b: Memory in bytes.
        sm_mhz: Highest clock of its processors.
        memory_mhz: Clock of its memory.
        idle_w: Power without load.
        busy_w: Power under full load.
        limit_w: Power limit.
        window_s: Its power is the mean over so long...
        update_period_s: ...before each multiple of this time.
        average_window_s: Window of ``nvmlDeviceGetPowerUsage`` and field 185, where they are a
            longer mean; None where power usage is that of `window_s` and field 185 is missing.
        energy_period_s: Time between the energy counter's steps; None: it has no counter.
    """

    name: str
    compute_capability: tuple[int, int]
    architecture: int
    pci_id: int
    memory_b: int
    sm_mhz: int
    memory_mhz: int
    idle_w: float
    busy_w: float
    limit_w: float
    window_s: float
    update_period_s: float
    average_window_s: float | None = None
    energy_period_s: float | None = 0.1

    @property
    def counts_energy(self) -> bool:
        """Whether it has an energy counter."""
        return self.energy_period_s is not None

    @property
    def is_server(self) -> bool:
        """Whether it is made for servers: no fan of its own, checked memory."""
        return "GeForce" not in self.name


# Windows and periods as measured on real cards (Yang 2023, arXiv 2312.02741), power usage and
# field 185 as NVML documents them: a mean over 1 s on Ampere and newer except GA100.
PRESETS = {
    "p100": GpuModel(
        "Tesla P100-PCIE-16GB", (6, 0), 4, 0x15F8, 16280 * _MIB, 1328, 715,
        26.0, 235.0, 250.0, 0.010, 0.020, energy_period_s=None,
    ),
    "v100": GpuModel(
        "Tesla V100-SXM2-16GB", (7, 0), 5, 0x1DB1, 16160 * _MIB, 1530, 877,
        40.0, 285.0, 300.0, 0.010, 0.020, energy_period_s=0.020,
    ),
    "t4": GpuModel(
        "Tesla T4", (7, 5), 6, 0x1EB8, 15360 * _MIB, 1590, 5001,
        10.0, 68.0, 70.0, 0.100, 0.100,
    ),
    "rtx2080": GpuModel(
        "NVIDIA GeForce RTX 2080", (7, 5), 6, 0x1E87, 8192 * _MIB, 2100, 7000,
        12.0, 210.0, 215.0, 0.100, 0.100,
    ),
    "a100": GpuModel(
        "NVIDIA A100-SXM4-40GB", (8, 0), 7, 0x20B0, 40960 * _MIB, 1410, 1215,
        55.0, 385.0, 400.0, 0.025, 0.100,
    ),
    "rtx3090": GpuModel(
        "NVIDIA GeForce RTX 3090", (8, 6), 7, 0x2204, 24576 * _MIB, 2100, 9751,
        25.0, 340.0, 350.0, 0.100, 0.100, 1.0,
    ),
    "rtx4090": GpuModel(
        "NVIDIA GeForce RTX 4090", (8, 9), 8, 0x2684, 24564 * _MIB, 3105, 10501,
        20.0, 430.0, 450.0, 0.100, 0.100, 1.0,
    ),
    "h100": GpuModel(
        "NVIDIA H100 80GB HBM3", (9, 0), 9, 0x2330, 81559 * _MIB, 1980, 2619,
        70.0, 680.0, 700.0, 0.025, 0.100, 1.0,
    ),
}  # fmt: skip
"""GPU types by the name that the command line takes."""


def parse_gpus(spec: str) -> list[GpuModel]:
    """Return the GPUs that ``2``, ``2xh100`` or ``a100,rtx4090`` names.

    Raises:
        ConfigError: A type is not known, or there are none or too many.
    """
    found: list[GpuModel] = []
    for item in spec.split(","):
        match = re.fullmatch(r"(?:(\d+)x)?([a-z]\w*)|(\d+)", item.strip().lower())
        count, name, alone = match.groups() if match else ("", item, None)
        if not alone and name not in PRESETS:
            raise unknown_name("GPU", name, PRESETS)
        found += [PRESETS[name or DEFAULT]] * int(alone or count or 1)
    if not 0 < len(found) <= MOST_GPUS:
        raise ConfigError(f"{len(found)} GPUs cannot be emulated", f"1 to {MOST_GPUS}")
    return found


def uuid_of(index: int) -> str:
    """Return the UUID of a GPU, the same on every emulated machine."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, f'pactmeter-bench/gpu{index}')}"
