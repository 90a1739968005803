"""What the user who runs the tests may do, found out by doing it."""

import contextlib
import os

import pytest

from pactmeter.kernel import perf

NOBODY = 65534
_USER_ONLY = perf.FLAG_EXCLUDE_KERNEL | perf.FLAG_EXCLUDE_HV

PERF_LEVELS = {
    # what may be counted: flags, process and CPU of an event that tells
    "user": (_USER_ONLY, 0, -1),
    "kernel": (0, 0, -1),
    "system": (0, -1, 0),
}
"""Each level of perf rights includes those before it."""


def perf_levels():
    """Return the levels that this process has, from ``user`` on; none where all is refused."""
    held = []
    for level, (flags, pid, cpu) in PERF_LEVELS.items():
        attr = perf.counting_attr(perf.TYPE_SOFTWARE, perf.SW_PAGE_FAULTS, flags=flags)
        try:
            os.close(perf.open_event(attr, pid=pid, cpu=cpu))
        except OSError:
            break
        held.append(level)
    return held


def lacking(marker):
    """Return why a test with this marker cannot run here, or None if it can."""
    if marker.name == "root":
        return "needs root" if os.geteuid() != 0 else None
    (level,) = marker.args
    if level in perf_levels():
        return None
    return f"needs perf events ({level}), which kernel.perf_event_paranoid or a sandbox refuses"


@contextlib.contextmanager
def ordinary_user():
    """Be nobody for a while where the tests run as root, for whom no file is closed."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def refuse(reason):
    """Skip a test that cannot run here; in CI that is a failure, since there nobody would see."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and in CI no test is skipped", pytrace=False)
    pytest.skip(reason)
