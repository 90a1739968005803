"""`pactmeter sync`: bursts, fits to readings of known lag, runs and their JSON, the command."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.run import load
from pactmeter.analysis.sync.burst import Phase, in_order, schedule
from pactmeter.analysis.sync.channels import phases_of, read_delays, sync
from pactmeter.analysis.sync.fit import Readings, fit
from pactmeter.cli import loads as loads_module
from pactmeter.cli import main
from pactmeter.cli import sync as command
from pactmeter.cli.loads import cpu_loads, gpu_loads
from pactmeter.errors import ConfigError, DeviceError, FileError, PactError

# the edges lie at all places within a row, or rows would not tell a window from a lag
PHASES = [(2.0, 4.13), (5.32, 8.27), (9.95, 11.01), (14.24, 15.38), (17.9, 21.06), (22.11, 25.7)]
LENGTH_S = 28.0


def readings(delay_s=0.2, gain_w=100.0, row_s=0.1, offset_w=50.0, phases=PHASES, step_w=0.0):
    """Rows of a quick sensor that lags: each the mean over its time."""
    ends = np.arange(row_s, LENGTH_S, row_s)
    on_s = sum(
        np.clip(ends - delay_s, on, off) - np.clip(ends - row_s - delay_s, on, off)
        for on, off in phases
    )
    power_w = offset_w + gain_w * on_s / row_s
    if step_w:
        power_w = step_w * np.round(power_w / step_w)
    return Readings(ends - row_s / 2, power_w, over_s=row_s, step_w=step_w)


# --- bursts --------------------------------------------------------------------------------------


@given(seconds=st.floats(40, 600), seed=st.integers(0, 2**31))
def test_a_burst_has_dwells_within_bounds_and_rests_at_its_ends(seconds, seed):
    phases = schedule(seconds, seed)
    edges = [edge for phase in phases for edge in phase]

    assert all(0.799 < b - a < 3.701 for a, b in pairwise(edges))
    assert edges[0] >= 1.0
    assert edges[-1] <= seconds - 1.0
    assert phases == schedule(seconds, seed)
    assert in_order(phases) == phases


@pytest.mark.parametrize("seconds", [0, 39, 1e9, -1, math.nan, math.inf])
def test_a_burst_of_no_use_is_refused(seconds):
    with pytest.raises(ConfigError, match="a burst takes 40 to 600 s"):
        schedule(seconds, 1)


def test_phases_are_ordered_and_joined():
    marked = [*PHASES[3:], *PHASES[:3], (8.2, 9.0), (5.4, 5.4)]

    assert in_order(marked)[1] == Phase(5.32, 9.0)
    assert len(in_order(marked)) == len(PHASES)


@pytest.mark.parametrize("phases", [[], PHASES[:3], [(math.nan, 1.0), *PHASES], [(1.0, math.inf)]])
def test_too_few_or_no_phases_are_an_error(phases):
    with pytest.raises(ConfigError):
        in_order(phases)


# --- the fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.0, 0.0137, 0.2713, 1.7])
def test_a_quick_sensor_has_the_lag_it_has(delay_s):
    found = fit(readings(delay_s), PHASES)

    assert found.lag_s == pytest.approx(delay_s, abs=0.01)
    assert found.delay_s == pytest.approx(delay_s, abs=0.01)
    assert found.lag_between_s[0] <= delay_s <= found.lag_between_s[1]
    assert found.tau_between_s[0] == 0.0
    assert found.gain_w == pytest.approx(100.0, abs=1.0)
    assert found.offset_w == pytest.approx(50.0, abs=1.0)
    assert found.explained_pct > 99.5
    assert (found.phases, found.readings) == (len(PHASES), 279)


@settings(max_examples=4)
@given(factor=st.floats(0.01, 1000.0), shift_s=st.floats(-1e6, 1e6))
def test_the_lag_depends_on_neither_unit_nor_clock(factor, shift_s):
    one = readings(0.31, row_s=0.2)
    other = Readings(one.times_s + shift_s, one.power_w * factor, over_s=one.over_s)
    phases = [(on + shift_s, off + shift_s) for on, off in PHASES]

    first, second = fit(one, PHASES), fit(other, phases)

    assert second.lag_s == pytest.approx(first.lag_s, abs=0.002)
    assert second.gain_w == pytest.approx(first.gain_w * factor, rel=0.005)


def test_a_drift_is_no_gain():
    one = readings(0.2)
    drifting = Readings(one.times_s, one.power_w + 3 * one.times_s, over_s=one.over_s)

    found = fit(drifting, PHASES)

    assert found.lag_s == pytest.approx(0.2, abs=0.01)
    assert found.gain_w == pytest.approx(100.0, abs=2.0)


def test_gaps_disorder_and_repeated_times_change_nothing():
    one = readings(0.2)
    order = np.random.default_rng(1).permutation(len(one.times_s))
    times_s = np.concatenate((one.times_s[order], one.times_s[:5], [3.0, math.nan]))
    power_w = np.concatenate((one.power_w[order], one.power_w[:5], [math.nan, 50.0]))

    found = fit(Readings(times_s, power_w, over_s=one.over_s), PHASES)

    assert found == fit(one, PHASES)


@pytest.mark.parametrize("power_w", [0.0, 58.0])
def test_a_gauge_that_stands_still_does_not_follow(power_w):
    one = readings()
    still = Readings(one.times_s, np.full_like(one.power_w, power_w))

    assert fit(still, PHASES) == Unknown("does not follow: the readings do not move")


def test_noise_and_what_falls_under_the_load_do_not_follow():
    one = readings()
    noise = np.random.default_rng(2).normal(60.0, 3.0, len(one.times_s))

    assert fit(Readings(one.times_s, noise), PHASES) == Unknown("does not follow")
    falling = Readings(one.times_s, 200 - one.power_w)
    assert isinstance(fit(falling, PHASES), Unknown)


def test_too_few_readings_say_how_many_are_needed():
    one = readings()

    few = fit(Readings(one.times_s[30:45], one.power_w[30:45]), PHASES)

    assert few == Unknown("15 readings under the burst, 20 are needed")
    assert isinstance(fit(Readings(one.times_s[:0], one.power_w[:0]), PHASES), Unknown)
    half = fit(Readings(one.times_s[30:100], one.power_w[30:100]), PHASES)
    assert half == Unknown("was read in less than half of the burst")


def test_a_straight_line_does_not_follow():
    times_s = readings().times_s

    for slope_w in (1.0, -0.25, 1e-9, 1e9):
        assert isinstance(fit(Readings(times_s, 100 + slope_w * times_s), PHASES), Unknown)


def test_what_lies_far_from_the_burst_changes_nothing():
    one = readings(0.2)
    times_s = np.concatenate((np.arange(-900.0, -4.0), one.times_s, np.arange(40.0, 900.0)))
    power_w = np.concatenate((np.full(896, 300.0), one.power_w, np.full(860, 10.0)))

    assert fit(Readings(times_s, power_w, over_s=one.over_s), PHASES) == fit(one, PHASES)


def test_what_is_slower_than_the_burst_has_no_delay():
    one = readings()
    slow = np.convolve(one.power_w, np.full(80, 1 / 80))[: len(one.power_w)]

    found = fit(Readings(one.times_s[80:], slow[80:], over_s=0.1), PHASES)

    assert isinstance(found, Unknown)


@settings(max_examples=25)
@given(data=st.data())
def test_whatever_is_read_there_is_a_fit_without_nan_or_a_reason(data):
    count = data.draw(st.integers(0, 60))
    anything = st.floats(width=32) | st.floats(0, 300)
    times_s = data.draw(st.lists(st.floats(0, 30) | anything, min_size=count, max_size=count))
    power_w = data.draw(st.lists(anything, min_size=count, max_size=count))

    found = fit(Readings(np.array(times_s), np.array(power_w)), PHASES)

    if isinstance(found, Unknown):
        assert found.reason
    else:
        json.dumps(found.to_dict(), allow_nan=False)


# --- runs and their JSON -------------------------------------------------------------------------


def channel(name, kind="power", **more):
    unit = "w" if kind != "energy" else "j"
    data = {"name": name, "unit": unit, "kind": kind, "description": name, "poll_period_s": 0.1}
    return {**data, "domain": "dc", "resolution": 0.0, **more}


@pytest.fixture
def recorded(tmp_path):
    """Write the files of a run: three channels, one that follows."""
    rows = readings(0.25)
    header = "due_s,read_s,late_s,window_s,a_w,a_j,a_n,b_w,b_j,b_n,c_w,c_j,c_n"
    lines = [
        f"{t + 0.05:.3f},{t + 0.05:.3f},0,0.1,{p:.3f},0,1,58,0,1,,"
        for t, p in zip(rows.times_s, rows.power_w, strict=True)
    ]
    (tmp_path / "PACT.csv").write_text("\n".join([header, *(line + "," for line in lines), ""]))
    channels = [channel("a", "energy"), channel("b"), channel("c")]
    manifest = {"schema": 1, "status": "complete", "channels": channels, "command": ["x"]}
    (tmp_path / "PACT.json").write_text(json.dumps(manifest))
    marks = [f"{on},{off},burst,{i},7" for i, (on, off) in enumerate(PHASES)]
    text = "\n".join(["start_s,end_s,name,index,tid", *marks, "0,28,call,0,7", ""])
    (tmp_path / "PACT.regions.csv").write_text(text)
    return tmp_path / "PACT.csv"


def test_each_channel_of_a_run_has_a_fit_or_a_reason(recorded):
    found = {one.channel.name: one.found for one in sync(load(recorded))}

    assert found["a"].lag_s == pytest.approx(0.25, abs=0.01)
    assert found["b"].reason == "does not follow: the readings do not move"
    assert found["c"].reason == "was never read"


def test_a_run_without_a_burst_is_refused(recorded):
    regions = recorded.with_suffix(".regions.csv")
    regions.write_text("start_s,end_s,name,index,tid\n0,28,call,0,7\n")
    with pytest.raises(FileError, match="no burst is marked"):
        phases_of(load(recorded))
    regions.write_text("start_s,end_s,name,index,tid\nx,28,burst,0,7\n")
    with pytest.raises(FileError, match="no table of regions"):
        phases_of(load(recorded))


def test_the_command_fits_an_earlier_run(recorded, capsys):
    assert main.main(["sync", str(recorded)]) == 0
    shown = capsys.readouterr().out

    assert "6 on-phases in 23.7 s" in shown
    assert "does not follow" in shown
    assert "250 ms (245 to 255)" in shown


def test_what_the_command_writes_as_json_is_read_as_delays(recorded, capsys):
    assert main.main(["sync", str(recorded), "--json"]) == 0
    told = capsys.readouterr().out
    (recorded.parent / "lag.json").write_text(told)

    data = json.loads(told)
    assert (data["schema"], data["phases"], data["command"]) == (1, 6, ["x"])
    assert [one["fit"] is None for one in data["channels"]] == [False, True, True]
    delays_s = read_delays(recorded.parent / "lag.json")
    assert delays_s == {"a": data["channels"][0]["fit"]["delay_s"]}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "null", '{"schema": 1}', '{"schema": 1, "channels": [1]}', "\0"),
        '{"schema": 1, "channels": [{"channel": "a", "fit": {"delay_s": NaN}}]}',
    ],
)
def test_what_is_no_such_json_is_refused(tmp_path, text):
    file = tmp_path / "lag.json"
    file.write_text(text)

    with pytest.raises(FileError, match="is not what"):
        read_delays(file)


def test_a_newer_schema_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "lag.json").write_text('{"schema": 2, "channels": []}')
    with pytest.raises(FileError, match="of schema 2, not 1"):
        read_delays(tmp_path / "lag.json")
    with pytest.raises(FileError, match="cannot read"):
        read_delays(tmp_path / "none.json")


@settings(max_examples=20)
@given(text=st.text(max_size=80) | st.binary(max_size=80))
def test_any_table_of_regions_is_phases_or_an_error(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "PACT.csv").write_text("due_s,read_s,late_s,window_s\n")
    (folder / "PACT.json").write_text('{"schema": 1, "status": "complete", "channels": []}')
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    (folder / "PACT.regions.csv").write_bytes(b"start_s,end_s,name,index,tid\n" + data)

    with pytest.raises(PactError):
        phases_of(load(folder / "PACT.csv"))


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [["--seconds", "30"], ["--gpu"], ["--psu", "none"], ["--seed", "0"]]
)
def test_a_file_stands_without_the_options_of_a_burst(recorded, option, capsys):
    assert main.main(["sync", str(recorded), *option]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_without_scipy_the_command_says_what_to_install(recorded, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pactmeter.analysis.sync.channels", None)

    assert main.main(["sync", str(recorded)]) == 1
    assert "pip install 'pactmeter[report]'" in capsys.readouterr().err


def test_the_commands_are_there_without_numpy():
    code = "import sys, pactmeter.cli.sync; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_power_source_is_told_before_the_load_starts(sysfs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_play", None)

    assert main.main(["sync", "--psu", "none"]) == 1
    assert "no power source" in capsys.readouterr().err


def test_a_gpu_that_cannot_be_loaded_is_refused_with_the_reason(monkeypatch):
    closed = []
    card = SimpleNamespace(index=0, close=lambda: closed.append(True))
    monkeypatch.setattr(loads_module.gpu_card, "find", lambda _: ([card], []))
    why = "torch is not installed (pip install torch)"
    monkeypatch.setattr(loads_module.gpu_load, "choose", lambda *_: (None, why))

    wanted = pytest.raises(DeviceError, match="gpu0 cannot be loaded: torch is not installed")
    with wanted, gpu_loads():
        pass
    assert closed == [True]


def test_loads_run_while_they_are_told_to_and_end_with_their_block():
    with cpu_loads() as loads:
        pids = [one._process.pid for one in loads]
        command._switch(loads, on=True)
        time.sleep(0.3)
        command._switch(loads, on=False)
        time.sleep(0.1)
        before = [cpu_s(pid) for pid in pids]
        time.sleep(0.3)
        after = [cpu_s(pid) for pid in pids]

    assert min(before) > 0.02
    assert after == pytest.approx(before, abs=0.03)
    assert not any(alive(pid) for pid in pids)


def test_a_load_that_was_killed_is_told():
    with cpu_loads() as loads:
        loads[0]._process.kill()
        loads[0]._process.wait()
        with pytest.raises(PactError, match="was killed"):
            command._switch(loads, on=True)


def test_ctrl_c_ends_burst_and_loads(gauge, tmp_path):
    words = [sys.executable, "-m", "pactmeter", "sync", "--psu", "none", "--seconds", "60"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert "for 60 s" in line
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 130

    assert "Traceback" not in rest
    assert len(children) >= len(os.sched_getaffinity(0))
    until = time.monotonic() + 5
    while any(map(alive, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, children))


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
