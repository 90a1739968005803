"""Recording what a supply says: every report both ways, as it passes."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pactmeter.clock import Ticker
from pactmeter.errors import DeviceError, ReadError
from pactmeter.model.exchanges import Report
from pactmeter.model.psu import Protocol
from pactmeter.sensors import psu_corsair, psu_hid, psu_nzxt
from pactmeter.sensors.psu import choose
from pactmeter.sensors.psu_device import check_usable
from pactmeter.sensors.psu_link import TRANSPORT_ERRORS
from pactmeter.sensors.psu_scan import find_again
from pactmeter.sensors.psu_usb import CorsairReader, NzxtReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pactmeter.model.exchanges import Writer
    from pactmeter.sensors.psu_link import Handle, Link
    from pactmeter.sensors.psu_scan import Found

_QUIET_S = 0.001
"""The shortest wait there is for a report."""
_QUEUE_REPORTS = 64
"""So many wait at most: the kernel keeps no more for a program."""
_LISTEN_S = 0.25


def recordable(name: str) -> Found:
    """Return the supply of a name (``auto``: the only one there is), without opening it.

    Raises:
        ConfigError: No supported supply is called that.
        DeviceError: It is not there, or its reports cannot be seen.
    """
    found = choose(name)
    if found.bound:
        raise DeviceError(
            f"{found.model.name} is held by the kernel driver corsair-psu: recording beside the "
            "driver would spoil what it reads",
            fix="sudo modprobe -r corsair-psu, replug the PSU's USB cable, record, then "
            "sudo modprobe corsair-psu",
        )
    if found.model.kernel_only:
        raise DeviceError(f"{found.model.name} is read by the kernel alone, and not recorded")
    check_usable(found)
    return found


def describe(found: Found) -> dict[str, str]:
    """Return what the head of a recording says of a supply.

    Never its serial number: recordings are handed on.
    """
    head = {"model": found.model.usb_id, "name": found.model.name}
    return head | ({"synthetic": found.synthetic} if found.synthetic else {})


@dataclass
class Tally:
    """What a recording has come to.

    Attributes:
        requests: Reports that were sent.
        reports: Reports that came, those meant for other programs too.
        failed: Readings without a good answer.
        trouble: Why the last of them failed.
    """

    requests: int = 0
    reports: int = 0
    failed: int = 0
    trouble: str = ""


class Recorder:
    """Asks a supply what PACT asks, and writes down every report; for one thread.

    Args:
        found: The supply.
        everything: Whether all registers are asked for, not only those that PACT reads.
        clock: CLOCK_MONOTONIC in seconds.
        sleep: Waits so many seconds.

    Attributes:
        tally: What the recording has come to so far.
    """

    def __init__(
        self,
        found: Found,
        *,
        everything: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tally = Tally()
        self._found = found
        self._everything = everything
        self._clock = clock
        self._sleep = sleep
        self._open: tuple[_Tap, Link] | None = None
        self._readings: list[Callable[[], object]] = []
        self._writer: Writer | None = None
        self._zero_s = 0.0

    def connect(self) -> None:
        """Connect to the supply, under whatever number it has now.

        Raises:
            DeviceError: It is not there, or cannot be opened.
        """
        found = find_again(self._found)
        if found is None:
            raise DeviceError(
                f"{self._found.model.name} is not plugged in", "check the PSU's USB cable"
            )
        tap = _Tap(self._clock, self._note)
        link = psu_hid.connect(found, clock=self._clock, sleep=self._sleep, wrap=tap.around)
        self._open = tap, link
        corsair = found.model.protocol is Protocol.CORSAIR
        if self._everything:
            self._readings = list(_all_of_corsair(link) if corsair else _all_of_nzxt(link))
        else:
            self._readings = list(_usual(CorsairReader(link) if corsair else NzxtReader(link)))

    def run(self, writer: Writer, duration_s: float, period_s: float) -> None:
        """Record for a time, with a round of readings every period.

        A supply that goes away is looked for again every period.

        Raises:
            FileError: The file cannot be written.
        """
        self._writer = writer
        self._zero_s = start_s = self._clock()
        ticker = Ticker(period_s, start_s)
        end_s = start_s + duration_s
        while self._clock() < end_s:
            self._read_all()
            self._listen(min(ticker.due_s, end_s))
            ticker.advance(self._clock())

    def close(self) -> None:
        """Let go of the supply. Never raises."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _read_all(self) -> None:
        """Make every reading once."""
        if self._open is None:
            try:
                self.connect()
            except DeviceError as error:
                self._failed(error.message)
                return
        for read in self._readings:
            try:
                read()
            except ReadError as error:
                self._failed(error.message)
                if self._is_gone(error):
                    self.close()
                    return

    def _listen(self, until_s: float) -> None:
        """Write down what other programs are answered, until the next round."""
        while (left_s := until_s - self._clock()) > 0.0:
            if self._open is None:
                self._sleep(left_s)
                return
            try:
                self._open[0].read(min(left_s, _LISTEN_S))
            except TRANSPORT_ERRORS as error:
                self._failed(f"cannot read {self._found.model.name}: {error}")
                self.close()

    @staticmethod
    def _is_gone(error: ReadError) -> bool:
        """Return whether the device failed, and not a reply or the lock on it."""
        cause = error.__cause__
        return isinstance(cause, TRANSPORT_ERRORS) and not isinstance(cause, BlockingIOError)

    def _failed(self, why: str) -> None:
        self.tally.failed += 1
        self.tally.trouble = why

    def _note(self, at_s: float, data: bytes, *, is_out: bool) -> None:
        if self._writer is None:
            return
        self._writer.add(Report(at_s - self._zero_s, is_out, data))
        if is_out:
            self.tally.requests += 1
        else:
            self.tally.reports += 1


class _Tap:
    """A handle that tells of every report, and reads what the exchange loop would drop."""

    def __init__(self, clock: Callable[[], float], note: Callable[..., None]) -> None:
        self._clock = clock
        self._note = note
        self._handle: Handle

    def around(self, handle: Handle) -> _Tap:
        self._handle = handle
        return self

    def write(self, report: bytes) -> None:
        # the moment before, which no reply can precede; and only what was really sent
        at_s = self._clock()
        self._handle.write(report)
        self._note(at_s, report[1:], is_out=True)

    def read(self, timeout_s: float) -> bytes:
        report = self._handle.read(timeout_s)
        if report:
            self._note(self._clock(), report, is_out=False)
        return report

    def drain(self) -> None:
        for _ in range(_QUEUE_REPORTS):
            if not self.read(_QUIET_S):
                return

    def close(self) -> None:
        self._handle.close()


def _usual(reader: CorsairReader | NzxtReader) -> Iterator[Callable[[], object]]:
    """Return what PACT reads, the questions included that it asks to get in step again."""
    if isinstance(reader, CorsairReader):  # of NZXT the rails are the total
        yield reader.total_w
        yield reader.input_v
    yield reader.rails_w
    yield reader.temp_c
    turns = itertools.count()
    yield lambda: reader.settle(next(turns))


def _all_of_corsair(link: Link) -> Iterator[Callable[[], object]]:
    """Return readings of all registers: rail by rail, each in one exchange with its selection."""
    # the device may have forgotten it, and says its name then
    yield partial(_exchange, link, [psu_corsair.HANDSHAKE], psu_corsair.is_reaction)
    for register in psu_corsair.READABLE:
        yield partial(
            _exchange, link, [psu_corsair.read_request(register)], psu_corsair.is_reaction
        )
    of_rail = [psu_corsair.read_request(register) for register in psu_corsair.READABLE_OF_RAIL]
    for page in range(len(psu_corsair.RAILS)):
        requests = [psu_corsair.page_request(page), *of_rail]
        yield partial(_exchange, link, requests, psu_corsair.is_reaction, psu_corsair.selects_page)


def _all_of_nzxt(link: Link) -> Iterator[Callable[[], object]]:
    requests = [psu_nzxt.read_request(register) for register in psu_nzxt.READABLE]
    requests += [
        psu_nzxt.rail_request(page, register)
        for page in range(len(psu_nzxt.RAILS))
        for register in psu_nzxt.READABLE_OF_RAIL
    ]
    for request in requests:
        yield partial(_exchange, link, [request], psu_nzxt.is_answer, pause_s=psu_nzxt.PAUSE_S)


def _exchange(
    link: Link,
    requests: list[bytes],
    is_answer: Callable[[bytes, bytes], bool],
    spoils: Callable[[bytes], bool] | None = None,
    *,
    pause_s: float = 0.0,
) -> None:
    """Ask one request after the other, in one exchange; `spoils` is for all but the first."""
    link.sleep(pause_s)
    with link.exchange():
        for index, request in enumerate(requests):
            link.ask(request, is_answer, spoils if index else None)
