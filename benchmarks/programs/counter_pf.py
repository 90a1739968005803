"""performance-features' Profiler on a command: ``counter_pf.py SECONDS -- COMMAND...``.

Prints how many samples it took. Runs with the Python that has performance-features; standard
library otherwise. What the command prints is in ``out.stdout``, as the Profiler wants it.
"""

import json
import sys

from performance_features.profiler import Profiler

EVENTS = ["CPU-CLOCK", "FAULTS", "CONTEXT-SWITCHES", "MIGRATIONS"]


def main():
    period_s, words = float(sys.argv[1]), sys.argv[3:]
    # it refuses perf_event_paranoid 2 from root too, who is not bound by it
    Profiler._Profiler__check_paranoid = lambda self: None
    profiler = Profiler(events_groups=[EVENTS], program_args=words)
    rows = profiler.run(sample_period=period_s)
    print(json.dumps({"samples": len(rows), "last": rows[-1] if rows else None}))


if __name__ == "__main__":
    main()
