"""`Session`: measure a block of code; `Tracker`: the same, as the first PACT had it."""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

from pactmeter.config.run import from_arguments
from pactmeter.errors import PactError, unknown_name
from pactmeter.session.run import forget, run_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from pactmeter.config.run import RunConfig
    from pactmeter.session.run import Call, Run


class OpenCall:
    """A call, as a context manager: opened on entering, closed on leaving whatever happened."""

    __slots__ = ("_call", "_config", "_run")

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._run: Run | None = None
        self._call: Call | None = None

    def __enter__(self) -> OpenCall:
        self._run = run_for(self._config)
        if self._run is not None:
            try:
                self._call = self._run.enter()
            except BaseException:
                forget(self._config, self._run)
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._run is not None and self._call is not None:
            self._run.leave(self._call)


class Session:
    """Measures what lies between `start` and `stop`, or a ``with`` block.

    Takes the keyword arguments of `PACT`. Each start opens a call of the run; sessions and
    decorated functions of one process with the same settings share one run and its files.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, **arguments: Any) -> None:
        known = inspect.signature(from_arguments).parameters
        for name in arguments:
            if name not in known:
                raise unknown_name("argument", name, known)
        self._asked = from_arguments(**arguments)
        if self._asked.events_asked:
            from pactmeter.counters.names import parse

            for event in itertools.chain.from_iterable(self._asked.events_groups):
                parse(event)  # an unknown name is told here, with the names near it
        self._config: RunConfig | None = None
        self._open: list[OpenCall] = []

    @property
    def file(self) -> Path:
        """The run's power file, as it is really named once the run has started."""
        run = run_for(self._resolved())
        if run is None:
            raise PactError("this process is a forked part of its parent's run")
        return run.files.power

    def call(self) -> OpenCall:
        """Return a new call, to be used as a context manager (from any thread)."""
        return OpenCall(self._resolved())

    def start(self) -> None:
        """Open a call; start the sampler if it is the first.

        Raises:
            PactError: Nothing can be recorded, or what was asked for by name is not there.
        """
        self._open.append(self.call().__enter__())

    def stop(self) -> None:
        """Close the call opened last.

        Raises:
            PactError: None is open.
        """
        if not self._open:
            raise PactError("the session has not been started", "call start() before stop()")
        self._open.pop().__exit__()

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _resolved(self) -> RunConfig:
        if self._config is None:  # the working directory of the first start counts
            self._config = self._asked.resolved()
        return self._config


class Tracker(Session):
    """Measures between `start` and `stop`; power rows are 10 s apart unless told otherwise."""

    def __init__(self, measure_period: float = 10, **arguments: Any) -> None:
        super().__init__(measure_period=measure_period, **arguments)

    def stop(self) -> None:
        """Close the call opened last."""
        if not self._open:
            raise PactError(
                "Need to first start the tracker by running tracker.start() or"
                " tracker.start_training()"
            )
        super().stop()

    start_training = Session.start
