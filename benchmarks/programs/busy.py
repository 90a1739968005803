"""Keep every core busy for a while; print work done and CPU time: ``busy.py SECONDS KIND``.

KIND is ``pact``, or ``bare`` (``control`` is the same). The workers are programs of their own,
started inside the function, and begin together. They do a fixed unit of pure Python again and again
until the time is over; their CPU time is their own, by getrusage. Their memory layout is fixed (no
address randomisation, no hash seed, no environment), which by itself would move the speed of an
interpreter by some per cent from process to process.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time

UNIT = 4000
ADDR_NO_RANDOMIZE = 0x0040000  # personality(2)
WARM_UP_S = 0.15


def unit(seed):
    value = seed
    table = {}
    for index in range(UNIT):  # arithmetic, branches and memory
        value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        table[value & 1023] = index
        if value & 1:
            value ^= index
    return value + len(table)


def worker(seconds):
    value = 1
    warm_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < warm_s:
        value = unit(value)
    os.write(1, b"\n")  # ready
    os.read(0, 1)  # go
    before = resource.getrusage(resource.RUSAGE_SELF)
    start_s = now_s = time.monotonic()
    until_s = start_s + seconds
    units = 0
    while now_s < until_s:
        value = unit(value)
        units += 1
        now_s = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"units": units, "cpu_s": cpu_s, "wall_s": now_s - start_s}))


def busy(seconds):
    command = [sys.executable, "-P", __file__, str(seconds), "worker"]
    # nothing else in the environment: its size alone shifts the stack, and with it the speed
    env = {"PYTHONHASHSEED": "0"}
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        for _ in os.sched_getaffinity(0)
    ]
    for one in workers:
        one.stdout.readline()
    for one in workers:
        one.stdin.write(b"x")
        one.stdin.flush()
    results = [json.loads(one.communicate()[0]) for one in workers]
    if any(one.returncode for one in workers):
        raise RuntimeError("a worker has failed")
    return results


def main():
    seconds, kind = float(sys.argv[1]), sys.argv[2]
    if kind == "worker":
        worker(seconds)
        return
    # inherited through exec; where it is refused, the pairs scatter more
    ctypes.CDLL(None).personality(ctypes.c_ulong(ADDR_NO_RANDOMIZE))
    function = busy
    if kind == "pact":
        from trackerPACT import PACT

        function = PACT(measure_period=1, perf_measure_period=0.01)(busy)
    print(json.dumps(function(seconds)))


if __name__ == "__main__":
    main()
