"""Gaps and their reasons: what failed polls, missing values and silence say of each device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pactmeter.model.channel import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.sampling.polling import Batch
    from pactmeter.sensors.base import Device

_MOST_GAPS = 200
_SILENT_S = 0.5
"""A busy machine may be late by less; what that leaves uncovered is told by the coverage alone."""


class GapLog:
    """All gaps of a run: device, channels, start_s, end_s (monotonic), reason."""

    def __init__(self, devices: Sequence[Device], period_s: float) -> None:
        self._devices = tuple(devices)
        self._period_s = period_s
        self._names = [[channel.name for channel in device.channels] for device in devices]
        self._known_s = [0.0] * len(self._devices)
        self._given: set[tuple[int, str]] = set()
        self._open: dict[tuple[int, str | None], dict[str, Any]] = {}  # None: the whole device
        self.gaps: list[dict[str, Any]] = []
        """Closed and open gaps, in the order in which they were noticed."""
        self.left_out = 0

    def begin(self, start_s: float) -> None:
        """A call starts."""
        self._known_s = [start_s] * len(self._devices)

    def is_open(self, index: int) -> bool:
        """Return whether a device has a gap now."""
        return (index, None) in self._open

    def open(self, index: int, start_s: float, reason: str) -> None:
        """Begin a gap of a whole device, unless it has one."""
        self._begin((index, None), self._names[index], start_s, reason)

    def see(self, index: int, batch: Batch, end_s: float = math.inf) -> None:
        """Take in a poll of a device, in order of time; polls from the call's end on are no gap."""
        device = self._devices[index]
        time_s, reach_s = batch.time_s, batch.reach_s(self._period_s)
        known_s, self._known_s[index] = self._known_s[index], time_s + reach_s
        silent_until_s = min(time_s - reach_s, end_s)
        was_silent = silent_until_s - known_s > _SILENT_S
        if was_silent and batch.values is not None and not self.is_open(index):
            # a counter bridges what a gauge has not seen
            gauges = [c.name for c in device.channels if c.kind is Kind.POWER]
            took = f"took {batch.spent_s:.1f} s to answer"
            asked = f"was not asked for {silent_until_s - known_s:.1f} s: the sampler had no time"
            reason = f"{device.name} {took if batch.spent_s > self._period_s else asked}"
            if gauges:
                self._add(device.name, gauges, known_s, silent_until_s, reason)
        if time_s >= end_s:
            return
        if batch.values is None:
            start_s = known_s if was_silent else time_s
            self.open(index, start_s, batch.reason or "no reading")
            return
        self._end((index, None), time_s)
        for channel, value in zip(device.channels, batch.values, strict=True):
            name = channel.name
            if value is not None:
                self._given.add((index, name))
                self._end((index, name), time_s)
            elif channel.kind is not Kind.QUANTITY and (index, name) in self._given:
                reason = f"{device.name} gave no value of {name}, which it had given before"
                self._begin((index, name), [name], time_s, reason)

    def end(self, end_s: float) -> None:
        """The call's polls are all in; its gaps end with it: the pause that follows is none."""
        for index, known_s in enumerate(self._known_s):
            if end_s - known_s > _SILENT_S:
                reason = f"{self._devices[index].name} gave no answer before the call had ended"
                self.open(index, known_s, reason)
        for key in list(self._open):
            self._end(key, end_s)

    def _begin(
        self, key: tuple[int, str | None], names: list[str], start_s: float, reason: str
    ) -> None:
        if key not in self._open:
            device = self._devices[key[0]].name
            self._open[key] = self._add(device, names, start_s, None, reason)

    def _end(self, key: tuple[int, str | None], time_s: float) -> None:
        gap = self._open.pop(key, None)
        if gap is not None:
            gap["end_s"] = time_s

    def _add(
        self, device: str, names: list[str], start_s: float, end_s: float | None, reason: str
    ) -> dict[str, Any]:
        gap = {
            "device": device,
            "channels": names,
            "start_s": start_s,
            "end_s": end_s,
            "reason": reason,
        }
        if len(self.gaps) < _MOST_GAPS:
            self.gaps.append(gap)
        else:
            self.left_out += 1
        return gap
