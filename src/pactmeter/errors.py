"""Every error of PACT, each with its cause and, where there is one, the fix.

::

    PactError
    ├── ConfigError        an argument is wrong (also a ValueError)
    ├── DeviceError        a device asked for by name is absent or not usable
    ├── ReadError          one reading failed; becomes a gap, never a zero
    │   └── CounterResetError   an energy counter started again
    ├── SamplerError       the sampler process did not start or has died
    └── FileError          a file of the run cannot be written or read

Errors cross a process border (the sampler tells the program), so each is made of a message and a
fix, survives pickling, and converts to and from a plain dict.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class PactError(Exception):
    """Base of all errors of PACT.

    Attributes:
        message: What is wrong, lower-case, without a full stop.
        fix: What to do about it, if that is known.
        exit_code: Exit code of the command line for this error.
    """

    exit_code = 1

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message

    def __reduce__(self) -> tuple[type[PactError], tuple[str, str | None]]:
        return type(self), (self.message, self.fix)

    def to_dict(self) -> dict[str, str | None]:
        """Return the error as plain data, for `from_dict` on the other side of a pipe."""
        return {"error": type(self).__name__, "message": self.message, "fix": self.fix}


class ConfigError(PactError, ValueError):
    """An argument or option is wrong."""

    exit_code = 2


class DeviceError(PactError):
    """A device asked for by name is not there, or cannot be used."""


class ReadError(PactError):
    """One reading of a sensor or counter failed."""


class CounterResetError(ReadError):
    """An energy counter started again: the energy since the reading before is lost."""


class SamplerError(PactError):
    """The sampler process could not be started, or has died."""


class FileError(PactError):
    """A file of the run cannot be written or read."""


def from_dict(data: dict[str, Any]) -> PactError:
    """Return the error that `PactError.to_dict` described."""
    known = (ConfigError, DeviceError, ReadError, CounterResetError, SamplerError, FileError)
    classes = {cls.__name__: cls for cls in known}
    cls = classes.get(str(data.get("error")), PactError)
    return cls(str(data.get("message")), data.get("fix"))


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, fix: str | None = None
) -> ConfigError:
    """Return the error for a name that does not exist, with the names nearest to it.

    >>> print(unknown_name("event", "FAULT", ["FAULTS", "CYCLES"]))
    unknown event 'FAULT'
      fix: did you mean 'FAULTS'?
    """
    names = list(known)
    by_fold = {candidate.casefold(): candidate for candidate in names}
    near = [
        by_fold[n] for n in difflib.get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.6)
    ]
    if near:
        guess = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        fix = f"{guess} {fix}" if fix else guess
    elif fix is None:
        fix = f"one of: {', '.join(names)}"
    return ConfigError(f"unknown {kind} {name!r}", fix)
