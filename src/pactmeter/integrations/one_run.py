"""One stretch of a program as a run of its own, for those who want its figures at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.run import load
from pactmeter.config.run import from_arguments
from pactmeter.errors import FileError
from pactmeter.session.run import Run
from pactmeter.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.analysis.run import RecordedRun
    from pactmeter.session.run import Call


class OneRun:
    """A run of one call, whole on disk once it is stopped; takes the arguments of `PACT`.

    Attributes:
        told: What there was to say of it, a sentence each.
        power: Its power file; None until it has started, and where it could not start.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, **arguments: Any) -> None:
        Session(**arguments)  # tells what is wrong, with the names near it
        self.told: list[str] = []
        self.power: Path | None = None
        self._run = Run(from_arguments(**arguments).resolved(), tell=self.told.append)
        self._call: Call | None = None

    def start(self) -> None:
        """Start measuring.

        Raises:
            PactError: Nothing can be recorded, or what was asked for by name is not there.
        """
        try:
            self._call = self._run.enter()
        except BaseException:  # nobody else would end a sampler that has started
            self._run.close("it was not begun")
            raise
        # where nothing could start the name may be that of an earlier run
        self.power = None if self._run.sampler_pid is None else self._run.files.power

    def stop(self) -> None:
        """Stop measuring."""
        if self._call is not None:
            self._run.leave(self._call)
        report = self._run.close()
        self.told += (report or {}).get("warnings", ())

    def recorded(self) -> RecordedRun:
        """Return the run that has been stopped.

        Raises:
            FileError: There is none, or it cannot be read.
        """
        if self.power is None:
            raise FileError("; ".join(self.told) or "nothing was recorded")
        return load(self.power)
