"""A command as a child: what it did is told, and nothing of it is left."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from pactmeter.errors import PactError
from pactmeter.study import child

STUBBORN = "trap '' TERM; sleep 61 & echo $! $$ > pids; wait"


@pytest.fixture
def ran(tmp_path):
    """Run a shell's line in a folder of its own; return how it ended and what it printed."""

    def shell(line, **more):
        with tempfile.TemporaryFile() as log:
            ended = child.run(["sh", "-c", line], log, folder=tmp_path, **more)
            log.seek(0)
            return ended, log.read().decode()

    return shell


def are_gone(pids):
    """Whether no process is left, but for the dead that nobody has asked after."""
    for pid in pids.split():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            continue
        if state not in "ZX":
            return False
    return True


def soon_gone(pids):
    end = time.monotonic() + 10
    while not are_gone(pids):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.01)
    return True


def test_exit_code_output_folder_and_the_kernels_account_are_told(ran, tmp_path):
    ended, out = ran("pwd; echo wrong >&2; exit 3")
    assert (ended.code, out) == (3, f"{tmp_path}\nwrong\n")
    code = "b = bytearray(40_000_000)\nfor i in range(0, len(b), 4096): b[i] = 1"
    ended, _ = ran(f"{sys.executable} -c '{code}'; sleep 0.2")
    assert ended.code == 0
    assert ended.took_s >= 0.2
    assert 0 < ended.cpu_s <= ended.took_s * (os.cpu_count() or 1)
    assert ended.faults > 0
    assert ran("kill -9 $$")[0].code == 137


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    with tempfile.TemporaryFile() as log, pytest.raises(PactError, match="cannot start /nowhere"):
        child.run(["/nowhere"], log)


def test_after_its_time_a_load_is_killed_with_its_children_however_stubborn(ran, tmp_path):
    ended, _ = ran(STUBBORN, limit_s=0.5, soft_s=0.1)
    assert ended.timed_out
    assert ended.code == 137
    assert soon_gone((tmp_path / "pids").read_text())


def test_a_child_that_outlives_its_load_is_killed(ran, tmp_path):
    ended, _ = ran("sleep 61 & echo $! > pids; exit 4")
    assert ended.code == 4
    assert soon_gone((tmp_path / "pids").read_text())


def test_a_load_may_end_softly(ran, tmp_path):
    line = "trap 'echo done > soft; exit 5' TERM; echo here > up; while :; do sleep 0.01; done"
    ended, _ = ran(line, limit_s=1.0, soft_s=30)
    assert (ended.timed_out, ended.code) == (True, 5)
    assert (tmp_path / "soft").read_text() == "done\n"


def test_the_kernel_asks_a_command_to_end_where_its_starter_is_killed(tmp_path):
    line = "trap 'echo asked > told; exit' TERM; echo $$ > pids; while :; do sleep 0.01; done"
    code = (
        "import sys; from pactmeter.study import child\n"
        "child.run(['sh', '-c', sys.argv[1]], sys.stdout.buffer)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, line], cwd=tmp_path)
    until = time.monotonic() + 20
    while not (tmp_path / "pids").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    assert soon_gone((tmp_path / "pids").read_text())
    assert (tmp_path / "told").read_text() == "asked\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_load_and_comes_out_as_an_exit(ran, tmp_path, number):
    def interrupt():
        while not (tmp_path / "pids").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    before = signal.getsignal(signal.SIGTERM)
    with child.ended_by_signals():
        thread.start()
        with pytest.raises((SystemExit, KeyboardInterrupt)) as told:
            ran(STUBBORN, soft_s=0.1)
    thread.join()
    if number != signal.SIGINT:
        assert told.value.code == 128 + number
    assert signal.getsignal(signal.SIGTERM) is before
    assert soon_gone((tmp_path / "pids").read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_a_load_is_started_leaves_nothing_behind(
    ran, monkeypatch, number
):
    started = []

    class Late(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(str(self.pid))
            signal.raise_signal(number)  # the load runs; who started it has not heard of it yet

    monkeypatch.setattr(subprocess, "Popen", Late)
    with child.ended_by_signals():
        before = signal.getsignal(number)
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            ran("sleep 61", soft_s=0.1)
        assert signal.getsignal(number) is before
    assert soon_gone(*started)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with child.ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
