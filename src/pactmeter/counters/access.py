"""Opening one event, and what to tell the user where that is refused.

Whether an event is permitted is found by opening it, never by reading a setting: root and
CAP_PERFMON are not bound by the sysctl, and containers refuse on grounds of their own.
"""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from pactmeter.counters.names import EventSpec, Scope

Status = Literal["ok", "missing", "denied"]

_ABSENT = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENXIO)
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_USER_ONLY = perf.FLAG_EXCLUDE_KERNEL | perf.FLAG_EXCLUDE_HV


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of opening an event: its status, why, and what to do about it."""

    status: Status
    reason: str | None = None
    fix: str | None = None


def attr_flags(spec: EventSpec, *, user_only: bool = False) -> int:
    """Return the exclude bits of an event as asked for, or reduced to user mode."""
    flags = _USER_ONLY if spec.exclude_kernel or user_only else 0
    return flags | (perf.FLAG_EXCLUDE_USER if spec.exclude_user else 0)


def open_raised(attr: perf.Attr, *, pid: int, cpu: int, group_fd: int = -1) -> int:
    """Open an event; where descriptors run out, raise the soft limit to the hard one and retry.

    Raises:
        OSError: The kernel refuses.
    """
    try:
        return perf.open_event(attr, pid=pid, cpu=cpu, group_fd=group_fd)
    except OSError as error:
        if error.errno != errno.EMFILE or not raise_limit():
            raise
    return perf.open_event(attr, pid=pid, cpu=cpu, group_fd=group_fd)


def raise_limit() -> bool:
    """Raise the soft limit of open files to the hard one; return whether that changed it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True


def open_permitted(
    spec: EventSpec, attr: perf.Attr, *, pid: int, cpu: int, group_fd: int = -1
) -> int:
    """Open an event, in user mode alone where that is all this user may count.

    Returns:
        The descriptor; `attr` holds the flags as opened.

    Raises:
        OSError: The first refusal, where user mode alone is refused too or would read 0.
    """
    try:
        return open_raised(attr, pid=pid, cpu=cpu, group_fd=group_fd)
    except PermissionError as error:
        if spec.kernel_only or spec.exclude_user or attr.flags & perf.FLAG_EXCLUDE_KERNEL:
            raise
        refusal = error
    full = attr.flags
    attr.flags = full | _USER_ONLY
    try:
        return open_raised(attr, pid=pid, cpu=cpu, group_fd=group_fd)
    except OSError as error:
        if error.errno == errno.EINVAL and group_fd >= 0 and _opens_alone(attr, pid=pid, cpu=cpu):
            raise  # it is the group that is refused: it has more events than the PMU counts
        attr.flags = full
        # What is not there is not denied; and a PMU that cannot leave the kernel out says EINVAL.
        gone = isinstance(error, ProcessLookupError)
        raise (error if gone or error.errno in _ABSENT else refusal) from None


def _opens_alone(attr: perf.Attr, *, pid: int, cpu: int) -> bool:
    try:
        os.close(open_raised(attr, pid=pid, cpu=cpu))
    except OSError:
        return False
    return True


def ok(attr: perf.Attr, spec: EventSpec, scope: Scope) -> Verdict:
    """Return the verdict on an event that opened with these flags."""
    if attr.flags & perf.FLAG_EXCLUDE_KERNEL and not spec.exclude_kernel:
        return Verdict("ok", f"user mode only: {_paranoid_text()}", _permission_fix(scope))
    return Verdict("ok")


def meaningless(spec: EventSpec) -> Verdict | None:
    """Return the verdict on an event that can only ever read 0, else None."""
    if spec.kernel_only and spec.exclude_kernel:
        return Verdict(
            "missing",
            "this event happens in the kernel alone, so that ':u' would always read 0",
            fix=f"ask for {spec.name.rpartition(':')[0]!r}",
        )
    return None


def explain(error: OSError, spec: EventSpec, scope: Scope, *, pid: int = -1) -> Verdict:
    """Return why an event could not be opened by itself, with the fix where there is one."""
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in _ABSENT:
        return Verdict("missing", f"this machine's {spec.pmu} PMU does not count it ({name})")
    if isinstance(error, PermissionError):
        return _denied(name, spec, scope, pid)
    if error.errno == errno.EMFILE:
        return descriptors_exhausted()
    if error.errno == errno.ENOSYS:
        return Verdict("missing", "this kernel has no perf events (ENOSYS)")
    if error.errno == errno.EINVAL and scope == "tree" and not spec.software:
        return Verdict(
            "missing",
            f"the {spec.pmu} PMU does not count for single processes, or does not know it ({name})",
            fix=f"ask for 'SYSTEMWIDE:{spec.name}'",
        )
    return Verdict("missing", f"the kernel refuses it: {error.strerror} ({name})")


def descriptors_exhausted() -> Verdict:
    """Return the verdict on events for which the descriptors did not suffice."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Verdict(
        "denied",
        f"too many threads and events for the limit of {hard} open files (EMFILE)",
        fix="ulimit -Hn 1048576 (as root), ask for fewer events, or count with scope='system'",
    )


def _denied(code: str, spec: EventSpec, scope: Scope, pid: int) -> Verdict:
    if pid > 0 and _foreign(pid):
        return Verdict(
            "denied",
            f"process {pid} belongs to another user ({code})",
            fix="run as that user or as root",
        )
    detail = "it happens in the kernel alone, which this user may not count; " * spec.kernel_only
    whole = "counting the whole machine is refused; " * (scope == "system")
    return Verdict(
        "denied", f"{whole or detail}{_paranoid_text()} ({code})", _permission_fix(scope)
    )


def _foreign(pid: int) -> bool:
    # The owner of /proc/PID would not do: it is root for any process that changed its user.
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    uids = [line.split() for line in status.splitlines() if line.startswith("Uid:")]
    return bool(uids) and int(uids[0][1]) != os.getuid()


def _paranoid_text() -> str:
    try:
        level = _PARANOID.read_text(encoding="ascii").strip()
    except OSError:
        return "this process lacks CAP_PERFMON"
    return f"kernel.perf_event_paranoid is {level} and this process lacks CAP_PERFMON"


def _permission_fix(scope: Scope) -> str:
    level = 0 if scope == "system" else 1
    return (
        f"sudo sysctl kernel.perf_event_paranoid={level} (or run as root; "
        "in a container: docker run --cap-add=PERFMON)"
    )
