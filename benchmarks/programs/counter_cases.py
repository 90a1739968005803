"""Ordinary programs on which performance-features' Profiler hangs or aborts: one of CASES.

Each ends by itself within 2 s, with an exit code that says that it went as it should.
"""

import os
import signal
import sys
import threading
import time

CODES = {"alarm": 7, "usr1": 5, "churn": 0}


def alarm():
    rings = []
    signal.signal(signal.SIGALRM, lambda *_: rings.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    while len(rings) < 10:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)


def usr1():
    seen = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    child = os.fork()
    if child == 0:
        time.sleep(0.5)
        os.execvp("kill", ["kill", "-USR1", str(os.getppid())])
    until_s = time.monotonic() + 2
    while not seen.is_set() and time.monotonic() < until_s:
        time.sleep(0.01)
    os.waitpid(child, 0)
    if not seen.is_set():
        sys.exit(1)


def churn():
    next_s = start_s = time.monotonic()
    while time.monotonic() < start_s + 1:
        thread = threading.Thread(target=bytearray, args=(20_000,))
        thread.start()
        thread.join()
        next_s += 0.001
        time.sleep(max(0.0, next_s - time.monotonic()))


if __name__ == "__main__":
    case = sys.argv[1]
    {"alarm": alarm, "usr1": usr1, "churn": churn}[case]()
    sys.exit(CODES[case])
