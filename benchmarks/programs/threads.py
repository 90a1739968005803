"""A target of four threads that keep the cores busy under PACT: ``threads.py SECONDS``."""

import hashlib
import sys
import threading
import time

from trackerPACT import PACT

BLOCK = bytes(1 << 20)


def busy(until_s):
    while time.monotonic() < until_s:
        hashlib.sha256(BLOCK).digest()  # leaves the GIL to the others


@PACT(measure_period=1, perf_measure_period=0.01)
def work(seconds):
    until_s = time.monotonic() + seconds
    threads = [threading.Thread(target=busy, args=(until_s,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    work(float(sys.argv[1]))
