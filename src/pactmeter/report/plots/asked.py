"""What a picture is made of, as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pactmeter.analysis.metered import metered
from pactmeter.analysis.run import load
from pactmeter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.analysis.run import RecordedRun

_MOST_RUNS = 4
_ROWS = 3
"""So many do not fit below one another on a page."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn.

    Attributes:
        files: Power files of runs; of `residuals`, a model first.
        is_double: Whether it is to be two columns wide.
        channels: These sources alone; empty: those that the kind of picture is about.
        span_s: Length of the spans that are compared, in seconds; None: as the kind takes it.
        against: Channel of the meter, where there are several.
        reference: A reference meter's own file.
        columns: How that is to be read, as the arguments of `read_reference`.
    """

    files: tuple[str, ...]
    is_double: bool = False
    channels: tuple[str, ...] = ()
    span_s: float | None = None
    against: str | None = None
    reference: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[RecordedRun]:
        """The runs.

        Raises:
            FileError: One cannot be read.
        """
        found = [load(file) for file in self.files]
        if self.reference:
            found = [metered(run, self.reference, **self.columns) for run in found]
        return found

    @property
    def most_panels(self) -> int:
        """How many panels fit on a page: in two columns twice as many."""
        return 2 * _ROWS if self.is_double else _ROWS

    @property
    def panel_runs(self) -> list[RecordedRun]:
        """The runs, each of which gets a panel of its own.

        Raises:
            ConfigError: There are too many for a page.
        """
        if len(self.files) > _MOST_RUNS:
            raise ConfigError(
                f"{len(self.files)} runs do not fit on a page", f"name {_MOST_RUNS} at most"
            )
        return self.runs

    @property
    def only_run(self) -> RecordedRun:
        """The one run.

        Raises:
            ConfigError: There are several.
        """
        if len(self.files) > 1:
            raise ConfigError("this picture is of one run", "draw one run after the other")
        return self.runs[0]
