"""Counters opened by each backend in turn."""

import mmap

import pytest

from pactmeter.counters import backends
from support.rights import perf_levels, refuse

_choice = {"backend": "poll"}


@pytest.fixture(params=["ring", "poll"])
def backend(request):
    """Run a test once with each backend that perf events have."""
    if request.param == "ring" and "kernel" not in perf_levels():
        refuse("sampling needs the right to count in the kernel")
    _choice["backend"] = request.param
    yield request.param
    _choice["backend"] = "poll"


def open_counters(*arguments, **options):
    """Open counters with the backend of the test."""
    return backends.open_counters(*arguments, **{**_choice, **options})


def touch(pages):
    """Make so many page faults."""
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as fresh:
        for page in range(pages):
            fresh[page * mmap.PAGESIZE] = 1
