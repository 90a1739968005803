"""Poll one NVIDIA GPU as fast as it answers: the readings that `pactmeter probe gpu` works on.

A probe has two parts. At rest the card is polled slowly and fast in turns, to see what polling
itself costs. Then a load of known times runs and everything is polled, to see how the readings
follow it. What they mean is found out elsewhere (`pactmeter.analysis.gpu_probe`).
"""

from __future__ import annotations

import itertools
import math
import random
import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pactmeter.clock import now_s
from pactmeter.errors import DeviceError
from pactmeter.sensors.gpu_load import Burst, Edge, square_wave
from pactmeter.sensors.nvml_gpu import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pactmeter.sensors.gpu_load import Load

FAST_S, SLOW_S = 0.01, 2.0
"""The two paces of polling at rest."""

_POLL_S = 0.001
_LEAD_S, _BEFORE_BURST_S = 2.0, 0.2
_REST_S = 2.0
"""Rest behind each burst: longer than the mean over 1 s that newer cards give."""
_BURST_S = (8.0, 3.0)
_BLOCK_POLLS = (4, 2)
"""Slow polls after the first of a stretch at rest; up to the second the card settles."""
_UNEVEN = 0.06
"""By how much the slow pace varies: a stretch of whole update periods would hide its error."""
_MOST_BURSTS = 8
_LEAST_BLOCKS, _MOST_BLOCKS = 6, 10
_REST_SHARE = 0.5
_SEED = 7
_END_S = 4.0
"""Left for the arithmetic and the end of the load."""

_GIVE_UP = 50
"""A quantity that failed so many times running is not asked for again."""


class Clock(Protocol):
    """The time that a probe runs on."""

    def now(self) -> float:
        """Return the time in seconds."""

    def sleep(self, duration_s: float) -> None:
        """Return after so many seconds."""


class MonotonicClock:
    """CLOCK_MONOTONIC, which the load's process shares."""

    def now(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
        return now_s()

    def sleep(self, duration_s: float) -> None:
        """Return after so many seconds."""
        time.sleep(duration_s)


class Readable(Protocol):
    """What can be polled."""

    @property
    def quantities(self) -> tuple[str, ...]:
        """What it answers."""

    def read(self, quantity: str) -> float:
        """Return watts, or joules of the energy counter; raises what `errors` names."""

    @property
    def errors(self) -> type[Exception]:
        """What a failed reading raises."""


class Series:
    """Readings of one quantity, in the order in which they were taken.

    Attributes:
        times_s: When each was taken: the middle of the call.
        values: Watts, or joules of the energy counter.
        failed: How many more were asked for and failed.
        error: How the last failure was told.
    """

    def __init__(self) -> None:
        self.times_s = array("d")
        self.values = array("d")
        self.failed = 0
        self.error: str | None = None

    def add(self, time_s: float, value: float) -> None:
        """Append a reading."""
        self.times_s.append(time_s)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.times_s)


Readings = dict[str, Series]
"""The series of each quantity, by its name."""


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch at rest, polled at one pace.

    Attributes:
        fast: Whether it was polled fast.
        polls: How often the card was asked.
        duration_s: Its length, in seconds.
        readings: What was read once the card had settled to the pace.
    """

    fast: bool
    polls: int
    duration_s: float
    readings: Readings


@dataclass(slots=True)
class Recording:
    """Everything that was read from one card.

    Attributes:
        blocks: The stretches at rest.
        wave: The readings under the load (or of the card as it was, without a load).
        edges: When the load was switched, as the load itself tells; none without a load.
        bursts: The bursts of load, each between two moments of rest.
        edge_u_s: How exactly the edges are known, in seconds.
        load: What the load was, in words; None without one.
        no_load: Why there was no load.
        no_blocks: Why there are no stretches at rest.
        problem: Why the probe of this card ended early, if it did.
    """

    blocks: list[Block] = field(default_factory=list)
    wave: Readings = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    bursts: list[Burst] = field(default_factory=list)
    edge_u_s: float = 0.0
    load: str | None = None
    no_load: str = ""
    no_blocks: str = ""
    problem: str | None = None


class Poller:
    """Polls one card and keeps what it reads."""

    def __init__(self, card: Readable, clock: Clock) -> None:
        self._card = card
        self._clock = clock
        self._failures = dict.fromkeys(card.quantities, 0)

    @property
    def is_lost(self) -> bool:
        """Whether nothing on the card answers any more."""
        return all(count >= _GIVE_UP for count in self._failures.values())

    def poll(
        self,
        until_s: float,
        period_s: float,
        *,
        keep_from_s: float = 0.0,
        load: Load | None = None,
        edges: Sequence[Edge] = (),
    ) -> tuple[Readings, int]:
        """Read everything again and again, and switch the load when it is due.

        Args:
            until_s: When to stop, in seconds of the clock.
            period_s: Pace, in seconds; a card that answers slower is polled as fast as it answers.
            keep_from_s: Readings before that are made but not kept.
            load: What is switched.
            edges: When it is to be switched.

        Returns:
            The readings, and how often the card was asked.
        """
        kept: Readings = {name: Series() for name in self._failures}
        polls, place = 0, 0
        due_s = self._clock.now()
        while (now := self._clock.now()) < until_s and not self.is_lost:
            while load is not None and place < len(edges) and edges[place].time_s <= now:
                load.switch(edges[place].on)
                place += 1
            if now >= due_s:
                polls += 1
                self._read_all(kept, keep_from_s)
                now = self._clock.now()
                due_s = max(due_s + period_s, now)
            next_edge_s = edges[place].time_s if place < len(edges) else until_s
            self._clock.sleep(max(0.0, min(due_s, next_edge_s, until_s) - now))
        return kept, polls

    def _read_all(self, kept: Readings, keep_from_s: float) -> None:
        for name, failures in self._failures.items():
            if failures >= _GIVE_UP:
                continue
            before_s = self._clock.now()
            try:
                value = self._card.read(name)
            except self._card.errors as error:
                self._failures[name] = failures + 1
                kept[name].failed += 1
                kept[name].error = error_text(error)
                continue
            self._failures[name] = 0
            if before_s >= keep_from_s:
                kept[name].add((before_s + self._clock.now()) / 2, value)


class Recorder:
    """Takes down what one card reads at rest and under a load.

    Args:
        card: The card.
        clock: Clock of the probe.
        progress: Is told what goes on.
    """

    def __init__(self, card: Readable, clock: Clock, progress: Callable[[str], None]) -> None:
        self._poller = Poller(card, clock)
        self._clock = clock
        self._progress = progress
        self._made = Recording()

    def record(self, load: Load | None, duration_s: float) -> Recording:
        """Return the readings.

        Args:
            load: What is switched; None: the card is watched as it is.
            duration_s: How long all of it may take, in seconds.
        """
        made = self._made
        end_s = self._clock.now() + duration_s
        self._rest(duration_s)
        if load is not None:
            self._progress("starting the load")
            try:
                load.start(max(1.0, (end_s - self._clock.now()) / 2))
            except DeviceError as error:
                made.no_load, load = error.message, None
        self._wave(load, end_s - self._clock.now() - _END_S)
        if self._poller.is_lost:
            errors = {series.error for series in made.wave.values() if series.error}
            errors |= {s.error for b in made.blocks for s in b.readings.values() if s.error}
            made.problem = f"the card stopped answering: {', '.join(sorted(errors))}"
        return made

    def _rest(self, duration_s: float) -> None:
        """Poll slowly and fast in turns."""
        chance = random.Random(_SEED)  # noqa: S311  a pace, not a secret
        for length in _BLOCK_POLLS:
            most_s = length * SLOW_S * (1 + _UNEVEN)
            count = min(_MOST_BLOCKS, int(_REST_SHARE * duration_s / most_s) // 2 * 2)
            if count >= _LEAST_BLOCKS:
                break
        else:
            needed_s = _LEAST_BLOCKS * _BLOCK_POLLS[-1] * SLOW_S * (1 + _UNEVEN) / _REST_SHARE
            self._made.no_blocks = f"takes --duration {math.ceil(needed_s)} or more"
            return
        for number in range(count):
            fast = number % 2 == 1
            pace = "fast" if fast else "slowly"
            self._progress(f"at rest, polled {pace}: {number + 1} of {count}")
            start_s, slow_s = self._clock.now(), SLOW_S * (1 + _UNEVEN * chance.random())
            readings, polls = self._poller.poll(
                start_s + length * slow_s + FAST_S,  # a slow stretch ends with the poll due then
                FAST_S if fast else slow_s,
                keep_from_s=start_s + slow_s - 0.5 * FAST_S,
            )
            length_s = self._clock.now() - start_s
            self._made.blocks.append(Block(fast, polls, length_s, readings))

    def _wave(self, load: Load | None, left_s: float) -> None:
        """Poll as fast as the card answers, under bursts of load."""
        made = self._made
        burst_s = _BURST_S[0] if left_s > 4 * (_BURST_S[0] + _REST_S) else _BURST_S[1]
        count = max(1, min(_MOST_BURSTS, int((left_s - _LEAD_S) / (burst_s + _REST_S))))
        start_s = self._clock.now() + _LEAD_S
        starts_s = [start_s + number * (burst_s + _REST_S) for number in range(count + 1)]
        until_s = starts_s[-1]
        if load is None:
            self._progress(f"watching the card for {until_s - self._clock.now():.0f} s")
            made.wave, _ = self._poller.poll(until_s, _POLL_S)
            return
        self._progress(f"under load: {count} bursts of {burst_s:.0f} s")
        planned = square_wave(start_s, count, burst_s, _REST_S)
        made.wave, _ = self._poller.poll(until_s, _POLL_S, load=load, edges=planned)
        try:
            made.edges = load.edges()
        except DeviceError as error:
            made.no_load = error.message
            return
        if not made.edges:
            made.no_load = "the load did not switch"
            return
        made.load, made.edge_u_s = load.name, load.edge_u_s
        moments_s = [moment_s - _BEFORE_BURST_S for moment_s in starts_s]
        made.bursts = [Burst(*pair) for pair in itertools.pairwise(moments_s)]
