"""A device that gave no reading at all: what adds up to a whole says so, and is compared with none.

The others of its kind still tell what they saw: that is less than the machine drew.
"""

import pytest

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.baseline import Baseline, subtract
from pactmeter.analysis.checks.calibrated import calibrated
from pactmeter.analysis.comparable import comparable
from pactmeter.analysis.energy import energies
from pactmeter.analysis.headline import headline
from pactmeter.analysis.summary import summarize
from pactmeter.analysis.variants import compare_runs
from pactmeter.errors import ConfigError, PactError
from pactmeter.export import hdf5, latex
from pactmeter.export.figures import figures
from pactmeter.model.channel import WALL_REFERENCE, Domain, Origin
from pactmeter.report.text import render
from support.written import DC, GPU, PACKAGE, WALL, counter, gauge, written

OTHER_DC = gauge("psu1.dc_output", Domain.DC)
OTHER_WALL = gauge("wall.plug1", Domain.AC)
SILENT = [None] * 60


@pytest.fixture
def run(tmp_path):
    """A run of two supplies, one of which gave no reading."""
    return written(tmp_path, {DC: 100.0, OTHER_DC: SILENT, PACKAGE: 40.0})


def test_the_sum_is_what_was_read_and_its_mean_and_uncertainty_are_unknown(run):
    first = headline(energies(run))

    assert first.energy_j == pytest.approx(6000.0)
    assert first.label.endswith("2 devices (psu1.dc_output gave no reading)")
    assert first.coverage == pytest.approx(0.5)
    assert (first.mean_w, first.u_j, first.u_mean_w) == (None, None, None)


@pytest.mark.parametrize("partly", [[50.0] * 2 + [None] * 58, [50.0] * 58 + [None] * 2])
def test_a_device_with_some_readings_is_not_silent(tmp_path, partly):
    first = headline(energies(written(tmp_path, {DC: 100.0, OTHER_DC: partly})))

    assert first.silent == ()
    assert first.mean_w == pytest.approx(150.0)
    assert first.u_j is not None


def test_of_many_cards_one_silent_card_is_enough(tmp_path):
    cards = {counter(f"gpu{k}", Domain.GPU): 300.0 for k in range(31)}
    run = written(tmp_path, {PACKAGE: 50.0, **cards, counter("gpu31", Domain.GPU): SILENT})

    first = headline(energies(run))

    assert first.energy_j == pytest.approx(60 * (50 + 31 * 300))
    assert first.label.endswith("(gpu31 gave no reading)")
    assert first.coverage == pytest.approx(32 / 33)  # more than what a comparison asks for
    assert comparable(run).gaps == "gpu31 gave no reading"
    assert summarize(run)["verdict"]["checks"][0]["outcome"] == "fail"


def test_a_silent_meter_alone_of_its_kind_leaves_the_headline_to_the_next(tmp_path):
    first = headline(energies(written(tmp_path, {WALL: SILENT, DC: 100.0})))
    assert (first.channel, first.silent) == ("psu.dc_output", ())


def test_the_report_and_its_verdict_name_it(run):
    summary = summarize(run)

    assert summary["verdict"]["level"] == "none"
    check = summary["verdict"]["checks"][0]
    assert (check["id"], check["outcome"]) == ("Q1", "fail")
    assert check["text"] == "psu1.dc_output gave no reading"
    told = render(run, summary)
    assert "6000.0 J +/- unknown" in told
    assert "no accuracy claimed; psu1.dc_output gave no reading" in told


def test_no_set_of_runs_is_compared_with_it(tmp_path):
    sets = {"a": 100.0, "b": SILENT}
    made = {}
    for name, other in sets.items():
        made[name] = []
        for number in range(3):
            folder = tmp_path / f"{name}{number}"
            folder.mkdir()
            made[name].append(written(folder, {DC: 100.0 + number, OTHER_DC: other}))

    with pytest.raises(PactError, match=r"psu1\.dc_output gave no reading"):
        compare_runs(made["a"], {"B": made["b"]})


def test_two_supplies_are_not_compared_with_one(tmp_path):
    made = []
    for name, sources in (("a", {DC: 100.0, OTHER_DC: 90.0}), ("b", {DC: 100.0})):
        for number in range(2):
            folder = tmp_path / f"{name}{number}"
            folder.mkdir()
            made.append(written(folder, sources))

    with pytest.raises(ConfigError, match=r"different sources: psu\.dc_output, psu\.dc_output \+"):
        compare_runs(made[:2], {"B": made[2:]})


def test_no_remainder_is_taken_of_it_and_no_tool_held_against_it(run):
    found = compare_sources([run])

    assert found.remainders == ()
    assert any("psu1.dc_output gave no power" in refused.why for refused in found.refused)
    assert {beside.reference for beside in found.beside} == {None}


def test_a_lost_card_is_in_no_remainder(tmp_path):
    card = counter("gpu1", Domain.GPU)
    found = compare_sources(
        [written(tmp_path, {DC: 700.0, PACKAGE: 50.0, GPU: 300.0, card: SILENT})]
    )

    assert found.remainders == ()
    assert any("gpu1 gave no power" in refused.why for refused in found.refused)


def test_meters_of_two_leads_stay_two_where_one_supply_is_lost(tmp_path):
    sources = {WALL: 110.0, OTHER_WALL: 110.0, DC: 100.0, OTHER_DC: SILENT, PACKAGE: 150.0}
    found = compare_sources([written(tmp_path, sources)])

    (left,) = found.remainders
    assert (left.whole, left.parts) == ("wall.*", ("cpu.package0",))
    assert left.energy_j == pytest.approx(60 * (220 - 150))
    (beside,) = found.beside
    assert beside.reference_j == pytest.approx(60 * 220)


def test_a_meter_of_two_supplies_is_held_against_none_where_one_is_lost(tmp_path):
    ac = gauge("psu.ac_input", Domain.AC, origin=Origin.ESTIMATED)
    found = compare_sources(
        [written(tmp_path, {WALL: 220.0, DC: 100.0, OTHER_DC: SILENT, ac: 110.0})]
    )

    assert found.pairs == ()
    assert found.remainders == ()


def test_a_second_meter_of_one_supply_may_be_lost(tmp_path):
    sources = {WALL: 110.0, OTHER_WALL: SILENT, DC: 100.0}
    (left,) = compare_sources([written(tmp_path, sources)]).remainders
    assert left.energy_j == pytest.approx(600.0)


@pytest.mark.parametrize("plug", [[100.0] * 60, SILENT])
def test_a_meters_own_file_stands_for_all_that_was_metered(tmp_path, plug):
    run = written(tmp_path, {WALL: plug, gauge(WALL_REFERENCE, Domain.AC): 110.0, DC: 95.0})
    first = headline(energies(run))
    assert (first.channel, first.silent) == (WALL_REFERENCE, ())
    assert first.energy_j == pytest.approx(6600.0)


def test_a_sum_of_nothing_is_covered_as_its_least_part(tmp_path):
    cards = {GPU: 0.0, counter("gpu1", Domain.GPU): [0.0] * 6 + [None] * 54}
    assert headline(energies(written(tmp_path, cards))).coverage == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("sources", "violated"),
    [
        ({DC: 100.0, OTHER_DC: SILENT, PACKAGE: 150.0}, False),
        ({DC: 100.0, PACKAGE: 150.0}, True),
        ({WALL: 300.0, DC: 100.0, OTHER_DC: SILENT}, False),
        ({WALL: 300.0, DC: 100.0}, True),
        ({WALL: 100.0, OTHER_WALL: SILENT, DC: 100.0, OTHER_DC: 90.0}, False),
        ({WALL: 100.0, DC: 100.0, OTHER_DC: 90.0}, True),
    ],
)
def test_no_law_is_broken_by_what_was_not_read(tmp_path, sources, violated):
    checks = summarize(written(tmp_path, sources))["verdict"]["checks"]
    outcomes = {check["id"]: check["outcome"] for check in checks}
    assert (outcomes.get("Q7") == "fail") is violated


def test_no_energy_above_idle_and_no_calibration_is_made_of_it(run):
    rest = {energy.channel: energy for energy in energies(run) if energy.covered_s > 0}
    idle = Baseline(
        "idle.csv", 0.0, 60.0, 0.0, "none", {**rest, "psu1.dc_output": rest[DC.name]}, ()
    )

    told = subtract(run, [idle], [])

    assert {net["channel"] for net in told["net"]} == {"psu.dc_output", "cpu.package0"}
    assert "psu1.dc_output gave no reading: psu*.dc_output above idle is unknown" in told["notes"]
    with pytest.raises(PactError, match=r"psu1\.dc_output gave no reading"):
        calibrated(None, headline(energies(run)))


def test_what_is_exported_has_its_energy_and_no_power(run):
    told = [figure for figure in figures(run) if str(figure.source).startswith("headline")]
    assert {figure.quantity: figure.u for figure in told} == {"energy": None, "coverage": None}


def test_a_baseline_that_lacks_a_supply_tells_nothing_of_the_sum(tmp_path):
    run = written(tmp_path, {DC: 100.0, OTHER_DC: 90.0})
    rest = {energy.channel: energy for energy in energies(run) if energy.channel == DC.name}

    told = subtract(run, [Baseline("idle.csv", 0.0, 60.0, 0.0, "none", rest, ())], [])

    assert [net["channel"] for net in told["net"]] == ["psu.dc_output"]
    assert "idle.csv lacks psu1.dc_output: it does not tell psu*.dc_output at rest" in told["notes"]


def test_a_tree_of_perun_has_the_known_energy_and_no_power(tmp_path):
    h5py = pytest.importorskip("h5py")
    card = counter("gpu1", Domain.GPU)
    hdf5.write(written(tmp_path, {PACKAGE: 40.0, GPU: 300.0, card: SILENT}), tmp_path / "run.hdf5")

    with h5py.File(tmp_path / "run.hdf5") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: dict(item.attrs)}))
    sums = {name: told for name, told in found.items() if name.endswith("/GPU_ENERGY")}
    assert sums
    for name, told in sums.items():
        assert (told["value"], told["u"], told["silent"]) == (18000.0, "unknown", "gpu1")
        assert name.replace("ENERGY", "POWER") not in found
    wholes = [told for name, told in found.items() if name.endswith("metrics/ENERGY")]
    assert any(told.get("silent") == "gpu1" for told in wholes)


def test_a_long_label_is_not_cut_where_a_paper_would_miss_the_name(tmp_path):
    latex.write(
        written(tmp_path, {PACKAGE: 40.0, GPU: 300.0, counter("gpu1", Domain.GPU): SILENT}),
        tmp_path / "run.tex",
    )
    assert "(gpu1 gave no reading)}" in (tmp_path / "run.tex").read_text()


def test_a_paper_is_told_that_power_and_uncertainty_are_unknown(run, tmp_path):
    latex.write(run, tmp_path / "run.tex")
    told = (tmp_path / "run.tex").read_text()
    assert r"\renewcommand*{\PactPower}{unknown}" in told
    assert "with an unknown uncertainty" in told
    assert "psu1.dc\\_output gave no reading" in told
