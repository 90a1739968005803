"""Programs of a study: written down before they begin, and none of them left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pactmeter.study import process

WAITS_S = 60.0
FAMILY = """
import os, subprocess, sys, time
ways = [{"env": {}}] * 3 + [{}, {"start_new_session": True}] + [{"env": {}}] * 3
family = [subprocess.Popen(["sleep", "300"], **way) for way in ways]
print(*(one.pid for one in family), flush=True)
"""
STAYS = FAMILY + "time.sleep(300)"


def started(folder, *words, record=lambda _: None, mark=None):
    """Start a program in a folder, its output in `out` there."""
    return process.start(
        words,
        folder=folder,
        output=folder / "out",
        environment=os.environ,
        mark=mark or f"{folder.name}-{os.getpid()}",
        record=record,
    )


def until(holds):
    """Wait until something holds."""
    until_s = time.monotonic() + WAITS_S
    while not (found := holds()):
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return found


def runs(pid):
    """Return whether a process runs, whoever it belongs to."""
    stat = process._stat(pid)
    return stat is not None and stat.state not in "ZX"


def told(folder):
    """Return the processes that FAMILY has told of."""
    return until(lambda: [int(word) for word in (folder / "out").read_text().split()])


@contextlib.contextmanager
def alone(program):
    """End what a test leaves."""
    try:
        yield
    finally:
        process.clear(program)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(program.pid, 0)


def test_a_program_begins_when_it_is_written_down(tmp_path):
    seen = []

    def record(program):
        time.sleep(0.05)  # had it begun, it would have written by now
        seen.append((program, (tmp_path / "out").read_text()))

    with process.watching():
        program = started(tmp_path, "echo", "begun", record=record)
        assert process.pause(WAITS_S, program.pid)
    assert process.reap(program) == 0
    assert seen == [(program, "")]
    assert (tmp_path / "out").read_text() == "begun\n"


def test_a_program_never_begins_if_its_runner_is_killed_before_that(tmp_path):
    code = f"""
        import os, signal, sys
        from pathlib import Path
        from pactmeter.study import process
        folder = Path({str(tmp_path)!r})
        def record(program):
            (folder / "pid").write_text(str(program.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        process.start(["touch", "begun"], folder=folder, output=folder / "out",
                      environment=os.environ, mark="m", record=record)
    """
    words = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL

    pid = int((tmp_path / "pid").read_text())
    until(lambda: not runs(pid))
    assert not (tmp_path / "begun").exists()


def test_a_program_that_cannot_be_written_down_never_begins(tmp_path):
    seen = []

    def record(program):
        seen.append(program)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        started(tmp_path, "touch", "begun", record=record)

    assert process.reap(seen[0]) == 125
    assert not (tmp_path / "begun").exists()


def test_a_program_that_is_not_there_is_told_in_its_output(tmp_path):
    with process.watching():
        program = started(tmp_path, "no-such-program", "1")
        process.pause(WAITS_S, program.pid)

    assert process.reap(program) == 127
    assert (tmp_path / "out").read_text() == (
        "pactmeter: no-such-program: No such file or directory\n"
    )


@pytest.mark.parametrize("ends", [False, True], ids=["leader alive", "leader gone"])
def test_all_that_a_killed_runner_leaves_is_found_and_ended(tmp_path, ends):
    program = started(tmp_path, sys.executable, "-c", FAMILY if ends else STAYS)
    with alone(program):
        family = told(tmp_path)
        if ends:
            os.waitpid(program.pid, 0)
        wanted = set(family) | (set() if ends else {program.pid})

        assert until(lambda: process.remains(program) == wanted)
        assert process.clear(program) == len(wanted)
        assert process.remains(program) == set()
        assert not any(map(runs, wanted))


def test_a_process_that_was_given_the_number_is_never_killed(tmp_path):
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        recycled = process.Program(stranger.pid, 1, process.boot_id(), "a mark that nobody carries")

        assert process.remains(recycled) == set()
        assert process.clear(recycled) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_processes_of_another_boot_are_never_looked_for(tmp_path):
    program = started(tmp_path, "sleep", "300")
    with alone(program):
        assert process.clear(replace(program, boot_id="another")) == 0
        assert process.remains(program) == {program.pid}


ASKED = "import time; print('1', flush=True); time.sleep(300)"
MADE = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {ASKED}"


@pytest.mark.parametrize(
    ("code", "grace_s", "number"),
    [(ASKED, WAITS_S, signal.SIGTERM), (MADE, 0.2, signal.SIGKILL)],
    ids=["asked", "made"],
)
def test_a_program_is_asked_to_end_then_made(tmp_path, code, grace_s, number):
    with process.watching():
        program = started(tmp_path, sys.executable, "-c", code)
        told(tmp_path)
        process.end(program, grace_s)

    assert process.reap(program) == -number


def test_a_pause_ends_with_a_signal_and_none_comes_elsewhere():
    number = signal.SIGTERM
    with process.watching():
        signal.raise_signal(number)  # it waits; other threads must not get it
        with pytest.raises(process.Stopped) as raised:
            process.pause(WAITS_S)
        assert process.pause(0.01) is False

    assert raised.value.signal == number


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with process.watching():
            signal.raise_signal(signal.SIGHUP)
            assert process.pause(0.05) is False
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_program_has_the_signals_that_the_runner_was_given(tmp_path):
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)"
    with process.watching():
        program = started(tmp_path, sys.executable, "-c", code)
        process.pause(WAITS_S, program.pid)
    process.reap(program)

    assert (tmp_path / "out").read_text() == "set()\n"


def test_the_stat_of_a_process_is_read_past_its_name(tmp_path):
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to(Path("/bin/sleep").resolve())
    program = started(tmp_path, str(odd), "300")
    with alone(program):
        until(lambda: process._carries(program.pid, program.mark))
        assert process._stat(program.pid).session == program.pid
        assert process._stat(program.pid).start_ticks == program.start_ticks
