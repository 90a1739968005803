"""Sources against a meter: the planted gain and offset come out, or a refusal with its reason."""

import json
import math
import random
from datetime import date

import pytest

from pactmeter.analysis.calibration.files import load_calibration, save
from pactmeter.analysis.metered import metered
from pactmeter.analysis.run import load
from pactmeter.analysis.validation import validate
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.model.channel import WALL_REFERENCE, Channel, Domain, Kind, Origin
from pactmeter.report.validation import render
from pactmeter.units import Unit

LOADS = {"idle": 80.0, "half": 240.0, "full": 420.0}
UTC_S = 1_763_700_000.0


def channel(name, domain, *, origin=Origin.MEASURED, accuracy_pct=5.0):
    return Channel(name, Unit.WATT, Kind.POWER, name, domain, origin, accuracy_pct=accuracy_pct)


METER = channel("wall.desk", Domain.AC, accuracy_pct=1.0)
SUPPLY = channel("psu.dc_output", Domain.DC)
CURVE = channel("psu.ac_input", Domain.AC, origin=Origin.ESTIMATED)


@pytest.fixture
def recorded(tmp_path):
    """Write a run of windows under three loads; each source is a line of the meter's power."""

    def write(
        sources=((SUPPLY, 0.9, -4.0),),
        *,
        windows=5,
        loads=LOADS,
        meter=METER,
        noise=0.002,
        missing=(),
        window_s=60,
    ):
        chance = random.Random(7)
        channels = [c for c, _, _ in sources] + ([meter] if meter else [])
        rows, marks, totals, now = [], [], [0.0] * len(channels), 0
        for load_name, power_w in loads.items():
            for number in range(windows):
                marks.append(f"{now},{now + window_s},validate.{load_name},{number},1")
                for _ in range(window_s):
                    now += 1
                    wall_w = power_w * (1 + 0.02 * math.sin(now))
                    powers = [
                        (wall_w * gain + offset) * (1 + chance.gauss(0, noise))
                        for _, gain, offset in sources
                    ] + ([wall_w] if meter else [])
                    cells = [now, now, 0, 1]
                    for k, each_w in enumerate(powers):
                        totals[k] += each_w
                        gone = meter and k == len(powers) - 1 and (load_name, number) in missing
                        cells += ["", "", 0] if gone else [each_w, totals[k], 10]
                    rows.append(",".join(map(str, cells)))
        header = ["due_s,read_s,late_s,window_s", *(x for c in channels for x in c.columns)]
        (tmp_path / "v.csv").write_text("\n".join([",".join(header), *rows]) + "\n")
        (tmp_path / "v.regions.csv").write_text(
            "\n".join(["start_s,end_s,name,index,tid", *marks]) + "\n"
        )
        clock = {"monotonic_s": 1000.0, "utc_s": UTC_S}
        manifest = {
            "schema": 1,
            "status": "complete",
            "calls": 1,
            "zero_monotonic_s": 1000.0,
            "host": {"name": "node7"},
            "config": {"measure_period_s": 1.0},
            "clock": {"start": clock, "end": {k: v + now for k, v in clock.items()}},
            "channels": [{**c.to_dict(), "poll_period_s": 0.1} for c in channels],
        }
        (tmp_path / "v.json").write_text(json.dumps(manifest))
        return load(tmp_path / "v.csv")

    return write


def test_the_planted_gain_and_offset_of_each_source_come_out(recorded):
    run = recorded(((SUPPLY, 0.9, -4.0), (CURVE, 1.04, 6.0)))
    found = {one.channel: one for one in validate(run).sources}
    for name, gain, offset_w in (("psu.dc_output", 0.9, -4.0), ("psu.ac_input", 1.04, 6.0)):
        line = found[name].line
        assert line.gain == pytest.approx(1 / gain, abs=line.u_gain)
        assert line.offset_w == pytest.approx(-offset_w / gain, abs=line.u_offset_w)


def test_ac_sources_agree_within_5_percent_or_not_and_dc_ones_are_not_asked(recorded):
    run = recorded(((SUPPLY, 0.9, -4.0), (CURVE, 1.04, 0.0)))
    supply, curve = validate(run).sources
    assert supply.agrees is None
    assert curve.agrees
    (curve,) = validate(recorded(((CURVE, 1.06, 0.0),))).sources
    assert curve.agrees is False


def test_the_olympic_mean_leaves_out_the_best_and_the_worst_window(recorded):
    (source,) = validate(recorded(((SUPPLY, 1.0, 0.0),), noise=0.0)).sources
    idle = source.loads[0]
    assert idle.olympic_w[0] == pytest.approx(sum(sorted(idle.source_w)[1:-1]) / 3)


def test_the_calibration_is_that_of_the_headline_and_holds_a_year(recorded, tmp_path):
    made = validate(recorded()).calibration()
    assert (made.source, made.host, made.reference) == ("psu.dc_output", "node7", "wall.desk")
    assert made.accuracy_pct == 1.0
    assert (made.expires - made.made).days == 365
    save(tmp_path / "c.json", made)
    assert load_calibration(tmp_path / "c.json") == made
    assert made.made == date(2025, 11, 21)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"windows": 4}, PactError, "4 windows of"),
        ({"loads": {"idle": 80.0, "full": 400.0}}, PactError, "idle and 2 loads"),
        (
            {"loads": {"low": 80.0, "half": 200.0, "full": 400.0}},
            PactError,
            "no window of the idle",
        ),
        ({"meter": None}, ConfigError, "no reference meter"),
        ({"missing": {("half", 2)}}, PactError, "covers 4 of 5 windows of half"),
        ({"meter": channel("wall.desk", Domain.AC, accuracy_pct=None)}, ConfigError, "accuracy"),
    ],
)
def test_what_the_rules_do_not_allow_is_refused(recorded, options, error, told):
    with pytest.raises(error, match=told) as raised:
        validate(recorded(**options))
    assert raised.value.fix


def test_short_windows_are_told(recorded):
    found = validate(recorded(window_s=20))
    assert any("rules ask for 60 s" in note for note in found.notes)


def test_the_page_names_meter_day_gain_and_verdict(recorded):
    text = render(validate(recorded(((CURVE, 1.02, 0.0),))))
    assert "VALIDATION of node7 on 2025-11-21" in text
    assert "wall.desk, +/- 1 % (k=2)" in text
    assert "under each load: met" in text
    assert json.dumps(validate(recorded()).to_dict(), allow_nan=False)


def test_an_unknown_source_is_told_with_near_names(recorded):
    with pytest.raises(ConfigError, match="outputt"):
        validate(recorded()).calibration("psu.dc_outputt")


def test_a_meters_own_file_serves_as_the_meter(recorded, tmp_path):
    run = recorded(((SUPPLY, 0.9, -4.0),), meter=None)
    lines = ["time,power [W]"]
    for second in range(-5, 15 * 60 + 5):
        load_name = list(LOADS)[min(2, max(0, second // 300))]
        power_w = LOADS[load_name] * (1 + 0.02 * math.sin(second + 0.5))
        lines.append(f"{UTC_S + second},{power_w:.2f}")
    (tmp_path / "meter.csv").write_text("\n".join(lines) + "\n")

    both = metered(
        run, tmp_path / "meter.csv", time_column="time", power_column="power [W]", accuracy_pct=0.5
    )
    found = validate(both)

    assert found.meter == WALL_REFERENCE
    (source,) = found.sources
    assert source.line.gain == pytest.approx(1 / 0.9, rel=0.01)


def test_a_meters_file_of_another_time_is_refused(recorded, tmp_path):
    run = recorded(meter=None)
    (tmp_path / "meter.csv").write_text("time,W\n1000000000,5\n1000000001,5\n")

    with pytest.raises(FileError, match="do not overlap"):
        metered(run, tmp_path / "meter.csv", time_column="time", power_column="W")
