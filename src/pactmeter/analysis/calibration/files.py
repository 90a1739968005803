"""Calibrations and curves as files: JSON, written as a whole, read strictly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pactmeter.errors import FileError
from pactmeter.model import calibration, psu_curve_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_MOST_BYTES = 1_000_000


def save(path: Path, kept: calibration.Calibration | psu_curve_points.PointsCurve) -> None:
    """Write a calibration or a curve to a new file.

    Raises:
        FileError: There is such a file already, or it cannot be written.
    """
    text = json.dumps(kept.to_dict(), indent=1, allow_nan=False) + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise FileError(f"{path} exists and is kept", "name another file") from error
    except OSError as error:
        raise FileError(f"cannot write {path}: {error}") from error


def load_calibration(path: Path) -> calibration.Calibration:
    """Read a calibration.

    Raises:
        FileError: There is none, or it is not one that this version understands.
    """
    return _read(path, calibration.from_dict)


def load_curve(path: Path) -> psu_curve_points.PointsCurve:
    """Read the curve of a power supply.

    Raises:
        FileError: There is none, or it is not one that this version understands.
    """
    return _read(path, psu_curve_points.from_dict)


def _read(path: Path, made: Callable[[object], T]) -> T:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise FileError("it is too large")
        return made(json.loads(text))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileError(f"cannot read {path}: {reason}") from error
    except FileError as error:
        raise FileError(f"{path}: {error.message}", error.fix) from error
