"""What a study comes to: rows, worlds, remainder, model, and the original's table."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest
from scipy import stats

from pactmeter.cli.main import main
from pactmeter.errors import PactError
from pactmeter.model.channel import Domain
from pactmeter.report.html.page import study_page
from pactmeter.study.energy_stats import COLUMNS
from pactmeter.study.precision import needed_for_study
from pactmeter.study.report import report
from pactmeter.study.report_text import render
from pactmeter.study.results import load_study
from support.studies import Folder, defined, system_faults
from support.written import AC, DC, PACKAGE, gauge

DC_2 = gauge("psu1.dc_output", Domain.DC, resolution=2.0)
EMULATED = gauge("psu.dc_output", Domain.DC, resolution=2.0, synthetic="emulated")
MADE_UP = {"data": "made up"}
USES_W = (40.0, 46.0, 44.0, 41.0)
"""Of processors under each load: in no line with its faults."""


@pytest.fixture
def folder(tmp_path):
    def make(families, **settings):
        return Folder(tmp_path / "study", defined(families, **{"trials": 3, **settings}))

    return make


def reported(made):
    return report(load_study(made.path))


def test_a_row_is_the_mean_over_its_trials_with_its_interval(folder):
    made = folder({"cv": ["a"]})
    for trial, power_w in enumerate((98.0, 100.0, 102.0), 1):
        made.done(f"a_{trial}", {DC: power_w}, work={"steps": 600, "loss_last": 0.5})

    (row,) = reported(made).rows

    half_j = stats.t.ppf(0.975, 2) * 120 / math.sqrt(3)
    assert row.energy.value == pytest.approx(6000)
    assert (row.energy.low, row.energy.high) == pytest.approx((6000 - half_j, 6000 + half_j))
    assert row.u_j == pytest.approx(300, rel=0.05)
    assert (row.time.value, row.power.value) == pytest.approx((60, 100))
    assert row.per["steps"].value == pytest.approx(10)
    assert set(row.per) == {"steps"}
    assert row.channel == "psu.dc_output"


def test_one_trial_has_no_interval(folder):
    made = folder({"cv": ["a"]}).done("a_1", {DC: 100.0})

    found = reported(made)

    (row,) = found.rows
    assert (row.energy.low, row.energy.high, row.energy.n) == (None, None, 1)
    assert [len(found.left), found.total] == [2, 3]


def test_what_is_made_up_or_emulated_is_in_no_row_with_what_is_real(folder):
    made = folder({"cv": ["a"]}, trials=4)
    made.done("a_1", {DC: 100.0}, marks={"data": "real"}).done("a_2", {DC: 200.0}, marks=MADE_UP)
    made.done("a_3", {EMULATED: 300.0}, marks=MADE_UP)
    made.done("a_4", {DC: 400.0}, marks={**MADE_UP, "weights": "random"})

    found = reported(made)

    assert {row.world: row.energy.value for row in found.rows} == {
        (): 6000,
        ("made up data",): 12000,
        ("emulated devices", "made up data"): 18000,
        ("made up data", "random weights"): 24000,
    }
    assert any("several rows" in note for note in found.notes)


def test_marks_in_the_manifest_alone_make_a_world_too(folder):
    made = folder({"cv": ["a"]}, trials=2).done("a_1", {DC: 100.0})
    made.done("a_2", {DC: 100.0}, more={"config": {"measure_period_s": 1.0, "marks": MADE_UP}})

    assert [row.world for row in reported(made).rows] == [(), ("made up data",)]


def test_a_table_of_the_page_holds_one_world_and_each_row_its_marks(folder):
    made = folder({"cv": ["a", "b"], "stress": ["c"]}, trials=1)
    made.done("a_1", {DC: 100.0, PACKAGE: 40.0}, work={"steps": 1})
    made.done("b_1", {DC: 100.0, PACKAGE: 40.0}, work={"steps": 1}, marks=MADE_UP)
    made.done("c_1", {EMULATED: 100.0}, work={"steps": 1})

    page = study_page(reported(made).to_dict(), [])

    tables = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    rows = [re.findall(r"<tr>(.*?)</tr>", each, re.DOTALL) for each in tables]
    marked = {"a": (), "b": ("made up data",), "c": ("emulated devices",)}
    seen = set()
    for each in rows:
        worlds = set()
        for row in each:
            name = re.match(r'<th scope="row"><bdi>([abc])(_1)?</bdi>', row)
            if name:
                worlds.add(marked[name[1]])
                seen.add(name[1])
                assert tuple(re.findall(r'class="mark">([^<]*)<', row)) == marked[name[1]], row
        assert len(worlds) <= 1
    assert seen == {"a", "b", "c"}


def test_failed_trials_and_those_without_a_figure_are_told_and_not_counted(folder):
    made = folder({"cv": ["a"]}).done("a_1", {DC: 100.0}).failed("a_2", "exit code 3")
    made.done("a_3", {DC: [500.0] * 30 + [None] * 30})

    found = reported(made)

    assert found.failed == (("a_2", "exit code 3"),)
    assert [stem for stem, _ in found.left_out] == ["a_3"]
    assert "50.0 % of psu.dc_output is covered" in found.left_out[0][1]
    assert [row.energy.value for row in found.rows if row.energy] == [6000]
    assert "a_2: exit code 3" in render(found)


def test_what_processors_leave_of_the_supply_is_told_for_each_workload(folder):
    made = folder({"cv": ["a"], "nlp": ["b"]}, trials=2)
    for trial in (1, 2):
        made.done(f"a_{trial}", {DC: 100.0, PACKAGE: 40.0}).done(f"b_{trial}", {PACKAGE: 40.0})

    a, b = reported(made).rows

    (left,) = a.left
    assert (left.whole, left.parts) == ("psu.dc_output", ("cpu.package0",))
    assert (left.energy_j, left.mean_w, left.share_pct) == pytest.approx((3600, 60, 60))
    assert left.violated is False
    assert b.left == ()
    assert "no power supply" in b.left_why
    assert b.channel == "cpu"


def test_parts_above_the_whole_are_told(folder):
    made = folder({"cv": ["a"]}).done("a_1", {DC: 40.0, PACKAGE: 100.0})

    found = reported(made)

    assert found.rows[0].left[0].violated is True
    assert "PARTS EXCEED THE WHOLE" in render(found)


def test_the_machine_at_rest_is_taken_off_and_its_drift_is_told(folder):
    made = folder({"cv": ["a"]}, trials=1).rest("before", {DC: 50.0})
    made.done("a_1", {DC: 110.0}).rest("after", {DC: 54.0})

    found = reported(made)

    (row,) = found.rows
    before, after = found.rests
    assert row.energy.value == pytest.approx(6600)
    assert row.above_idle.value == pytest.approx(60 * (110 - 52))
    assert (before.mean_w, before.drift_pct) == (pytest.approx(50), None)
    assert after.drift_pct == pytest.approx(100 * 4 / 52)
    assert any("drifted" in note for note in after.notes)


def test_the_control_workload_gives_the_noise_floor(folder):
    made = folder({"cv": ["a", "c"]}, trials=2, control="c")
    for trial, power_w in enumerate((100.0, 101.0, 100.0, 102.0), 1):
        made.done(f"c_{trial}", {DC: power_w})

    found = reported(made)

    spread = abs(200 / 201 - 400 / 202) / math.sqrt(2)
    mean = (200 / 201 + 400 / 202) / 2
    half = stats.t.ppf(0.975, 1) * spread / math.sqrt(2)
    assert found.noise_pct == pytest.approx(mean + half)
    assert found.control == "c"


def test_two_supplies_at_rest_do_not_drift_to_one_and_one_is_not_taken_off_two(folder):
    made = folder({"cv": ["a"]}, trials=1).rest("before", {DC: 50.0, DC_2: 40.0})
    made.done("a_1", {DC: 110.0, DC_2: 90.0}).rest("after", {DC: 50.0, DC_2: [None] * 60})

    found = reported(made)

    before, after = found.rests
    assert (before.channel, before.mean_w) == ("psu*.dc_output", pytest.approx(90))
    assert (after.mean_w, after.drift_pct) == (None, None)
    assert after.notes == ("psu1.dc_output gave no reading",)
    (row,) = found.rows
    assert row.above_idle.value == pytest.approx(60 * (200 - 90))


def test_a_baseline_of_one_supply_gives_no_energy_of_two_above_idle(folder):
    made = folder({"cv": ["a"]}, trials=1).rest("before", {DC: 50.0})
    made.done("a_1", {DC: 110.0, DC_2: 90.0})

    (row,) = reported(made).rows

    assert row.above_idle is None


def test_a_drift_that_is_the_same_in_each_block_is_no_resolution_of_nothing(folder):
    made = folder({"cv": ["a", "c"]}, trials=2, control="c")
    for trial, power_w in enumerate((100.0, 105.0, 100.0, 105.0), 1):
        made.done(f"c_{trial}", {DC: power_w})

    assert reported(made).noise_pct == pytest.approx(1000 / 205)


def test_a_trial_with_gaps_is_in_no_row_and_told_as_what_it_is(folder):
    made = folder({"cv": ["a"]}, trials=2).done("a_1", {DC: 100.0})
    made.done("a_2", {DC: [100.0] * 30 + [None] * 30})

    found = reported(made)

    (row,) = found.rows
    assert row.trials == ("a_1",)
    (left_out,) = found.left_out
    assert left_out == ("a_2", "50.0 % of psu.dc_output is covered, 95 % are wanted")
    assert "2 of 2 trials done" in render(found)
    assert "not measured" not in render(found)
    assert "not alike" not in render(found)


def test_a_trial_in_which_a_supply_fell_silent_is_left_out_by_name(folder):
    made = folder({"cv": ["a"]}, trials=2)
    made.done("a_1", {DC: 100.0, DC_2: 80.0}).done("a_2", {DC: 100.0, DC_2: [None] * 60})

    found = reported(made)

    assert [row.trials for row in found.rows] == [("a_1",)]
    assert found.left_out == (("a_2", "psu1.dc_output gave no reading"),)
    table = {row["TestRun"]: row["actualEnergy(kWh)"] for row in found.stats.rows}
    assert table["a_1"] == pytest.approx(60 * 180 / 0.92 / 3.6e6)
    assert table["a_2"] is None
    assert "psu1.dc_output" in needed_for_study(load_study(made.path), 5.0).left_out[0]


def test_a_supply_with_gaps_counts_with_what_is_known_of_it(folder):
    made = folder({"cv": ["a"]}, trials=1)
    made.done("a_1", {DC: 500.0, DC_2: [20.0] * 48 + [None] * 12})

    (row,) = reported(made).stats.rows

    known_j = row["actualEnergy(kWh)"] * 0.92 * 3.6e6
    assert known_j == pytest.approx(60 * 500 + 48 * 20)


def test_a_plan_keeps_apart_what_a_report_keeps_apart(folder):
    made = folder({"cv": ["a"]}, trials=4)
    for trial, data in enumerate(("real", "real", "made up", "made up"), 1):
        made.done(f"a_{trial}", {DC: 100.0 + 10 * trial}, marks={"data": data})

    needs = needed_for_study(load_study(made.path), 5.0).needs

    assert [need.name for need in needs] == ["a (real)", "a (made up data)"]
    assert [need.n for need in needs] == [2, 2]


def loaded(made, stem, each_s, *, uses_w=40.0, **more):
    """Put in a trial whose supply gives 20 W and 2 mW a fault a second beyond the processor."""
    rates = [each_s + 50 * (row % 5) for row in range(60)]
    dc = [uses_w + 20 + 0.002 * rate for rate in rates]
    made.done(stem, {DC: dc, PACKAGE: uses_w}, more=system_faults(rates), **more)


def studied(folder):
    made = folder({"stress": ["cpu_1", "io_1", "vm_1", "hdd_1"], "cv": ["a"]}, trials=2)
    for place, name in enumerate(("cpu_1", "io_1", "vm_1", "hdd_1")):
        for trial in (1, 2):
            loaded(
                made, f"{name}_{trial}", 2000.0 * (place + 1) + 300 * trial, uses_w=USES_W[place]
            )
    for trial in (1, 2):
        loaded(made, f"a_{trial}", 5000.0 + trial, uses_w=42.0)
    return made


def test_a_model_of_the_stress_trials_tells_what_the_others_used(folder):
    found = reported(studied(folder))

    assert found.model.window_s == 20
    assert set(found.model.models) == {"nonnegative", "linear", "original"}
    linear = found.model.models["linear"]
    assert {run["workload"] for run in linear["runs"]} == {"cpu_1", "io_1", "vm_1", "hdd_1"}
    tests = found.model.tests["linear"]
    assert [one.trial for one in tests] == [one.stem for one in load_order(found, "a")]
    assert [one.off_pct for one in tests] == pytest.approx([0, 0], abs=0.1)
    assert "energy off by" in render(found)


def load_order(found, workload):
    trials = load_study(found.folder).finished
    return [one.trial for one in trials if one.trial.workload == workload]


def test_the_table_has_the_originals_columns_and_its_fixed_figures(folder):
    found = reported(studied(folder))

    rows = {row["TestRun"]: row for row in found.stats.rows}
    energies = {row.workload: row.energy.value for row in found.rows}
    kwh = rows["a_1"]["actualEnergy(kWh)"]
    assert tuple(rows["a_1"]) == COLUMNS
    assert kwh == pytest.approx(energies["a"] / 0.92 / 3.6e6, rel=1e-3)
    assert rows["a_1"]["actualCC(gCO₂eq)"] == pytest.approx(646 * kwh)
    assert rows["a_1"]["predEnergyLinear(kWh)"] == pytest.approx(kwh, rel=1e-3)
    assert rows["a_1"]["predEnergyPieceWise(kWh)"] == pytest.approx(kwh, rel=0.1)
    # a model says nothing of what it was fitted on
    assert rows["cpu_1_1"]["predEnergyLinear(kWh)"] is None
    assert rows["cpu_1_1"]["actualEnergy(kWh)"] > 0


@pytest.mark.parametrize(
    ("families", "plant", "why"),
    [
        ({"cv": ["a"]}, lambda made: loaded(made, "a_1", 1000.0), "no trial of the family"),
        ({"stress": ["a"]}, lambda made: made.done("a_1", {DC: 60.0}), "no event was asked for"),
        (
            {"stress": ["a"]},
            lambda made: made.done("a_1", {PACKAGE: 60.0}, more=system_faults([5] * 60)),
            "no DC output power",
        ),
        ({"stress": ["a"]}, lambda made: loaded(made, "a_1", 1000.0), "at least 3"),
    ],
)
def test_where_there_is_no_model_the_reason_is_told(folder, families, plant, why):
    made = folder(families)
    plant(made)

    found = reported(made)

    assert found.model.models == {}
    assert any(why in reason for reason in found.model.refused)
    assert why in render(found)
    assert why in study_page(found.to_dict(), [])
    assert [row["predEnergyLinear(kWh)"] for row in found.stats.rows] == [None]


def test_without_a_measured_source_times_and_work_are_told(folder):
    made = folder({"cv": ["a"]}).done("a_1", {AC: 50.0}, work={"steps": 5})

    found = reported(made)

    (row,) = found.rows
    assert (row.energy, row.per, row.amounts) == (None, {}, {"steps": 5})
    assert row.time.value == pytest.approx(60)
    assert "not measured" in render(found)
    assert "no source was measured" in study_page(found.to_dict(), [])
    assert [row["actualEnergy(kWh)"] for row in found.stats.rows] == [None]


def test_a_study_without_a_finished_trial_has_no_report(folder):
    made = folder({"cv": ["a"]}).failed("a_1", "exit code 1")

    with pytest.raises(PactError, match=r"no trial .* is done .*a_1: exit code 1"):
        reported(made)


def test_the_command_writes_page_and_table_and_nothing_over_them(folder, tmp_path, capsys):
    made = studied(folder)
    page, table = tmp_path / "p.html", made.path / "EnergyStats.csv"
    words = ["study", "report", str(made.path), "--html", str(page), "--csv"]

    assert main(words) == 0
    assert "page " in capsys.readouterr().out
    assert "Power model" in page.read_text()
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 10
    told = json.loads((made.path / "EnergyStats.csv.json").read_text())
    assert told["trials"]["a_1"] == {
        "workload": "a",
        "family": "cv",
        "marks": [],
        "u_dc_pct": pytest.approx(5, rel=0.2),
    }
    assert main(words) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_not_even_force_writes_over_the_study(folder, capsys):
    made = folder({"cv": ["a"]}).done("a_1", {DC: 100.0})
    before = {file.name: file.read_bytes() for file in made.path.iterdir() if file.is_file()}

    for name in ("plan.json", "journal.jsonl", "a_1_PACT.csv", "a_1_PACT.json", "a_1_trial.json"):
        for option in ("--html", "--csv"):
            words = ["study", "report", str(made.path), option, str(made.path / name), "--force"]
            assert main(words) == 1

    assert "is what this is made from" in capsys.readouterr().err
    assert {f.name: f.read_bytes() for f in made.path.iterdir() if f.is_file()} == before


def test_the_json_is_the_whole_report(folder, capsys):
    made = studied(folder)

    assert main(["study", "report", str(made.path), "--json"]) == 0

    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["schema"] == 1
    assert {row["workload"] for row in told["rows"]} == {"cpu_1", "io_1", "vm_1", "hdd_1", "a"}
    assert told["model"]["tests"]["linear"][0]["workload"] == "a"
