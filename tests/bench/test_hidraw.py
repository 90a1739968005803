"""Device nodes: by themselves on a clock of the test, and under a real kernel and hidapi."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

import pytest

from bench.fuse_mount import IDENTITY, Echo, serving
from pactmeter.bench.faults import Fault, FaultBoard
from pactmeter.bench.hidraw import QUEUE_REPORTS, REPORT_DESCRIPTOR, HidrawNode
from pactmeter.bench.loop import Loop
from support.rights import ordinary_user

RDWR = os.O_RDWR | os.O_CLOEXEC
ALWAYS = select.POLLOUT | select.POLLWRNORM
READABLE = ALWAYS | select.POLLIN | select.POLLRDNORM
GONE = ALWAYS | select.POLLERR | select.POLLHUP


def report(text=""):
    return text.encode().ljust(64, b"\0")


@contextlib.contextmanager
def failing(number):
    with pytest.raises(OSError) as raised:
        yield
    assert errno.errorcode[raised.value.errno] == errno.errorcode[number]


class Bench:
    """A node on a clock of its own; what its openers are told is listed."""

    def __init__(self, **options):
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.faults = FaultBoard(self.loop.clock)
        self.firmware = Echo(latency_s=0.002)
        self.node = HidrawNode(self.firmware, self.loop, IDENTITY, self.faults, **options)
        self.told = []

    def open(self):
        return self.node.open(lambda *answer: self.told.append(answer), self.told.append)

    def run_until(self, t_s):
        while True:
            left_s = self.loop.run_due()
            if left_s is None or self.now_s + left_s > t_s:
                break
            self.now_s += left_s
        self.now_s = t_s


@pytest.fixture
def bench():
    return Bench()


def test_a_reply_goes_to_every_opener_after_the_latency(bench):
    one, other = bench.open(), bench.open()

    bench.node.write(b"\0" + report("ask"))
    bench.run_until(0.0019)
    with failing(errno.EAGAIN):
        one.read(1, 64, nonblocking=True)
    bench.run_until(0.0021)

    assert one.read(1, 64, nonblocking=True) == report("ask")
    assert other.read(2, 64, nonblocking=True) == report("ask")


def test_one_controller_answers_one_request_after_the_other(bench):
    opener = bench.open()
    for text in ("a", "b", "c"):
        bench.node.write(report(text))
    seen_s = []
    for token in range(3):
        opener.read(token, 64, nonblocking=False)
    for step in range(1, 100):
        bench.run_until(step * 0.0001)
        while len(seen_s) < len(bench.told):
            seen_s.append(bench.now_s)

    assert bench.told == [(0, report("a")), (1, report("b")), (2, report("c"))]
    assert seen_s == pytest.approx([0.002, 0.004, 0.006], abs=0.00011)


def test_a_full_queue_loses_the_new_reports_and_only_its_own(bench):
    slow, quick = bench.open(), bench.open()
    for number in range(QUEUE_REPORTS + 10):
        bench.node.inject(report(str(number)))
        assert quick.read(0, 64, nonblocking=True) == report(str(number))

    kept = [slow.read(0, 64, nonblocking=True) for _ in range(QUEUE_REPORTS)]

    assert kept == [report(str(number)) for number in range(QUEUE_REPORTS)]
    assert bench.node.lost == 10
    with failing(errno.EAGAIN):
        slow.read(0, 64, nonblocking=True)


def test_who_opens_later_or_has_closed_gets_nothing(bench):
    closed = bench.open()
    closed.read(1, 64, nonblocking=False)
    closed.close()
    bench.node.inject(report("early"))
    late = bench.open()

    with failing(errno.EAGAIN):
        late.read(2, 64, nonblocking=True)
    assert bench.told == []


def test_a_read_gets_no_more_than_it_asked_for_and_the_rest_is_lost(bench):
    opener = bench.open()
    bench.node.inject(report("abcdef"))
    bench.node.inject(report("next") + bytes(32))

    assert opener.read(0, 3, nonblocking=True) == b"abc"
    assert opener.read(0, 4096, nonblocking=True) == report("next") + bytes(32)
    opener.read(7, 2, nonblocking=False)
    bench.node.inject(report("parked"))
    assert bench.told == [(7, b"pa")]


def test_requests_of_other_programs_are_answered_to_everybody(bench):
    opener = bench.open()

    bench.node.request(report("foreign"))
    bench.run_until(0.01)

    assert bench.firmware.requests == [report("foreign")]
    assert opener.read(0, 64, nonblocking=True) == report("foreign")


@pytest.mark.parametrize("length", [0, 1, 63, 66, 4096])
def test_output_reports_of_another_length_are_refused(bench, length):
    with failing(errno.EINVAL):
        bench.node.write(bytes(length))
    with failing(errno.EINVAL):
        bench.node.write(b"\1" + report())  # there is no report 1
    assert bench.firmware.requests == []


def test_output_reports_come_with_or_without_the_id(bench):
    assert bench.node.write(b"\0" + report("with")) == 65
    assert bench.node.write(report("without")) == 64
    assert bench.firmware.requests == [report("with"), report("without")]


def test_after_unplug_what_was_queued_is_read_and_then_nothing_works(bench):
    opener = bench.open()
    bench.node.inject(report("before"))
    bench.node.write(report("on its way"))

    bench.node.unplug()
    bench.run_until(1.0)

    assert opener.poll(None) == READABLE | GONE
    assert opener.read(0, 64, nonblocking=True) == report("before")
    assert opener.poll(None) == GONE
    with failing(errno.EIO):
        opener.read(0, 64, nonblocking=True)
    with failing(errno.ENODEV):
        bench.node.write(report())
    with failing(errno.ENODEV):
        bench.node.ioctl(0x80044801, 4)
    with failing(errno.ENODEV):
        bench.open()
    bench.node.inject(report("after"))
    with failing(errno.EIO):
        opener.read(0, 64, nonblocking=False)


def test_unplug_lets_go_of_all_who_wait(bench):
    opener = bench.open()
    assert opener.poll(77) == ALWAYS
    opener.read(1, 64, nonblocking=False)
    opener.read(2, 64, nonblocking=False)

    bench.node.unplug()

    assert bench.told == [(1, errno.EIO), (2, errno.EIO), 77]


def test_a_poll_is_woken_once(bench):
    opener = bench.open()
    assert opener.poll(77) == ALWAYS

    bench.node.inject(report())
    bench.node.inject(report())

    assert bench.told == [77]
    assert opener.poll(77) == READABLE  # and does not wait
    bench.node.inject(report())
    assert bench.told == [77]


def test_an_interrupted_read_takes_no_report(bench):
    opener = bench.open()
    opener.read(1, 64, nonblocking=False)
    opener.read(2, 64, nonblocking=False)

    assert opener.interrupt(1)
    assert not opener.interrupt(1)
    bench.node.inject(report("for the other"))

    assert bench.told == [(1, errno.EINTR), (2, report("for the other"))]


def test_faults_of_the_node_are_those_of_its_device(bench):
    bench.faults.add(Fault("psu1", "eio"))
    opener = bench.open()
    bench.node.write(report())
    bench.faults.add(Fault("psu0", "eio", count=2))

    assert opener.poll(None) == READABLE  # a read will not wait
    with failing(errno.EIO):
        opener.read(0, 64, nonblocking=True)
    with failing(errno.EIO):
        bench.node.write(report())
    assert opener.poll(None) == ALWAYS
    bench.node.write(report())

    bench.faults.add(Fault("psu0", "open", count=1))
    with failing(errno.EACCES):
        bench.open()
    bench.faults.add(Fault("psu0", "open", "EBUSY"))
    with failing(errno.EBUSY):
        bench.open()


def test_short_reports_are_delivered_or_not_as_by_the_kernel_that_is_meant(bench):
    recent = Bench(short_reports=False)
    for each in (bench, recent):
        opener = each.open()
        for length in (0, 2, 64):
            each.node.inject(bytes(length))
        got = []
        with contextlib.suppress(BlockingIOError):
            while True:
                got.append(len(opener.read(0, 4096, nonblocking=True)))
        assert got == ([2, 64] if each is bench else [64])


def test_only_the_control_calls_of_hidraw_are_known(bench):
    assert bench.node.ioctl(0x80044801, 4) == (0, struct.pack("<i", len(REPORT_DESCRIPTOR)))
    assert bench.node.ioctl(0x80084803, 8) == (0, struct.pack("<Ihh", 3, 0x1B1C, 0x1C1F))
    assert bench.node.ioctl(0x80084804, 8) == (8, b"Corsair ")
    for command, number in {
        0x5401: errno.ENOTTY,  # TCGETS
        0x80044810: errno.EINVAL,  # none that exists
        0xC0404806: errno.EINVAL,  # a feature report, which these devices lack
    }.items():
        with failing(number):
            bench.node.ioctl(command, 64)


def test_calls_come_in_the_order_of_their_times_unless_cancelled(bench):
    came = []
    bench.loop.call_at(3.0, lambda: came.append("last"))
    bench.loop.call_later(1.0, lambda: came.append("first"))
    bench.loop.call_at(1.0, lambda: came.append("second"))
    bench.loop.call_at(2.0, lambda: came.append("never")).cancel()

    bench.run_until(2.5)
    assert came == ["first", "second"]
    bench.run_until(3.5)
    assert came == ["first", "second", "last"]


# --- under a real kernel ----------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as made:
        made.hidraw = made.root / "dev/hidraw3"
        yield made


@contextlib.contextmanager
def opened(path, flags=RDWR, **options):
    fd = os.open(path, flags, **options)
    try:
        yield fd
    finally:
        os.close(fd)


def polled(fd, timeout_s=5.0):
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return [events for _, events in poller.poll(timeout_s * 1000)]


@pytest.mark.root
def test_a_reply_reaches_all_openers_through_the_kernel(server):
    with opened(server.hidraw) as one, opened(server.hidraw) as other:
        assert os.write(one, b"\0" + report("ask")) == 65

        assert os.read(one, 64) == report("ask")
        assert os.read(other, 64) == report("ask")


@pytest.mark.root
def test_a_waiting_read_and_a_waiting_poll_are_woken_by_the_reply(server):
    server.do("setattr(echo, 'latency_s', 0.03)")
    with opened(server.hidraw) as fd:
        for wait in (os.read, lambda fd, size: polled(fd) and os.read(fd, size)):
            began_s = time.monotonic()
            os.write(fd, report("ask"))
            assert wait(fd, 64) == report("ask")
            assert 0.03 <= time.monotonic() - began_s < 2.0


@pytest.mark.root
def test_where_nothing_comes_nobody_has_to_wait(server):
    with opened(server.hidraw) as fd, opened(server.hidraw, RDWR | os.O_NONBLOCK) as hasty:
        os.write(fd, report("\u00ff"))
        os.write(fd, b"\xff" + bytes(63))  # the firmware keeps silent
        os.read(fd, 64)

        assert polled(fd, 0.01) == []
        assert os.read(hasty, 64) == report("\u00ff")
        with failing(errno.EAGAIN):
            os.read(hasty, 64)


@pytest.mark.root
def test_sixty_four_reports_are_kept_for_an_opener(server):
    with opened(server.hidraw, RDWR | os.O_NONBLOCK) as fd:
        for number in range(80):
            os.write(fd, report(str(number)))
        assert polled(fd)

        got = []
        with contextlib.suppress(BlockingIOError):
            while True:
                got.append(os.read(fd, 64))

    assert got == [report(str(number)) for number in range(64)]
    assert server.do("node.lost") == 16


@pytest.mark.root
@pytest.mark.parametrize("wait", [lambda fd: os.read(fd, 64), polled])
def test_unplug_wakes_who_waits(server, wait):
    with opened(server.hidraw) as fd:
        server.do("[loop.call_later(0.05, call) for call in (remove, node.unplug)] and None")
        if wait is polled:
            assert wait(fd) == [select.POLLERR | select.POLLHUP]
        with failing(errno.EIO):
            os.read(fd, 64)
        with failing(errno.ENODEV):
            os.write(fd, report())
    with failing(errno.ENOENT):
        os.open(server.hidraw, RDWR)


@pytest.mark.root
def test_a_signal_ends_a_waiting_read(server):
    class RingError(Exception):
        pass

    def ring(*_):
        raise RingError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with opened(server.hidraw) as fd:
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            with pytest.raises(RingError):
                os.read(fd, 64)
            os.write(fd, report("not for the dead"))
            assert os.read(fd, 64) == report("not for the dead")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.root
def test_a_client_that_is_killed_while_it_waits_is_gone(server):
    code = (
        "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR); print(flush=True); os.read(fd, 64)"
    )
    words = [sys.executable, "-c", code, server.hidraw]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as client:
        client.stdout.readline()
        while server.do("sum(len(one._parked) for one in node._openers)") == 0:
            time.sleep(0.001)

        client.kill()

        assert client.wait(5) == -signal.SIGKILL
    while server.do("len(node._openers)") > 0:  # the kernel tells it afterwards
        time.sleep(0.001)


@pytest.mark.root
def test_one_process_locks_the_node_against_another(server):
    code = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""
    words = [sys.executable, "-c", code, server.hidraw]
    with opened(server.hidraw) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert subprocess.run(words, check=False).returncode == 3
    assert subprocess.run(words, check=False).returncode == 0


@pytest.mark.root
def test_who_may_open_the_node_is_a_matter_of_its_mode_and_of_faults(server):
    with opened(server.hidraw.parent, os.O_PATH) as folder:
        with ordinary_user(), failing(errno.EACCES):
            os.open("hidraw3", RDWR, dir_fd=folder)
        server.do("tree.set_mode('dev/hidraw3', 0o666)")
        with ordinary_user(), opened("hidraw3", dir_fd=folder):
            pass

    server.do("faults.add(Fault('psu0', 'open', 'EBUSY'))")
    with failing(errno.EBUSY):
        os.open(server.hidraw, RDWR)


@pytest.mark.root
def test_hidapi_takes_it_for_a_device(server):
    hidraw = pytest.importorskip("hidraw")
    device = hidraw.device()
    device.open_path(os.fsencode(server.hidraw))
    try:
        assert bytes(device.get_report_descriptor()) == REPORT_DESCRIPTOR
        assert device.write(b"\0" + report("one")) == 65
        assert bytes(device.read(64, 1000)) == report("one")
        assert device.read(64, 1) == []
        device.set_nonblocking(1)
        assert device.read(64) == []
        device.set_nonblocking(0)
        device.write(b"\0" + report("two"))
        assert bytes(device.read(64)) == report("two")

        server.do("node.unplug()")

        with pytest.raises(OSError, match="read error"):
            device.read(64, 1000)
        assert device.write(b"\0" + report("three")) == -1
    finally:
        device.close()


@pytest.mark.root
def test_the_kernel_copies_what_control_calls_fetch(server):
    def fetch(fd, command, size):
        room = bytearray(size)
        result = fcntl.ioctl(fd, command, room)
        return result, bytes(room)

    with opened(server.hidraw) as fd:
        assert fetch(fd, 0x80044801, 4) == (0, struct.pack("<i", len(REPORT_DESCRIPTOR)))
        described = struct.pack("<I", len(REPORT_DESCRIPTOR)) + REPORT_DESCRIPTOR
        assert fetch(fd, 0x90044802, 4100) == (0, described.ljust(4100, b"\0"))
        assert fetch(fd, 0x80084803, 8) == (0, struct.pack("<Ihh", 3, 0x1B1C, 0x1C1F))
        assert fetch(fd, 0x80404804, 64) == (16, b"Corsair HX1500i".ljust(64, b"\0"))
        assert fetch(fd, 0x80404805, 64) == (26, IDENTITY.phys.encode().ljust(64, b"\0"))
        assert fetch(fd, 0x80404808, 64) == (4, b"123".ljust(64, b"\0"))
        with failing(errno.ENOTTY):
            fetch(fd, 0x80045430, 4)
