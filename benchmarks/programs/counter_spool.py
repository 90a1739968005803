"""Drain the rings of a process into a file and do nothing else: PID PERIOD EVENTS.

What is left of the sampler's cost where bins and CSV are made later.
"""

import os
import select
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
from pactmeter.counters.backends import open_counters

DRAIN_S = 1.0

pid, period_s, events = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(",")
counters = open_counters([events], pid=pid, scope="tree", backend="ring", period_s=period_s)
rings = counters.rings
spool = os.open("spool", os.O_WRONLY | os.O_CREAT, 0o666)
ended = select.poll()
ended.register(os.pidfd_open(pid), select.POLLIN)
while not ended.poll(DRAIN_S * 1000):
    counters.read()
    for ring in rings:
        os.write(spool, ring.drain())
