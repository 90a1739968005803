"""The pages of comparisons: every figure with its interval, no name out of its place."""

import re

import pytest

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.variants import compare_runs
from pactmeter.report.html.compare import sets_sections
from pactmeter.report.html.forest import Interval, forest
from pactmeter.report.html.page import sets_page, sources_page
from support.written import DC, GPU, PACKAGE, WALL, written

HOSTILE = "<script>alert(1)</script>"


def runs(tmp_path, name, watts):
    found = []
    for k, mean_w in enumerate(watts):
        folder = tmp_path / f"{name}{k}"
        folder.mkdir()
        found.append(written(folder, {DC: mean_w}))
    return found


@pytest.fixture
def compared(tmp_path):
    base = runs(tmp_path, "a", [100.0, 101.0, 99.0, 100.5, 99.5])
    return compare_runs(base, {"B": runs(tmp_path, "b", [80.0, 81.0, 79.0, 80.5, 79.5])})


def test_a_comparison_tells_ratio_and_verdict(compared):
    content = sets_page(compared)

    assert "0.8 (" in content
    assert compared.variants[0].figures["energy_j"].verdict in content
    assert content.count("PACT.csv") >= 10


def test_a_comparison_needs_no_script(compared):
    content = sets_page(compared)

    assert "<script" not in content
    assert "script-src 'none'" in content
    assert '<svg class="forest"' in content


def test_a_hostile_name_of_a_set_stays_text(compared):
    told = compared.to_dict()
    told["variants"][0]["name"] = HOSTILE
    told["notes"] = [HOSTILE]

    content = "".join(sets_sections(HOSTILE, told))

    assert "<script" not in content
    assert "&lt;script&gt;" in content


def test_sources_and_their_remainder_are_told(tmp_path):
    watts = [200.0 + 40 * (k % 20 < 10) for k in range(600)]
    run = written(
        tmp_path, {DC: watts, PACKAGE: [w / 3 for w in watts], GPU: 20.0, WALL: 260.0}, rows=600
    )

    content = sources_page(compare_sources([run]))

    assert "Uncovered remainder" in content
    assert re.search(r"<caption>[^<]* less [^<]*, by load", content)


def test_intervals_are_drawn_with_a_zero():
    drawn = forest("title", [Interval("x", -3.0, -2.0, -1.0), Interval("y", 1.0, 2.0, 3.0)], "%")

    assert drawn.count("<circle") == 2
    assert ">0 %<" in drawn


@pytest.mark.parametrize("found", [[], [Interval("x", float("nan"), 1.0, 2.0)]])
def test_nothing_is_drawn_of_nothing(found):
    assert forest("title", found, "%") == ""


def test_intervals_of_no_width_are_drawn():
    assert "<circle" in forest("title", [Interval("x", 0.0, 0.0, 0.0)], "%")
