"""`pactmeter top`: what a run looks like while it goes on, from its files."""

import fcntl
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pactmeter.cli.main import main
from pactmeter.errors import FileError
from pactmeter.model.channel import Channel, Kind
from pactmeter.report.top import Follower, View, block, head, line
from pactmeter.store.files import RunFiles
from pactmeter.units import Unit
from support.programs import start_program
from support.written import DC, GPU, gauge, write

TEMPERATURE = Channel("psu.temp_c", Unit.CELSIUS, Kind.QUANTITY, "temperature")


def running(folder, sources, **options):
    """Write a run that is still being written, and hold its lock as its sampler would."""
    more = {"status": "running", **options.pop("more", {})}
    power = write(folder, sources, more=more, **options)
    file = power.open("ab")
    fcntl.flock(file, fcntl.LOCK_EX)
    return RunFiles(power), file


def shown(view, width=100, height=40):
    return block(RunFiles(DC_FILE), view, width, height)


DC_FILE = Path("PACT.csv")


def test_the_last_row_is_told_with_joules_since_the_start(tmp_path):
    files, file = running(tmp_path, {DC: 400.0, GPU: [100.0] * 59 + [None]}, events=["faults"])
    with file:
        view = Follower(files).look()

    assert (view.status, view.measured_s, view.is_new) == ("running", 60.0, True)
    assert view.rows == [
        ("psu.dc_output", "400.0 W", "24000.0 J", "measured"),
        ("gpu0", "-", "5900.0 J", "measured"),
        ("faults", "5 /s", "", "tree"),
    ]


def test_a_row_is_new_once_and_a_torn_one_is_not_a_row(tmp_path):
    files, file = running(tmp_path, {DC: 400.0}, rows=2)
    with file:
        follower = Follower(files)
        assert follower.look().is_new
        assert not follower.look().is_new
        file.write(b"3,3,0,1,500,13")
        file.flush()
        assert not follower.look().is_new
        file.write(b"00,10\n")
        file.flush()
        view = follower.look()

    assert view.is_new
    assert view.rows[0][1:3] == ("500.0 W", "1300.0 J")


def test_only_the_end_of_what_has_come_is_read(tmp_path):
    files, file = running(tmp_path, {DC: 400.0}, rows=20_000)
    with file:
        view = Follower(files).look()

    assert view.measured_s == 20_000.0
    assert view.rows[0][2] == "8000000.0 J"


def test_a_later_run_under_the_same_name_is_followed(tmp_path):
    files, file = running(tmp_path, {DC: 400.0})
    with file:
        follower = Follower(files)
        follower.look()
    for each in files.all:
        each.rename(each.with_name(f"old-{each.name}"))
    assert follower.look().status == "starting"
    files, file = running(tmp_path, {GPU: 70.0}, rows=3)
    with file:
        view = follower.look()

    assert view.rows == [("gpu0", "70.0 W", "210.0 J", "measured")]


def test_a_file_that_does_not_come_again_ends_it(tmp_path, monkeypatch):
    files, file = running(tmp_path, {DC: 400.0})
    with file:
        follower = Follower(files)
        follower.look()
    files.power.unlink()
    later_s = time.monotonic() + 60
    monkeypatch.setattr("pactmeter.report.top.now_s", lambda: later_s)

    with pytest.raises(FileError, match="has gone"):
        follower.look()


def test_a_run_whose_sampler_died_is_incomplete(tmp_path):
    power = write(tmp_path, {DC: 400.0}, more={"status": "running"})

    view = Follower(RunFiles(power)).look()

    assert (view.status, view.reason) == ("incomplete", "the sampler process died")


def test_a_run_without_rows_for_long_says_so(tmp_path, monkeypatch):
    files, file = running(tmp_path, {DC: 400.0})
    with file:
        follower = Follower(files)
        follower.look()
        later_s = time.monotonic() + 30
        monkeypatch.setattr("pactmeter.report.top.now_s", lambda: later_s)
        view = follower.look()

    assert "no row for 30 s" in head(files, view)


def test_what_has_just_begun_is_starting(tmp_path):
    power = tmp_path / "PACT.csv"
    with power.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        view = Follower(RunFiles(power)).look()

    assert view == View("starting")


def test_estimates_and_what_is_synthetic_are_marked(tmp_path):
    estimate = gauge("cpu.estimate", None, origin="estimated", synthetic="emulated")

    view = Follower(RunFiles(write(tmp_path, {estimate: 30.0}))).look()

    assert view.rows[0][3] == "estimated (emulated)"


def test_a_run_without_any_source_says_so(tmp_path):
    view = Follower(RunFiles(write(tmp_path, {}, events=["faults"]))).look()

    assert "no power source" in line(view)
    assert "no power source" in "\n".join(shown(view))
    assert "faults" in "\n".join(shown(view))


def test_other_quantities_have_their_unit_and_no_total(tmp_path):
    files = RunFiles(write(tmp_path, {DC: 1.0}, more={"columns": {"psu.temp_c": [41.0] * 60}}))
    manifest = json.loads(files.manifest.read_text())
    manifest["channels"].append(TEMPERATURE.to_dict())
    files.manifest.write_text(json.dumps(manifest))

    view = Follower(files).look()

    assert view.rows[1] == ("psu.temp_c", "41.0 °C", "", "")


def test_no_line_is_wider_and_no_block_higher_than_the_terminal(tmp_path):
    many = {gauge(f"hwmon.chip.sensor_{k}", None): 1.0 for k in range(30)}

    lines = shown(Follower(RunFiles(write(tmp_path, many))).look(), width=30, height=10)

    assert len(lines) == 10
    assert max(map(len, lines)) <= 30
    assert lines[-1].startswith("  and 22 more")


def test_names_cannot_write_on_the_terminal(tmp_path):
    named = gauge('a\x1b[2J"<script>"' + "x" * 10_000, None)
    files, file = running(tmp_path, {named: 5.0}, more={"reason": "x\x1b[31m"})
    with file:
        text = line(Follower(files).look())

    assert "\x1b" not in text
    assert "\n" not in text
    assert '"<script>"' in text
    assert len(text) < 300


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00\n", b"no newline"])
def test_what_is_no_run_is_told(tmp_path, content, capsys):
    power = tmp_path / "other.csv"
    power.write_bytes(content)

    assert main(["top", str(power)]) == 1
    assert "pactmeter: " in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["top", str(tmp_path / "PACT.csv")]) == 1
    assert "there is no run" in capsys.readouterr().err


def test_of_a_run_that_is_over_a_pipe_gets_one_row_and_how_it_ended(tmp_path, capsys):
    power = write(tmp_path, {DC: 400.0})

    assert main(["top", str(power)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == "60.0 s  psu.dc_output 400.0 W 24000.0 J"
    assert last.endswith("PACT.csv  complete  0:01:00")


def test_looking_costs_a_thousandth_of_a_core_at_most(tmp_path):
    channels = {gauge(f"source{k}", None): 100.0 for k in range(8)}
    files, file = running(tmp_path, channels, rows=3600, events=["a", "b", "c", "d"])
    row = files.power.read_bytes().splitlines()[-1] + b"\n"
    with file:
        follower = Follower(files)
        follower.look()
        before_s = time.process_time()
        for _ in range(200):
            file.write(row * 10)  # a second at 10 Hz
            file.flush()
            "\n".join(block(files, follower.look(), 100, 40))
        spent_s = time.process_time() - before_s

    assert spent_s / 200 < 0.001


def test_a_terminal_gets_its_block_drawn_in_place(tmp_path):
    power = write(tmp_path, {DC: 400.0})
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "pactmeter", "top", power]
    with subprocess.Popen(words, stdout=theirs, env={**os.environ, "TERM": "xterm"}) as top:
        os.close(theirs)
        data = b""
        while b"measured" not in data:
            data += os.read(ours, 4096)
    os.close(ours)

    assert top.returncode == 0
    assert data.startswith(b"\r\x1b[K")
    assert b"psu.dc_output  400.0 W  24000.0 J  measured" in data


def test_a_program_that_is_being_measured_is_followed_to_its_end(tmp_path, gauge):
    code = """
        import time
        from pactmeter import PACT

        @PACT(measure_period=0.2)
        def train():
            print("begun", flush=True)
            time.sleep(2.5)

        train()
    """
    with start_program(code, tmp_path) as program:
        assert program.stdout.readline() == "begun\n"
        words = [sys.executable, "-m", "pactmeter", "top", "PACT.csv"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        program.communicate()

    *rows, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(rows) >= 2
    assert " 100.0 W" in rows[0]
    assert last.startswith("PACT.csv  complete")
