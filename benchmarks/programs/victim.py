"""A measured process to be killed, or whose sampler is: ``victim.py SECONDS [rest]``.

With ``rest`` it goes on for a minute after its call, measuring nothing. Says when the function has
begun, and at its end what it got and what it was warned of, as JSON.
"""

import json
import sys
import time
import warnings

from trackerPACT import PACT


@PACT(measure_period=0.1, perf_measure_period=0.01)
def work(seconds):
    print(json.dumps({"started_s": time.monotonic()}), flush=True)
    until_s = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until_s:
        time.sleep(0.002)
        count += 1
    return ["value", min(count, 1)]


if __name__ == "__main__":
    print("booted", flush=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = work(float(sys.argv[1]))
        if "rest" in sys.argv:
            print("resting", flush=True)
            time.sleep(60)
    print(json.dumps({"value": value, "warnings": [str(one.message) for one in caught]}))
