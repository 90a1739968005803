"""Runs of two commands whose true energies are known, written as `pactmeter run` would have."""

import random
from pathlib import Path

import numpy as np

from pactmeter.model.channel import Domain
from pactmeter.study.ab_command import ERRORS, OUTPUT
from pactmeter.study.child import Ended
from support.written import gauge, write

STEP_W = 2.0
SUPPLY = gauge("psu.dc_output", Domain.DC, resolution=STEP_W)
SECOND = gauge("psu2.dc_output", Domain.DC, resolution=STEP_W)
COMMANDS = {"A": ["a"], "B": ["b"]}


def is_there(pid):
    """Whether a process is alive; one that nobody waits for is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def ended(code):
    """Return how a command has ended whose account nobody asks after."""
    return Ended(code, took_s=1.0, cpu_s=0.5, faults=0, written_bytes=0)


def finished(folder, output="", *, code=0, watts=300.0, second=None, rows=10, row_s=1.0, **more):
    """Write one run of one supply, or of two, and its output; return how it ended."""
    (folder / OUTPUT).write_text(output)
    (folder / ERRORS).write_text("" if code == 0 else "Traceback\nValueError: no data\n")
    supplies = {SUPPLY: watts, SECOND: second}
    sources = {channel: mean_w for channel, mean_w in supplies.items() if mean_w is not None}
    write(folder, sources, rows=rows, row_s=row_s, **more)
    return ended(code)


class Emulated:
    """A machine on which B uses so much less than A, run after run; it is called as `record` is.

    What one run of a command uses scatters; what the machine draws drifts over the comparison (the
    room warms up, and wanders); the supply's sensor has a gain of its own, reads in steps of 2 W
    and gets the edges of a run wrong by up to half a poll.

    Args:
        seed: Of all that is random.
        less_pct: How much less B uses, in percent: 3/5 of it as time, the rest as power.
        spread_pct: Standard deviation of a run's power and of its time, each, in percent.
        drift_pct: By how much power rises within a hundred runs, in percent.
        poll_w: Standard deviation of power from poll to poll, in watts: a steady load has less
            than a step of the sensor.
        disturbed: Share of the runs during which something else draws up to 5 % more.
    """

    rows, polls = 12, 10

    def __init__(
        self, seed, less_pct, *, spread_pct=0.7, drift_pct=20.0, poll_w=6.0, disturbed=0.0
    ):
        self._chance = np.random.default_rng(seed)
        self._left = 1 - less_pct / 100
        self._spread, self._drift = spread_pct / 100, drift_pct / 100
        self._poll_w, self._disturbed = poll_w, disturbed
        self._gain = 1 + 0.025 * random.Random(seed).gauss(0, 1)
        self._base_w = random.Random(seed + 1).uniform(200, 400)
        self._wander, self._runs = 0.0, 0

    def __call__(self, words, folder):
        chance = self._chance
        self._runs += 1
        self._wander += chance.normal(0, 0.002)
        watts = self._base_w * (1 + self._drift * self._runs / 100) * np.exp(self._wander)
        seconds = 20.0
        if words == COMMANDS["B"]:
            seconds *= self._left**0.6
            watts *= self._left**0.4
        watts *= np.exp(chance.normal(0, self._spread))
        watts *= 1 + (chance.random() < self._disturbed) * chance.uniform(0, 0.05)
        seconds *= np.exp(chance.normal(0, self._spread))
        polls = self._gain * watts + chance.normal(0, self._poll_w, (self.rows, self.polls))
        read = STEP_W * np.round(polls / STEP_W)
        rows = read.mean(axis=1)
        poll_s = seconds / read.size
        for edge in (0, -1):  # the load is taken to begin and end with the polls
            rows[edge] *= 1 + chance.uniform(-0.5, 0.5) * poll_s / (seconds / self.rows)
        steps = np.diff(read.ravel())
        rough = {"pairs": steps.size, "square_w2": float((steps**2).sum())}
        about = {SUPPLY.name: {"roughness": rough}}
        return finished(
            folder,
            'PACT-WORK {"steps": 100}\n',
            watts=rows.tolist(),
            rows=self.rows,
            row_s=seconds / self.rows,
            more={"about": about},
        )
