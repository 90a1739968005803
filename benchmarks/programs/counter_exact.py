"""A decorated function that counts itself: ``counter_exact.py CASE SECONDS ARGUMENTS TARGET``.

ARGUMENTS are those of PACT, in JSON. Prints faults and switches by getrusage, of the process and
the children it has waited for, and what of it no counter sees, as one JSON object; of case
``stop`` instead how long each of ten calls took from its last act to its return.
"""

import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import threading
import time

from trackerPACT import PACT

EVENTS = [["cpu-clock", "faults", "context-switches", "migrations"]]
PAGE = mmap.PAGESIZE


def touch(pages):
    with mmap.mmap(-1, pages * PAGE) as block:
        for page in range(pages):
            block[page * PAGE] = 1


def used():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    faults = sum(one.ru_minflt + one.ru_majflt for one in both)
    return faults, sum(one.ru_nvcsw + one.ru_nivcsw for one in both)


def switches_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_nvcsw + usage.ru_nivcsw


class Before:
    """Threads that exist when counting starts, and one that comes later."""

    def __init__(self, seconds):
        self.go, self.seconds = threading.Event(), seconds
        self.threads = [threading.Thread(target=self.thread) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def thread(self):
        self.go.wait()
        until_s = time.monotonic() + self.seconds
        while time.monotonic() < until_s:
            touch(150)
            time.sleep(0.002)

    def __call__(self):
        late = threading.Thread(target=self.thread)
        late.start()
        self.go.set()
        for thread in (*self.threads, late):
            thread.join()


def churn(seconds):
    next_s = start_s = time.monotonic()
    while time.monotonic() < start_s + seconds:
        thread = threading.Thread(target=touch, args=(25,))
        thread.start()
        thread.join()
        next_s += 0.001
        time.sleep(max(0.0, next_s - time.monotonic()))


def repeated(words, seconds):
    """Run a leaf again and again; return how often, and its switches by its own count.

    Its environment is small: the arguments of an exec fill one page.
    """
    count, until_s = 0, time.monotonic() + seconds
    env = {"PATH": os.environ["PATH"]}
    fd = os.memfd_create("switches", 0)
    os.ftruncate(fd, PAGE)
    command = [word.replace("FD", str(fd)) for word in words]
    while time.monotonic() < until_s:
        subprocess.run(command, check=True, env=env, pass_fds=(fd,))
        count += 1
    return count, struct.unpack("@l", os.pread(fd, struct.calcsize("@l"), 0))[0]


def main():
    case, seconds, arguments, target = sys.argv[1:]
    seconds = float(seconds)
    bodies = {
        "churn": lambda: churn(seconds),
        "children": lambda: repeated([target, "leaf", "FD"], seconds),
        "exec": lambda: repeated(["sh", "-c", f"exec env '{target}' leaf FD"], seconds),
        "stop": lambda: time.sleep(seconds),
    }
    body = Before(seconds) if case == "before" else bodies[case]
    stamps = [0.0]

    @PACT(events_groups=EVENTS, PSU=None, measure_period=0.5, **json.loads(arguments))
    def work():
        before, of_children = used(), switches_of_children()
        children, own = body() or (0, 0)
        after = used()
        stamps[0] = time.monotonic()
        return {
            "faults": after[0] - before[0],
            "switches": after[1] - before[1],
            "ending": switches_of_children() - of_children - own,
            "execs": children * (3 if case == "exec" else 1),
        }

    if case != "stop":
        print(json.dumps(work()))
        return
    stops_s = []
    for _ in range(10):
        work()
        stops_s.append(time.monotonic() - stamps[0])
    print(json.dumps(stops_s))


if __name__ == "__main__":
    main()
