"""`pactmeter ab` as a user types it."""

import json
import signal
import subprocess
import sys
import time

import pytest

from support.ab_runs import is_there

TWO = ("--", "sleep", "0.1", "--vs", "sleep", "1")
"""Ten times as long: so that it shows on a busy machine too."""


def pactmeter(*words, cwd, **options):
    command = [sys.executable, "-m", "pactmeter", *words]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, **options
    )


def test_it_answers_in_the_first_line_and_tells_progress_apart(tmp_path, gauge):
    done = pactmeter(
        *("ab", "--runs", "3", "--seed", "5", "--measure-period", "0.1", *TWO), cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("B uses ")
    assert "% more (95 % interval" in first
    assert "slower" in first
    assert "pair 3 of 3" in done.stderr
    assert "seed 5" in done.stdout
    folders = {path.name for path in (tmp_path / "ab").iterdir()}
    assert folders == {*(f"{side}_0{n}" for side in "AB" for n in (1, 2, 3)), "ab.json"}


def test_as_json_it_is_the_data_alone(tmp_path):
    done = pactmeter("ab", "--runs", "2", "--json", *TWO, cwd=tmp_path)

    found = json.loads(done.stdout)
    assert found["schema"] == 1
    assert found["source"] is None
    assert found["figures"]["duration_s"]["value"] > 2
    assert found["commands"] == {"A": ["sleep", "0.1"], "B": ["sleep", "1"]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--", "sleep", "1"), "no command B"),
        (("--", "sleep", "1", "--vs", "no-such-program"), "command B is not found"),
        (("--", "sleep 1", "--vs", "sleep", "1"), "without quotes"),
        (("--runs", "1", *TWO), "no comparison"),
        (("--timeout", "0", *TWO), "time-out"),
        (("--psu", "Corsair_9999", *TWO), "Corsair"),
        (("--measure-period", "-1", *TWO), "positive"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_runs(tmp_path, words, told):
    done = pactmeter("ab", *words, cwd=tmp_path)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_supply_that_is_not_there_ends_it_at_once(tmp_path):
    done = pactmeter("ab", "--psu", "NZXT_850", *TWO, cwd=tmp_path)

    assert done.returncode == 1
    assert "is not there" in done.stderr
    assert "pair 1" not in done.stderr
    assert list((tmp_path / "ab").iterdir()) == []  # once it is there, the name is free


def test_a_command_that_fails_each_time_ends_it_with_code_1(tmp_path):
    done = pactmeter("ab", "--runs", "8", "--", "true", "--vs", "false", cwd=tmp_path)

    assert done.returncode == 1
    assert "3 of 3 pairs failed" in done.stderr
    assert done.stdout == ""


def test_a_run_that_takes_too_long_has_failed(tmp_path):
    words = ("--runs", "2", "--timeout", "5", "--", "sleep", "0.1", "--vs", "sleep", "60")
    done = pactmeter("ab", *words, cwd=tmp_path)

    assert done.returncode == 1
    assert "took longer than --timeout" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_broken_off_it_leaves_no_command_behind(tmp_path, number):
    code = (
        "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    command = (sys.executable, "-c", code)
    words = [sys.executable, "-m", "pactmeter", "ab", "--", *command, "--vs", *command]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.01)

    process.send_signal(number)
    told = process.communicate(timeout=60)[1]

    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in told
    assert "broken off: the runs are kept in ab" in told
    assert not is_there(int(pid.read_text()))
    assert json.loads((tmp_path / "ab" / "ab.json").read_text())["status"] == "broken off"
