"""What every training callback does: a call of a run, and in it the regions of epochs and steps."""

from __future__ import annotations

import atexit
from typing import Any

from pactmeter.session.regions import inherited, region
from pactmeter.session.session import Session

EPOCH, STEP, VALIDATION = "epoch", "step", "validation"
"""Names of the regions."""


class Training:
    """One training after the other, each a call of one run.

    Takes the arguments of `PACT`. Without any, in a program that is measured from outside
    (``pactmeter run``), it has no run of its own: regions go to the one outside.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._session = Session(**arguments)
        self._has_arguments = bool(arguments)
        self._is_on = self._is_measuring = False
        self._open: list[tuple[str, region]] = []

    def begin(self) -> None:
        """Begin; what an earlier training left open, because it failed, is closed first.

        Raises:
            PactError: Nothing can be recorded, or what was asked for by name is not there.
        """
        self.end()
        if self._has_arguments or inherited() is None:
            self._session.start()
            self._is_measuring = True
        self._is_on = True
        # not every framework tells of an error: then this comes before the run is closed
        atexit.register(self.end)

    def enter(self, name: str, index: int | None = None, *, sync: bool = True) -> None:
        """Open a region, within a training; one of that name that is open is closed first."""
        self.leave(name)
        if self._is_on:
            self._open.append((name, region(name, index, sync=sync).__enter__()))

    def leave(self, name: str) -> None:
        """Close a region and what is open in it; nothing where it is not open."""
        if any(opened == name for opened, _ in self._open):
            while self._leave_last() != name:
                pass

    def end(self) -> None:
        """Close all that is open: however the training ended, it is whole on disk then."""
        atexit.unregister(self.end)
        try:
            while self._open:
                self._leave_last()
        finally:  # also where Ctrl-C ends a region's wait for the GPU
            self._is_on = False
            if self._is_measuring:
                self._is_measuring = False
                self._session.stop()

    def _leave_last(self) -> str:
        name, opened = self._open.pop()
        opened.__exit__()
        return name
