"""A power model from counters: what it is fitted on, what it says, what it refuses."""

import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.outliers_influence import variance_inflation_factor

from pactmeter.analysis.powermodel.checks import additivity, condition_number, eliminate, vif
from pactmeter.analysis.powermodel.fit import mean
from pactmeter.analysis.powermodel.groups import group_of, parse_group
from pactmeter.analysis.powermodel.original import principal_features
from pactmeter.analysis.powermodel.table import Table
from pactmeter.analysis.powermodel.validate import errors, half_width_w, validate
from pactmeter.analysis.powermodel.windows import means, windows
from pactmeter.analysis.run import load
from pactmeter.cli.main import main
from pactmeter.errors import ConfigError, PactError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.model.power_model import Feature, Formula, Piece
from pactmeter.units import Unit

LINEAR = ("--preset", "linear")
WORKLOADS = ("cpu_a", "cpu_b", "io_a", "io_b", "gpu_a", "gpu_b")
CHANNELS = (
    Channel("psu.dc_output", Unit.WATT, Kind.POWER, "psu", Domain.DC, accuracy_pct=5.0),
    Channel("cpu.package0", Unit.JOULE, Kind.ENERGY, "cpu", Domain.PACKAGE),
    Channel("gpu0", Unit.JOULE, Kind.ENERGY, "gpu", Domain.GPU),
)
ORIGINAL_HEADER = (
    "index,start_time,duration(s),Total_PSU_Power(W),Nvidia_SMI_Power(W),Intel_RAPL_Power(W),"
    "GPU_Util_SM(%),GPU_Util_Memory(%),migrations,faults,cache-misses,cycles"
)


def event(column, scope="system", **more):
    return {
        "column": column,
        "scope": scope,
        "status": "ok",
        "reason": None,
        "group": "0",
        "full_name": column,
        **more,
    }


def rows_of(place, rows, seed=0):
    """Return powers and counts a second: the remainder is 40 W and 2e-6 W a miss a second."""
    rng = np.random.default_rng((seed, place))
    misses = (1 + place) * 2e6 * rng.uniform(0.8, 1.2, rows)
    cycles = 1e9 * rng.uniform(0.5, 3) * rng.uniform(0.9, 1.1, rows)
    cpu_w, gpu_w = 20 + cycles / 5e7, rng.uniform(20, 200) * rng.uniform(0.95, 1.05, rows)
    dc_w = 40 + 2e-6 * misses + cpu_w + gpu_w + rng.normal(0, 0.3, rows)
    return {"dc": dc_w, "cpu": cpu_w, "gpu": gpu_w, "cycles": cycles, "cache-misses": misses}


def write_run(
    folder,
    name,
    place=0,
    *,
    rows=60,
    events=None,
    mark=None,
    host="one",
    change=None,
    channels=CHANNELS,
    start_s=None,
):
    """Write a run of some workload; return its path."""
    data = rows_of(place, rows)
    if change:
        data |= change(data)
    events = [event("cycles"), event("cache-misses")] if events is None else events
    table = {
        "due_s": np.arange(1.0, rows + 1),
        "read_s": np.arange(1.0, rows + 1),
        "late_s": np.zeros(rows),
        "window_s": np.ones(rows),
    }
    for channel, key in zip(CHANNELS, ("dc", "cpu", "gpu"), strict=True):
        if channel in channels:
            cells = (data[key], np.cumsum(data[key]), np.full(rows, 10))
            table |= dict(zip(channel.columns, cells, strict=True))
    if "warm" in data:
        table["psu.temp_c"] = data["warm"]
    for one in events:
        column = one["column"]
        table[column] = data.get(column.removeprefix("systemwide:"), np.arange(rows))
    lines = [",".join(table)]
    lines += [",".join(map(str, cells)) for cells in zip(*table.values(), strict=True)]
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n")
    start_s = 1e9 + 1000.0 * len(list(folder.glob("*.json"))) if start_s is None else start_s
    manifest = {
        "schema": 1,
        "status": "complete",
        "reason": None,
        "calls": 1,
        "channels": [{**c.to_dict(), "synthetic": mark} for c in channels],
        "events": events,
        "running_shares": {"0": 0.5},
        "gaps": [],
        "host": {"name": host, "machine": "x86_64", "cpus": 8},
        "clock": {"start": {"monotonic_s": 0.0, "utc_s": start_s}},
    }
    path.with_suffix(".json").write_text(json.dumps(manifest))
    return str(path)


@pytest.fixture
def write(tmp_path):
    return functools.partial(write_run, tmp_path)


@pytest.fixture
def runs(write):
    return [write(name, place) for place, name in enumerate(WORKLOADS)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Fit one model for all tests that only read it."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [write_run(folder, name, place) for place, name in enumerate(WORKLOADS)]
    assert main(["model", "fit", *runs, "-o", str(folder / "model.json"), "--window", "10"]) == 0
    return (folder / "model.json").read_text()


@pytest.fixture
def model(fitted, tmp_path, capsys):
    path = tmp_path / "model.json"
    path.write_text(fitted)
    capsys.readouterr()
    return str(path)


def contents(path):
    return json.loads(Path(path).read_text())


def refused(capsys, *words):
    """Run a command that must fail with an error of ours; return what it says."""
    assert main(["model", *words]) in {1, 2}
    told = capsys.readouterr()
    assert told.err.startswith("pactmeter: ")
    assert told.out == ""
    return told.err


# what comes out


def test_a_model_finds_the_coefficients_of_the_machine(model):
    data = contents(model)

    names = [feature["name"] for feature in data["formula"]["features"]]
    (piece,) = data["formula"]["pieces"]
    at = dict(zip(names, piece["coefficients"], strict=True))
    assert at["cache-misses_per_s"] == pytest.approx(2e-6, rel=0.02)
    assert piece["intercept_w"] == pytest.approx(40, abs=0.7)
    assert data["beats_baselines"] is True
    assert data["scope"] == "system"
    assert {run["workload"]: run["family"] for run in data["runs"]} == {
        name: name.partition("_")[0] for name in WORKLOADS
    }


def test_a_prediction_is_a_modelled_source_with_its_budget(model, write, capsys):
    run = write("unseen", 3)

    assert main(["model", "predict", model, run, "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    assert (told["source"]["channel"], told["source"]["origin"]) == ("machine.model", "modelled")
    assert told["source"]["domain"] == "machine"
    assert told["source"]["energy_j"] == pytest.approx(told["measured_j"], rel=0.01)
    assert [item["name"] for item in told["budget"]] == ["model", "sensor"]
    expected_j = 2 * math.hypot(*(item["u_j"] for item in told["budget"]))
    assert told["source"]["u_j"] == pytest.approx(expected_j, abs=1e-5)
    assert told["source"]["u_j"] >= 0.05 * told["source"]["energy_j"]
    assert told["inside_pct"] >= 90


def test_a_run_needs_no_supply_to_be_predicted(model, write, capsys):
    run = write("no_psu", 2, channels=CHANNELS[1:])

    assert main(["model", "predict", model, run, "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["errors"] is told["measured_j"] is told["inside_pct"] is None
    expected_j = sum(float(rows_of(2, 60)[key].sum()) for key in ("dc",))
    assert told["source"]["energy_j"] == pytest.approx(expected_j, rel=0.02)


@pytest.mark.parametrize("preset", ["nonnegative", "linear", "original"])
@pytest.mark.parametrize("target", ["remainder", "psu.dc_output"])
def test_every_preset_and_target_is_fitted_reported_and_predicts(
    preset, target, runs, tmp_path, capsys
):
    path = str(tmp_path / "m.json")
    fit = ["fit", *runs, "-o", path, "--preset", preset, "--target", target, "--window", "10"]

    assert main(["model", *fit]) == 0
    assert main(["model", "report", path]) == 0
    assert main(["model", "predict", path, runs[0]]) == 0

    told = capsys.readouterr().out
    assert "one workload left out, 6 times" in told
    assert "one family left out, 3 times" in told
    assert "machine.model  modelled" in told
    assert main(["model", "report", path, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == contents(path)
    for judged in (data["validation"]["workload"], data["validation"]["family"]):
        assert judged["model"].keys() >= {"mape_pct", "wmape_pct", "r2", "dre_pct", "bias_w"}
        assert len(judged["baselines"]) == 2


def test_a_model_that_is_no_better_than_the_mean_says_so_first(write, tmp_path, capsys):
    def unrelated(data):
        rng = np.random.default_rng(int(data["cycles"][0]))
        return {"dc": data["cpu"] + data["gpu"] + rng.uniform(40, 60) + rng.normal(0, 1, 60)}

    runs = [write(name, place, change=unrelated) for place, name in enumerate(WORKLOADS)]
    path = str(tmp_path / "m.json")

    assert main(["model", "fit", *runs, "-o", path, "--window", "10"]) == 0
    assert "NOT better than the mean" in capsys.readouterr().out.splitlines()[0]
    assert main(["model", "predict", path, runs[0]]) == 0
    assert "NOT better than" in capsys.readouterr().out.splitlines()[0]


def test_what_a_model_has_not_seen_is_told(model, write, capsys):
    run = write("far", 30)

    assert main(["model", "predict", model, run]) == 0

    told = capsys.readouterr().out
    assert "cache-misses_per_s is outside what the model has seen in 100 % of windows" in told


def test_an_error_that_follows_a_temperature_is_told(write, tmp_path, capsys):
    warm = Channel("psu.temp_c", Unit.CELSIUS, Kind.QUANTITY, "psu")

    def warmer(place):
        # each kelvin costs 0.5 W that no counter tells of
        kelvin = (5.0, -3.0, 8.0, 1.0, -6.0, 3.0)[place]
        return lambda data: {"dc": data["dc"] + 0.5 * kelvin, "warm": np.full(60, 40 + kelvin)}

    runs = [
        write(name, place, channels=(*CHANNELS, warm), change=warmer(place))
        for place, name in enumerate(WORKLOADS)
    ]
    path = str(tmp_path / "m.json")

    assert main(["model", "fit", *runs, "-o", path]) == 0

    found = contents(path)["validation"]["workload"]["slopes_w_per_k"]["psu.temp_c"]
    assert found["slope"] == pytest.approx(-0.5, abs=found["half_width"])
    assert found["slope"] + found["half_width"] < 0
    assert "error over psu.temp_c: -0." in capsys.readouterr().out


def test_an_interval_wider_than_all_that_was_measured_is_called_that(model, capsys):
    data = contents(model)
    data["interval"]["window_w"] = data["validation"]["family"]["interval"]["window_w"] = 9e5
    Path(model).write_text(json.dumps(data))

    assert main(["model", "report", model]) == 0

    told = capsys.readouterr().out
    assert len(re.findall(r"half-width of a window: over [\d.]+ W, the whole range", told)) == 2
    assert "9e+05" not in told


def test_multiplexed_counts_are_told(model, capsys):
    assert main(["model", "report", model]) == 0
    assert "cycles_per_s was counted 50 % of the time" in capsys.readouterr().out


def test_synthetic_marks_stand_in_the_first_line(write, tmp_path, capsys):
    runs = [write(name, place, mark="emulated") for place, name in enumerate(WORKLOADS)]
    path = str(tmp_path / "m.json")

    assert main(["model", "fit", *LINEAR, *runs, "-o", path]) == 0

    assert "[emulated]" in capsys.readouterr().out.splitlines()[0]


def test_events_that_do_not_add_up_are_left_out(runs, write, tmp_path, capsys):
    def doubled(data):
        return {"cycles": 3 * data["cycles"]}

    tests = [write("a", 1), write("b", 1), write("ab", 1, rows=120, change=doubled)]
    path = str(tmp_path / "m.json")

    assert main(["model", "fit", *LINEAR, *runs, "-o", path, "--additive", *tests, "--json"]) == 0

    checks = json.loads(capsys.readouterr().out)["checks"]
    assert "not additive" in checks["dropped"]["cycles_per_s"]
    assert abs(checks["additivity"]["cache-misses_per_s"]) < 5


def test_features_are_chosen_within_the_fold(runs, tmp_path, capsys):
    assert main(["model", "fit", *LINEAR, *runs, "-o", str(tmp_path / "m.json"), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)["validation"]["workload"]
    assert judged["chosen"]["cache-misses_per_s"] == judged["left_out"] == 6


def test_what_is_judged_was_never_fitted_on():
    rng = np.random.default_rng(8)
    workload = np.repeat(["a", "b", "c", "d"], 5)
    family = np.repeat(["ab", "ab", "c", "d"], 5)
    meters = pd.DataFrame({"cpu_w": rng.uniform(10, 90, 20)})
    place = pd.DataFrame({"place": np.arange(20.0)})  # tells which windows a fit is given
    table = Table(
        place, meters, rng.uniform(1, 9, 20), np.full(20, 50.0), place[[]], workload, family, (), ()
    )
    fitted = []

    def fit(features, power_w, groups):
        rows = features["place"].astype(int)
        assert list(workload[rows]) == list(groups)
        assert list(table.power_w[rows]) == list(power_w)
        fitted.append(set(rows))
        return mean(features, power_w, groups)

    for by, names in (("workload", workload), ("family", family)):
        fitted.clear()
        validate(table, place, fit, by)
        left_out = [set(names[list(set(range(20)) - rows)]) for rows in fitted]
        assert sorted(map(list, left_out)) == [[name] for name in sorted(set(names))]
        for rows, (name,) in zip(fitted, left_out, strict=True):
            assert name not in set(names[list(rows)])


def test_sidecars_of_a_run_are_not_runs(runs, tmp_path):
    sidecars = [run.replace(".csv", ".counters.csv") for run in runs]
    assert main(["model", "fit", *LINEAR, *runs, *sidecars, "-o", str(tmp_path / "m.json")]) == 0


def test_systemwide_events_of_a_tree_run_are_those_of_a_system_run(runs, write, capsys, model):
    events = [
        event("systemwide:cycles", full_name="cycles"),
        event("cycles", "tree"),
        event("systemwide:cache-misses", full_name="cache-misses"),
    ]
    run = write("mixed", 2, events=events)

    assert main(["model", "predict", model, run, "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["source"]["energy_j"] == pytest.approx(told["measured_j"], rel=0.01)


# what is refused


def test_counts_of_the_program_are_refused_with_the_reason(write, capsys):
    run = write("tree", events=[event("cycles", "tree")])

    told = refused(capsys, "fit", run)

    assert "counts the program, power is that of the whole machine" in told
    assert "fix: record with `--scope system`" in told


def test_runs_of_two_scopes_are_refused(runs, write, capsys):
    other = write("cpu_c", 2, events=[event("cycles", "tree"), event("cache-misses")])

    for order in ([*runs, other], [other, *runs]):
        told = refused(capsys, "fit", *order)
        assert "cycles_per_s counts the program in" in told


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("synthetic mark", {"mark": "emulated"}),
        ("host", {"host": "two"}),
        ("meters", {"channels": CHANNELS[:2]}),
    ],
)
def test_runs_that_are_not_alike_are_refused(what, given, runs, write, capsys):
    told = refused(capsys, "fit", *runs, write("cpu_c", 2, **given))
    assert f"has another {what}" in told


@pytest.mark.parametrize("given", [{"mark": "emulated"}, {"host": "two"}])
def test_a_model_does_not_predict_another_machine(given, model, write, capsys):
    assert "another machine" in refused(capsys, "predict", model, write("other", 1, **given))


def test_a_run_given_twice_is_refused(runs, capsys):
    assert "at the same time" in refused(capsys, "fit", *runs, runs[0])


def test_a_copy_of_a_run_is_refused(runs, write, capsys):
    copy = write("gpu_c", 1, start_s=1e9 + 30)
    assert "at the same time" in refused(capsys, "fit", *runs, copy)


def test_too_few_workloads_are_refused_with_their_number(runs, capsys):
    told = refused(capsys, "fit", *runs[:2])
    assert "needs at least 3 of them, 2 given (cpu_a, cpu_b)" in told


def test_a_counter_that_the_model_takes_and_the_run_has_not_is_named(model, write, capsys):
    run = write("lacking", events=[event("cycles")])
    assert "has no cache-misses_per_s" in refused(capsys, "predict", model, run)


def test_another_event_of_the_same_name_is_refused(model, write, capsys):
    events = [event("cycles"), event("cache-misses", full_name="LLC-load-misses")]
    told = refused(capsys, "predict", model, write("renamed", events=events))
    assert "cache-misses_per_s is LLC-load-misses in" in told


def test_no_supply_is_no_target(write, capsys):
    runs = [write(name, i, channels=CHANNELS[1:]) for i, name in enumerate(WORKLOADS)]
    assert "has no DC output power" in refused(capsys, "fit", *runs)


def test_no_meters_leave_no_remainder(write, capsys):
    runs = [write(name, i, channels=CHANNELS[:1]) for i, name in enumerate(WORKLOADS)]
    assert "--target psu.dc_output" in refused(capsys, "fit", *runs)


def test_without_meters_the_whole_is_modelled(write, tmp_path, capsys):
    runs = [write(name, i, channels=CHANNELS[:1]) for i, name in enumerate(WORKLOADS)]
    path = str(tmp_path / "m.json")
    assert (
        main(["model", "fit", *LINEAR, *runs, "-o", path, "--target", "psu.dc_output", "--json"])
        == 0
    )
    assert list(json.loads(capsys.readouterr().out)["validation"]["workload"]["baselines"]) == [
        "the mean"
    ]


def test_constant_counters_are_left_out(write, tmp_path, capsys):
    def still(data):
        return {"cycles": np.full(60, 5e8)}

    runs = [write(name, i, change=still) for i, name in enumerate(WORKLOADS)]
    assert main(["model", "fit", *LINEAR, *runs, "-o", str(tmp_path / "m.json"), "--json"]) == 0
    dropped = json.loads(capsys.readouterr().out)["checks"]["dropped"]
    assert dropped["cycles_per_s"] == "it does not vary"


@pytest.mark.parametrize("value", [math.nan, -5.0, math.inf])
def test_a_cell_that_is_no_reading_costs_its_window_alone(value, runs, write, tmp_path, capsys):
    def spoil(data):
        dc_w = data["dc"].copy()
        dc_w[15] = value
        return {"dc": dc_w}

    spoilt = write("cpu_c", 2, change=spoil)
    path = str(tmp_path / "m.json")
    assert (
        main(["model", "fit", *LINEAR, *runs, spoilt, "-o", path, "--window", "10", "--json"]) == 0
    )
    about = json.loads(capsys.readouterr().out)["runs"][-1]
    assert (about["windows"], about["windows_lost"]) == (5, 1)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_too_short_for_a_window_is_refused(rows, runs, write, capsys, model):
    short = write("cpu_c", 2, rows=rows)
    refused(capsys, "fit", *runs, short)
    refused(capsys, "predict", model, short)


@pytest.mark.parametrize(
    "words",
    [
        ["--window", "0"],
        ["--window", "nan"],
        ["--window", "-3"],
        ["--group", "nonsense"],
        ["--without", "nonsense"],
    ],
)
def test_an_option_that_makes_no_sense_is_refused(words, runs, tmp_path, capsys):
    told = refused(capsys, "fit", *runs, "-o", str(tmp_path / "m.json"), *words)
    assert "fix: " in told
    assert not (tmp_path / "m.json").exists()


def test_an_earlier_model_is_kept(model, runs, capsys):
    before = contents(model)
    assert "--force" in refused(capsys, "fit", *runs, "-o", model)
    assert contents(model) == before
    assert main(["model", "fit", *LINEAR, *runs, "-o", model, "--force"]) == 0


@settings(max_examples=30)
@given(data=st.data())
def test_whatever_a_run_is_made_of_it_is_windows_or_a_plain_error(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    path = Path(write_run(folder, "run", rows=data.draw(st.integers(0, 5))))
    junk = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2)
    manifest = contents(path.with_suffix(".json"))
    changed = st.sampled_from(["channels", "events", "running_shares", "host", "clock"])
    for key in data.draw(st.lists(changed, max_size=2)):
        manifest[key] = data.draw(junk | st.just([{"column": "cycles"}]) | st.just([{}]))
    path.with_suffix(".json").write_text(json.dumps(manifest))
    lines = path.read_text().splitlines()
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        cells = lines[place].split(",")
        cell = st.sampled_from(["", "nan", "inf", "-1", "x", "1e308", "cycles", "0"])
        cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(cell)
        lines[place] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")

    try:
        found = windows(load(path), 1.0)
    except PactError:
        return
    assert not np.isinf(found.table.to_numpy(float)).any()
    assert (found.table.fillna(0.0) >= 0).all().all()


# files of models


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: "nonsense", "is not a power model"),
        (lambda d: "[" * 100_000, "is not a power model"),
        (lambda d: json.dumps({**d, "kind": "cake"}), "is not a power model"),
        (lambda d: json.dumps({**d, "schema": 99}), "schema 99"),
        (lambda d: json.dumps({**d, "schema": "x"}), "schema 'x'"),
        (lambda d: json.dumps({**d, "formula": {}}), "damaged"),
        (lambda d: json.dumps({**d, "formula": {**d["formula"], "pieces": []}}), "damaged"),
        (lambda d: json.dumps({**d, "interval": {"window_w": "x", "mean_w": 1}}), "damaged"),
        (lambda d: json.dumps({**d, "window_s": -1}), "damaged"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "host"}), "damaged"),
        (lambda d: json.dumps({**d, "runs": 3}), "damaged"),
        (lambda d: json.dumps({**d, "validation": {}}), "damaged"),
    ],
)
def test_a_file_that_is_no_model_is_refused(change, says, model, capsys):
    text = change(contents(model))
    Path(model).write_text(text)
    told = refused(capsys, "report", model)
    assert says in told


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "features",
                        "pieces",
                        "name",
                        "scale",
                        "seen",
                        "intercept_w",
                        "coefficients",
                        "centre",
                        "dropped",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_formula_is_made_of_is_a_formula_or_a_plain_error(data):
    try:
        formula = Formula.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return
    assert math.isfinite(formula.power_w([0.0] * len(formula.features)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2))
def test_a_formula_survives_its_file_and_takes_the_nearest_piece(values):
    features = (Feature("a", 2.0, (0.0, 1.0)), Feature("b", 1.0, (0.0, 1.0)))
    pieces = (Piece(1.0, (1.0, 2.0), (0.0, 0.0)), Piece(5.0, (0.5, 0.0), (10.0, 0.0)))
    formula = Formula(features, pieces, {})
    again = Formula.from_dict(json.loads(json.dumps(formula.to_dict())))
    assert again == formula
    far = math.dist((values[0] / 2, values[1]), (0, 0)) > math.dist(
        (values[0] / 2, values[1]), (10, 0)
    )
    piece = pieces[far]
    expected_w = piece.intercept_w + np.dot(piece.coefficients, values)
    assert again.power_w(values) == pytest.approx(expected_w, rel=1e-9, abs=1e-6)
    assert again.outside(values) == [
        name for name, v in zip("ab", values, strict=True) if not 0 <= v <= 1
    ]


# files of the original PACT


def original(path, place, *, rows=60, day=1, spoil=None):
    data = rows_of(place, rows)
    lines = [ORIGINAL_HEADER]
    for i in range(rows):
        cells = [
            i,
            f"2025-09-{day:02d} 10:{i // 60:02d}:{i % 60:02d}",
            1.0,
            data["dc"][i],
            data["gpu"][i],
            data["cpu"][i],
            50 + i % 7,
            20 + i % 5,
            3 + i % 4,
            100 + place,
            50.5 * data["cache-misses"][i],
            50.5 * data["cycles"][i],
        ]
        lines.append(",".join(map(str, spoil(i, cells) if spoil else cells)))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def originals(tmp_path):
    return [
        original(tmp_path / f"{name}_200_1_PACT.csv", place, day=place + 1)
        for place, name in enumerate(WORKLOADS)
    ]


def test_files_of_the_original_are_fitted_and_their_sums_flagged(originals, tmp_path, capsys):
    path = str(tmp_path / "m.json")
    fit = ["fit", *originals, "-o", path, "--preset", "original", "--window", "10"]

    assert main(["model", *fit]) == 0

    told = capsys.readouterr().out
    assert "(N+1)/2 times too large" in told
    assert main(["model", "predict", path, originals[2]]) == 0
    assert {run["workload"] for run in contents(path)["runs"]} == {
        f"{name}_200" for name in WORKLOADS
    }


def test_files_of_the_original_and_of_pact_do_not_mix(originals, runs, model, capsys):
    assert "another kind of file" in refused(capsys, "fit", *originals, runs[0])
    assert "another machine or kind" in refused(capsys, "predict", model, originals[0])


def test_a_zero_that_stands_for_a_failed_read_is_no_power(originals, tmp_path, capsys):
    def zero(i, cells):
        return [*cells[:3], 0, *cells[4:]] if i == 3 else cells

    spoilt = original(tmp_path / "vm_1_PACT.csv", 2, day=20, spoil=zero)
    path = str(tmp_path / "m.json")
    assert (
        main(["model", "fit", *LINEAR, *originals, spoilt, "-o", path, "--window", "10", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["runs"][-1]["windows_lost"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        ORIGINAL_HEADER,
        ORIGINAL_HEADER + "\n",
        ORIGINAL_HEADER + "\n1,2\n",
        ORIGINAL_HEADER + "\n" + ",".join(["x"] * 12) + "\n",
        "a,b\n1,2\n",
        "\x00\xff",
    ],
)
def test_a_file_without_rows_is_refused(text, originals, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    refused(capsys, "fit", *originals, str(path))


# names, windows, checks


@pytest.mark.parametrize(
    ("file", "workload", "family"),
    [
        ("PACTData/cpu_25_200_3_PACT.csv", "cpu_25_200", "cpu"),
        ("PACTData/vgg_train_200_1_PACT.csv", "vgg_train_200", "vgg"),
        ("runs/bert-2/PACT.csv", "bert", "bert"),
        ("runs/bert/PACT-20260101T101010123.csv", "bert", "bert"),
        ("runs/bert/PACT-2.csv", "bert", "bert"),
        ("idle.csv", "idle", "idle"),
        ("7.csv", "7", "7"),
    ],
)
def test_workload_and_family_come_from_the_name(file, workload, family):
    assert group_of(file) == (workload, family)


def test_a_pattern_goes_before_the_name():
    wanted = [parse_group("vision/resnet=*/res*.csv"), parse_group("rest=*")]
    assert group_of("x/res_1.csv", wanted) == ("resnet", "vision")
    assert group_of("x/idle_1.csv", wanted) == ("rest", "rest")


@settings(max_examples=30)
@given(
    lengths_s=st.lists(st.floats(0.2, 3.0), min_size=1, max_size=60),
    pause_at=st.integers(0, 60),
    window_s=st.floats(0.5, 30.0),
)
def test_windows_cover_each_row_at_most_once_and_no_pause(lengths_s, pause_at, window_s):
    dt_s = pd.Series(lengths_s)
    ends_s = dt_s.cumsum() + np.where(np.arange(len(dt_s)) >= pause_at, 100.0, 0.0)
    rows = pd.DataFrame({"read_s": ends_s, "window_s": dt_s})

    table = means(pd.DataFrame({"x": ends_s}), rows, window_s)

    assert table["dt_s"].sum() <= dt_s.sum() * (1 + 1e-9)
    assert (table["dt_s"] >= 0.5 * window_s).all()
    assert (table["dt_s"] <= window_s + 3.0).all()
    if 0 < pause_at < len(dt_s):
        before_s, after_s = ends_s[pause_at - 1], ends_s[pause_at]
        # a mean between the two sides of the pause would be of a window that reaches over it
        assert not ((table["x"] > before_s + 1e-6) & (table["x"] < after_s - 1e-6)).any()


def test_variance_inflation_is_that_of_statsmodels():
    rng = np.random.default_rng(5)
    x = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    x["c"] += 2 * x["a"]
    x["d"] = 3 * x["d"] + x["b"] - 40
    design = np.column_stack([np.ones(len(x)), x.to_numpy()])

    found = vif(x)

    for place, name in enumerate(x.columns):
        expected = variance_inflation_factor(design, place + 1)
        assert found[name] == pytest.approx(expected, rel=1e-9)
    assert condition_number(x) == pytest.approx(
        math.sqrt(np.linalg.cond(np.corrcoef(x.to_numpy().T))), rel=1e-6
    )


def test_what_others_give_is_left_out_until_no_factor_is_ten():
    rng = np.random.default_rng(6)
    x = pd.DataFrame(rng.normal(size=(100, 3)), columns=list("abc"))
    x["sum"] = x["a"] + x["b"]
    x["near"] = x["c"] + rng.normal(0, 0.1, 100)
    x["still"] = 4.0

    kept, dropped = eliminate(x)

    assert max(vif(x[kept]).values()) < 10
    assert set(kept) | set(dropped) == set(x.columns)
    assert dropped["still"] == "it does not vary"
    assert len(kept) == 3


def test_principal_features_are_of_the_frame_and_skip_copies():
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, 300))
    x = pd.DataFrame({"a": a, "a2": a * 2, "a3": a - 1, "b": b, "still": 1.0})

    chosen = principal_features(x)

    assert "still" not in chosen
    assert {name[0] for name in chosen} == {"a", "b"}


@pytest.mark.parametrize(
    ("both", "off_pct", "holds"), [(30.0, 0.0, True), (31.4, 4.667, True), (32.0, 6.667, False)]
)
def test_counts_add_up_to_five_percent(both, off_pct, holds):
    (found,) = additivity({"x": 10.0}, {"x": 20.0}, {"x": both})
    assert found.off_pct == pytest.approx(off_pct, abs=1e-3)
    assert found.holds is holds


def test_runs_without_a_common_event_have_no_additivity():
    with pytest.raises(PactError, match="no event in common"):
        additivity({"x": 1.0}, {"y": 1.0}, {"x": 1.0})


def test_errors_are_those_of_the_formulas():
    power_w, guess_w = np.array([10.0, 20.0, 40.0]), np.array([11.0, 18.0, 40.0])

    found = errors(power_w, guess_w, 2 * power_w)

    assert found.mape_pct == pytest.approx(100 * (0.1 + 0.1) / 3)
    assert found.wmape_pct == pytest.approx(100 * 3 / 70)
    assert found.of_dc_pct == pytest.approx(100 * 3 / 140)
    assert found.bias_w == pytest.approx(-1 / 3)
    assert found.rmse_w == pytest.approx(math.sqrt(5 / 3))
    assert found.dre_pct == pytest.approx(100 * math.sqrt(5 / 3) / 30)
    assert found.r2 == pytest.approx(1 - 5 / np.sum((power_w - power_w.mean()) ** 2))


def test_an_interval_is_students_over_the_groups():
    # t of 0.975 with 2 degrees of freedom is 4.3027 (any table)
    parts = [np.array([1.0, -1.0]), np.array([2.0]), np.array([0.0])]
    assert half_width_w(parts) == pytest.approx(4.3027 * math.sqrt((1 + 4 + 0) / 3), rel=1e-4)


def test_a_window_is_no_negative_length():
    with pytest.raises(ConfigError, match="group"):
        parse_group("=x")
