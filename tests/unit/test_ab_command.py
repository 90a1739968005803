"""One command of a comparison: how it ends, and that nothing of it is left."""

import os
import sys
import threading
import time

import pytest

from pactmeter.analysis.run import load
from pactmeter.cli.ab import split
from pactmeter.errors import ConfigError, DeviceError
from pactmeter.study.ab_command import ERRORS, OUTPUT, POWER, measured, plain
from support.ab_runs import is_there

NESTED = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_command_is_recorded_as_by_pactmeter_run(tmp_path, gauge):
    words = [sys.executable, "-c", "import sys, time; time.sleep(0.4); print(1); sys.exit(3)"]

    ended = measured(words, tmp_path, options=["--measure-period", "0.1"], timeout_s=60)

    run = load(tmp_path / POWER)
    assert ended.code == 3
    assert not ended.timed_out
    assert (tmp_path / OUTPUT).read_text() == "1\n"
    assert run.status == "complete"
    assert run.duration_s == pytest.approx(0.4, abs=0.35)
    assert run.manifest["command"] == words


def test_what_cannot_be_measured_is_not_run_and_the_cause_is_told(tmp_path):
    words = ["touch", str(tmp_path / "was here")]

    with pytest.raises(DeviceError, match="E850"):
        measured(words, tmp_path, options=["--psu", "NZXT_850"], timeout_s=60)

    assert not (tmp_path / "was here").exists()


def test_standard_error_stands_apart_from_what_is_told_of_the_work(tmp_path):
    code = "import sys; sys.stderr.write('100 %|###|'); print('PACT-WORK {\"steps\": 3}')"

    plain([sys.executable, "-c", code], tmp_path, timeout_s=None)

    assert (tmp_path / OUTPUT).read_text() == 'PACT-WORK {"steps": 3}\n'
    assert (tmp_path / ERRORS).read_text() == "100 %|###|"


@pytest.mark.parametrize("is_measured", [False, True])
def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path, is_measured):
    words = [sys.executable, "-c", NESTED, str(tmp_path / "pids")]
    wanted_s = 8.0 if is_measured else 2.0  # of a busy machine

    if is_measured:
        ended = measured(words, tmp_path, options=["--psu", "none"], timeout_s=wanted_s)
    else:
        ended = plain(words, tmp_path, timeout_s=wanted_s)

    assert ended.timed_out
    assert ended.code != 0
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    until(lambda: not any(map(is_there, pids)))


def test_ctrl_c_ends_the_command_too(tmp_path):
    words = [sys.executable, "-c", NESTED, str(tmp_path / "pids")]

    def press():
        until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text())
        os.kill(os.getpid(), 2)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        plain(words, tmp_path, timeout_s=60)
    thread.join()

    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    until(lambda: not any(map(is_there, pids)))


def test_a_signal_gives_128_and_its_number(tmp_path):
    ended = plain(["sh", "-c", "kill -9 $$"], tmp_path, timeout_s=None)

    assert ended.code == 137


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no command A"),
        (["--"], "no command A"),
        (["--", "--vs", "b"], "no command A"),
        (["--", "a"], "no command B"),
        (["--", "a", "--vs"], "no command B"),
        (["--", "a", "--vs", "b", "--vs", "c"], "2 times"),
    ],
)
def test_two_commands_are_wanted(words, told):
    with pytest.raises(ConfigError, match=told):
        split(words)


def test_options_of_the_commands_are_theirs():
    words = ["--", "a", "--runs", "3", "-o", "x", "--vs", "b", "--json", "--", "c"]

    assert split(words) == {
        "A": ["a", "--runs", "3", "-o", "x"],
        "B": ["b", "--json", "--", "c"],
    }
