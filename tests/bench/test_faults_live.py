"""Faults while a program is measured in real time on the emulated machine, as by a user.

What the run itself reports as covered is what its energy is compared over, so that a busy machine
costs coverage and never a wrong figure.
"""

from __future__ import annotations

import json

import pytest

from pactmeter.bench import truth as files
from support import bench
from support.judge import COLUMNS, TITLE, covered_windows

LATE_S = 0.5
"""How late a poll may be on a busy machine."""

# slow and smooth: what ten polls a second make of it is next to exact
LOADS = ("cpu=ramp:40-140@0-15", "dram=steady:6", "rest=steady:45")
GPU_LOADS = ("gpu=ramp:60-260@0-15",)

PROGRAM = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from pactmeter import PACT
from pactmeter.bench.control import tell

def order(text):
    head, _, times = text.partition("@")
    start, plus, more = times.partition("+")
    tell({{"fault": f"{{head}}@{{tell({{}})['t_s'] + float(start):.3f}}{{plus}}{{more}}"}})

@PACT(measure_period=0.5, {options})
def work():
    for text in {faults}:
        order(text)
    begin_s = time.monotonic()
    {body}
    time.sleep(max(0.0, begin_s + {call_s} - time.monotonic()))
    return 42, time.monotonic() - begin_s

begin_s = time.monotonic()
value, slept_s = work()
took_s = time.monotonic() - begin_s
{after}
print(json.dumps([value, slept_s, took_s]))
"""


class Measured:
    """A run with faults, its report and the truth; of a value that came through unchanged."""

    def __init__(self, folder, machine, *faults, call_s=4.0, options="", body="pass", after=""):
        bench.require()
        code = PROGRAM.format(
            faults=repr(faults), call_s=call_s, options=options, body=body, after=after
        )
        loads = LOADS + (GPU_LOADS if "--gpu" in machine else ())
        words = [word for load in loads for word in ("--load", load)]
        self.done = bench.bench_program(folder, *machine, *words, code=code)
        assert self.done.code == 0, self.done.err
        *self.said, last = self.done.out.splitlines()
        value, self.slept_s, self.took_s = json.loads(last)
        assert value == 42
        assert self.done.truth["psu_writes"] == []
        self.read("PACT.csv")

    def read(self, name):
        """Take a run's report and manifest."""
        self.name = name
        self.report = self.done.report(name)
        assert self.report["status"] == "complete"
        self.sources = {source["channel"]: source for source in self.report["sources"]}
        path = (self.done.folder / name).with_suffix(".json")
        self.manifest = json.loads(path.read_text())

    def gaps(self, channel):
        return [gap for gap in self.manifest["gaps"] if channel in gap["channels"]]

    def judge(
        self,
        channel,
        uncovered_s,
        reason=None,
        *,
        slack_s=LATE_S,
    ):
        """Check coverage, energy and reason of a channel; return it as a row of the table."""
        source, gaps = self.sources[channel], self.gaps(channel)
        duration_s = self.report["duration_s"]
        gap_s = duration_s * (1.0 - source["coverage"])
        assert -LATE_S / 2 <= gap_s - uncovered_s <= slack_s, (gap_s, gaps)
        if reason:
            assert any(reason in gap["reason"] for gap in gaps), gaps
        (start_s, end_s), *_ = files.windows_of(self.done.folder / self.name)
        if not uncovered_s:  # a counter bridges its gaps
            gaps = []
        elif channel.startswith("cpu"):
            gaps = [gap for gap in gaps if reason in gap["reason"]]
        windows = covered_windows(gaps, end_s - start_s)
        spans = [(start_s + a, start_s + b) for a, b in windows]
        true_j = files.within(self.done.truth, spans)[channel]
        whole_j = files.within(self.done.truth, [(start_s, end_s)])[channel]
        # what is uncovered without a gap of its own, at most, and a poll at each end of a gap
        unlisted_s = max(0.0, gap_s - sum(g["end_s"] - g["start_s"] for g in gaps))
        bound_j = 0.02 * true_j + (0.1 * (len(gaps) + 1) + unlisted_s) * whole_j / duration_s
        assert source["energy_j"] == pytest.approx(true_j, abs=bound_j)
        error_pct = 100 * (source["energy_j"] / true_j - 1)
        return f"{uncovered_s:.2f}", f"{gap_s:.2f}", f"{error_pct:+.2f}"

    def polls(self, channel):
        """Return how often a channel was read in each row."""
        from pactmeter.analysis.run import load

        return [n or 0 for n in load(self.done.folder / self.name).columns[f"{channel}_n"]]


@pytest.fixture
def noted(figures):
    """Note rows of the table."""
    return lambda device, fault, row: figures(TITLE, *COLUMNS).add(f"{device}, live", fault, *row)


def test_every_device_fails_at_once_and_comes_back(tmp_path, noted):
    machine = ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2", "--rapl", "2x")
    run = Measured(
        tmp_path,
        (*machine, "--gpu", "a100,h100"),
        *("psu0:unplug@1+1", "psu1:drop@1.2+0.8", "rapl:vanish@1+1", "gpu0:lost@1+1"),
        "gpu1:hang=1.2*1@1",
    )
    noted("HX1500i, USB", "unplug+1", run.judge("psu.dc_output", 1.0, "hidraw", slack_s=1.7))
    noted("E850, USB", "drop+0.8", run.judge("psu1.dc_output", 0.8, "no valid reply", slack_s=0.8))
    for channel in ("cpu.package0", "cpu.dram1"):
        noted("RAPL", "vanish+1", run.judge(channel, 0.0, "cannot read"))
    noted("A100", "lost+1", run.judge("gpu0", 0.0, "GpuIsLost"))
    noted("H100", "hang 1.2 s", run.judge("gpu1", 0.0))
    assert sum(run.polls("psu.dc_output")[-2:]) > 0  # all are back before the end


def test_a_supply_that_never_answers_is_named_and_the_sum_is_not_called_whole(tmp_path, noted):
    machine = ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2", "--rapl", "1x")
    run = Measured(tmp_path, (*machine, "--fault", "psu1:drop@0+99"))

    noted("HX1500i, USB", "the other supply is silent", run.judge("psu.dc_output", 0.0))
    assert run.sources["psu1.dc_output"]["energy_j"] is None
    first = run.report["headline"]
    assert first["energy_j"] == run.sources["psu.dc_output"]["energy_j"]
    assert (first["u_j"], first["mean_w"]) == (None, None)
    assert first["coverage"] == pytest.approx(0.5, abs=0.05)
    assert first["label"].endswith("2 devices (psu1.dc_output gave no reading)")
    assert run.report["verdict"]["level"] == "none"


@pytest.mark.parametrize("held_s", [1.5, 99])
def test_a_supply_that_cannot_be_opened_at_the_start_is_tried_again(tmp_path, held_s, noted):
    machine = ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2", "--rapl", "1x")
    # from before the call until some time into it: the machine's clock starts with the machine
    body = f"""
    if {held_s} < 90:
        time.sleep({held_s})
        tell({{"clear": {{"device": "psu1"}}}})"""
    run = Measured(tmp_path, (*machine, "--fault", "psu1:open=EIO@0+99"), body=body)

    assert run.judge("psu.dc_output", 0.0)
    (gap,) = run.gaps("psu1.dc_output")
    assert "cannot connect to NZXT E850" in gap["reason"]
    first = run.report["headline"]
    if held_s < 90:
        row = run.judge("psu1.dc_output", held_s, "open failed", slack_s=1.7)
        noted("E850, USB", f"open=EIO+{held_s}, from before the start", row)
        assert first["label"].endswith("2 devices")
    else:
        assert first["label"].endswith("2 devices (psu1.dc_output gave no reading)")
    refused = [f for f in run.manifest["findings"] if f["source"] == "psu1" and not f["found"]]
    assert "open failed" in refused[0]["detail"]


def test_the_kernels_driver_and_its_files_come_and_go(tmp_path, noted):
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1,hwmon", "--psu", "e850,serial=B2", "--rapl", "1x"),
        *("psu0:renumber@0.7+0.8", "psu0:eio@2.2+0.8", "psu1:late*2@1", "psu1:eio@2.5+0.5"),
        *("rapl:eio@1+1", "cpu.package0:back@2.7"),
    )
    row = run.judge("psu.dc_output", 1.0, "Input/output error", slack_s=1.0)
    noted("HX1500i, hwmon", "renumber+0.8 eio+0.8", row)
    assert any("No such device" in gap["reason"] for gap in run.gaps("psu.dc_output"))
    row = run.judge("psu1.dc_output", 1.0, "cannot read", slack_s=1.2)
    noted("E850, USB", "late*2 eio+0.5", row)
    noted("RAPL", "eio+1 back", run.judge("cpu.package0", 0.2, "fell from"))


def test_another_programs_traffic_costs_nothing_and_swaps_no_rails(tmp_path, noted):
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2"),
        *("psu0:chatter=100@0+9", "psu1:chatter=100@0+9"),
        options="rails=True",
        call_s=3.0,
    )
    for name, prefix in (("HX1500i, USB", "psu"), ("E850, USB", "psu1")):
        noted(name, "chatter=100", run.judge(f"{prefix}.dc_output", 0.0))
    rails_are_right(run)


def rails_are_right(run):
    """Check that the rails of both supplies have their shares."""
    for prefix, shares in {
        "psu": {"12v": 0.93, "5v": 0.05, "3v3": 0.02},
        "psu1": {
            "12v_peripherals": 0.10,
            "12v_cpu": 0.40,
            "12v_board": 0.43,
            "5v": 0.05,
            "3v3": 0.02,
        },
    }.items():
        total_w = run.sources[f"{prefix}.dc_output"]["mean_w"]
        for rail, share in shares.items():
            rail_w = run.sources[f"{prefix}.rail.{rail}"]["mean_w"]
            assert rail_w == pytest.approx(share * total_w, rel=0.03, abs=0.6)


CLIENT = """
import logging, sys, time, types
sys.modules.setdefault("smbus", types.ModuleType("smbus")).SMBus = None
logging.disable()
from liquidctl.driver.corsair_hid_psu import CorsairHidPsu
from liquidctl.driver.nzxt_epsu import NzxtEPsu
units = [*CorsairHidPsu.find_supported_devices(), *NzxtEPsu.find_supported_devices()]
assert len(units) == 2
for unit in units:
    unit.connect()
print("ready", flush=True)
good = bad = 0
until = time.monotonic() + {client_s}
while time.monotonic() < until:
    for unit in units:
        try:
            unit.get_status()
            good += 1
        except Exception:
            bad += 1
print(good, bad, flush=True)
"""


def test_liquidctl_beside_us_makes_no_value_wrong(tmp_path, noted):
    (tmp_path / "client.py").write_text(CLIENT.format(client_s=2.5))
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2"),
        options="rails=True",
        body="client = subprocess.Popen([sys.executable, 'client.py'], stdout=subprocess.PIPE,"
        " text=True); client.stdout.readline(); globals()['client'] = client",
        after="print(client.communicate()[0])",
        call_s=3.5,
    )
    good, bad = map(int, run.said[0].split())
    assert good + bad > 10
    for name, prefix in (("HX1500i, USB", "psu"), ("E850, USB", "psu1")):
        row = run.judge(f"{prefix}.dc_output", 0.0, slack_s=1.0)
        noted(name, f"liquidctl status ({good} good, {bad} bad)", row)
    rails_are_right(run)


OTHER = """
import time
from pactmeter import PACT

@PACT(measure_period=0.5, tracker_file_name="other.csv")
def work():
    time.sleep(2.5)

work()
"""


def test_two_runs_share_the_supplies(tmp_path, noted):
    (tmp_path / "other.py").write_text(OTHER)
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1", "--psu", "e850,serial=B2", "--rapl", "1x"),
        body="globals()['other'] = subprocess.Popen([sys.executable, 'other.py'])",
        after="assert other.wait() == 0",
        call_s=4.0,
    )
    for name in ("PACT.csv", "other.csv"):
        run.read(name)
        for channel in ("psu.dc_output", "psu1.dc_output", "cpu.package0"):
            row = run.judge(channel, 0.0)
            noted(channel, f"a second run ({name})", row)


def test_a_sampler_that_got_no_time_says_so(tmp_path, noted):
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1", "--rapl", "1x", "--gpu", "a100"),
        body="time.sleep(1.0); pid = json.loads(Path('PACT.json').read_text())['sampler']['pid']; "
        "os.kill(pid, signal.SIGSTOP); time.sleep(3.0); os.kill(pid, signal.SIGCONT)",
        call_s=5.0,
    )
    row = run.judge("psu.dc_output", 2.85, slack_s=0.8)
    (gap,) = run.gaps("psu.dc_output")
    # it was stopped between two polls, while it waited for a reply, or when it had one
    assert any(part in gap["reason"] for part in ("was not asked", "no valid reply", "took 3"))
    noted("HX1500i, USB", "sampler stopped for 3 s", row)
    for channel in ("cpu.package0", "gpu0"):
        noted(channel, "sampler stopped for 3 s", run.judge(channel, 0.0))


def test_a_gpu_that_hangs_keeps_nobody_waiting(tmp_path, noted):
    run = Measured(
        tmp_path,
        ("--psu", "hx1500i,serial=A1", "--rapl", "1x", "--gpu", "p100,a100"),
        "gpu0:hang=5*1@1",
        call_s=3.5,
    )
    assert run.took_s - run.slept_s < 1.0  # the call's end waits for no device
    noted("P100", "hang 5 s", run.judge("gpu0", 2.5))
    (gap,) = run.gaps("gpu0")
    assert any(part in gap["reason"] for part in ("gave no answer", "took 5.0 s to answer"))
    for channel in ("psu.dc_output", "cpu.package0", "gpu1"):
        run.judge(channel, 0.0)
    assert min(run.polls("cpu.package0")[:-1]) >= 2  # five a row, on a machine with time
