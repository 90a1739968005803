"""What a supply said is recorded, and said again: to PACT, to other programs, to a recorder.

Recorded is on the emulated machine, whose power is known; one recording is of a real supply.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pactmeter.analysis.run import load
from pactmeter.bench.replay import decoded
from pactmeter.bench.truth import windows_of
from pactmeter.model.exchanges import exchanges, read_reports
from pactmeter.sensors import psu_corsair, psu_nzxt
from support import bench as machines
from support.bench import PACT, bench
from support.rights import refuse

TRUTH = os.environ.get("PACTMETER_TRUTH") or Path(__file__).parents[3] / "shared" / "data"
CAPTURE = Path(TRUTH) / "captures" / "corsair_rm1000i_exchanges.csv"
LIQUIDCTL = Path(sys.executable).with_name("liquidctl")
SERIAL = "S3CR3T"
RAMP = ("--load", "steady:0", "--load", "rest=ramp:100-190@0-4.5")
"""The whole machine: from 100 W to 190 W, 20 W more each second."""
UNITS = {"hx1500i": ("1b1c:1c1f", "Corsair HX1500i"), "e850": ("7793:2500", "NZXT E850")}
RAILS_W = {"12v": 0.93 * 165, "5v": 0.05 * 165, "3v3": 0.02 * 165}
"""Of a supply whose processor and memory draw 60 W each."""
TITLE = "Recorded and replayed: the recorded values' integral beside what PACT makes of the replay"
COLUMNS = ("recording", "time, s", "recorded, J", "PACT, J", "difference, %")


@pytest.fixture(scope="module", autouse=True)
def _machine():
    machines.require()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record both makers' supplies for 4 s; give the ended commands by name."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        supply = ("--psu", f"{name},serial={SERIAL}")
        return record(folder, *supply, *RAMP, words="--duration 4")

    with ThreadPoolExecutor() as pool:
        return dict(zip(UNITS, pool.map(make, UNITS), strict=True))


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    """Record all registers of both, and what liquidctl reads there at the same time."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        words = " ".join([*PACT, "record", "-o", "r.csv", "--everything", "--duration", "1.5"])
        command = ["sh", "-c", f"{words} && {LIQUIDCTL} status"]
        return bench(folder, "--psu", name, "--load", "steady:60", command=command)

    with ThreadPoolExecutor() as pool:
        return dict(zip(UNITS, pool.map(make, UNITS), strict=True))


def record(folder, *options, words="", **more):
    """Record on an emulated machine, into ``r.csv``."""
    command = [*PACT, "record", "-o", "r.csv", *words.split()]
    return bench(folder, *options, command=command, **more)


def said(path):
    """Return what a recording says: times and values by quantity and unit."""
    found = {}
    for t_s, quantity, value, unit in decoded(read_reports(path).reports):
        found.setdefault((quantity, unit), []).append((t_s, value))
    return found


def totals(path):
    """Return times and watts of the DC output in a recording (NZXT: the sum of its rails)."""
    found = said(path)
    if ("total output", "W") in found:
        return found["total output", "W"]
    rails = [points for (name, unit), points in found.items() if unit == "W"]
    assert len(rails) == len(psu_nzxt.RAILS)
    return [(row[-1][0], sum(value for _, value in row)) for row in zip(*rails, strict=False)]


def replayed_j(points, start_s, windows_s):
    """Return the integral of recorded powers, each held until the next, as a replay shows them."""
    times_s = [t_s - start_s for t_s, _ in points]
    total_j = 0.0
    for from_s, to_s in windows_s:
        cuts = [from_s, *(t for t in times_s if from_s < t < to_s), to_s]
        for a, b in itertools.pairwise(cuts):
            total_j += (b - a) * points[max(0, bisect_right(times_s, (a + b) / 2) - 1)][1]
    return total_j


def replay(folder, recording, *words, seconds=2, truth=True):
    """Measure a replay with PACT; return the ended command."""
    command = [*PACT, "run", "-o", "p.csv", *words, "--", "sleep", str(seconds)]
    return bench(folder, "--replay", recording, command=command)


def requests_of(path):
    return [exchange.request.rstrip(b"\0") for exchange in exchanges(read_reports(path).reports)]


# --- recording ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNITS)
def test_a_recording_says_of_what_it_is_and_names_no_unit(recorded, name):
    done = recorded[name]
    assert done.code == 0, done.err
    assert re.search(rf"^r\.csv: \d+ requests to {UNITS[name][1]} and \d+ reports", done.out)

    header = read_reports(done.folder / "r.csv").header

    assert (header["model"], header["name"]) == UNITS[name]
    assert header["synthetic"] == "emulated"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", header["recorded"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", header["pactmeter"])
    everything = (done.folder / "r.csv").read_bytes()
    assert SERIAL.encode() not in everything
    assert SERIAL.encode().hex().encode() not in everything


@pytest.mark.parametrize("name", UNITS)
def test_a_recording_holds_what_pact_reads_ten_times_a_second(recorded, name):
    found = said(recorded[name].folder / "r.csv")

    wanted = {("temperature", "°C"), *((f"{rail} output", "W") for rail in psu_nzxt.RAILS)}
    if name == "hx1500i":
        wanted = {("VRM temperature", "°C"), ("input", "V"), ("total output", "W")}
        wanted |= {(f"{rail} output", "W") for rail in psu_corsair.RAILS}
    assert wanted <= set(found)
    for quantity in wanted:
        assert 36 <= len(found[quantity]) <= 41, quantity


@pytest.mark.parametrize("name", UNITS)
def test_a_recording_holds_the_true_power(recorded, name):
    points = totals(recorded[name].folder / "r.csv")

    # the time at which the ramp has a point's power, on the recording's clock: always the same
    zeros_s = [t_s - (watts - 100.0) / 20.0 for t_s, watts in points]
    assert max(zeros_s) - min(zeros_s) < 0.12  # 2 W steps of the register are 0.1 s
    assert -3.0 < min(zeros_s) < 0.0


@pytest.mark.parametrize("name", UNITS)
def test_recording_sets_nothing(recorded, surveyed, name):
    for done in (recorded[name], surveyed[name]):
        assert done.truth["psu_writes"] == []


def test_replies_come_as_soon_after_their_requests_as_from_real_supplies(recorded):
    found = exchanges(read_reports(recorded["hx1500i"].folder / "r.csv").reports)
    waits_s = sorted(exchange.replies[0][0] - exchange.t_s for exchange in found)

    assert 0.0012 <= waits_s[len(waits_s) // 2] <= 0.0025
    assert waits_s[0] >= 0.0012


def test_everything_is_every_register_of_a_corsair(surveyed):
    path = surveyed["hx1500i"].folder / "r.csv"
    asked = set(requests_of(path))

    registers = (*psu_corsair.READABLE, *psu_corsair.READABLE_OF_RAIL)
    assert {psu_corsair.read_request(register) for register in registers} <= asked
    rest = {bytes.fromhex(text) for text in ("fe03", "02", "020001", "020002")}
    assert asked - {psu_corsair.read_request(register) for register in registers} == rest
    found = said(path)
    for rail, volts in (("12v", 12.0), ("5v", 5.0), ("3v3", 3.3)):
        assert found[f"{rail} output", "V"][0][1] == pytest.approx(volts, rel=0.01)
    assert found["total output", "W"][0][1] == pytest.approx(60 + 60 + 45, abs=1.0)


def test_everything_is_every_register_of_an_nzxt(surveyed):
    path = surveyed["e850"].folder / "r.csv"

    asked = set(requests_of(path))

    registers = [psu_nzxt.read_request(register) for register in psu_nzxt.READABLE]
    registers += [
        psu_nzxt.rail_request(page, register)
        for page in range(5)
        for register in psu_nzxt.READABLE_OF_RAIL
    ]
    assert asked == {request.rstrip(b"\0") for request in registers}


def test_what_other_programs_are_answered_is_recorded_too(tmp_path):
    order = ("--psu", "hx1500i", "--load", "steady:60", "--fault", "psu0:chatter=60")
    done = record(tmp_path, *order, words="--duration 3")

    assert done.code == 0, done.err
    recording = read_reports(tmp_path / "r.csv")
    asked = set(requests_of(tmp_path / "r.csv"))
    foreign = [r for r in recording.reports if not r.is_out and r.data[:2] == b"\x03\xf0"]
    assert b"\x03\xf0" not in asked  # fan mode: only a status asks for it
    assert len(foreign) >= 3 * 60 / 23 * 0.7
    came, sent = (sum(r.is_out is way for r in recording.reports) for way in (False, True))
    assert came - sent >= 3 * 60 * 0.8
    found = said(tmp_path / "r.csv")
    for rail, watts in RAILS_W.items():
        assert all(abs(value - watts) <= 1.0 for _, value in found[f"{rail} output", "W"])


def test_an_earlier_recording_is_never_overwritten(tmp_path):
    (tmp_path / "r.csv").write_text("mine")

    done = record(tmp_path, "--psu", "hx1500i")

    assert done.code == 1
    assert done.err == (
        "pactmeter: r.csv exists, and a recording overwrites nothing\n"
        "  fix: give another name, as -o psu2.csv\n"
    )
    assert (tmp_path / "r.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words", "code", "told"),
    [
        (["--psu", "hx1500i,hwmon"], "", 1, ["held by the kernel driver", "modprobe -r corsair"]),
        ([], "", 1, ["no supported PSU is there", "USB cable"]),
        ([], "--psu hx1500i", 1, ["HX1500i", "is not there", "USB cable"]),
        (["--psu", "hx1500i", "--psu", "e850"], "", 1, ["--psu 1b1c:1c1f or --psu 7793:2500"]),
        (["--psu", "hx1500i"], "--psu hx1500", 2, ["unknown PSU 'hx1500'", "Corsair_HX1500i"]),
        (["--psu", "hx1500i"], "--duration 0", 2, ["--duration should be positive"]),
        (["--psu", "hx1500i"], "--duration nan", 2, ["--duration should be positive"]),
        (["--psu", "hx1500i"], "--period -1", 2, ["--period should be positive"]),
        (["--psu", "hx1500i"], "--period inf", 2, ["--period"]),
        (["--psu", "hx1500i"], "-o no/r.csv", 1, ["cannot write no/r.csv"]),
        (["--psu", "hx1500i", "--fault", "psu0:open"], "", 1, ["cannot connect"]),
        (["--psu", "hx1500i", "--fault", "psu0:drop"], "--duration 1", 1, ["said nothing"]),
    ],
)
def test_what_cannot_be_recorded_is_told_in_one_message(tmp_path, options, words, code, told):
    done = record(tmp_path, *options, words=words)

    assert done.code == code
    errors = [line for line in done.err.splitlines() if not line.startswith("pactmeter: recording")]
    assert errors[0].startswith("pactmeter: ")
    assert len(errors) <= 2
    for text in told:
        assert text in done.err
    assert not (tmp_path / "r.csv").exists()


def test_of_several_supplies_the_one_named_is_recorded(tmp_path):
    done = record(tmp_path, "--psu", "hx1500i", "--psu", "e850", words="--psu e850 --duration 0.3")

    assert done.code == 0, done.err
    assert read_reports(tmp_path / "r.csv").header["name"] == "NZXT E850"


def started(folder, *options, words):
    """Start a recording without an end of its own; return when there are lines in its file."""
    command = [*PACT, "record", "-o", "r.csv", "--duration", "inf", *words]
    process = subprocess.Popen(
        [*PACT, "bench", "run", *options, "--", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C goes to a whole process group
    )
    until_s = time.monotonic() + 30.0
    path = folder / "r.csv"
    while not path.exists() or path.read_bytes().count(b"\n") < 50:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until_s
        time.sleep(0.02)
    return process


def test_ctrl_c_ends_a_recording_which_is_whole(tmp_path):
    process = started(tmp_path, "--psu", "hx1500i", words=[])

    os.killpg(process.pid, signal.SIGINT)

    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert re.fullmatch(r"r\.csv: \d+ requests to Corsair HX1500i and \d+ reports from it\n", out)
    assert read_reports(tmp_path / "r.csv").note is None


def test_what_was_recorded_survives_a_crash(tmp_path):
    process = started(tmp_path, "--psu", "e850", words=["--everything", "--period", "0.1"])

    os.killpg(process.pid, signal.SIGKILL)

    process.communicate(timeout=30)
    recording = read_reports(tmp_path / "r.csv")
    assert len(recording.reports) >= 40
    assert recording.note is None  # no line is torn: each is one write


def test_a_supply_that_is_plugged_in_again_is_recorded_on(tmp_path):
    order = ("--psu", f"hx1500i,serial={SERIAL}", "--fault", "psu0:unplug@1.2+0.6")
    done = record(tmp_path, *order, words="--duration 3")

    assert done.code == 0, done.err
    assert re.search(r"^\d+ readings failed, the last one: ", done.out, re.MULTILINE)
    times_s = [t_s for t_s, _ in totals(tmp_path / "r.csv")]
    gaps_s = [b - a for a, b in itertools.pairwise(times_s)]
    assert 0.5 < max(gaps_s) < 1.1
    assert times_s[-1] > 2.7
    assert b"\xfe\x03" in requests_of(tmp_path / "r.csv")  # it wants the handshake again


# --- replaying ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNITS)
def test_pact_reads_a_replay_as_it_was_recorded(tmp_path, recorded, name, figures):
    recording = recorded[name].folder / "r.csv"

    done = replay(tmp_path, recording, seconds=3)

    assert done.code == 0, done.err
    source = done.report("p.csv")["sources"][0]
    assert (source["channel"], source["synthetic"]) == ("psu.dc_output", "replayed")
    windows = [
        tuple(t - done.truth["window_s"][0] for t in window)
        for window in windows_of(tmp_path / "p.csv")
    ]
    start_s = read_reports(recording).reports[0].t_s
    expected_j = replayed_j(totals(recording), start_s, windows)
    off_pct = 100 * (source["energy_j"] / expected_j - 1)
    figures(TITLE, *COLUMNS).add(UNITS[name][1], 3.0, expected_j, source["energy_j"], off_pct)
    assert abs(off_pct) < 1.0
    assert (source["coverage"], source["gaps"]) == (pytest.approx(1.0, abs=0.01), 0)
    columns = load(tmp_path / "p.csv").columns
    if name == "hx1500i":
        assert set(columns["psu.input_v"]) == {230.0}
    assert all(30.0 < value < 40.0 for value in columns["psu.temp_c"])


@pytest.mark.parametrize("name", UNITS)
def test_a_recording_of_a_replay_says_the_same_in_the_same_order(tmp_path, recorded, name):
    first = recorded[name].folder / "r.csv"

    done = record(tmp_path, "--replay", first, words="--duration 2")

    assert done.code == 0, done.err
    assert read_reports(tmp_path / "r.csv").header["synthetic"] == "replayed"
    before, again = said(first), said(tmp_path / "r.csv")
    assert set(again) <= set(before)
    for quantity, points in again.items():
        values = [value for value, _ in itertools.groupby(value for _, value in points)]
        known = iter(value for _, value in before[quantity])
        assert all(value in known for value in values), quantity  # as a subsequence


@pytest.mark.parametrize("name", UNITS)
def test_liquidctl_reads_a_replay_as_it_read_the_supply(tmp_path, surveyed, name):
    recording = surveyed[name].folder / "r.csv"
    rows = [line for line in surveyed[name].out.splitlines() if "──" in line]

    done = bench(tmp_path, "--replay", recording, command=[LIQUIDCTL, "status"])

    assert (done.code, done.err) == (0, "")
    again = [line for line in done.out.splitlines() if "──" in line]
    assert len(again) == {"hx1500i": 20, "e850": 18}[name]
    assert [r for r in again if "uptime" not in r] == [r for r in rows if "uptime" not in r]
    assert done.truth["psu_writes"] == []


def test_a_replay_is_marked_wherever_it_is_shown(tmp_path, recorded):
    recording = recorded["hx1500i"].folder / "r.csv"

    done = replay(tmp_path, recording, "--rails", seconds=1)

    assert "[replayed devices]" in done.err
    assert "measured (replayed)" in done.err
    manifest = json.loads((tmp_path / "p.json").read_text())
    of_psu = [c for c in manifest["channels"] if c["name"].startswith("psu")]
    assert len(of_psu) == 7
    assert {channel["synthetic"] for channel in of_psu} == {"replayed"}
    told = bench(tmp_path, "--replay", recording, command=[*PACT, "sensors"]).out
    assert re.search(r"^psu\.dc_output +measured dc W replayed", told, re.MULTILINE)


def test_the_truth_of_a_replay_is_not_known_and_not_claimed(tmp_path, recorded):
    recording = recorded["hx1500i"].folder / "r.csv"
    done = replay(tmp_path, recording, seconds=1)

    assert done.truth["true_energy_j"] == {}
    assert done.truth["cumulative"]["energy_j"] == {}
    words = [*PACT, "bench", "compare", tmp_path / "truth.json", tmp_path / "p.csv"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "knows the truth of no channel" in told.stderr
    assert "fix: " in told.stderr


def test_beside_a_replay_the_truth_of_the_emulated_is_known(tmp_path, recorded):
    options = ("--replay", recorded["hx1500i"].folder / "r.csv", "--psu", "e850", "--gpu", "1")
    done = bench(tmp_path, *options, "--load", "steady:100", command=["sleep", "1"])

    energy_j = done.truth["true_energy_j"]
    assert {"psu1.dc_output", "psu1.ac_input", "gpu0", "cpu.package0"} <= set(energy_j)
    assert not {"psu.dc_output", "psu.ac_input"} & set(energy_j)
    # the replayed supply feeds nothing: all the power is the other one's
    lasted_s = done.truth["window_s"][1] - done.truth["window_s"][0]
    assert energy_j["psu1.dc_output"] == pytest.approx(345.0 * lasted_s)


def test_rails_another_program_had_swapped_are_replayed_right(tmp_path):
    order = ("--psu", "hx1500i", "--load", "steady:60", "--fault", "psu0:chatter=200")
    assert record(tmp_path, *order, words="--duration 2").code == 0

    done = replay(tmp_path, tmp_path / "r.csv", "--rails", seconds=1)

    assert done.code == 0, done.err
    columns = load(tmp_path / "p.csv").columns
    for rail, watts in RAILS_W.items():
        assert all(abs(value - watts) <= 1.0 for value in columns[f"psu.rail.{rail}_w"])


@pytest.mark.slow
def test_the_recording_of_a_real_supply_is_measured_with_sane_values_throughout(tmp_path, figures):
    if not CAPTURE.exists():
        refuse(f"needs the recording {CAPTURE}: set PACTMETER_TRUTH")

    done = replay(tmp_path, CAPTURE, "--rails", "--measure-period", "0.5", seconds=21)

    assert done.code == 0, done.err
    columns = load(tmp_path / "p.csv").columns
    powers = columns["psu.dc_output_w"]
    assert len(powers) >= 42
    assert all(52.0 <= value <= 140.0 for value in powers)
    assert max(powers) - min(powers) > 60.0
    assert set(columns["psu.input_v"]) == {230.0}
    assert all(33.5 <= value <= 33.75 for value in columns["psu.temp_c"])
    for rail, low_w, high_w in (("12v", 48, 128), ("5v", 8, 9), ("3v3", 1.5, 1.5)):
        assert all(low_w <= value <= high_w for value in columns[f"psu.rail.{rail}_w"])
    report = done.report("p.csv")
    dc, ac = report["sources"][:2]
    assert (dc["synthetic"], dc["gaps"], ac["gaps"]) == ("replayed", 0, 0)
    assert 1.1 < ac["energy_j"] / dc["energy_j"] < 1.4
    windows = [
        tuple(t - done.truth["window_s"][0] for t in window)
        for window in windows_of(tmp_path / "p.csv")
    ]
    expected_j = replayed_j(totals(CAPTURE), 0.0, windows)
    off_pct = 100 * (dc["energy_j"] / expected_j - 1)
    figures(TITLE, *COLUMNS).add(
        "Corsair RM1000i (real)", 21.0, expected_j, dc["energy_j"], off_pct
    )
    assert abs(off_pct) < 1.0
