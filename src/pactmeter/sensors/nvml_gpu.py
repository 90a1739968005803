"""One NVIDIA GPU read through NVML (nvidia-ml-py): energy counter, power, utilisation.

``nvmlDeviceGetTotalEnergyConsumption`` counts millijoules since the driver was loaded (Volta and
newer) and is taken where it works. Power is a second view of the same sensor: it proves our
arithmetic, not the sensor. Nothing is ever set.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.clock import now_s
from pactmeter.errors import CounterResetError, DeviceError, ReadError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.units import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.sensors.base import Reading

_MAX_POWER_W = 10_000.0
"""No GPU draws more: what is above is no reading."""
_MAX_POWER_WINDOW_S = 1.0
"""Added to the time between two reads before judging: the counter is updated in steps."""

# Numbers of nvml.h; older releases of nvidia-ml-py have no names for the two fields.
FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
_SCOPE_GPU = 0
_VALUE_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal"}
"""Member of the value union for each type that a power may have (nvmlValueType_t)."""

_ACCURACY_PCT = 5.0
_ACCURACY_SOURCE = (
    "Type B: NVML documents 5 % for its older boards; 11 boards against a meter missed by 4.6 % on "
    "average (Yang 2023, arXiv 2312.02741)"
)

FIXES = {
    "NVMLError_DriverNotLoaded": "sudo modprobe nvidia",
    "NVMLError_LibRmVersionMismatch": "reboot: the driver was updated while it was loaded",
    "NVMLError_LibraryNotFound": "install the NVIDIA driver's libnvidia-ml.so.1",
    "NVMLError_NoPermission": "give this user access to /dev/nvidia*",
    "NVMLError_ResetRequired": "reset the GPU, or reboot",
}


class Library:
    """NVML, initialised once however many GPUs hold it, and shut down by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    def acquire(self) -> None:
        """Initialise NVML for the first holder; raises `NVMLError`."""
        import pynvml

        with self._lock:
            if not self._holders:
                pynvml.nvmlInit()
            self._holders += 1

    def release(self) -> None:
        """Shut NVML down behind the last holder."""
        import pynvml

        with self._lock:
            self._holders -= 1
            if not self._holders:
                # A driver that has gone cannot be shut down; there is nothing left to free.
                with contextlib.suppress(pynvml.NVMLError):
                    pynvml.nvmlShutdown()


library = Library()


def error_text(error: Exception) -> str:
    """Return an NVMLError's class and text, such as ``NVMLError_GpuIsLost (GPU is lost)``."""
    return f"{type(error).__name__} ({error})"


def usage_w(handle: object) -> float:
    """Return a GPU's power in watts, over the window of its generation; raises `NVMLError`."""
    import pynvml

    return float(pynvml.nvmlDeviceGetPowerUsage(handle)) / 1000


def field_w(handle: object, field: int) -> float:
    """Return one field of power in watts; raises `NVMLError`."""
    import pynvml

    value = pynvml.nvmlDeviceGetFieldValues(handle, [(field, _SCOPE_GPU)])[0]
    if value.nvmlReturn != 0:
        raise pynvml.NVMLError(value.nvmlReturn)
    member = _VALUE_MEMBERS.get(value.valueType)
    if member is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return float(getattr(value.value, member)) / 1000


def limit_w(handle: object) -> float:
    """Return a GPU's power limit in watts; raises `NVMLError`."""
    import pynvml

    return float(pynvml.nvmlDeviceGetPowerManagementLimit(handle)) / 1000


def _believed(power_w: float) -> float | None:
    """Return a power that can be one, else None."""
    return power_w if power_w <= _MAX_POWER_W else None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as found.

    Attributes:
        index: NVML's index.
        uuid: NVML's identity, the same in every process and boot.
        product: Product name.
        generation: CUDA compute capability, such as ``(9, 0)``; None where NVML does not say.
        counts_energy: Whether it has an energy counter.
        has_power: Whether its power usage can be read.
        fields: Which of the two power fields answer.
        limit_w: Power limit in watts; None where NVML does not say.
        is_partitioned: Whether the program was given only a MIG slice of it.
        synthetic: ``emulated`` for the GPU of an emulated machine.
    """

    index: int
    uuid: str
    product: str
    generation: tuple[int, int] | None
    counts_energy: bool
    has_power: bool
    fields: tuple[int, ...]
    limit_w: float | None = None
    is_partitioned: bool = False
    synthetic: str | None = None

    @property
    def usage(self) -> tuple[str, str]:
        """What ``nvmlDeviceGetPowerUsage`` gives on this generation: a name and in words.

        After NVML's documentation: a mean over 1 s on Ampere and newer except GA100 (compute
        capability 8.0), the power of the moment on GA100 and older.
        """
        if self.generation is None:
            return "power_w", "NVML power usage, mean or instantaneous: generation unknown"
        if self.generation > (8, 0):
            return "average_w", "NVML power usage, mean over 1 s"
        return "instant_w", "NVML power usage, instantaneous"

    @property
    def seen_s(self) -> tuple[float | None, float | None]:
        """Update period of the power reading and the part of it that is seen, in seconds.

        As measured by Yang et al. (SC24, arXiv 2312.02741, table of results) where a part is not
        seen: 25 of 100 ms on GA100, 10 of 20 ms on Pascal and Volta. None: not one of these.
        """
        if self.generation == (8, 0):
            return 0.1, 0.025
        if self.generation is not None and (6, 0) <= self.generation <= (7, 0):
            return 0.02, 0.01
        return None, None


class GpuDevice:
    """One GPU, whole: NVML cannot tell the power of a MIG slice."""

    def __init__(self, gpu: Gpu, clock: Callable[[], float] = now_s) -> None:
        """Take over one hold on NVML from whoever found the GPU, so that it starts only once."""
        self._gpu = gpu
        self._clock = clock
        self._holds_library = True
        self._handle: object | None = None
        self._last_mj: int | None = None
        self._last_s = 0.0
        self._total_mj = 0
        sides: list[tuple[Channel, Callable[[Any], float]]] = [
            self._field(field) for field in gpu.fields
        ]
        if not gpu.fields and gpu.counts_energy and gpu.has_power:
            suffix, words = gpu.usage
            sides.append((self._side(suffix, Unit.WATT, words), usage_w))
        self._side_reads = tuple(read for _, read in sides)
        self._channels = (
            self._main(),
            *(channel for channel, _ in sides),
            self._side("util_sm_pct", Unit.PERCENT, "share of time with a kernel running"),
            self._side("util_mem_pct", Unit.PERCENT, "share of time with memory being accessed"),
        )

    @property
    def name(self) -> str:
        """Index and product, such as ``gpu0 NVIDIA H100``."""
        return f"gpu{self._gpu.index} {self._gpu.product}"

    @property
    def channels(self) -> Sequence[Channel]:
        """Energy (or power), then further power readings, then utilisation."""
        return self._channels

    def _main(self) -> Channel:
        whole = "; whole GPU, not the MIG slice" if self._gpu.is_partitioned else ""
        counts = self._gpu.counts_energy
        what = "NVML total energy consumption" if counts else self._gpu.usage[1]
        # what part of the time the counter sees is not known
        update_s, window_s = (None, None) if counts else self._gpu.seen_s
        return Channel(
            f"gpu{self._gpu.index}",
            Unit.JOULE if counts else Unit.WATT,
            Kind.ENERGY if counts else Kind.POWER,
            f"{what} of {self._gpu.product}, {self._gpu.uuid}{whole}",
            domain=Domain.GPU,
            resolution=0.001,
            update_period_s=update_s,
            window_s=window_s,
            most_w=None if counts else self._gpu.limit_w,
            accuracy_pct=_ACCURACY_PCT,
            accuracy_source=_ACCURACY_SOURCE,
            synthetic=self._gpu.synthetic,
        )

    def _side(self, suffix: str, unit: Unit, description: str) -> Channel:
        is_power = unit is Unit.WATT
        return Channel(
            f"gpu{self._gpu.index}.{suffix}",
            unit,
            Kind.QUANTITY,
            description,
            resolution=0.001 if is_power else 1.0,
            accuracy_pct=_ACCURACY_PCT if is_power else None,
            accuracy_source=_ACCURACY_SOURCE if is_power else None,
            synthetic=self._gpu.synthetic,
        )

    def _field(self, field: int) -> tuple[Channel, Callable[[Any], float]]:
        word = "instant" if field == FIELD_POWER_INSTANT else "average"
        channel = self._side(f"{word}_w", Unit.WATT, f"NVML field {field}, power {word}")
        return channel, lambda handle: field_w(handle, field)

    def open(self) -> None:
        """Take the GPU by its UUID; the energy counter's first reading is its anchor.

        Raises:
            DeviceError: NVML does not start, or the GPU is not there.
        """
        import pynvml

        try:
            if not self._holds_library:
                library.acquire()
                self._holds_library = True
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(self._gpu.uuid)
        except pynvml.NVMLError as error:
            self.close()
            fix = FIXES.get(type(error).__name__)
            raise DeviceError(f"cannot open {self.name}: {error_text(error)}", fix) from error
        if self._gpu.counts_energy and self._last_mj is None:
            # Where this fails, the first good reading is the anchor instead.
            with contextlib.suppress(ReadError):
                self._energy_j()

    def read(self) -> Reading:
        """Return joules since opening (or watts), then the side channels.

        A side channel that NVML does not give now (utilisation under MIG) is None and costs no
        energy.

        Raises:
            CounterResetError: The energy counter started again, as after a driver reload.
            ReadError: NVML gives no energy (or power) now.
        """
        import pynvml

        main = self._energy_j() if self._gpu.counts_energy else self._power_w()
        sides: list[float | None] = []
        for read in self._side_reads:
            try:
                sides.append(_believed(read(self._handle)))
            except pynvml.NVMLError:
                sides.append(None)
        try:
            rates = pynvml.nvmlDeviceGetUtilizationRates(self._handle)
        except pynvml.NVMLError:
            return (main, *sides, None, None)
        return (main, *sides, float(rates.gpu), float(rates.memory))

    def _energy_j(self) -> float:
        import pynvml

        self._check_open()
        try:
            raw_mj = int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        except pynvml.NVMLError as error:
            raise ReadError(f"{self.name}: no energy, {error_text(error)}") from error
        time_s = self._clock()
        before, self._last_mj = self._last_mj, raw_mj
        elapsed_s, self._last_s = time_s - self._last_s, time_s
        if before is not None:
            most_mj = 1000 * _MAX_POWER_W * (elapsed_s + _MAX_POWER_WINDOW_S)
            if not 0 <= raw_mj - before <= most_mj:
                what = "fell" if raw_mj < before else "rose"
                raise CounterResetError(
                    f"{self.name}: energy counter {what} from {before} to {raw_mj} mJ in "
                    f"{elapsed_s:.3f} s"
                )
            self._total_mj += raw_mj - before
        return self._total_mj / 1000

    def _power_w(self) -> float:
        import pynvml

        self._check_open()
        try:
            power_w = usage_w(self._handle)
        except pynvml.NVMLError as error:
            raise ReadError(f"{self.name}: no power, {error_text(error)}") from error
        if _believed(power_w) is None:
            raise ReadError(f"{self.name}: {power_w:.0f} W is no power of a GPU")
        return power_w

    def _check_open(self) -> None:
        if self._handle is None:
            raise ReadError(f"{self.name} is not open")

    def close(self) -> None:
        """Let go of the GPU, and of NVML with the last one."""
        self._handle = None
        if self._holds_library:
            self._holds_library = False
            library.release()
