"""The timing rules of EEHPC and MLPerf, from the same figures as the checks; never conformance."""

import re

import pytest

from pactmeter.analysis.checks.check import Beside, Case, Idle
from pactmeter.analysis.rules import rules
from pactmeter.analysis.summary import summarize
from pactmeter.cli.main import main
from support.written import DC, GPU, judged, written

LEVELS = ("EEHPC level 1", "EEHPC level 2", "EEHPC level 3", "MLPerf Training")
IDLE = (Idle(60.0, 60.0), Idle(60.5, 60.0))


@pytest.fixture
def timing(tmp_path):
    """Return by regime whether the timing rules are met by a run."""

    def judge(sources, *, idle=(), **options):
        run = written(tmp_path, sources, **options)
        found = rules(Case(run, *judged(run), Beside(idle=idle)))
        return {regime["regime"]: regime["timing"] == "met" for regime in found}

    return judge


@pytest.mark.parametrize(
    ("sources", "options", "met"),
    [
        ({DC: 300.0}, {}, (True, False, False, True)),
        ({DC: 300.0}, {"idle": IDLE}, (True, True, False, True)),
        ({GPU: 300.0}, {"idle": IDLE}, (True, True, True, True)),  # a counter integrates
        ({DC: 300.0}, {"rows": 59, "polls": 10}, (False, False, False, True)),
        ({DC: 300.0}, {"rows": 59, "polls": 1}, (False, False, False, False)),
        ({DC: 300.0}, {"rows": 40, "row_s": 2.0, "polls": 1}, (False, False, False, False)),
        ({DC: [None] * 2 + [300.0] * 98}, {"rows": 100}, (False, False, False, False)),
        (
            {GPU: [None] * 8 + [300.0] * 92},
            {"rows": 100, "idle": IDLE},
            (False, False, True, False),
        ),
        ({GPU: [None] * 11 + [300.0] * 89}, {"rows": 100, "idle": IDLE}, (False,) * 4),
    ],
)
def test_timing_rules_are_met_or_not(timing, sources, options, met):
    assert timing(sources, **options) == dict(zip(LEVELS, met, strict=True))


def test_a_regime_is_met_only_if_each_of_its_items_is(tmp_path):
    for regime in summarize(written(tmp_path, {DC: 300.0}))["rules"]:
        met = all(item["met"] for item in regime["items"])
        assert regime["timing"] == ("met" if met else "not met")
        assert regime["accuracy"] == "not validated"


def test_the_report_prints_rules_and_budget_where_asked_for_and_never_says_conformant(
    tmp_path, capsys
):
    file = str(written(tmp_path, {DC: 300.0, GPU: 100.0}).files.power)
    assert main(["report", file]) == 0
    short = capsys.readouterr().out
    assert main(["report", file, "--rules", "--budget"]) == 0
    text = capsys.readouterr().out

    assert text.startswith(short.rstrip("\n"))
    assert "EEHPC level 1: timing rules met\n  accuracy not validated" in text
    assert "EEHPC level 2: timing rules not met" in text
    assert re.search(r"psu.dc_output: U \d+ J \(k=2\), of k=1 items:\n  sensor +\d+ J", text)
    assert "gpu0: U" in text
    assert "conform" not in text


def test_a_report_without_a_figure_says_that_there_is_nothing_to_judge(tmp_path, capsys):
    file = str(written(tmp_path, {}).files.power)
    assert main(["report", file, "--rules", "--budget"]) == 0
    text = capsys.readouterr().out
    assert "rules     none" in text
    assert "budget    none" in text
