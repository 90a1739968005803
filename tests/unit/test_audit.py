"""An audit finds whatever was changed, and nothing where nothing was."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.audit import audit_files, compared, figures, read_report
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.cli.main import main
from pactmeter.errors import FileError
from support.written import DC, GPU, PACKAGE, proof_dict, write


@pytest.fixture
def file(tmp_path):
    """A run of three meters with a gap, a pause in a row, events and regions."""
    chance = random.Random(5)
    watts = [chance.uniform(200, 400) for _ in range(60)]
    watts[20:24] = [None] * 4
    gaps = [{"channels": ["psu.dc_output"], "start_s": 20.0, "end_s": 24.0, "reason": "x"}]
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "train", 0, 1], [30.0, 60.0, "test", 0, 1]]
    more = {"gaps": gaps}
    sources = {DC: watts, PACKAGE: 80.0, GPU: 120.0}
    return write(tmp_path, sources, events=("faults", "cycles"), regions=regions, more=more)


def audit(capsys, *words):
    code = main(["audit", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def saved_report(file, capsys, *words):
    assert main(["report", str(file), "--json", *words]) == 0
    path = file.with_name("saved.json")
    path.write_text(capsys.readouterr().out)
    return path


def different(told):
    return [item["name"] for item in told["items"] if item["same"] is False]


def test_an_untouched_run_and_its_report_are_the_same(file, capsys):
    report = saved_report(file, capsys, "--region", "DE", "--pue", "1.3", "--each", "train")
    code, told = audit(capsys, file, "--report", report)

    assert (code, told["schema"], told["same"], different(told)) == (0, 1, True, [])
    names = {item["name"] for item in told["items"]}
    assert {
        *("rows of power", "calls", "faults: counted", "report: headline.energy_j"),
        *("psu.dc_output: energy against power x time, J", "report: verdict.level"),
        *("report: verdict.checks[Q1].outcome", "report: footprint.carbon_g"),
        *("report: sources[gpu0].u_j", "report: regions[train].energy.gpu0.energy_j"),
    } <= names


def edit_table(path, row, column, change):
    lines = path.read_text().splitlines()
    cells, header = lines[row].split(","), lines[0].split(",")
    cells[header.index(column)] = change(cells[header.index(column)])
    lines[row] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("column", "row", "factor", "expected"),
    [
        ("psu.dc_output_w", 10, 1.5, "psu.dc_output: energy against power x time, J"),
        ("psu.dc_output_w", 10, 0.9, "psu.dc_output: energy against power x time, J"),
        ("gpu0_j", 60, 1.001, "gpu0: energy against power x time, J"),
        ("cpu.package0_j", 30, 0.5, "rows out of order"),
        ("faults", 7, 2.0, "faults: counted"),
        ("window_s", 9, 1.5, "time of the calls, s"),
        ("late_s", 9, None, "late rows"),
    ],
)
def test_a_cell_that_was_changed_is_found(file, capsys, column, row, factor, expected):
    edit_table(
        file, row, column, lambda cell: "0.2" if factor is None else f"{factor * float(cell):.6f}"
    )
    code, told = audit(capsys, file)

    assert code == 1
    assert expected in different(told)


def test_rows_calls_and_events_that_are_missing_are_found(file, capsys):
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:50]) + "\n")
    beside = file.with_name("PACT.regions.csv")
    beside.write_text("".join(beside.read_text().splitlines(keepends=True)[:1]))
    _, told = audit(capsys, file)
    assert {"rows of power", "calls", "faults: counted"} <= set(different(told))


def change_report(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["headline"].update(energy_j=1.0), "report: headline.energy_j"),
        (lambda d: d["headline"].update(u_j=None), "report: headline.u_j"),
        (lambda d: d.update(headline=None), "report: headline"),
        (lambda d: d["sources"].pop(), "report: sources"),
        (lambda d: d["sources"][2].update(origin="estimated"), "report: sources[gpu0].origin"),
        (lambda d: d["counters"]["faults"].update(total=7), "report: counters.faults.total"),
        (lambda d: d["counters"].pop("cycles"), "report: counters"),
        (lambda d: d["verdict"].update(level="1%"), "report: verdict.level"),
        (lambda d: d["verdict"]["checks"][0].update(figure=1), "report: verdict.checks[Q1].figure"),
        (lambda d: d["footprint"].update(carbon_g=1.0), "report: footprint.carbon_g"),
        (lambda d: d["regions"][0].update(count=2), "report: regions[train].count"),
        (lambda d: d.update(calls=True), "report: calls"),
    ],
)  # fmt: skip
def test_a_report_that_was_changed_is_found(file, capsys, change, expected):
    report = saved_report(file, capsys, "--region", "DE")
    change_report(report, change)
    code, told = audit(capsys, file, "--report", report)

    assert code == 1
    assert expected in different(told)


def test_each_difference_has_both_figures(file, capsys):
    report = saved_report(file, capsys)
    change_report(report, lambda data: data["headline"].update(energy_j=1.0))
    assert main(["audit", str(file), "--report", str(report)]) == 1
    text = capsys.readouterr().out

    (line,) = [line for line in text.splitlines() if "headline.energy_j" in line]
    energy_j = summarize(load(file))["headline"]["energy_j"]
    assert line.split()[2:] == ["1", f"{energy_j:.12g}", "DIFFERENT"]
    assert "1 different" in text


def test_other_factors_give_other_figures_and_are_no_difference(file, capsys):
    report = saved_report(file, capsys, "--region", "DE", "--pue", "1.2")
    words = ("--report", report, "--region", "FR", "--pue", "1.5")
    code, told = audit(capsys, file, *words)

    assert code == 0
    assert told["footprint"]["pue"] == 1.5
    assert told["footprint"]["region"] == "France"
    assert told["footprint"]["kwh"] == pytest.approx(1.5 * told["headline"]["energy_j"] / 3.6e6)


def test_a_calibration_is_shown_and_is_no_difference(file, capsys, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(proof_dict({"terms": [0.0, 1.1]})))
    report = saved_report(file, capsys)
    code, told = audit(capsys, file, "--report", report, "--calibration", path)

    raw_j = json.loads(report.read_text())["headline"]["energy_j"]
    assert code == 0
    assert told["calibrated"]["energy_j"] == pytest.approx(1.1 * raw_j)
    assert any(check["id"] == "Q13" for check in told["verdict"]["checks"])


def test_a_run_without_energy_is_audited_too(tmp_path, capsys):
    code, told = audit(capsys, write(tmp_path, {}, events=("faults",)), "--region", "DE")
    assert (code, told["headline"], told["footprint"]) == (0, None, None)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "{}", '{"schema": 2, "sources": [], "verdict": {}}', "[" * 9999]
)
def test_what_is_no_report_is_an_error(file, capsys, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert main(["audit", str(file), "--report", str(path)]) == 1
    assert "pactmeter: " in capsys.readouterr().err


def test_a_report_or_run_that_is_not_there_is_an_error(file, capsys, tmp_path):
    assert main(["audit", str(file), "--report", str(tmp_path / "none.json")]) == 1
    assert main(["audit", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err.count("pactmeter: ") == 2


scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4)
keys = st.sampled_from(
    (
        *("schema", "sources", "verdict", "headline", "counters", "footprint", "regions", "pue"),
        *("checks", "id", "channel", "name", "intensity_g_per_kwh", "energy_j", "level"),
    )
)
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(keys, t, max_size=4), max_leaves=12
)


@settings(max_examples=60)
@given(st.dictionaries(keys, trees, max_size=6))
def test_whatever_a_saved_report_holds_it_is_compared_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "reports"
    if not folder.exists():
        folder.mkdir()
        write(folder, {DC: 300.0}, rows=12)
    path = folder / "saved.json"
    path.write_text(json.dumps({"schema": 1, "sources": [], "verdict": {}, **data}))
    code = main(["audit", str(folder / "PACT.csv"), "--report", str(path)])
    assert code == 1  # a report without the run's source differs, another is refused


def test_a_torn_report_is_an_error(tmp_path):
    (tmp_path / "saved.json").write_text("{")
    with pytest.raises(FileError):
        read_report(tmp_path / "saved.json")


@given(trees)
def test_a_figure_is_always_the_same_as_itself(data):
    for name, value in figures(data):
        if value is not None and value == value:
            assert compared(name, value, value).same


@given(st.floats(-1e300, 1e300), st.floats(-9e-7, 9e-7))
def test_figures_are_the_same_up_to_their_last_place(value, off):
    assert compared("x", value, value * (1 + off)).same
    assert compared("x", value, value + 1.0 + abs(value)).same is False


def test_what_only_one_of_two_tells_is_neither_same_nor_different(file):
    file.with_name("PACT.counters.csv").unlink()
    told = {item.name: item.same for item in audit_files(load(file))}
    assert told["faults: counted"] is None
    assert told["cycles: counted"] is None


def test_a_report_with_windows_and_a_baseline_is_computed_again(tmp_path, capsys):
    run, rest = tmp_path / "run", tmp_path / "rest"
    run.mkdir()
    rest.mkdir()
    about = {"baseline": {"busy_pct": 1.0, "gpu_context": "none"}}
    file = write(run, {DC: 400.0})
    idle = write(rest, {DC: 80.0}, more=about)
    words = ("--baseline", str(idle), "--window", "5:25", "--aperiodic", "--json")
    assert main(["report", str(file), *words]) == 0
    saved = tmp_path / "saved.json"
    saved.write_text(capsys.readouterr().out)
    code, told = audit(capsys, file, "--report", saved)
    assert code == 0, [item for item in told["items"] if item["same"] is False]
    names = {item["name"] for item in told["items"]}
    assert any("baseline.net" in name for name in names)
    assert any("windows[5:25]" in name for name in names)
