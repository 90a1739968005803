"""Rest before a trial: for a time, or until the machine's hottest sensor has cooled down."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.clock import now_s
from pactmeter.sensors import sysfs
from pactmeter.sensors.base import Request
from pactmeter.sensors.hwmon import is_asleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from pactmeter.study.definition import Settings

_CHIPS = frozenset(
    {"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "amdgpu", "i915", "xe"}
)
"""hwmon chips (kernel documentation, Documentation/hwmon) whose temperatures are those of
processors and GPUs; of others it is not known what they are the temperature of."""
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Rest:
    """A rest before a trial.

    Attributes:
        waited_s: How long it was, in seconds.
        temp_c: The highest temperature at its end; None: no sensor.
        reached: Whether the temperature that was waited for was reached; None: none was.
    """

    waited_s: float
    temp_c: float | None
    reached: bool | None


def hottest_c() -> float | None:
    """Return the highest temperature of processors and GPUs, in degrees; None: no sensor."""
    found = [*_hwmon_c(), *_nvml_c()]
    return max(found) if found else None


def _hwmon_c() -> list[float]:
    found = []
    for folder in (sysfs.root() / "class" / "hwmon").glob("hwmon*"):
        if sysfs.read_text(folder / "name") not in _CHIPS or is_asleep(folder):
            continue
        raw = (sysfs.read_int(path) for path in folder.glob("temp*_input"))
        found += [value / 1000 for value in raw if value is not None and -50_000 < value < 150_000]
    return found


def _nvml_c() -> list[float]:
    """Return the temperatures of the NVIDIA GPUs that are awake."""
    from pactmeter.sensors import nvml

    devices = nvml.discover(Request(psu=())).devices
    if not devices:
        return []
    import pynvml

    found = []
    try:
        for device in devices:
            index = int(device.channels[0].name.removeprefix("gpu"))
            with contextlib.suppress(pynvml.NVMLError):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                kind = pynvml.NVML_TEMPERATURE_GPU
                found.append(float(pynvml.nvmlDeviceGetTemperature(handle, kind)))
    finally:
        for device in devices:  # each was found with a hold on NVML
            device.close()
    return found


def rest(
    settings: Settings,
    pause: Callable[[float], object],
    temperature_c: Callable[[], float | None] = hottest_c,
) -> Rest:
    """Rest as the study wants it.

    Without a sensor a temperature cannot be waited for: then it is the longest rest.

    Args:
        settings: Of the study.
        pause: Waits for some seconds.
        temperature_c: Reads the highest temperature.
    """
    start_s = now_s()
    until_s = start_s + settings.rest_s
    if settings.cool_down_c is None:
        pause(settings.rest_s)
        return Rest(now_s() - start_s, temperature_c(), None)
    while True:
        temp_c = temperature_c()
        reached = temp_c is not None and temp_c <= settings.cool_down_c
        left_s = until_s - now_s()
        if reached or left_s <= 0:
            return Rest(now_s() - start_s, temp_c, reached)
        pause(min(_LOOK_S, left_s))
