"""Damaged, foreign and mismatched files: a clear error, or figures that can be."""

import contextlib
import io
import json
import math
import random
import re
import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pactmeter.cli.main import main
from support.written import DC, GPU, PACKAGE, UTC_S, WALL, proof_dict, write

ROWS = 90
LOADS = {"idle": 100.0, "half": 200.0, "full": 320.0}
BURSTS = ((2.0, 6.1), (9.3, 14.2), (19.9, 25.0), (34.2, 40.3), (47.9, 55.0), (62.0, 70.0))
EVENTS = ("cycles", "cache-misses")
ROLES = ("run", "other", "third", "fourth")
WORKLOADS = ("cpu_a", "cpu_b", "io_a", "io_b")
SIDES = ("PACT.csv", "PACT.regions.csv", "PACT.counters.csv", "PACT.json")
BESIDE = ("calibration.json", "meter.csv", "model.json", "lag.json", "report.json")
VERDICTS = {"audit", "validate", "sync"}
"""Commands whose exit code 1 may be an answer: it stands on standard output."""


def record(folder, number, scale=1.0, *, lost=(), **more):
    """Write a run that every command can take: windows, bursts, counters, a meter, a baseline."""
    folder.mkdir(exist_ok=True)
    chance = random.Random(number)
    watts = [
        scale * power * chance.uniform(0.97, 1.03) for power in LOADS.values() for _ in range(30)
    ]
    marks = [[0, ROWS, "call", 0, 1], [10, 30, "train", 0, 1]]
    for place, load in enumerate(LOADS):
        for n in range(5):
            start_s = 30 * place + 6 * n
            marks.append([start_s, start_s + 6, f"validate.{load}", n, 1])
    marks += [[start_s, end_s, "burst", n, 1] for n, (start_s, end_s) in enumerate(BURSTS)]
    counts = {
        "cycles": [chance.randrange(10**8, 10**9) for _ in watts],
        "cache-misses": [chance.randrange(10**6, 10**7) for _ in watts],
    }
    events = [
        {
            "column": event,
            "scope": "system",
            "status": "ok",
            "reason": None,
            "group": "0",
            "full_name": event,
        }
        for event in EVENTS
    ]
    began_s = UTC_S + 1000 * number
    clock = {
        "start": {"monotonic_s": 100.0, "utc_s": began_s},
        "end": {"monotonic_s": 100.0 + ROWS, "utc_s": began_s + ROWS},
    }
    sources = {
        DC: watts,
        PACKAGE: [
            0.3 * power + cycles / 1e8
            for power, cycles in zip(watts, counts["cycles"], strict=True)
        ],
        GPU: [0.3 * power for power in watts],
        WALL: [None if row in lost else 1.1 * watts[row] + 5 for row in range(ROWS)],
    }
    about = {
        "zero_monotonic_s": 100.0,
        "baseline": {"busy_pct": 1.0, "gpu_context": "none"},
        "command": ["python", "train.py"],
        "host": {"name": "here", "machine": "x86_64", "cpus": 8},
        "gaps": [{"channels": ["gpu0"], "start_s": 3.0, "end_s": 4.0, "reason": "x"}],
        "clock": clock,
        "events": events,
        "running_shares": {"0": 1.0},
        "columns": counts,
        **more,
    }
    file = write(folder, sources, rows=ROWS, regions=marks, more=about)
    lines = [f"{k},1,{counts['cycles'][k]},{counts['cache-misses'][k]}" for k in range(ROWS)]
    text = "\n".join(["start_s,dt_s,cycles,cache-misses", *lines]) + "\n"
    (folder / "PACT.counters.csv").write_text(text)
    return file


def told(*words):
    """Run a command; return exit code, output and errors, after what holds for all of them."""
    bare, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(bare, encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    out.flush()
    text, errors = bare.getvalue().decode(), err.getvalue()
    assert code in {0, 1, 2}, words
    assert "Traceback" not in errors, words
    if code and not (code == 1 and words[0] in VERDICTS and text):
        assert errors.startswith("pactmeter: "), words
        assert text == "", words
    if "--json" in words and text:
        check_figures(json.loads(text, parse_constant=lambda name: pytest.fail(f"{name}: {words}")))
    elif text:
        assert not re.search(r"\b(nan|inf) (J|W|s|%|kWh|g)\b", text), words
    return code, text, errors


def refused(*words):
    code, _, errors = told(*words)
    assert code in {1, 2}
    assert errors
    return errors


def check_figures(data):
    """No figure is infinite, and what was not read at all has no energy."""
    if isinstance(data, dict):
        if data.get("coverage") == 0 and "energy_j" in data:
            assert data["energy_j"] is None
            assert data["u_j"] is None
        for value in data.values():
            check_figures(value)
    elif isinstance(data, list):
        for value in data:
            check_figures(value)
    elif isinstance(data, float):
        assert math.isfinite(data)


class Place:
    """A folder of runs and of files beside them, put back in order before each example."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {role: record(folder / role, n + 1) for n, role in enumerate(ROLES)}
        for n, name in enumerate(WORKLOADS):
            file = record(folder / name, 10 + n, 1 + n / 5)
            self.files[name] = self.renamed(file, name)
        (folder / "calibration.json").write_text(json.dumps(proof_dict(source=WALL.name)))
        rows = "".join(f"{UTC_S + 1000 + k / 2 - 5},{150 + k % 7}\n" for k in range(200))
        (folder / "meter.csv").write_text(f"time,power\n{rows}")
        fits = [{"channel": "gpu0", "fit": {"delay_s": 0.3}}, {"channel": "cpu.psys", "fit": None}]
        (folder / "lag.json").write_text(json.dumps({"schema": 1, "channels": fits}))
        words = ["model", "fit", *(self.files[name] for name in WORKLOADS), "--window", "10"]
        assert told(*words, "-o", folder / "model.json")[0] == 0
        code, text, _ = told("report", self.files["run"], "--json", "--each", "call")
        assert code == 0
        (folder / "report.json").write_text(text)
        damaged = [*(folder / "run" / side for side in SIDES), *(folder / n for n in BESIDE)]
        self.kept = {path: path.read_bytes() for path in damaged}

    @staticmethod
    def renamed(file, name):
        for path in list(file.parent.iterdir()):
            path.rename(path.with_name(path.name.replace("PACT", name)))
        return file.with_name(f"{name}.csv")

    def restore(self):
        for path, data in self.kept.items():
            path.write_bytes(data)
        return self.files["run"]

    def commands(self):
        run, other, third, fourth = (self.files[role] for role in ROLES)
        proof, meter, model, lag, saved = (self.folder / name for name in BESIDE)
        metered = ("--reference", meter, "--power-column", "power")
        shown = ("--regions", "--window", "5:40", "--budget", "--rules", "--each", "validate.idle")
        return [
            ("report", run, "--json", *shown, "--baseline", other, "--calibration", proof),
            ("report", run, *shown, "--baseline", other),
            ("report", other, "--json", "--baseline", run),
            ("report", other, "--baseline", run, third),
            ("audit", run, "--json"),
            ("audit", run, "--report", saved, "--calibration", proof),
            ("compare", run, "--json", "--lag", lag),
            ("compare", run, other, "--lag", "find"),
            ("compare", run, "--json", *metered, "--tdp", "100", "--ram", "64"),
            ("compare", run, other, third, "--vs", fourth, self.files["cpu_a"], "--json"),
            ("compare", third, fourth, "--vs", run, other, "--margin", "5"),
            ("validate", run, "--json", "--against", WALL.name),
            ("validate", run, *metered, "--against", "wall.reference"),
            ("sync", run, "--json"),
            ("model", "predict", model, run, "--json"),
            ("model", "predict", model, run),
            ("model", "report", model),
        ]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("runs"))


def test_untouched_runs_are_taken_by_every_command(place):
    place.restore()
    for words in place.commands():
        code, text, errors = told(*words)
        assert text, (words, errors)
        assert code in ({0, 1} if words[0] in VERDICTS else {0}), (words, errors)


# --- damages of any kind -------------------------------------------------------------------------

CELLS = ("", "nan", "inf", "-inf", "-5", "x", "1e308", "0", "1e-300", "1e14", "9" * 400, '"', "\0")
VALUES = (None, True, 0, -1, 1.5, math.nan, math.inf, 1e17, 10**30, "", "x", "\ud800", [], {"a": 1})
cells = st.lists(st.tuples(st.integers(1, ROWS), st.integers(0, 20), st.sampled_from(CELLS)))
whole = st.sampled_from(
    ["none", "header", "one", "reversed", "shuffled", "twice", "gaps", "torn", "foreign", "column"]
)


def damage_table(path, data):
    """Change a table's cells, or what it is as a whole."""
    lines = path.read_text().splitlines()
    how = data.draw(whole)
    if how == "none":
        path.write_text(data.draw(st.sampled_from(["", "\n", lines[0], "\ufeff"])))
        return
    if how == "torn":
        text = path.read_bytes()
        path.write_bytes(text[: data.draw(st.integers(0, len(text) - 1))])
        return
    rows = [line.split(",") for line in lines]
    if how == "header":
        rows = rows[:1]
    elif how == "one":
        rows = [rows[0], data.draw(st.sampled_from(rows[1:]))]
    elif how == "reversed":
        rows[1:] = rows[:0:-1]
    elif how == "shuffled":
        random.Random(data.draw(st.integers(0, 99))).shuffle(body := rows[1:])
        rows[1:] = body
    elif how == "twice":
        at = data.draw(st.integers(1, len(rows) - 1))
        rows[at:at] = [rows[at]] * data.draw(st.integers(1, 3))
    elif how == "gaps":
        rows[1:] = [[*row[:4], *("" for _ in row[4:])] for row in rows[1:]]
    elif how == "foreign":
        rows = [["Timestamp;Watt"], ["1;2"]]
    else:
        column = data.draw(st.integers(0, len(rows[0]) - 1))
        cell = data.draw(st.sampled_from([None, *CELLS]))
        rows = [
            [*row, row[column]] if cell is None else [*row[:column], cell, *row[column + 1 :]]
            for row in rows
        ]
    for row, column, cell in data.draw(cells):
        if row < len(rows):
            rows[row][column % len(rows[row])] = cell
    path.write_text("\n".join(map(",".join, rows)) + "\n")


def damage_json(path, data):
    """Change or take away a value somewhere, or tear the file."""
    text = path.read_text()
    if data.draw(st.integers(0, 9)) == 0:
        path.write_text(data.draw(st.sampled_from(["", "[]", "null", "[" * 10**5, text[:-40]])))
        return
    at = whole_data = json.loads(text)
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or not data.draw(st.integers(0, 3)):
            break
        at = at[key]
    if data.draw(st.booleans()):
        at[key] = data.draw(st.sampled_from(VALUES))
    else:
        del at[key]
    path.write_text(json.dumps(whole_data))


@settings(
    max_examples=80,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_whatever_happens_to_a_file_there_is_a_clear_error_or_a_figure_that_can_be(place, data):
    run = place.restore()
    names = st.sampled_from([*SIDES, *BESIDE])
    for name in data.draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        path = run.parent / name if name in SIDES else place.folder / name
        (damage_json if name.endswith(".json") else damage_table)(path, data)
    for words in data.draw(st.permutations(place.commands()))[:8]:
        told(*words)


# --- each kind by name ---------------------------------------------------------------------------


def edit(path, change):
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(",".join, change(rows))) + "\n")


def edit_manifest(file, **changes):
    path = file.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def report(file, *words):
    code, text, errors = told("report", file, "--json", *words)
    assert code == 0, errors
    return json.loads(text)


@pytest.fixture
def runs(tmp_path):
    """Four runs of their own for each test that damages them."""
    return [record(tmp_path / role, n + 1) for n, role in enumerate(ROLES)]


def test_of_an_empty_run_and_of_one_that_is_all_gaps_the_energy_is_unknown(place):
    for change in (
        lambda rows: rows[:1],
        lambda rows: [rows[0], *([*r[:4], *[""] * 14] for r in rows[1:])],
    ):
        run = place.restore()
        edit(run, change)
        found = report(run)
        assert {source["energy_j"] for source in found["sources"]} == {None}
        assert found["verdict"]["level"] == "none"
        assert all(told["energy_j"] is None for told in found["sources"])
        refused("compare", run, place.files["other"], "--vs", place.files["third"])


def test_rows_that_are_unsorted_or_twice_there_fail_the_verdict_and_are_not_compared(runs):
    run, other, third, fourth = runs
    for change in (lambda rows: [rows[0], *rows[:0:-1]], lambda rows: [*rows[:9], *rows[5:]]):
        kept = run.read_bytes()
        edit(run, change)
        found = report(run)["verdict"]
        assert found["level"] == "none"
        assert {check["outcome"] for check in found["checks"] if check["id"] in {"Q1", "Q17"}} >= {
            "fail"
        }
        assert "out of order" in refused("compare", run, other, "--vs", third, fourth)
        assert "out of order" in refused("report", other, "--baseline", run)
        assert "out of order" in refused("validate", run)
        assert "do not follow" in refused("compare", run)
        run.write_bytes(kept)


def test_a_column_that_is_there_twice_is_refused(runs):
    edit(runs[0], lambda rows: [[*row, row[4]] for row in rows])
    for command in ("report", "audit", "compare", "validate", "sync"):
        assert "twice" in refused(command, runs[0])


@pytest.mark.parametrize("cell", ["x", "nan", "inf", "-inf", ""])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_counters_that_are_no_numbers_are_not_counted(runs, cell, column):
    edit(
        runs[0].with_name("PACT.counters.csv"),
        lambda rows: [rows[0], *([*r[:column], cell, *r[column + 1 :]] for r in rows[1:])],
    )
    (region,) = (r for r in report(runs[0])["regions"] if r["name"] == "train")
    assert region["counters"]["cycles"] is None
    assert region["energy"]["gpu0"]["energy_j"] > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [rows[0], *rows[:0:-1]],
        lambda rows: [*rows[:20], *rows[15:]],
        lambda rows: [["a", "b"], ["1", "2"]],
        lambda rows: rows[:1],
    ],
)
def test_counters_out_of_order_twice_or_foreign_are_not_counted(runs, change):
    edit(runs[0].with_name("PACT.counters.csv"), change)
    (region,) = (r for r in report(runs[0])["regions"] if r["name"] == "train")
    assert set(region["counters"].values()) == {None}


@pytest.mark.parametrize(("start", "end"), [("nan", "5"), ("5", "inf"), ("5", "x"), ("30", "10")])
def test_regions_that_cannot_be_have_no_figures(runs, start, end):
    edit(
        runs[0].with_name("PACT.regions.csv"),
        lambda rows: [[start, end, *row[2:]] if row[2] == "train" else row for row in rows],
    )
    assert "train" not in {region["name"] for region in report(runs[0])["regions"]}
    assert "no region 'train'" in refused("report", runs[0], "--each", "train")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "newer PACT"),
        ({"schema": "PACT"}, "is not a manifest"),
        ({"reason": math.nan}, "reason"),
        ({"zero_monotonic_s": "x"}, "zero_monotonic_s is not of its kind"),
        ({"zero_monotonic_s": 1e17}, "zero_monotonic_s is no time"),
        ({"running_shares": {"0": "x"}}, "running_shares.0 is not of its kind"),
        ({"baseline": {"busy_pct": [1]}}, "baseline.busy_pct is not of its kind"),
        ({"clock": {"start": {"monotonic_s": 1.0, "utc_s": 1e17}}}, "clock.start.utc_s is no time"),
        ({"command": [math.inf]}, "command[0] is no number"),
    ],
)
def test_a_manifest_of_another_schema_or_of_values_that_cannot_be_is_refused(runs, changes, said):
    edit_manifest(runs[0], **changes)
    for command in ("report", "audit", "compare", "validate", "sync"):
        assert said in refused(command, runs[0])


def test_a_manifest_nested_without_end_is_refused(runs):
    runs[0].with_suffix(".json").write_text("[" * 100_000)
    assert "cannot read the manifest" in refused("report", runs[0])


def test_a_run_that_does_not_tell_when_it_was_is_no_baseline_and_not_validated(runs):
    edit_manifest(runs[0], clock={})
    assert "when it was taken" in refused("report", runs[1], "--baseline", runs[0])
    assert "when it began" in refused("validate", runs[0])
    notes = report(runs[0], "--baseline", runs[1])["baseline"]["notes"]
    assert "not known" in notes[0]


@pytest.mark.parametrize("name", ["/", "", ".", "x" * 5000, "/dev/zero", "no.csv", "\udcff.csv"])
def test_what_is_no_file_of_a_run_is_told(place, name):
    for words in (("report",), ("audit",), ("compare",), ("validate",), ("sync",)):
        refused(*words, name)
    refused("model", "predict", place.folder / "model.json", name)
    refused("model", "fit", name, "-o", place.folder / "new.json")
    run = place.restore()
    if name != "/dev/zero":
        refused("report", run, "--calibration", name or "/")
        refused("compare", run, "--reference", name or "/", "--power-column", "power")


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
@pytest.mark.parametrize(
    "words",
    [
        ("report", "--pue"),
        ("audit", "--pue"),
        ("report", "--carbon-intensity"),
        ("compare", "--span"),
        ("compare", "--tdp"),
        ("compare", "--ram"),
    ],
)
def test_an_option_that_is_no_number_is_refused(place, words, value):
    command, option = words
    run = place.restore()
    assert "fix:" in refused(command, run, f"{option}={value}") or option == "--carbon-intensity"


@pytest.mark.parametrize("option", ["--tdp", "--ram", "--margin"])
def test_an_option_of_zero_is_not_passed_over(place, option):
    refused("compare", place.restore(), option, "0")


def test_a_run_with_many_rows_and_a_very_long_line_is_read(runs):
    edit(runs[0], lambda rows: [*rows, ["1" * 200_000]])
    assert "not a table" in refused("report", runs[0])
    edit(runs[1], lambda rows: [*rows, ["1" * 100_000] * 2])
    assert report(runs[1])["headline"]["energy_j"] > 0


# --- runs that do not belong together ------------------------------------------------------------


def first_line(*words):
    code, text, errors = told(*words)
    assert code == 0, errors
    return text.splitlines()[0], text


def test_sets_of_runs_of_several_hosts_say_so_in_the_first_line_and_share_no_sensor(runs):
    edit_manifest(runs[3], host={"name": "there"})
    line, text = first_line("compare", runs[0], runs[1], "--vs", runs[2], runs[3])
    assert "here and there" in line
    assert "do not cancel" in text
    assert "same sensors" not in text


def test_sets_of_unknown_hosts_or_of_other_sensors_are_not_said_to_share_them(runs):
    words = ("compare", runs[0], runs[1], "--vs", runs[2], runs[3])
    assert "same sensors" in first_line(*words)[1]
    manifest = json.loads(runs[3].with_suffix(".json").read_text())
    for channel in manifest["channels"]:
        channel["description"] = "another"
    edit_manifest(runs[3], channels=manifest["channels"])
    assert "several sensors: another; wall.plug" in first_line(*words)[1]
    for run in runs:
        edit_manifest(run, host={}, channels=manifest["channels"])
    line, text = first_line(*words)
    assert "unknown machine" in line
    assert "is not known" in text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("synthetic", "emulated", "different marks: emulated, real"),
        ("domain", "dc", "different domains: ac, dc"),
        ("origin", "modelled", "different origins: measured, modelled"),
    ],
)
def test_sets_of_real_and_emulated_runs_or_of_other_domains_are_refused(runs, key, value, said):
    manifest = json.loads(runs[3].with_suffix(".json").read_text())
    for channel in manifest["channels"]:
        channel[key] = value
    edit_manifest(runs[3], channels=manifest["channels"])
    words = ("compare", runs[0], runs[1], "--vs", runs[2], runs[3], "--channel", WALL.name)
    assert said in refused(*words)


def test_an_emulated_machine_is_named_in_the_first_line(runs):
    for run in runs:
        manifest = json.loads(run.with_suffix(".json").read_text())
        for channel in manifest["channels"]:
            channel["synthetic"] = "emulated"
        edit_manifest(run, channels=manifest["channels"])
    assert "emulated" in first_line("compare", runs[0], runs[1], "--vs", runs[2], runs[3])[0]
    assert "emulated" in first_line("compare", runs[0])[0]
    assert "emulated" in first_line("report", runs[0])[0]
    assert "emulated" in first_line("validate", runs[0])[0]


def test_runs_whose_headlines_differ_are_refused(runs):
    manifest = json.loads(runs[3].with_suffix(".json").read_text())
    channels = [channel for channel in manifest["channels"] if channel["name"] != WALL.name]
    edit_manifest(runs[3], channels=channels)
    said = refused("compare", runs[0], runs[1], "--vs", runs[2], runs[3])
    assert "different sources: psu.dc_output, wall.plug" in said


def test_counters_of_two_scopes_are_said_not_to_be_compared(runs):
    manifest = json.loads(runs[3].with_suffix(".json").read_text())
    for event in manifest["events"]:
        event["scope"] = "tree"
    edit_manifest(runs[3], events=manifest["events"])
    text = first_line("compare", runs[0], runs[1], "--vs", runs[2], runs[3])[1]
    assert "different scopes and are not compared" in text


def test_too_few_runs_for_a_statistic_say_how_many_are_needed(runs):
    assert "2" in refused("compare", runs[0], runs[1], "--vs", runs[2])
    assert "1" in refused("compare", runs[0], "--vs", runs[1], runs[2])
    assert "2" in refused("compare", runs[0], runs[1], "--vs", runs[2], "--paired")
    assert "twice" in refused("compare", runs[0], runs[1], "--vs", runs[1], runs[2])


def test_too_few_windows_and_loads_say_how_many_are_needed(runs):
    regions = runs[0].with_name("PACT.regions.csv")
    edit(regions, lambda rows: [row for row in rows if row[2:4] != ["validate.half", "3"]])
    assert "4 windows of half, 5 are needed" in refused("validate", runs[0])
    edit(regions, lambda rows: [row for row in rows if row[2] != "validate.half"])
    assert "2 loads are needed, there are 2" in refused("validate", runs[0])


# --- calibrations and meters ---------------------------------------------------------------------


def test_a_calibration_out_of_date_is_told_and_proves_nothing(runs, tmp_path):
    proof = tmp_path / "proof.json"
    dates = {"made": "2024-01-10", "expires": "2024-12-31"}
    proof.write_text(json.dumps(proof_dict(source=WALL.name, **dates)))
    found = report(runs[0], "--calibration", proof)
    checks = {check["id"]: check for check in found["verdict"]["checks"]}
    assert checks["Q13"]["outcome"] == "warn"
    assert "out of date" in checks["Q13"]["text"]
    assert found["verdict"]["level"] in {"5%", "none"}
    assert "out of date" in told("report", runs[0], "--calibration", proof)[1]


def test_a_calibration_of_another_host_is_refused(runs, tmp_path):
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(proof_dict(source=WALL.name, host="elsewhere")))
    said = refused("report", runs[0], "--calibration", proof)
    assert "of elsewhere, the run is of here" in said


def meter(folder, times_s, run=1):
    path = folder / "meter.csv"
    rows = "".join(f"{UTC_S + 1000 * run + time_s},{100 + time_s % 9}\n" for time_s in times_s)
    path.write_text(f"time,power\n{rows}")
    return ("--reference", path, "--power-column", "power", "--against", "wall.reference")


def test_a_meter_that_is_lost_in_mid_run_says_which_windows_lack_it(runs, tmp_path):
    words = meter(tmp_path, [k / 2 for k in range(-10, 100)])
    said = refused("validate", runs[0], *words)
    assert "covers 3 of 5 windows of half, 5 are needed" in said
    assert "% of its time is measured" in said


def test_a_meter_of_another_time_or_too_slow_is_refused(runs, tmp_path):
    late = meter(tmp_path, [k / 2 + 900 for k in range(200)])
    assert "do not overlap" in refused("validate", runs[0], *late)
    assert "do not overlap" in refused("compare", runs[0], *late[:4])
    slow = meter(tmp_path, range(-10, 100, 2))
    assert "is the least that is resolved" in refused("validate", runs[0], *slow)


def test_a_meter_that_was_not_in_reach_has_no_figure_for_that_time(runs):
    record(runs[0].parent, 1, lost=range(40, 60))
    found = report(runs[0], "--window", "41:59")
    assert "refused" in found["windows"][0]["energy"][WALL.name]
    assert "energy_j" not in found["windows"][0]["energy"][WALL.name]
    assert found["headline"]["coverage"] == pytest.approx(70 / 90, abs=1e-6)
    refused("compare", runs[0], runs[1], "--vs", runs[2], runs[3])
    assert "of half, 5 are needed" in refused("validate", runs[0])


def test_a_saved_report_or_model_with_numbers_that_are_none_is_refused(place):
    run = place.restore()
    for name, words in (
        ("report.json", ("audit", run, "--report")),
        ("model.json", ("model", "report")),
    ):
        path = place.folder / name
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "more": math.nan}))
        assert "more is no number" in refused(*words, path)
    place.restore()


def test_a_run_moved_without_its_other_files_still_has_its_energy(runs, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("PACT.csv", "PACT.json"):
        shutil.copy(runs[0].with_name(name), alone)
    found = report(alone / "PACT.csv", "--regions")
    assert found["headline"]["energy_j"] == report(runs[0])["headline"]["energy_j"]
    assert found["regions"] == []
