"""perf_event_open(2): the attribute structures, the system call, its ioctls and group reads.

Only what PACT uses is named. The structure is the kernel's VER8 (136 bytes); a kernel that knows
less accepts it as long as the tail it does not know is zero.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys

TYPE_HARDWARE, TYPE_SOFTWARE, TYPE_TRACEPOINT, TYPE_HW_CACHE, TYPE_RAW = range(5)

SW_CPU_CLOCK = 0
SW_TASK_CLOCK = 1
SW_PAGE_FAULTS = 2
SW_CONTEXT_SWITCHES = 3
SW_CPU_MIGRATIONS = 4
SW_DUMMY = 9
SW_CGROUP_SWITCHES = 11

FLAG_DISABLED = 1 << 0
FLAG_INHERIT = 1 << 1
FLAG_EXCLUDE_USER = 1 << 4
FLAG_EXCLUDE_KERNEL = 1 << 5
FLAG_EXCLUDE_HV = 1 << 6
FLAG_TASK = 1 << 13
FLAG_SAMPLE_ID_ALL = 1 << 18
FLAG_USE_CLOCKID = 1 << 25

SAMPLE_TID = 1 << 1
SAMPLE_TIME = 1 << 2
SAMPLE_READ = 1 << 4
SAMPLE_GROUP = SAMPLE_TID | SAMPLE_TIME | SAMPLE_READ
"""What `pactmeter.counters.records` parses."""

RECORD_LOST = 2
RECORD_EXIT = 4
RECORD_THROTTLE = 5
RECORD_SAMPLE = 9

FORMAT_TOTAL_TIME_ENABLED = 1 << 0
FORMAT_TOTAL_TIME_RUNNING = 1 << 1
FORMAT_ID = 1 << 2
FORMAT_GROUP = 1 << 3
FORMAT_LOST = 1 << 4
FORMAT_COUNTING = FORMAT_GROUP | FORMAT_TOTAL_TIME_ENABLED | FORMAT_TOTAL_TIME_RUNNING
"""What `GroupReader` parses: nr, enabled, running, then one value a member."""

OPEN_CLOEXEC = 1 << 3

IOC_ENABLE = 0x2400
IOC_DISABLE = 0x2401
IOC_SET_OUTPUT = 0x2405
IOC_ID = 0x80082407

_CLOCK_MONOTONIC = 1

_SYSCALL_NUMBERS = {"x86_64": 298, "aarch64": 241}


class Attr(ctypes.Structure):
    """The kernel's ``struct perf_event_attr``, with the bit field as one integer ``flags``."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
        ("config2", ctypes.c_uint64),
        ("branch_sample_type", ctypes.c_uint64),
        ("sample_regs_user", ctypes.c_uint64),
        ("sample_stack_user", ctypes.c_uint32),
        ("clockid", ctypes.c_int32),
        ("sample_regs_intr", ctypes.c_uint64),
        ("aux_watermark", ctypes.c_uint32),
        ("sample_max_stack", ctypes.c_uint16),
        ("reserved_2", ctypes.c_uint16),
        ("aux_sample_size", ctypes.c_uint32),
        ("reserved_3", ctypes.c_uint32),
        ("sig_data", ctypes.c_uint64),
        ("config3", ctypes.c_uint64),
    )


def counting_attr(
    event_type: int, config: int, *, config1: int = 0, config2: int = 0, flags: int = 0
) -> Attr:
    """Return an attribute that counts (no sampling) and is read as a group."""
    return Attr(
        type=event_type,
        size=ctypes.sizeof(Attr),
        config=config,
        config1=config1,
        config2=config2,
        flags=flags,
        read_format=FORMAT_COUNTING,
    )


def sampling_attr(
    event_type: int,
    config: int,
    *,
    config1: int = 0,
    config2: int = 0,
    flags: int = 0,
    period: int = 0,
) -> Attr:
    """Return an attribute whose samples hold the whole group, on CLOCK_MONOTONIC.

    Args:
        event_type: As of `counting_attr`, with `config`, `config1`, `config2` and `flags`.
        config: What to count.
        config1: More of it.
        config2: More of it.
        flags: Flags beside those of sampling.
        period: Counts between two samples (of a clock: ns); 0 for a member that only counts.
    """
    attr = counting_attr(event_type, config, config1=config1, config2=config2, flags=flags)
    attr.flags |= FLAG_SAMPLE_ID_ALL | FLAG_USE_CLOCKID
    attr.clockid = _CLOCK_MONOTONIC
    attr.sample_type = SAMPLE_GROUP
    attr.read_format |= FORMAT_ID
    attr.sample_period = period
    return attr  # without a watermark: poll(2) returns when half of the ring is full


def open_event(attr: Attr, *, pid: int, cpu: int, group_fd: int = -1, flags: int = 0) -> int:
    """Open one event and return its descriptor, which is always close-on-exec.

    Raises:
        OSError: With the kernel's errno; ENOSYS where the machine's system call is not known.
    """
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"perf_event_open is not known for {platform.machine()}")
    arguments = (pid, cpu, group_fd, flags | OPEN_CLOEXEC)
    descriptor = int(
        _libc.syscall(
            ctypes.c_long(number), ctypes.byref(attr), *(ctypes.c_long(a) for a in arguments)
        )
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor


def enable(leader_fd: int) -> None:
    """Start the group: its members, opened enabled, count as soon as the leader does."""
    fcntl.ioctl(leader_fd, IOC_ENABLE, 0)


def disable(leader_fd: int) -> None:
    """Stop the group."""
    fcntl.ioctl(leader_fd, IOC_DISABLE, 0)


def redirect(fd: int, ring_fd: int) -> None:
    """Let an event write its records into the ring of another on the same CPU."""
    fcntl.ioctl(fd, IOC_SET_OUTPUT, ring_fd)


def event_id(fd: int) -> int:
    """Return the number by which records name this event and those inherited from it."""
    buffer = bytearray(8)
    fcntl.ioctl(fd, IOC_ID, buffer)
    return int.from_bytes(buffer, sys.byteorder)


class GroupReader:
    """Reads one group into a buffer allocated once: one system call and one unpack a reading."""

    __slots__ = ("_buffers", "_unpack", "fd", "size")

    def __init__(self, leader_fd: int, members: int, *, ids: bool = False) -> None:
        # with FORMAT_ID, as of what samples, each count is followed by the id of its event
        layout = struct.Struct(f"=3Q{'Q8x' * members}" if ids else f"={3 + members}Q")
        self.fd = leader_fd
        self.size = layout.size
        self._buffers = [bytearray(layout.size)]
        self._unpack = layout.unpack

    def read(self) -> tuple[int, ...]:
        """Return (members, enabled ns, running ns, count of each member...).

        Raises:
            OSError: ECHILD now and then while threads of the target start or end; EIO where the
                kernel gave less than the whole group.
        """
        if os.readv(self.fd, self._buffers) != self.size:
            raise OSError(errno.EIO, "short read of a perf event group")
        return self._unpack(self._buffers[0])


_libc = ctypes.CDLL(None, use_errno=True)
