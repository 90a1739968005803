"""PMUs that tests make up: one that no kernel has, and hardware with the kernel's clock behind it.

No machine has them, so that tests do not depend on the counters of the machine they run on.
"""

import errno
import os
from pathlib import Path

from pactmeter.kernel import perf

ABSENT = "absent/config=0/"
"""An event of a PMU that is in sysfs, but not in any kernel."""
CLOCK = "clock/config=0/"
"""An event of a hardware PMU: always there, always rising."""

ABSENT_TYPE, CLOCK_TYPE = 0x7FFFFF01, 0x7FFFFF02
"""Numbers that no kernel gives: it counts PMUs up from 6."""

REAL_CPUS = Path("/sys/devices/system/cpu/online").read_text()


def bare_machine(root):
    """Make a sysfs of a machine with this one's CPUs, without any sensor or PMU."""
    online = Path(root) / "devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text(REAL_CPUS)
    return Path(root)


def add_pmu(root, name, kind, **files):
    """Add a PMU to a sysfs."""
    folder = Path(root) / "bus/event_source/devices" / name
    folder.mkdir(parents=True)
    for file, text in {"type": kind, **files}.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(f"{text}\n")
    return folder


def stand_in(open_event):
    """Return an `open_event` that has a clock for the hardware PMU: the CPU's or the thread's."""

    def opened(attr, *, pid, cpu, group_fd=-1, flags=0):
        if attr.type == CLOCK_TYPE and attr.config == 0:
            attr = perf.Attr.from_buffer_copy(attr)
            attr.type = perf.TYPE_SOFTWARE
            attr.config = perf.SW_TASK_CLOCK if pid >= 0 else perf.SW_CPU_CLOCK
        return open_event(attr, pid=pid, cpu=cpu, group_fd=group_fd, flags=flags)

    return opened


def small_pmu(monkeypatch, room):
    """Let a group hold so many events of the hardware."""
    real, held = perf.open_event, {}

    def open_event(attr, *, pid, cpu, group_fd=-1, flags=0):
        descriptor = real(attr, pid=pid, cpu=cpu, group_fd=group_fd, flags=flags)
        leader = descriptor if group_fd < 0 else group_fd
        number = 0 if group_fd < 0 else held[leader]
        held[leader] = number + (attr.type == CLOCK_TYPE)
        if held[leader] > room:
            held[leader] = number
            os.close(descriptor)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return descriptor

    monkeypatch.setattr(perf, "open_event", open_event)
