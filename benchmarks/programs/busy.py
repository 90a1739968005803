"""Keep one core busy until killed, and say how it goes: a line about every 50 ms.

A line holds start and end on CLOCK_MONOTONIC, the CPU seconds this process took between them, and
the units of work done. A record begins where the one before it ended; none is lost to writing.
"""

import os
import time

UNIT = 4000
RECORD_S = 0.05


def unit(seed):
    value = seed
    table = {}
    for index in range(UNIT):  # arithmetic, branches and memory
        value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        table[value & 1023] = index
        if value & 1:
            value ^= index
    return value + len(table)


def main():
    parent = os.getppid()
    value = 1
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    while os.getppid() == parent:  # nobody is left to listen, or to kill us, once it has gone
        units, now_s, until_s = 0, start_s, start_s + RECORD_S
        while now_s < until_s:
            value = unit(value)
            units += 1
            now_s = time.monotonic()
        cpu_s = time.process_time()
        os.write(1, f"{start_s:.6f} {now_s:.6f} {cpu_s - start_cpu_s:.9f} {units}\n".encode())
        start_s, start_cpu_s = now_s, cpu_s


if __name__ == "__main__":
    main()
