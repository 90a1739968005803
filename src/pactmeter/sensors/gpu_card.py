"""One NVIDIA GPU, held open to be probed: what it answers, and who else uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.errors import DeviceError
from pactmeter.model.finding import Finding
from pactmeter.sensors import nvml
from pactmeter.sensors.base import Request
from pactmeter.sensors.nvml_gpu import (
    FIELD_POWER_AVERAGE,
    FIELD_POWER_INSTANT,
    error_text,
    field_w,
    library,
    usage_w,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POWERS = ("usage", "instant", "average")
"""The readings of power: ``nvmlDeviceGetPowerUsage``, fields 186 and 185."""
ENERGY = "energy"
"""The reading of ``nvmlDeviceGetTotalEnergyConsumption``."""


class Card:
    """One GPU, held open.

    Attributes:
        index: NVML's index.
        uuid: NVML's identity.
        product: Product name.
        synthetic: ``emulated`` for the GPU of an emulated machine.
        is_partitioned: Whether the program was given only a MIG slice of it.
        quantities: What it answers.
        missing: What it does not answer, and why.
    """

    def __init__(self, index: int, synthetic: str | None, *, is_partitioned: bool) -> None:
        """Take hold of a card that was found; raises `DeviceError`."""
        import pynvml

        self.index = index
        self.synthetic = synthetic
        self.is_partitioned = is_partitioned
        self._is_open = False
        try:
            library.acquire()
            self._is_open = True
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self.uuid = str(pynvml.nvmlDeviceGetUUID(self._handle))
            self.product = str(pynvml.nvmlDeviceGetName(self._handle))
        except pynvml.NVMLError as error:
            self.close()
            raise DeviceError(f"gpu{index} does not answer: {error_text(error)}") from error
        self.missing: dict[str, str] = {}
        for name in _READS:
            try:
                self.read(name)
            except pynvml.NVMLError as error:
                self.missing[name] = error_text(error)
        self.quantities = tuple(name for name in _READS if name not in self.missing)

    def read(self, quantity: str) -> float:
        """Return a power in watts or the energy counter in joules; raises `NVMLError`."""
        return _READS[quantity](self._handle)

    @property
    def errors(self) -> type[Exception]:
        """What a failed reading raises."""
        import pynvml

        error: type[Exception] = pynvml.NVMLError
        return error

    def others(self) -> int | None:
        """Return how many programs compute on the card now; None if NVML does not tell."""
        import pynvml

        try:
            return len(pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        except pynvml.NVMLError:
            return None

    def close(self) -> None:
        """Let go of the card."""
        if self._is_open:
            self._is_open = False
            library.release()


def _energy_j(handle: object) -> float:
    import pynvml

    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


_READS: dict[str, Callable[[Any], float]] = {
    "usage": usage_w,
    "instant": lambda handle: field_w(handle, FIELD_POWER_INSTANT),
    "average": lambda handle: field_w(handle, FIELD_POWER_AVERAGE),
    ENERGY: _energy_j,
}


def find(only: int | None = None) -> tuple[list[Card], list[Finding]]:
    """Return the visible cards (or the one of that index), and what else was found or not.

    Raises:
        DeviceError: There is no card that could be probed.
    """
    found = nvml.discover(Request())
    missing = [finding for finding in found.findings if not finding.found]
    cards: list[Card] = []
    for device in found.devices:
        channel = device.channels[0]
        index = int(channel.name.removeprefix("gpu"))
        if only in {None, index}:
            try:
                sliced = "MIG slice" in channel.description
                cards.append(Card(index, channel.synthetic, is_partitioned=sliced))
            except DeviceError as error:
                missing.append(Finding("gpu", device.name, found=False, detail=error.message))
        device.close()
    if not cards:
        raise _nothing(only, [device.channels[0].name for device in found.devices], missing)
    return cards, missing


def _nothing(only: int | None, names: list[str], missing: list[Finding]) -> DeviceError:
    """Return the error for there being no card to probe."""
    if only is not None and names and f"gpu{only}" not in names:
        fix = f"--gpu {names[0].removeprefix('gpu')}"
        return DeviceError(f"there is no gpu{only} awake and visible, only {', '.join(names)}", fix)
    asleep = next((finding for finding in missing if "suspended" in finding.detail), None)
    if asleep:
        fix = "let a program of yours use the GPU, and probe it while it is awake"
        return DeviceError(f"{asleep.name} is suspended and is not woken", fix)
    told = next((finding for finding in missing if finding.fix), missing[0] if missing else None)
    fix = (told.fix if told else None) or "run it on a machine with an NVIDIA GPU and its driver"
    return DeviceError(f"no GPU to probe: {told.detail if told else 'NVML lists none'}", fix)
