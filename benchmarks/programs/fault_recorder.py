"""Record every page fault of the machine with its time stamp: ``fault_recorder.py FILE``.

Says ``ready`` once it records, and ends when its standard input does. The file holds the kernel's
own records (see `benchmarks.counters_bins`), rings one after the other in no order. It stands
outside of what is measured, and has a perf interface of its own, so that nothing of PACT's is
judged by itself. Needs root, or perf_event_paranoid below 1.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import select
import struct
import sys
from pathlib import Path

SYSCALL = {"x86_64": 298, "aarch64": 241}[platform.machine()]
PAGES = 2048
"""Of a ring (8 MB): some seconds of faults, so that a recorder that must wait loses none."""
DRAIN_S = 0.05
TID, TIME = 2, 4
CLOEXEC, USE_CLOCKID, MONOTONIC = 8, 1 << 25, 1
ENABLE, DISABLE = 0x2400, 0x2401


def open_ring(libc, cpu):
    attr = bytearray(136)
    # type software, size, config page-faults, period 1, sample type; clock and flags below
    struct.pack_into("=IIQQQ", attr, 0, 1, len(attr), 2, 1, TID | TIME)
    struct.pack_into("=Q", attr, 40, USE_CLOCKID | 1)
    struct.pack_into("=i", attr, 92, MONOTONIC)
    pointer = (ctypes.c_char * len(attr)).from_buffer(attr)
    words = (ctypes.c_long(value) for value in (-1, cpu, -1, CLOEXEC))
    fd = libc.syscall(ctypes.c_long(SYSCALL), pointer, *words)
    if fd < 0:
        code = ctypes.get_errno()
        sys.exit(f"cannot record page faults of CPU {cpu}: {os.strerror(code)}")
    size = mmap.PAGESIZE
    return fd, mmap.mmap(fd, (1 + PAGES) * size, mmap.MAP_SHARED)


def drain(ring, part):
    head, tail = struct.unpack_from("=QQ", ring, 1024)
    base, size = mmap.PAGESIZE, PAGES * mmap.PAGESIZE
    while tail < head:
        start = tail % size
        length = min(head - tail, size - start)
        part += ring[base + start : base + start + length]
        tail += length
    struct.pack_into("=Q", ring, 1032, tail)


def online():
    text = Path("/sys/devices/system/cpu/online").read_text().strip()
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    rings = [open_ring(libc, cpu) for cpu in online()]
    with open(sys.argv[1], "wb") as output:
        parts = [bytearray() for _ in rings]  # a ring's records may not be torn by another's
        for fd, _ in rings:
            fcntl.ioctl(fd, ENABLE, 0)
        print("ready", flush=True)
        ended = False
        while not ended:
            ended = bool(select.select([0], [], [], DRAIN_S)[0])
            if ended:
                for fd, _ in rings:
                    fcntl.ioctl(fd, DISABLE, 0)
            for (_, ring), part in zip(rings, parts, strict=True):
                drain(ring, part)
        for part in parts:
            output.write(part)


if __name__ == "__main__":
    main()
