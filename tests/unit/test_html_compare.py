"""The pages of comparisons: every figure with its interval, no name out of its place."""

import hashlib
import html
import random
import re
from dataclasses import replace

import pytest

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.variants import compare_runs
from pactmeter.cli.main import main
from pactmeter.report.agreement import with_interval
from pactmeter.report.html.compare import sets_sections
from pactmeter.report.html.forest import Interval, forest
from pactmeter.report.html.page import sets_page, sources_page
from pactmeter.report.variants import answer, further
from support.written import AC, DC, GPU, PACKAGE, WALL, written

HOSTILE = "<script>alert(1)</script>"


def runs(tmp_path, name, watts):
    found = []
    for k, mean_w in enumerate(watts):
        folder = tmp_path / f"{name}{k}"
        folder.mkdir()
        found.append(written(folder, {DC: mean_w}))
    return found


def paths_of(found):
    return [path for run in found for path in run.files.all]


@pytest.fixture
def sets(tmp_path):
    base = runs(tmp_path, "a", [100.0, 101.0, 99.0, 100.5, 99.5])
    return base, runs(tmp_path, "b", [80.0, 81.0, 79.0, 80.5, 79.5])


@pytest.fixture
def compared(sets):
    return compare_runs(sets[0], {"B": sets[1]})


def test_a_comparison_tells_ratio_and_verdict(compared):
    content = sets_page(compared, [])

    assert "0.8 [" in content
    assert compared.variants[0].figures["energy_j"].verdict in content
    assert content.count("PACT.csv") >= 10


def test_a_comparison_says_all_that_its_text_says(tmp_path):
    means = {"a": [100.0, 101.0, 99.0, 100.5], "b": [80.0, 82.0, 79.0, 80.5]}
    means["c"] = [97.0, 103.0, 99.5, 100.0]
    base, *rest = (runs(tmp_path, name, watts) for name, watts in means.items())
    asked = {"margin_pct": 5.0, "tests": ("mann-whitney", "permutation")}
    found = compare_runs(base, dict(zip(("B1", "B2"), rest, strict=True)), **asked)

    content = html.unescape(sets_page(found, [])).replace("±", "+/-")

    for variant in found.variants:
        energy = variant.figures["energy_j"]
        assert answer(variant.name, energy) in content
        for line in further(energy):
            assert line in content
        assert f"p is that of {energy.t_test.method}" in content
    for words in ("(of 2)", "effect size", "TOST", "Mann-Whitney p", "permutation test p"):
        assert words in content
    assert "half of its 95 % interval" in content
    assert "approximate: " in content


def test_the_files_of_a_comparison_are_told_apart_with_their_hashes(sets, compared):
    content = sets_page(compared, paths_of([*sets[0], *sets[1]]))

    for run in (*sets[0], *sets[1]):
        for path in run.files.all:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            row = f"<bdi>{path.parent.name}/{path.name}</bdi></th>"
            assert re.search(f"{re.escape(row)}<td[^>]*>[^<]*</td><td><code>{digest}", content)


def test_a_comparison_needs_no_script(compared):
    content = sets_page(compared, [])

    assert "<script" not in content
    assert "script-src 'none'" in content
    assert '<svg class="forest"' in content


def test_a_hostile_name_of_a_set_stays_text(compared):
    variants = (replace(compared.variants[0], name=HOSTILE),)
    hostile = replace(compared, label=HOSTILE, variants=variants, notes=(HOSTILE,))

    content = "".join(sets_sections(hostile, {}))

    assert "<script" not in content
    assert "&lt;script&gt;" in content


@pytest.fixture
def several(tmp_path):
    watts = [200.0 + 40 * (k % 20 < 10) for k in range(600)]
    over = [w / 3 if k < 570 else 1.5 * w for k, w in enumerate(watts)]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    noise = random.Random(1)
    return [
        written(
            folder,
            {
                DC: watts,
                PACKAGE: over,
                GPU: 20.0,
                WALL: [1.1 * w + noise.gauss(0, 1) for w in watts],
                AC: [1.12 * w for w in watts],
            },
            rows=600,
        )
        for folder in folders
    ]


def test_sources_and_their_remainder_are_told(several):
    content = sources_page(compare_sources(several), [])

    assert "Uncovered remainder" in content
    assert re.search(r"<caption>[^<]* less [^<]*, by load", content)


def test_the_sources_are_told_as_finely_as_in_the_text(several):
    found = compare_sources(several)

    content = html.unescape(sources_page(found, []))

    (pair,) = [each for each in found.pairs if each.source == AC.name]
    assert with_interval(pair.line.gain, "", ".4f") in content
    assert with_interval(pair.bias.total_pct, "%") in content
    assert with_interval(pair.limits_pct.lower, "%") in content
    assert f"R2 {pair.scores.r2_pct / 100:.4f}" in content
    assert "Bias of the total" in content
    assert "Bias of the spans" in content
    (left,) = [each for each in found.remainders if each.whole == DC.name]
    assert left.violations
    assert not left.violated
    assert f"In {left.violations} spans the parts exceed the whole beyond U." in content
    assert f", {left.share_pct:.1f} % of {left.whole}" in content


def test_one_run_is_one(several):
    content = sources_page(compare_sources(several[:1]), [])

    assert re.search(r"\b1 run,", content)
    assert "1 runs" not in content


def test_the_files_of_the_sources_stand_with_their_own_hashes(several, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "PACT.csv").write_text("another")

    content = sources_page(compare_sources(several), paths_of(several))

    for run in several:
        for path in run.files.all:
            assert hashlib.sha256(path.read_bytes()).hexdigest() in content
            assert f"<bdi>{path.parent.name}/{path.name}</bdi>" in content
    assert hashlib.sha256(b"another").hexdigest() not in content


def test_where_nothing_was_refused_there_is_no_empty_table(several):
    found = replace(compare_sources(several), refused=())

    assert "<caption>Not compared" not in sources_page(found, [])


def test_the_command_gives_the_page_the_files_of_its_runs(several, tmp_path, capsys):
    page = tmp_path / "page.html"

    assert main(["compare", *(str(r.files.power) for r in several), "--html", str(page)]) == 0

    content = page.read_text()
    assert hashlib.sha256(several[1].files.manifest.read_bytes()).hexdigest() in content


def test_intervals_are_drawn_with_a_zero():
    drawn = forest("title", [Interval("x", -3.0, -2.0, -1.0), Interval("y", 1.0, 2.0, 3.0)], "%")

    assert drawn.count("<circle") == 2
    assert ">0 %<" in drawn


@pytest.mark.parametrize("found", [[], [Interval("x", float("nan"), 1.0, 2.0)]])
def test_nothing_is_drawn_of_nothing(found):
    assert forest("title", found, "%") == ""


def test_intervals_of_no_width_are_drawn():
    assert "<circle" in forest("title", [Interval("x", 0.0, 0.0, 0.0)], "%")
