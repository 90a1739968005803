"""A Corsair supply read through the kernel's corsair-psu driver (Linux 5.11 on), no root needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pactmeter.errors import DeviceError
from pactmeter.sensors.sysfs import IntFile

if TYPE_CHECKING:
    from pathlib import Path

_TOTAL_UW = "power1_input"
_RAILS_UW = ("power2_input", "power3_input", "power4_input")
_INPUT_MV = "in0_input"
_TEMP_MC = "temp1_input"

_W_PER_UW = 1e-6
_V_PER_MV = 1e-3
_C_PER_MC = 1e-3


class HwmonReader:
    """The driver's files, kept open; a read of one is one exchange over USB."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            name: IntFile(folder / name) for name in (_TOTAL_UW, *_RAILS_UW, _INPUT_MV, _TEMP_MC)
        }
        try:
            self._files[_TOTAL_UW].open()
        except OSError as error:
            raise DeviceError(f"cannot open {error.filename}: {error.strerror}") from error
        for file in self._files.values():
            # Only the total is indispensable: without another file that reading alone fails.
            with contextlib.suppress(OSError):
                file.open()

    def total_w(self) -> float:
        """Return the total DC output power, in watts."""
        return self._files[_TOTAL_UW].read() * _W_PER_UW

    def rails_w(self) -> tuple[float, ...]:
        """Return the output power of the 12 V, 5 V and 3.3 V rails, in watts."""
        return tuple(self._files[name].read() * _W_PER_UW for name in _RAILS_UW)

    def input_v(self) -> float:
        """Return the input voltage, in volts."""
        return self._files[_INPUT_MV].read() * _V_PER_MV

    def temp_c(self) -> float:
        """Return the temperature of the voltage regulator, in degrees Celsius."""
        return self._files[_TEMP_MC].read() * _C_PER_MC

    def settle(self, turn: int) -> None:
        """Do nothing: the driver answers one question after another."""

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
