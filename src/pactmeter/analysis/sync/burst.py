"""A burst: a load that is switched on and off at times that repeat nothing.

The correlation of a periodic load with a shifted one has a peak at every period, so that a fit may
take a neighbour's; dwells drawn at random leave one peak.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from pactmeter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

BURST = "burst"
"""Name of the regions that are the on-phases, in the files of a run."""
DWELL_S = (0.8, 3.7)
"""Shortest and longest time between two switches."""
REST_S = 2.0
"""Rest before the first phase and behind the last: room for a lag."""
SHORTEST_S, LONGEST_S = 40.0, 600.0
"""A shorter one may hold fewer than `LEAST_PHASES`."""
LEAST_PHASES = 4
"""Fewer on-phases tell no pattern from chance."""


class Phase(NamedTuple):
    """A stretch of time in which the load is on.

    Attributes:
        start_s: When it is switched on, in seconds.
        end_s: When it is switched off, in seconds.
    """

    start_s: float
    end_s: float


def schedule(seconds_s: float, seed: int) -> list[Phase]:
    """Return the on-phases of a burst, from its start on; the same for the same seed.

    Args:
        seconds_s: Length of the burst with its rests, in seconds.
        seed: Of the dwells.

    Raises:
        ConfigError: The burst is too short or too long.
    """
    if not SHORTEST_S <= seconds_s <= LONGEST_S:
        raise ConfigError(
            f"a burst takes {SHORTEST_S:.0f} to {LONGEST_S:.0f} s, not {seconds_s:g}",
            "--seconds 60",
        )
    chance = random.Random(seed)  # noqa: S311  a load, not a secret
    last_s = seconds_s - REST_S
    phases: list[Phase] = []
    start_s = REST_S
    while True:
        end_s = start_s + chance.uniform(*DWELL_S)
        if end_s > last_s:
            return phases
        phases.append(Phase(start_s, end_s))
        start_s = end_s + chance.uniform(*DWELL_S)


def in_order(phases: Iterable[tuple[float, float]]) -> list[Phase]:
    """Return on-phases in order of time, joined where they touch.

    Raises:
        ConfigError: A time is no number, or there are fewer than `LEAST_PHASES`.
    """
    joined: list[Phase] = []
    for start_s, end_s in sorted(phases):
        if not (math.isfinite(start_s) and math.isfinite(end_s)):
            raise ConfigError(f"a phase of the load is from {start_s} to {end_s} s")
        if end_s <= start_s:
            continue
        if joined and start_s <= joined[-1].end_s:
            joined[-1] = Phase(joined[-1].start_s, max(joined[-1].end_s, end_s))
        else:
            joined.append(Phase(start_s, end_s))
    if len(joined) < LEAST_PHASES:
        raise ConfigError(
            f"a burst of {len(joined)} on-phases tells no lag, {LEAST_PHASES} are needed",
            "pactmeter sync --seconds 60",
        )
    return joined
