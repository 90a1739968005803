"""`pactmeter compare`: the planted ratio comes out, and unlike things are refused."""

import json
import random

import pytest

from pactmeter.analysis.run import load
from pactmeter.analysis.variants import compare_runs
from pactmeter.cli import main
from pactmeter.errors import ConfigError, PactError
from pactmeter.report.variants import render
from support.written import AC, DC, GPU, PACKAGE, UTC_S, write

DRAM_FREE = {DC: 400.0, PACKAGE: 120.0, GPU: 200.0}


@pytest.fixture
def runs(tmp_path):
    """Write runs of one source around a mean power, each in a folder of its own."""

    def make(name, power_w, count=5, *, source=DC, scatter=0.01, rows=60, **options):
        chance = random.Random(name)
        files = []
        for number in range(count):
            folder = tmp_path / f"{name}{number}"
            folder.mkdir()
            watts = power_w * chance.gauss(1, scatter)
            files.append(write(folder, {source: watts}, rows=rows, **options))
        return files

    return make


def compared(base, *variants, **options):
    named = {f"B{k + 1}": [load(f) for f in files] for k, files in enumerate(variants)}
    return compare_runs([load(file) for file in base], named, **options)


def told(capsys, *words):
    code = main.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_planted_ratio_lies_in_its_interval_and_is_told_in_words(runs):
    found = compared(runs("a", 400.0), runs("b", 360.0))
    energy = found.variants[0].figures["energy_j"]
    assert energy.differ
    assert energy.ratio.low < 0.9 < energy.ratio.high
    assert "B1 uses 10." in render(found) or "B1 uses 9." in render(found)
    assert "less energy" in render(found)


def test_equal_sets_are_not_called_different_and_within_a_margin_the_same(runs):
    found = compared(runs("a", 400.0), runs("b", 400.0), margin_pct=5.0)
    energy = found.variants[0].figures["energy_j"]
    assert not energy.differ
    assert energy.equivalence.equivalent
    assert "the same within 5 %" in render(found)


def test_time_and_power_are_compared_beside_energy(runs):
    found = compared(runs("a", 400.0, rows=60), runs("b", 400.0, rows=80))
    figures = found.variants[0].figures
    assert figures["duration_s"].difference.value == pytest.approx(20.0)
    assert figures["mean_w"].ratio.value == pytest.approx(1.0, abs=0.02)


def test_many_variants_are_corrected_for_their_number(runs):
    found = compared(runs("a", 400.0), runs("b", 390.0), runs("c", 385.0), runs("d", 400.0))
    assert {v.figures["energy_j"].comparisons for v in found.variants} == {3}


def test_the_sensors_own_error_cancels_on_one_machine_and_not_between_two(runs):
    here = runs("a", 400.0)
    there = runs("b", 380.0, more={"host": {"name": "there"}})
    one, two = compared(here, runs("c", 380.0)), compared(here, there)
    assert one.variants[0].u_ratio_pct == 0
    assert two.variants[0].u_ratio_pct > 5
    assert "several machines" in render(two)
    assert "here and there" in two.first_line


def marked(**marks):
    return {"config": {"measure_period_s": 1.0, "marks": marks}}


def test_runs_that_are_not_alike_in_a_mark_are_told(runs):
    real = runs("a", 400.0, more=marked(data="real"))
    made_up = runs("b", 360.0, more=marked(data="made up", weights="random"))

    found = compared(real, made_up)

    assert found.notes[:2] == (
        "the runs are not alike in data (made up, real): no like is compared",
        "the runs are not alike in weights (not told, random): no like is compared",
    )
    assert found.notes[0] in render(found)


def test_what_all_runs_are_marked_with_is_told_as_that(runs):
    sets = [runs(name, 400.0, more=marked(data="made up")) for name in "ab"]

    assert compared(*sets).notes[0] == "all runs are marked data: made up"
    unmarked = compared(*(runs(name, 400.0) for name in "cd"))
    assert not any("mark" in note or "alike" in note for note in unmarked.notes)


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (GPU, {}, "different sources"),
        (AC, {}, "no measured energy"),
    ],
)
def test_what_is_not_one_measurand_is_refused(runs, source, options, said):
    with pytest.raises(PactError, match=said):
        compared(runs("a", 400.0), runs("b", 400.0, source=source, **options))


def test_emulated_and_real_runs_are_never_set_side_by_side(runs):
    emulated = DC.__class__.from_dict({**DC.to_dict(), "synthetic": "emulated"})
    with pytest.raises(ConfigError, match="different marks: emulated, real"):
        compared(runs("a", 400.0), runs("b", 400.0, source=emulated))


def test_a_run_with_gaps_has_no_energy_to_be_compared(runs, tmp_path):
    (tmp_path / "gappy").mkdir()
    gappy = write(tmp_path / "gappy", {DC: [400.0] * 50 + [None] * 10})
    with pytest.raises(PactError, match=r"83\.3 % of psu\.dc_output is covered"):
        compared(runs("a", 400.0), [*runs("b", 400.0), gappy])


def test_too_few_runs_say_how_many_are_needed(runs, capsys):
    code, _, err = told(capsys, "compare", *runs("a", 400.0, 1), "--vs", *runs("b", 380.0, 3))
    assert code == 1
    assert "at least 2" in err


def test_a_run_is_not_counted_twice(runs):
    files = runs("a", 400.0)
    with pytest.raises(ConfigError, match="twice"):
        compared(files, [*files[:1], *runs("b", 380.0)])


def test_the_command_prints_sets_as_text_and_strict_json(runs, capsys):
    words = ("compare", *runs("a", 400.0), "--vs", *runs("b", 360.0), "--test", "mann-whitney")
    code, out, _ = told(capsys, *words)
    assert code == 0
    assert "Cliff's delta" in out
    code, out, _ = told(capsys, *words, "--json")
    data = json.loads(out, parse_constant=pytest.fail)
    assert data["schema"] == 1
    assert data["variants"][0]["figures"]["energy_j"]["differ"] is True


def test_sources_within_a_run_give_remainder_and_estimates(tmp_path, capsys):
    file = write(tmp_path, DRAM_FREE, rows=120)
    code, out, _ = told(capsys, "compare", file)
    assert code == 0
    assert "psu.dc_output less cpu.package0 + gpu0: 9600.0 J" in out
    assert "20.0 % of psu.dc_output" in out
    assert "CodeCarbon" in out
    code, out, _ = told(capsys, "compare", file, "--json")
    (remainder,) = json.loads(out, parse_constant=pytest.fail)["remainders"]
    assert remainder["energy_j"] == pytest.approx(9600.0)


def test_a_meters_own_file_is_a_source_beside_the_estimate(tmp_path, capsys):
    chance = random.Random(1)
    powers = [300.0 + 100 * (k // 10 % 2) for k in range(400)]
    file = write(
        tmp_path,
        {DC: [0.9 * p for p in powers], AC: powers},
        rows=400,
        more={"zero_monotonic_s": 100.0},
    )
    lines = [
        f"{UTC_S + k + 0.5},{p * 1.04 * chance.gauss(1, 0.001):.1f}" for k, p in enumerate(powers)
    ]
    (tmp_path / "meter.csv").write_text("\n".join(["when,P [W]", *lines]) + "\n")
    words = ("--reference", tmp_path / "meter.csv", "--time-column", "when")
    code, out, err = told(capsys, "compare", file, *words, "--power-column", "P [W]", "--json")
    assert code == 0, err
    (pair,) = json.loads(out)["pairs"]
    assert (pair["reference"], pair["source"]) == ("wall.reference", "psu.ac_input")
    low, high = pair["bias"]["total_pct"]["interval"]
    assert low < 100 * (1 / 1.04 - 1) < high


def test_a_meters_own_file_is_the_headline_of_a_report(tmp_path, capsys):
    file = write(tmp_path, {DC: 300.0}, more={"zero_monotonic_s": 100.0})
    lines = [f"{UTC_S + k},{345.0}" for k in range(-2, 63)]
    (tmp_path / "meter.csv").write_text("\n".join(["when,P [W]", *lines]) + "\n")
    words = ("--reference", tmp_path / "meter.csv", "--time-column", "when", "--accuracy", "1")
    code, out, err = told(capsys, "report", file, *words, "--power-column", "P [W]", "--json")
    assert code == 0, err
    first = json.loads(out)["headline"]
    assert (first["channel"], first["domain"]) == ("wall.reference", "ac")
    assert first["energy_j"] == pytest.approx(60 * 345.0)
    assert first["u_j"] < 0.03 * first["energy_j"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--margin", "2"), "--vs"),
        (("--vs", "x.csv", "--span", "5"), "leave --vs out"),
        (("--channel", "psu.dc_outpu"), "psu.dc_output"),
        (("--lag", "nowhere.json"), "nowhere.json"),
        (("--span", "0"), "above zero"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_what_to_do(tmp_path, capsys, words, said):
    code, out, err = told(capsys, "compare", write(tmp_path, DRAM_FREE), *words)
    assert code in {1, 2}
    assert not out
    assert said in err
    assert "fix:" in err
