"""A fitted model as numbers: linear pieces, evaluated with the standard library alone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pactmeter.errors import FileError
from pactmeter.model.finite import not_finite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = 1
KIND = "counter power model"
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("target", "preset", "verdict", "source"), str),
    **dict.fromkeys(("meters", "runs", "notes"), list),
    **dict.fromkeys(("events", "checks", "validation"), dict),
    **dict.fromkeys(("host", "synthetic"), object),
    "accuracy_pct": float | int | None,
    "beats_baselines": bool,
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model, and what of it the model has seen.

    Attributes:
        name: Column of the windows: a rate as ``cycles_per_s``, ``gpu0.util_sm_pct``, ``cpu_w``.
        scale: Its standard deviation where the model was fitted, in its own unit.
        seen: Smallest and largest value the model was fitted on.
    """

    name: str
    scale: float
    seen: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A linear piece: ``intercept_w + sum(coefficient * feature)``.

    Attributes:
        intercept_w: Power at which all features are zero, in watts.
        coefficients: Watts for each unit of each feature, in the order of the features.
        centre: Middle of the piece in units of the features' scales; None: it holds everywhere.
    """

    intercept_w: float
    coefficients: tuple[float, ...]
    centre: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """A model: its features and one or more linear pieces.

    Attributes:
        features: What it takes.
        pieces: One piece, or several of which the one with the nearest centre holds.
        dropped: Features that were not taken, each with the reason.
    """

    features: tuple[Feature, ...]
    pieces: tuple[Piece, ...]
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the features, in their order."""
        return [feature.name for feature in self.features]

    def power_w(self, values: Sequence[float]) -> float:
        """Return the power for one window's features (in the order of `names`), in watts."""
        piece = self.pieces[0]
        if len(self.pieces) > 1:
            at = [v / (f.scale or 1.0) for v, f in zip(values, self.features, strict=True)]
            piece = min(self.pieces, key=lambda p: math.dist(at, p.centre or at))
        return piece.intercept_w + math.fsum(
            c * v for c, v in zip(piece.coefficients, values, strict=True)
        )

    def outside(self, values: Sequence[float]) -> list[str]:
        """Return the features whose value the model was never fitted on."""
        return [
            feature.name
            for feature, value in zip(self.features, values, strict=True)
            if not feature.seen[0] <= value <= feature.seen[1]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Formula:
        """Return the model that `to_dict` described.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        features = tuple(
            Feature(str(f["name"]), float(f["scale"]), (float(f["seen"][0]), float(f["seen"][1])))
            for f in data["features"]
        )
        pieces = tuple(
            Piece(
                float(p["intercept_w"]),
                tuple(map(float, p["coefficients"])),
                None if p["centre"] is None else tuple(map(float, p["centre"])),
            )
            for p in data["pieces"]
        )
        widths = {len(p.coefficients) for p in pieces} | {
            len(p.centre) for p in pieces if p.centre is not None
        }
        numbers = [n for p in pieces for n in (p.intercept_w, *p.coefficients, *(p.centre or ()))]
        numbers += [n for f in features for n in (f.scale, *f.seen)]
        if widths != {len(features)} or not all(map(math.isfinite, numbers)):
            raise ValueError("pieces do not fit the features")
        if len(pieces) > 1 and any(p.centre is None for p in pieces):
            raise ValueError("a piece has no centre")
        return cls(features, pieces, dict(data.get("dropped") or {}))


def read_model(path: Path) -> tuple[Formula, dict[str, Any]]:
    """Return a model and all that its file says of it.

    Raises:
        FileError: The file cannot be read, is no model, is damaged, or is of a newer PACT.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read the model {path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise FileError(f"{path} is not a power model of PACT", "`pactmeter model fit` writes one")
    if data.get("schema") != SCHEMA:
        raise FileError(
            f"{path} is of schema {data.get('schema')!r}, this PACT reads {SCHEMA}",
            "upgrade pactmeter, or fit the model again",
        )
    try:
        formula = Formula.from_dict(data["formula"])
        widths = [
            float(data["window_s"]),
            *(float(data["interval"][k]) for k in ("window_w", "mean_w")),
        ]
        if not all(0 <= width < math.inf for width in widths) or widths[0] == 0:
            raise ValueError("a window or an interval is no length")
        wrong = [key for key, kind in _KINDS.items() if not isinstance(data[key], kind)]
        if not wrong and not all(isinstance(meter, str) for meter in data["meters"]):
            wrong = ["meters"]
        if wrong:
            raise ValueError(f"{wrong[0]} is {data[wrong[0]]!r}")
        if (name := not_finite(data)) is not None:
            raise ValueError(f"{name} is no number")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the model {path} is damaged: {error}", "fit it again") from error
    return formula, data
