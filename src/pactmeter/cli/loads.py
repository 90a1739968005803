"""Loads that commands switch on and off: all CPUs, all GPUs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Protocol

from pactmeter.clock import now_s
from pactmeter.errors import DeviceError, PactError
from pactmeter.sensors import gpu_card, gpu_load

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_S = 60.0
_SPIN = """
import os, select
on = b"0"
while on:
    if on == b"0" or select.select([0], [], [], 0)[0]:
        on = os.read(0, 1)
    else:
        x = 1.0
        for _ in range(500):
            x = x * 1.0000001 + 1e-9
"""
"""Spins while told 1, rests when told 0, ends with the pipe: none outlives us."""


def wait_until(time_s: float) -> None:
    """Sleep until a moment of CLOCK_MONOTONIC, in seconds."""
    while (left_s := time_s - now_s()) > 0:
        time.sleep(left_s)


class Load(Protocol):
    """What can be switched."""

    def switch(self, on: bool) -> None:
        """Switch it, without waiting."""


@contextlib.contextmanager
def cpu_loads() -> Iterator[list[Load]]:
    """Give a load for each CPU that this process may use; all end with the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_Spinner(cpu)) for cpu in sorted(os.sched_getaffinity(0))]


class _Spinner:
    """A process that loads a CPU."""

    def __init__(self, cpu: int) -> None:
        told, self._pipe = os.pipe()
        words = [sys.executable, "-I", "-S", "-c", _SPIN]
        try:
            # in a group of its own: Ctrl-C is for us, and we end it
            self._process = subprocess.Popen(words, stdin=told, process_group=0)
        finally:
            os.close(told)
        with contextlib.suppress(OSError):  # elsewhere it loads as well
            os.sched_setaffinity(self._process.pid, {cpu})

    def __enter__(self) -> _Spinner:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pipe)
        self._process.kill()
        self._process.wait()

    def switch(self, on: bool) -> None:
        """Switch it, without waiting."""
        try:
            os.write(self._pipe, b"1" if on else b"0")
        except OSError as error:
            pid = self._process.pid
            raise PactError(f"the load has ended: process {pid} was killed") from error


@contextlib.contextmanager
def gpu_loads() -> Iterator[list[Load]]:
    """Give a load for each GPU; all end with the block.

    Raises:
        DeviceError: A GPU cannot be loaded, or its load has failed in the end.
    """
    cards, _ = gpu_card.find(None)
    loads: list[gpu_load.Load] = []
    try:
        for card in cards:
            made, why = gpu_load.choose("auto", card)
            if made is None:
                raise DeviceError(f"gpu{card.index} cannot be loaded: {why.partition(';')[0]}")
            loads.append(made)
            try:
                made.start(_START_S)
            except DeviceError as error:
                raise DeviceError(error.message) from error  # its fix is an option of `probe`
        yield list(loads)
        for made in loads:
            made.edges()  # tells where one has died meanwhile
    finally:
        for made in loads:
            made.close()
        for card in cards:
            card.close()
