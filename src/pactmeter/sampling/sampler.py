"""The sampler's main loop: messages in, rows out, on an absolute schedule."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.clock import ClockPair, Ticker, now_s
from pactmeter.sampling.record import clock_dict

if TYPE_CHECKING:
    from pactmeter.config.run import RunConfig
    from pactmeter.sampling.counting import Counting
    from pactmeter.sampling.link import Link, Message
    from pactmeter.sampling.power import Power
    from pactmeter.sampling.record import Record

ROW_GRACE_S = 0.05
"""A row closes this long after it is due, with what there is."""
EDGE_WAIT_S = 0.02
TAIL_S = 1.0
FLUSH_S = 1.0
LATE_S = 0.05


@dataclass(slots=True)
class _Window:
    """The time in which at least one call is open, and the moment after it until all is known."""

    ticker: Ticker
    row_from_s: float
    read_s: float | None = None
    due_s: float = 0.0
    events: list[Any] | None = None
    end_s: float | None = None
    tail_until_s: float = 0.0


class Sampler:
    """Serves one program until it says stop, or is gone."""

    def __init__(
        self,
        config: RunConfig,
        link: Link,
        record: Record,
        power: Power,
        counting: Counting,
        *,
        notes: list[str],
    ) -> None:
        self._config = config
        self._link = link
        self._record = record
        self._power = power
        self._counting = counting
        self._zero_s: float | None = None
        self._window: _Window | None = None
        self._windows = 0
        self._regions: list[tuple[float, float, str, int, int]] = []
        self._open_calls: dict[int, tuple[float, str, int]] = {}
        self._calls = 0
        grace_s = ROW_GRACE_S if power.columns else 0.0
        self._grace_s = min(grace_s, config.measure_period_s / 2)
        self._late_rows = 0
        self._latest_s = 0.0
        self._flush_s = 0.0
        self._dirty = False
        self._notes = list(notes)
        self._told = notes
        self._parent_gone = False
        self._sync = False

    def serve(self, pidfd: int | None) -> None:
        """Run until the program says stop or is gone; then close the run."""
        poller = select.poll()
        poller.register(self._link, select.POLLIN)
        if pidfd is not None:
            poller.register(pidfd, select.POLLIN)
        reason: str | None = None
        while reason is None:
            wait_s = self._next_s() - now_s()
            ready = {
                fd for fd, _ in poller.poll(max(0.0, wait_s) * 1000 + 0.5 if wait_s < 1e6 else None)
            }
            if self._link.fileno() in ready:
                reason = self._receive()
            elif ready:
                self._parent_gone = True
                reason = "the process ended without closing the run"
            self._work()
        self._close(reason)

    # --- messages -----------------------------------------------------------------------------

    def _receive(self) -> str | None:
        """Handle one packet; return why the run ends, if it does."""
        try:
            message = self._link.receive(0)
        except EOFError:
            self._parent_gone = True
            return "the process ended without closing the run"
        for one in () if message is None else message.get("messages", (message,)):
            reason = self._handle(one)
            if reason is not None:
                return reason
        return None

    def _handle(self, message: Message) -> str | None:
        kind = message["type"]
        if kind == "enter":
            index, start_s = int(message["index"]), float(message["time_s"])
            self._open_calls[index] = (start_s, str(message["name"]), int(message["tid"]))
            if message["edge"]:
                self._begin(start_s, message["seq"])
        elif kind == "leave":
            end_s = float(message["time_s"])
            self._close_call(int(message["index"]), end_s)
            if message["edge"]:
                self._end(end_s, synced=bool(message["synced"]), seq=message["seq"])
        elif kind == "sync":
            self._sync = True
            if self._window is None or self._window.end_s is None:
                self._synchronize()
        elif kind == "stop":
            if message["dropped"]:
                self._note(f"{message['dropped']} nested calls came too fast to be marked")
            return str(message["reason"])
        return None

    def _synchronize(self) -> None:
        """Bring the manifest up to date now, if a reader waits for it."""
        if self._sync:
            self._update()
            self._record.write(force=True)
            self._sync = False

    def _begin(self, start_s: float, seq: int) -> None:
        self._counting.begin()
        self._tell({"type": "edge", "seq": seq})
        self._finish()  # the window before this one, if its last polls are still awaited
        if self._zero_s is None:
            self._zero_s = start_s
            self._record.update(zero_monotonic_s=start_s)
        self._windows += 1
        self._power.begin(self._windows, start_s)
        self._counting.start(start_s, self._zero_s)
        self._window = _Window(Ticker(self._config.measure_period_s, start_s), row_from_s=start_s)
        if self._windows == 1:  # who reads after a crash must know when time began
            self._record.write(force=True)

    def _end(self, end_s: float, *, synced: bool, seq: int) -> None:
        window = self._window
        if window is None or window.end_s is not None:
            return
        self._counting.end()
        self._close_row()
        window.events = self._counting.row(fresh=False)  # now: the next call begins a new count
        window.end_s = end_s
        self._power.end(end_s, EDGE_WAIT_S)
        self._tell({"type": "edge", "seq": seq})
        window.tail_until_s = now_s() + TAIL_S
        if not synced and self._power.any_busy_gpu:
            self._note("a GPU was busy at the edge of a call that did not synchronise it")

    def _close_call(self, index: int, end_s: float) -> None:
        """Write a call as a region."""
        opened = self._open_calls.pop(index, None)
        if opened is None:  # its opening was dropped, and is counted as such
            return
        start_s, name, tid = opened
        zero_s = self._zero_s or 0.0
        self._regions.append((start_s - zero_s, end_s - zero_s, name, index, tid))
        self._calls += 1

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(EOFError):  # `serve` sees the end by itself
            self._link.send(message)

    # --- rows ---------------------------------------------------------------------------------

    def _next_s(self) -> float:
        """When there is something to do next."""
        window = self._window
        if window is None:
            return now_s() + 0.05 if self._dirty else float("inf")
        if window.end_s is not None:
            return min(window.tail_until_s, now_s() + 0.02)
        closing = window.read_s is not None
        due_s = window.due_s + self._grace_s if closing else window.ticker.due_s
        return min(due_s, self._flush_s + FLUSH_S)

    def _work(self) -> None:
        """Do what is due now."""
        window, now = self._window, now_s()
        if window is None:
            if self._dirty and self._record.write():
                self._dirty = False
            return
        if window.end_s is not None:
            rested = self._power.resting and self._counting.resting
            if rested or now >= window.tail_until_s:
                self._finish()
            return
        if window.read_s is None and now >= window.ticker.due_s:
            window.due_s = window.ticker.due_s
            window.events = self._counting.row(fresh=True)
            window.read_s = self._counting.row_s
            window.ticker.advance(window.read_s)
        if window.read_s is not None and now >= window.due_s + self._grace_s:
            self._close_row()
        if now >= self._flush_s + FLUSH_S:
            self._power.digest()
            self._flush()

    def _close_row(self) -> None:
        """Write the row whose edge has been read, if there is one."""
        window = self._window
        if window is None or window.read_s is None or window.events is None:
            return
        self._write_row(window, window.due_s, window.read_s, window.events, final=False)
        window.read_s = window.events = None

    def _write_row(
        self, window: _Window, due_s: float, read_s: float, events: list[Any], *, final: bool
    ) -> None:
        zero_s = self._zero_s or 0.0
        late_s = read_s - due_s
        self._late_rows += late_s > LATE_S
        self._latest_s = max(self._latest_s, late_s)
        cells = self._power.cells(read_s, final=final)
        edges = [due_s - zero_s, read_s - zero_s, late_s, read_s - window.row_from_s]
        self._record.add_row([*edges, *cells, *events])
        window.row_from_s = read_s
        self._flush()

    def _flush(self) -> None:
        self._flush_s = now_s()
        regions, self._regions = self._regions, []
        self._record.add_regions(regions)
        if self._record.add_marks(self._zero_s):
            self._flush_s -= 0.9 * FLUSH_S  # more are waiting, and their memory is bounded
        self._record.add_counters(self._counting.lines())

    def _finish(self) -> None:
        """Write the last row of the window that has ended."""
        window = self._window
        if window is None:
            return
        if window.end_s is None:  # cannot be, unless a message was lost
            self._end(now_s(), synced=True, seq=0)
        end_s = max(window.end_s or 0.0, window.row_from_s)
        self._write_row(window, end_s, end_s, window.events or [], final=True)
        self._window = None
        self._record.add_marks(self._zero_s, whole=True)
        self._update()
        self._dirty = True
        self._synchronize()

    # --- the manifest and the end -------------------------------------------------------------

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _update(self) -> None:
        for note in self._counting.notes:
            self._note(note)
        zero_s = self._zero_s or 0.0
        gaps = [
            {
                **gap,
                "start_s": round(gap["start_s"] - zero_s, 6),
                "end_s": None if gap["end_s"] is None else round(gap["end_s"] - zero_s, 6),
            }
            for gap in self._power.gaps
        ]
        self._record.update(
            calls=self._calls,
            channels=self._power.channels,
            running_shares=self._counting.running_shares,
            gaps=gaps,
            gaps_left_out=self._power.gaps_left_out,
            notes=self._notes,
            problems=self._record.problems,
            sampler={
                "pid": os.getpid(),
                "cpu_s": round(time.process_time(), 4),
                "rows": self._record.rows,
                "late_rows": self._late_rows,
                "latest_s": round(self._latest_s, 6),
                **self._counting.health,
            },
        )

    def _close(self, reason: str) -> None:
        open_call = bool(self._open_calls)
        if open_call:
            end_s = now_s()
            for index in list(self._open_calls):
                self._close_call(index, end_s)
            self._end(end_s, synced=False, seq=0)
        while self._window is not None:
            time.sleep(0.005)
            self._work()
        status = "complete"
        if self._parent_gone:
            status = "incomplete"
            inside = "inside a call" if open_call else "between calls, of which none is missing"
            reason = f"the process was killed, replaced or left by os._exit {inside}"
        elif not self._power.columns and not self._counting.anything:
            status, reason = "failed", "neither a power source nor an event could be opened"
        self._record.add_marks(self._zero_s, final=True)
        start = self._record.clock_start
        self._record.update(
            status=status,
            reason=reason,
            clock={"start": start, "end": clock_dict(ClockPair.now())},
        )
        self._counting.stop()
        self._record.add_counters(self._counting.lines())
        self._update()
        self._record.write(force=True)
        notes = [note for note in self._notes if note not in self._told]
        warnings = [*self._record.problems, *notes, *self._gap_texts()]
        self._record.close()
        self._tell({"type": "report", "warnings": warnings, "rows": self._record.rows})
        self._counting.close()
        self._power.close()

    def give_up(self, reason: str) -> None:
        """Leave a manifest that says why the run ends here (the sampler itself has failed)."""
        self._record.update(status="incomplete", reason=reason)
        self._record.write(force=True)

    def _gap_texts(self) -> list[str]:
        devices = sorted({gap["device"] for gap in self._power.gaps})
        told = []
        for device in devices:
            mine = [gap for gap in self._power.gaps if gap["device"] == device]
            told.append(f"{device}: {len(mine)} gap(s), the first: {mine[0]['reason']}")
        return told
