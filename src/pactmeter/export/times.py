"""From a run's seconds to the time of day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun


class Clock:
    """UTC over a run's own time.

    The manifest has both clocks at the start and at the end; between them UTC is taken to run
    evenly, so that a clock that was corrected meanwhile is right at both ends.
    """

    def __init__(self, run: RecordedRun) -> None:
        clock = run.manifest.get("clock") or {}
        start, end = clock.get("start") or {}, clock.get("end") or {}
        self.is_known = bool(start)
        first_s = float(start.get("monotonic_s", 0.0))
        zero_s = run.manifest.get("zero_monotonic_s")
        self._before_s = 0.0 if zero_s is None else float(zero_s) - first_s
        self._start_utc_s = float(start.get("utc_s", 0.0))
        length_s = float(end.get("monotonic_s", first_s)) - first_s
        utc_s = float(end.get("utc_s", self._start_utc_s)) - self._start_utc_s
        # one that was set, by hours perhaps, is no clock that drifts: then the start alone holds
        is_even = length_s > 0 and abs(utc_s - length_s) < max(1.0, 1e-3 * length_s)
        self._rate = utc_s / length_s if is_even else 1.0

    def utc_s(self, run_s: float) -> float:
        """Return the seconds since 1970 (UTC) at a time of the run, in seconds."""
        return self._start_utc_s + (run_s + self._before_s) * self._rate

    def utc(self, run_s: float) -> datetime | None:
        """Return the time of day in UTC at a time of the run; None: it is not known."""
        if not self.is_known:
            return None
        return datetime.fromtimestamp(self.utc_s(run_s), UTC)
