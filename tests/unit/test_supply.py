"""A supply's own curve on a run: AC joules of each row, with the curve's error and the sensor's."""

import json

import pytest

from pactmeter.analysis.calibration.psu import Point, fit_supply
from pactmeter.analysis.energy import energies
from pactmeter.analysis.supply import ac_input
from pactmeter.cli import main
from pactmeter.errors import ConfigError
from pactmeter.model.channel import Origin
from support.written import DC, PACKAGE, write, written

RATED_W = 1000.0


def lost_w(dc_w):
    """What the supply of these tests turns into heat."""
    return 12.0 + 0.03 * dc_w + 6e-5 * dc_w**2


@pytest.fixture
def curve():
    points = [Point(dc_w, dc_w + lost_w(dc_w), 230.0) for dc_w in (50, 100, 200, 500, 1000)]
    return fit_supply("bench", RATED_W, points, source="test", accuracy_pct=1.0)


def test_the_true_ac_joules_come_out_row_by_row(curve, tmp_path):
    powers = [100.0, 700.0] * 30
    found = ac_input(written(tmp_path, {DC: powers}), curve)
    true_j = sum(power + lost_w(power) for power in powers)
    assert found.energy_j == pytest.approx(true_j, rel=1e-3)
    assert found.origin is Origin.ESTIMATED
    mean_w = sum(powers) / len(powers)
    # one figure for the mean power would not do: the curve bends
    assert abs(mean_w + lost_w(mean_w) - true_j / 60) > 3 * abs(found.energy_j - true_j) / 60


def test_u_holds_the_curve_and_what_the_dc_power_is_unsure_of(curve, tmp_path):
    run = written(tmp_path, {DC: 400.0})
    found, (dc,) = ac_input(run, curve), energies(run)
    assert found.u_j > dc.u_j
    assert {"curve", "sensor"} <= {item.name for item in found.budget}


def test_below_a_tenth_of_the_rating_u_is_10_percent_at_least(tmp_path):
    points = [Point(w, w + lost_w(w), 230.0) for w in (200, 500, 1000)]
    poor = fit_supply("bench", RATED_W, points, source="test", accuracy_pct=1.0)
    found = ac_input(written(tmp_path, {DC: 40.0}), poor)
    assert found.u_j >= 0.1 * found.energy_j
    assert "100 % of it extrapolated" in found.label


def test_a_run_without_that_supply_is_refused(curve, tmp_path):
    with pytest.raises(ConfigError, match=r"no psu\.dc_output"):
        ac_input(written(tmp_path, {PACKAGE: 40.0}), curve)


def test_a_curve_is_made_once_shown_and_applied(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["curve", "bench", "--rated", "1000"]
    for load, share in ((10, 0.85), (20, 0.9), (50, 0.92), (100, 0.9)):
        words += ["--efficiency", f"{load}:{share}"]
    assert main.main(words) == 0
    assert "5 %     50.0 W" in capsys.readouterr().out
    assert main.main(words) == 1
    assert "exists and is kept" in capsys.readouterr().err
    file = write(tmp_path, {DC: 500.0})
    assert main.main(["report", str(file), "--curve", "psu-curve.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["curve"]
    assert told["energy_j"] == pytest.approx(60 * 500 / 0.92, rel=0.003)
    assert (told["domain"], told["origin"]) == ("ac", "estimated")


@pytest.mark.parametrize("point", ["1", "a:b", "100:90"])
def test_what_is_no_point_is_refused(tmp_path, capsys, monkeypatch, point):
    monkeypatch.chdir(tmp_path)
    words = ["curve", "x", "--rated", "500", "--point", "50:60", "--point", "200:230"]
    assert main.main([*words, "--point", point]) in {1, 2}
    assert "Traceback" not in capsys.readouterr().err
