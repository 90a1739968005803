"""Checks of the values in a study's file: each returns the value, or says what is wrong with it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pactmeter.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Check = Callable[[str, object], Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NEEDS = ("python", "tool", "file")
"""Kinds of needs that name something; ``gpu`` stands alone."""


def whole(low: int, high: int) -> Check:
    """Return the check of a whole number."""

    def check(where: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{where} is {value!r}", f"a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float, *, or_zero: bool = False) -> Check:
    """Return the check of a number in the unit that its key names.

    Args:
        low: The smallest.
        high: The largest.
        or_zero: Whether 0 is allowed below the smallest, as for "none".
    """

    def check(where: str, value: object) -> float:
        allowed = f"a number from {low:g} to {high:g}{', or 0 for none' if or_zero else ''}"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ConfigError(f"{where} is {value!r}", allowed)
        if not (low <= value <= high or (or_zero and value == 0)):
            raise ConfigError(f"{where} is {value!r}", allowed)
        return float(value)

    return check


def one_of(names: Sequence[str]) -> Check:
    """Return the check of a word that is one of some."""

    def check(where: str, value: object) -> str:
        if not isinstance(value, str):
            raise ConfigError(f"{where} is {value!r}", f"one of: {', '.join(names)}")
        if value not in names:
            error = unknown_name("word", value, names)
            raise ConfigError(f"{where}: {error.message}", error.fix)
        return value

    return check


def flag(where: str, value: object) -> bool:
    """Check what is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{where} is {value!r}", "true or false")
    return value


def text(where: str, value: object) -> str:
    """Check a text that is not empty."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ConfigError(f"{where} is {value!r}", "a text that is not empty")
    return value


def name(where: str, value: object) -> str:
    """Check a name that becomes part of the names of files."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigError(
            f"{where} is {value!r}, which cannot name files",
            "letters, digits, '_', '-' and '.', 100 at most",
        )
    return value


def texts(where: str, value: object) -> tuple[str, ...]:
    """Check a list of texts."""
    if not isinstance(value, list):
        raise ConfigError(f"{where} is {value!r}", 'a list, as ["a", "b"]')
    return tuple(text(f"{where}, item {place}", item) for place, item in enumerate(value, 1))


def needs(where: str, value: object) -> tuple[str, ...]:
    """Check a list of needs."""
    listed = texts(where, value)
    for need in listed:
        kind, _, what = need.partition(":")
        if need != "gpu" and (kind not in NEEDS or not what):
            raise ConfigError(
                f"{where} holds {need!r}, which is no need",
                "'gpu', 'python:MODULE', 'tool:PROGRAM' or 'file:PATH'",
            )
    return listed


def events(where: str, value: object) -> tuple[tuple[str, ...], ...]:
    """Check groups of events, as `PACT` takes them."""
    if not isinstance(value, list):
        raise ConfigError(f"{where} is {value!r}", 'groups, as [["FAULTS"], ["CYCLES"]]')
    groups = tuple(texts(f"{where}, group {place}", group) for place, group in enumerate(value, 1))
    if not all(groups):
        raise ConfigError(f"{where} has an empty group", "name its events, or leave it out")
    return groups
