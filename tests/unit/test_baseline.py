"""Energy above idle: what was put in above the machine's rest comes out, or no figure at all."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.baseline import (
    Baseline,
    above_idle,
    baseline,
    drift,
    fitting,
    rest_of,
    subtract,
)
from pactmeter.analysis.energy import energies
from pactmeter.analysis.run import load
from pactmeter.bench.machine import Machine, parse_psu
from pactmeter.clock import ClockPair
from pactmeter.errors import ConfigError, FileError
from pactmeter.model.channel import Origin
from pactmeter.model.energy import BudgetItem, Energy
from pactmeter.report.baseline import render, render_net
from pactmeter.sampling.record import about_host
from support.devices import benched
from support.virtual import VirtualRun

IDLE_W, BUSY_W = 90.0, 310.0


def measured(load_spec, duration_s, **about):
    """Return a run of an emulated supply, and its true joules."""
    machine = Machine([parse_psu("hx1500i,tau=0.2")], load=load_spec)
    with benched(machine) as bench:
        run = VirtualRun(bench.devices, bench.clock)
        start_s = bench.clock()
        run.call(duration_s)
    recorded = run.recorded()
    recorded.manifest.update(about_host(ClockPair.now()), **about)
    true_j = machine.true_energy(start_s, start_s + duration_s)["psu.dc_output"]
    return recorded, true_j


def energy(total_j, seconds, budget=(), synthetic=None):
    return Energy(
        channel="psu.dc_output",
        label="DC output",
        domain=None,
        origin=Origin.MEASURED,
        synthetic=synthetic,
        energy_j=total_j,
        covered_s=seconds,
        gap_s=0.0,
        gaps=0,
        polls=10,
        budget=tuple(budget),
    )


@pytest.fixture(scope="module")
def idle():
    return measured(f"steady:{IDLE_W}", 60.0, baseline={"busy_pct": 1.0, "gpu_context": "none"})


@pytest.fixture(scope="module")
def busy():
    return measured(f"steady:{BUSY_W}", 30.0)


def test_the_joules_above_idle_come_out(idle, busy):
    (rest, rest_j), (run, run_j) = idle, busy
    true_j = run_j - rest_j / 60.0 * 30.0
    found = baseline(rest)

    total = next(e for e in energies(run) if e.channel == "psu.dc_output")
    net = above_idle(total, [found])

    assert net.energy.energy_j == pytest.approx(true_j, rel=0.01)
    assert abs(net.energy.energy_j - true_j) < net.energy.u_j < total.u_j
    assert net.idle_w == pytest.approx(rest_j / 60.0, rel=0.01)
    assert {item.name for item in net.energy.budget} >= {"sensor", "sampling", "edges"}


def test_a_run_that_is_no_baseline_is_refused_with_what_to_do(busy):
    with pytest.raises(FileError, match="no baseline") as told:
        baseline(busy[0])
    assert "pactmeter baseline" in told.value.fix


def test_a_baseline_of_another_machine_is_refused(idle, busy):
    other = {**idle[0].manifest, "host": {**idle[0].manifest["host"], "name": "elsewhere"}}
    rest = dataclasses.replace(idle[0], manifest=other)

    with pytest.raises(ConfigError, match="elsewhere"):
        fitting(busy[0], baseline(rest), rest)


def test_a_baseline_of_emulated_devices_does_not_serve_real_ones(idle, busy):
    channels = [{**c, "synthetic": None} for c in busy[0].manifest["channels"]]
    real = dataclasses.replace(busy[0], manifest={**busy[0].manifest, "channels": channels})

    with pytest.raises(ConfigError, match="real devices"):
        fitting(real, baseline(idle[0]), idle[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clock": {"start": {"utc_s": 1e9}}}, "old"),
        ({"host": {"boot_id": "another"}}, "started anew"),
        ({"host": {"kernel": "1.0"}}, "kernel was another"),
    ],
)
def test_what_has_changed_since_is_told(idle, busy, change, said):
    manifest = dict(idle[0].manifest)
    for key, values in change.items():
        manifest[key] = {**manifest[key], **values}
    rest = dataclasses.replace(idle[0], manifest=manifest)

    assert any(said in note for note in fitting(busy[0], baseline(rest), rest))


def test_a_machine_at_work_is_no_idle_one_and_that_is_said(idle):
    about = {**idle[0].manifest, "baseline": {"busy_pct": 40.0, "gpu_context": "none"}}

    found = baseline(dataclasses.replace(idle[0], manifest=about))

    assert any("not idle" in note and "40 %" in note for note in found.notes)
    assert "40.0 % busy" in render(found)


def test_two_baselines_that_differ_widen_u_and_are_told_as_drift(idle):
    found = baseline(idle[0])
    more = {n: dataclasses.replace(e, energy_j=e.energy_j * 1.1) for n, e in found.idle.items()}
    after = dataclasses.replace(found, idle=more)
    total = energy(10_000.0, 50.0, [BudgetItem("sensor", 250.0, "Type B", is_systematic=True)])

    one, two = above_idle(total, [found]), above_idle(total, [found, after])

    assert two.u_idle_w > one.u_idle_w
    assert drift(found, after)["psu.dc_output"] == pytest.approx(0.0952, abs=1e-3)


def test_a_channel_without_a_baseline_has_no_energy_above_idle(idle):
    total = dataclasses.replace(energy(10.0, 1.0), channel="gpu0")

    assert above_idle(total, [baseline(idle[0])]) is None
    assert "none" in render_net({"net": [], "notes": []})


@given(
    total_w=st.floats(1, 2000),
    idle_w=st.floats(0.1, 500),
    seconds=st.floats(1, 1e6),
    gain=st.floats(0.9, 1.1),
)
def test_a_gain_that_run_and_baseline_share_stays_inside_its_share_of_u(
    total_w, idle_w, seconds, gain
):
    """A sensor that is wrong by 10 % of what it reads is wrong by 10 % of the difference."""

    def read(power_w, seconds):
        """What the sensor makes of a power, U being 10 % of it."""
        joules = gain * power_w * seconds
        own = BudgetItem("sensor", 0.05 * joules, "Type B", is_systematic=True)
        return energy(joules, seconds, [own])

    rest = Baseline("idle.csv", 0.0, 60.0, 0.0, "none", {"psu.dc_output": read(idle_w, 60.0)}, ())

    net = above_idle(read(total_w, seconds), [rest]).energy

    true_j = (total_w - idle_w) * seconds
    assert abs(net.energy_j - true_j) <= net.u_j / gain * (1 + 1e-9) + 1e-6


def test_what_is_no_run_at_all_is_refused(tmp_path):
    (tmp_path / "PACT.csv").write_text("a,b\n1,2\n")
    (tmp_path / "PACT.json").write_text(json.dumps({"schema": 1, "baseline": {}}))

    with pytest.raises(FileError):
        baseline(load(tmp_path / "PACT.csv"))


def on_disk(run, folder, name):
    """Write a run as its files."""
    (folder / f"{name}.json").write_text(
        json.dumps({"schema": 1, "status": "complete"} | run.manifest)
    )
    rows = zip(*run.columns.values(), strict=True)
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    (folder / f"{name}.csv").write_text("\n".join([",".join(run.columns), *lines]) + "\n")
    return str(folder / f"{name}.csv")


def test_a_run_that_drew_less_than_the_baseline_is_told(idle, busy, tmp_path):
    swapped = {"baseline": {"busy_pct": 0.0, "gpu_context": "none"}}
    rest = dataclasses.replace(busy[0], manifest={**busy[0].manifest, **swapped})
    file = on_disk(rest, tmp_path, "rest")

    told = subtract(idle[0], *rest_of(idle[0], [file]))

    assert any("it was no rest" in note for note in told["notes"])
    assert told["net"][0]["energy_j"] < 0


def test_a_baseline_named_twice_or_a_third_one_is_refused(idle, tmp_path):
    file = on_disk(idle[0], tmp_path, "idle")

    with pytest.raises(ConfigError, match="twice"):
        rest_of(idle[0], [file, file])
    with pytest.raises(ConfigError, match="3 baselines"):
        rest_of(idle[0], [file, file, file])
