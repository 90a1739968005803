"""The verdict: the level follows the uncertainty, the checks and the calibration, never better."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, WARN, Check
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.analysis.verdict import level
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.report.text import render
from support.written import DC, GPU, PACKAGE, proof_dict, written

PROVED = Check("Q13", PASS, None, "validated")
UNPROVED = Check("Q13", NOT_CHECKED, None, "not calibrated")
ORDER = {"1%": 1, "2%": 2, "5%": 5, "none": 100}

outcomes = st.lists(st.sampled_from([PASS, WARN, FAIL, NOT_CHECKED]), max_size=8)


def some(words, proof):
    return [proof, *(Check(f"Q{n + 20}", word, None, "") for n, word in enumerate(words))]


@pytest.mark.parametrize(
    ("relative_pct", "expected"),
    [(0.2, "1%"), (1.4, "1%"), (1.6, "2%"), (2.4, "2%"), (2.6, "5%"), (5.4, "5%"), (5.6, "none")],
)
def test_the_level_is_the_smallest_that_is_not_below_the_uncertainty(relative_pct, expected):
    assert level(relative_pct, [PROVED]) == expected


def test_an_unknown_uncertainty_has_no_level():
    assert level(None, [PROVED]) == "none"


@given(st.floats(0, 20), outcomes)
def test_without_a_calibration_a_level_is_never_better_than_5_percent(relative_pct, words):
    assert level(relative_pct, some(words, UNPROVED)) in {"5%", "none"}


@given(st.floats(0, 20), outcomes)
def test_a_warning_caps_the_level_and_a_failure_leaves_none(relative_pct, words):
    found = level(relative_pct, some(words, PROVED))
    if FAIL in words:
        assert found == "none"
    elif WARN in words:
        assert found in {"5%", "none"}
    else:
        assert found == level(relative_pct, [PROVED])


@given(st.floats(0, 20), outcomes, st.sampled_from([PASS, NOT_CHECKED]))
def test_no_check_that_passes_makes_a_level_better(relative_pct, words, word):
    before = level(relative_pct, some(words, UNPROVED))
    assert ORDER[level(relative_pct, some([*words, word], UNPROVED))] >= ORDER[before]


def test_the_verdict_lists_what_was_checked_and_what_was_not(tmp_path):
    verdict = summarize(written(tmp_path, {DC: 400.0}))["verdict"]

    assert {check["outcome"] for check in verdict["checks"]} == {"pass"}
    assert {check["outcome"] for check in verdict["not_checked"]} == {"not checked"}
    ids = {check["id"] for check in (*verdict["checks"], *verdict["not_checked"])}
    assert ids == {f"Q{n}" for n in range(1, 18)}
    for check in (*verdict["checks"], *verdict["not_checked"]):
        assert check["rule"]
        assert check["text"]


def test_what_is_not_passed_says_what_to_do(tmp_path):
    run = written(tmp_path, {DC: [400.0, None] * 30}, more={"sampler": {"late_rows": 9}})
    checks = summarize(run)["verdict"]["checks"]

    told = {check["id"]: check for check in checks if check["outcome"] in {"warn", "fail"}}
    assert {"Q1", "Q2", "Q15"} <= set(told)
    assert all(check["todo"] for check in told.values())
    assert all(not check["todo"] for check in checks if check["outcome"] == "pass")


def test_a_run_without_a_headline_has_no_level_and_says_why(tmp_path):
    summary = summarize(written(tmp_path, {}))

    assert summary["verdict"]["level"] == "none"
    assert "no source was found" in summary["verdict"]["checks"][0]["text"]
    assert summary["rules"] == []
    assert summary["budget"] == []


def test_the_budget_of_a_sum_stands_before_those_of_its_parts(tmp_path):
    summary = summarize(written(tmp_path, {PACKAGE: 100.0, GPU: 300.0}))

    assert [one["channel"] for one in summary["budget"]] == ["cpu+gpu", "cpu.package0", "gpu0"]
    for one in summary["budget"]:
        sizes = [item["u_j"] for item in one["items"]]
        assert sizes == sorted(sizes, reverse=True)
        assert one["u_j"] >= sizes[0]


def calibration(folder, **changes):
    path = folder / "calibration.json"
    path.write_text(json.dumps(proof_dict(**changes)))
    return path


def steady(folder):
    """A run that leaves room for a level of 1 %."""
    about = {"psu.dc_output": {"roughness": {"pairs": 6000, "square_w2": 600.0}}}
    quiet = [400.0 + row % 3 for row in range(600)]
    return written(folder, {DC: quiet}, rows=600, more={"about": about})


def test_a_calibration_that_is_named_changes_the_figure_and_lets_the_level_rise(tmp_path):
    run = steady(tmp_path)
    before = summarize(run)
    after = summarize(run, calibration=calibration(tmp_path))

    assert (before["verdict"]["level"], after["verdict"]["level"]) == ("5%", "1%")
    raw_j = before["headline"]["energy_j"]
    told = after["calibrated"]
    assert told["energy_j"] == pytest.approx(1.02 * raw_j - 2.0 * 600)
    assert told["u_j"] < before["headline"]["u_j"]
    assert (told["channel"], told["domain"], told["origin"]) == ("machine.model", "ac", "modelled")
    assert (after["headline"], after["sources"]) == (before["headline"], before["sources"])
    assert "WT310E on 2026-01-10" in render(run, after)
    assert {regime["accuracy"] for regime in after["rules"]} == {
        "validated against WT310E on 2026-01-10"
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"made": "2024-01-10", "expires": "2025-01-09"}, "out of date"),
        ({"expires": "2026-02-01"}, "out of date"),
        ({"made": "2026-03-01"}, "out of date"),
        ({"line": {"from_w": 500.0}}, "extrapolated: 401 W"),
    ],
)
def test_a_calibration_that_does_not_hold_for_the_run_is_warned_of(tmp_path, changes, told):
    verdict = summarize(steady(tmp_path), calibration=calibration(tmp_path, **changes))["verdict"]

    (check,) = [check for check in verdict["checks"] if check["id"] == "Q13"]
    assert check["outcome"] == "warn"
    assert told in check["text"]
    assert verdict["level"] == "5%"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"line": {"terms": [0.0, 0.0]}},
        {"line": {"terms": [0.0, float("nan")]}},
        {"line": {"low_pct": 1.0}},
        {"line": {"terms": ["x", 1.0]}},
        {"line": {"from_w": 900.0}},
        {"made": "yesterday"},
        {"made": None},
        {"line": None},
        {"kind": "another"},
    ],
)
def test_what_is_no_calibration_is_an_error(tmp_path, changes):
    with pytest.raises(FileError):
        summarize(steady(tmp_path), calibration=calibration(tmp_path, **changes))


def test_a_calibration_of_another_host_is_an_error(tmp_path):
    path = calibration(tmp_path, host="elsewhere")
    with pytest.raises(ConfigError, match="a calibration of elsewhere, the run is of here"):
        summarize(steady(tmp_path), calibration=path)


def test_a_calibration_of_another_channel_is_an_error_and_so_is_one_without_a_figure(tmp_path):
    path = calibration(tmp_path)
    with pytest.raises(ConfigError, match=r"calibration of psu\.dc_output, the figure is"):
        summarize(written(tmp_path, {GPU: 100.0}), calibration=path)
    with pytest.raises(PactError, match="no measured energy"):
        summarize(written(tmp_path, {}), calibration=path)


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "line", "terms", "from_w", "made", "host"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_like, st.booleans())
def test_whatever_a_calibration_file_holds_there_is_a_clear_error(tmp_path_factory, data, is_near):
    folder = tmp_path_factory.getbasetemp() / "calibrations"
    folder.mkdir(exist_ok=True)
    path = folder / "calibration.json"
    if is_near:
        data = {**proof_dict(), "line": data}
    path.write_text(json.dumps(data))
    if not (folder / "PACT.csv").exists():
        written(folder, {DC: 100.0}, rows=12)
    with pytest.raises(PactError):
        summarize(load(folder / "PACT.csv"), calibration=path)
