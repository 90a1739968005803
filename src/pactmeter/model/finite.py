"""What was read as JSON: where it holds what is no number."""

from __future__ import annotations

import math
from typing import Any


def not_finite(data: Any, name: str = "") -> str | None:
    """Return the path of the first number that is not finite (Python's JSON knows NaN); else None.

    >>> not_finite({"a": [1.0, {"b": float("nan")}]})
    'a[1].b'
    """
    if isinstance(data, float):
        return None if math.isfinite(data) else name
    if isinstance(data, dict):
        parts = ((f"{name}.{key}" if name else str(key), value) for key, value in data.items())
    elif isinstance(data, list):
        parts = ((f"{name}[{number}]", value) for number, value in enumerate(data))
    else:
        return None
    return next(filter(None, (not_finite(value, path) for path, value in parts)), None)
