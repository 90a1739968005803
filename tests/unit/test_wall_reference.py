"""Any meter's own file: many styles read, laid on the time line of a run, bad ones refused."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pactmeter.analysis.reference import Reference, read_reference
from pactmeter.analysis.run import RecordedRun
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.store.files import RunFiles

START_UTC_S = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC).timestamp()
START_S, ZERO_S, LENGTH_S = 7000.0, 7002.5, 60.0
BERLIN = ZoneInfo("Europe/Berlin")


def recorded(*, drift_s=0.0, length_s=LENGTH_S, **manifest):
    """Return a run whose tables begin 2.5 s after its sampler."""
    clock = {
        "start": {"monotonic_s": START_S, "utc_s": START_UTC_S},
        "end": {
            "monotonic_s": ZERO_S + length_s,
            "utc_s": START_UTC_S + 2.5 + length_s + drift_s,
        },
    }
    manifest = {"clock": clock, "zero_monotonic_s": ZERO_S, **manifest}
    columns = {"due_s": [float(n) for n in range(1, int(length_s) + 1)], "window_s": []}
    return RecordedRun(RunFiles(Path("PACT.csv")), manifest, "complete", None, columns)


def ramp_w(run_s):
    return 100.0 + 2.0 * run_s


def ramp_j(run_s):
    return 100.0 * run_s + run_s * run_s


def utc_s(run_s):
    return START_UTC_S + 2.5 + run_s


def moment(run_s):
    return datetime.fromtimestamp(utc_s(run_s), UTC)


TIMES_S = [n / 2 for n in range(-10, 141)]
"""Half a second apart, from 5 s before the run to 10 s after it."""


def write(path, header, rows, *, end="\n"):
    path.write_text("\n".join([*header, *rows]) + end, encoding="utf-8")
    return path


STYLES = {
    "iso utc": ("{:%Y-%m-%dT%H:%M:%S.%fZ}", {}),
    "iso zone": ("{:%Y-%m-%d %H:%M:%S.%f+00:00}", {}),
    "slashes": ("{:%Y/%m/%d %H:%M:%S.%f}", {"time_zone": "UTC"}),
    "format": ("{:%d.%m.%Y %H:%M:%S.%f}", {"time_format": "%d.%m.%Y %H:%M:%S.%f"}),
}


@pytest.mark.parametrize("style", STYLES)
def test_times_in_many_styles_mean_the_same(tmp_path, style):
    form, options = STYLES[style]
    options = {"time_zone": "+00:00", **options}
    rows = [f"{form.format(moment(t))},{ramp_w(t)}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["Time,Power"], rows)

    found = read_reference(file, recorded(), time_column="Time", power_column="Power", **options)

    assert found.times_s == pytest.approx(TIMES_S, abs=2e-6)
    energy_j, covered_s = found.energy(10.0, 50.25)
    assert energy_j == pytest.approx(ramp_j(50.25) - ramp_j(10.0), rel=1e-6)
    assert covered_s == pytest.approx(40.25)
    assert (found.left_out, found.merged, found.accuracy_pct) == (0, 0, None)


@pytest.mark.parametrize(("factor", "digits"), [(1, 3), (1e3, 0), (1e6, 0), (1e9, 0)])
def test_epochs_in_any_unit_are_told_by_their_size(tmp_path, factor, digits):
    rows = [f"{utc_s(t) * factor:.{digits}f}\t{ramp_w(t)}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["t\tp"], rows)

    found = read_reference(file, recorded(), time_column="t", power_column="p", accuracy_pct=0.5)

    assert found.times_s == pytest.approx(TIMES_S, abs=1e-5)
    assert found.accuracy_pct == 0.5


def test_a_local_time_is_read_in_the_zone_that_is_named(tmp_path):
    rows = [f"{moment(t).astimezone(BERLIN):%Y-%m-%d %H:%M:%S.%f};{ramp_w(t):.1f}" for t in TIMES_S]
    rows = [row.replace(".", ",") for row in rows]  # decimal commas
    header = ["Meter;WT310E", "Range;300V 2A", "", " Zeit ;Leistung [W];Spannung"]
    file = write(tmp_path / "m.csv", header, ["-;W;V", *(f"{row};230,1" for row in rows)])
    options = {"time_column": "Zeit", "power_column": "Leistung [W]"}

    found = read_reference(file, recorded(), **options, time_zone="Europe/Berlin")

    assert found.times_s == pytest.approx(TIMES_S, abs=2e-6)
    assert found.energy(0.0, 60.0)[0] == pytest.approx(ramp_j(60.0), rel=1e-6)
    with pytest.raises(ConfigError, match="does not say its time zone"):
        read_reference(file, recorded(), **options)


@pytest.mark.parametrize(
    ("name", "unit", "per"),
    [("E [Wh]", None, 3600.0), ("E (kWh)", None, 3.6e6), ("E", "mWh", 3.6), ("E", "J", 1.0)],
)
def test_an_energy_counter_needs_no_gap_and_says_its_unit(tmp_path, name, unit, per):
    rows = [f"{utc_s(t)},{(5000.0 + ramp_j(t)) / per!r}" for t in TIMES_S if not 20 < t < 40]
    file = write(tmp_path / "m.csv", [f"t,{name}"], rows)

    found = read_reference(file, recorded(), time_column="t", energy_column=name, unit=unit)

    assert found.counts_energy
    energy_j, covered_s = found.energy(10.0, 50.0)
    assert energy_j == pytest.approx(ramp_j(50.0) - ramp_j(10.0), rel=1e-9)
    assert covered_s == pytest.approx(40.0)


def test_milliwatts_and_kilowatts_are_what_they_are(tmp_path):
    for unit, per in (("mW", 1e-3), ("kW", 1e3)):
        rows = [f"{utc_s(t)},{ramp_w(t) / per!r}" for t in TIMES_S]
        file = write(tmp_path / "m.csv", [f"t,p [{unit}]"], rows)
        found = read_reference(file, recorded(), time_column="t", power_column=f"p [{unit}]")
        assert found.energy(0.0, 60.0)[0] == pytest.approx(ramp_j(60.0), rel=1e-9)


def test_the_machines_clock_may_be_slewed_but_not_set(tmp_path):
    rows = [f"{utc_s(t) + 0.3 * (t + 2.5) / 62.5},{ramp_w(t)}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["t,p"], rows)
    options = {"time_column": "t", "power_column": "p"}

    found = read_reference(file, recorded(drift_s=0.3), **options)

    assert found.times_s == pytest.approx(TIMES_S, abs=1e-4)
    assert found.clock_drift_s == pytest.approx(0.3, abs=1e-3)
    with pytest.raises(FileError, match=r"clock was set by -3600\.0 s during"):
        read_reference(file, recorded(drift_s=-3600.0), **options)


def test_a_run_that_did_not_end_well_is_dated_by_its_start(tmp_path):
    rows = [f"{utc_s(t)},{ramp_w(t)}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["t,p"], rows)
    clock = {"start": {"monotonic_s": START_S, "utc_s": START_UTC_S}, "end": None}
    options = {"time_column": "t", "power_column": "p"}

    assert read_reference(file, recorded(clock=clock), **options).times_s == pytest.approx(TIMES_S)
    for bad in (recorded(clock=None), recorded(zero_monotonic_s=None)):
        with pytest.raises(FileError, match="does not tell when it began"):
            read_reference(file, bad, **options)


def test_no_value_is_left_out_and_a_long_gap_adds_nothing(tmp_path):
    told = {20.0: "", 20.5: "nan", 30.0: "---", 40.0: "unavailable"}
    times_s = [t for t in TIMES_S if not 50 < t < 55]
    rows = [f"{utc_s(t)},{told.get(t, '100')}" for t in times_s]
    file = write(tmp_path / "m.csv", ["t,p"], rows)

    found = read_reference(file, recorded(), time_column="t", power_column="p")

    assert found.left_out == 4
    energy_j, covered_s = found.energy(0.0, 60.0)
    assert covered_s == pytest.approx(55.0)
    assert energy_j == pytest.approx(5500.0)


def test_a_counter_that_goes_back_leaves_its_span_unknown(tmp_path):
    rows = [f"{utc_s(t)},{100.0 * t + (0 if t < 30 else -2000.0) + 9000.0}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["t,e"], rows)

    found = read_reference(file, recorded(), time_column="t", energy_column="e", unit="J")

    assert found.energy(0.0, 60.0) == pytest.approx((5950.0, 59.5))


def test_readings_of_one_time_are_taken_together(tmp_path):
    rows = [f"{utc_s(t // 1)},{100 + 20 * (t % 1)}" for t in TIMES_S]
    file = write(tmp_path / "m.csv", ["t,p"], rows)

    found = read_reference(file, recorded(), time_column="t", power_column="p")

    assert set(found.values[1:-1]) == {105.0}
    assert found.merged == 75
    assert found.span_s == pytest.approx(1.0)


def test_only_what_is_near_the_run_is_kept(tmp_path):
    rows = [f"{utc_s(t)},100" for t in range(-4000, 4000, 10)]
    file = write(tmp_path / "m.csv", ["t,p"], rows)

    found = read_reference(file, recorded(), time_column="t", power_column="p")

    assert (found.times_s[0], found.times_s[-1]) == pytest.approx((-60.0, 120.0))


def test_a_line_that_was_cut_short_is_no_reading(tmp_path):
    rows = [f"{utc_s(t)},100" for t in range(61)] + [f"{utc_s(61)},1"]
    file = write(tmp_path / "m.csv", ["t,p"], rows, end="")

    found = read_reference(file, recorded(), time_column="t", power_column="p")

    assert set(found.values) == {100.0}


GOOD = [f"{utc_s(t)},100" for t in range(61)]
BAD = {
    "empty": ("", "is empty"),
    "one name": ("t,q\n", "no column 'p'"),
    "only names": ("t,p\n", "holds no reading"),
    "one row": (f"t,p\n{GOOD[3]}\n", "fewer than 2 readings within the run's 60.0 s"),
    "all gaps": ("t,p\n" + "".join(f"{utc_s(t)},\n" for t in range(61)), "fewer than 2 readings"),
    "text": (f"t,p\n{utc_s(1)},12.3 W\n", "line 2: '12.3 W' is no number"),
    "underscore": (f"t,p\n{utc_s(1)},1_0\n", "is no number"),
    "negative": (f"t,p\n{utc_s(1)},-5\n", "line 2: -5 is negative"),
    "infinite": (f"t,p\n{utc_s(1)},inf\n", "inf cannot be"),
    "backwards": (f"t,p\n{GOOD[9]}\n{GOOD[3]}\n", "line 3: its time is 6.0 s before"),
    "no time": ("t,p\nyesterday,100\n", "'yesterday' is not understood as a time"),
    "small epoch": ("t,p\n12.5,100\n", "12.5 is no epoch"),
    "nan time": ("t,p\nnan,100\n", "nan is no epoch"),
    "local": ("t,p\n2026-03-10 12:00:00,1\n", "does not say its time zone"),
    "huge cell": (f"t,p\n{utc_s(1)},{'1' * 200_000}\n", "is no CSV"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_clear_error(tmp_path, name):
    text, said = BAD[name]
    file = tmp_path / "m.csv"
    file.write_text(text)

    with pytest.raises(PactError) as caught:
        read_reference(file, recorded(), time_column="t", power_column="p")

    assert said in str(caught.value)


def test_a_meter_that_was_elsewhere_in_time_is_told_with_the_zone_that_would_fit(tmp_path):
    hour_s = 3600.0
    for shift_s, said in (
        (2 * hour_s, r"fix: moved by -2 h it would: check the time zone"),
        (-5.5 * hour_s, r"fix: moved by \+5\.5 h it would"),
        (90 * 24 * hour_s, r"fix: check that it is the file of this run"),
    ):
        rows = [f"{utc_s(t) + shift_s},100" for t in range(-5, 66)]
        file = write(tmp_path / "m.csv", ["t,p"], rows)
        with pytest.raises(FileError, match=f"(?s)they do not overlap.*{said}"):
            read_reference(file, recorded(), time_column="t", power_column="p")


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_a_time_that_happened_twice_or_never_is_refused(tmp_path, text):
    file = write(tmp_path / "m.csv", ["t,p"], [f"{text},100"])

    with pytest.raises(FileError, match="happened twice, or never"):
        read_reference(
            file, recorded(), time_column="t", power_column="p", time_zone="Europe/Berlin"
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a column of power or one of energy"),
        ({"power_column": "p", "energy_column": "e"}, "a column of power or one of energy"),
        ({"energy_column": "e"}, "the unit of 'e' is not said"),
        ({"energy_column": "e", "unit": "W"}, "unknown unit 'W'"),
        ({"power_column": "p", "unit": "Wh"}, "unknown unit 'Wh'"),
        ({"power_column": "pp"}, "did you mean 'p'?"),
        ({"power_column": "p", "time_zone": "Mars/Base"}, "unknown time zone 'Mars/Base'"),
        ({"power_column": "p", "time_zone": "../etc"}, "unknown time zone"),
        ({"power_column": "p", "accuracy_pct": 0.0}, "an accuracy of 0 %"),
        ({"power_column": "p", "accuracy_pct": float("nan")}, "an accuracy of nan %"),
    ],
)
def test_what_is_not_said_or_wrong_is_told(tmp_path, options, said):
    file = write(tmp_path / "m.csv", ["t,p,e"], [f"{row},{row[-3:]}" for row in GOOD])

    with pytest.raises(ConfigError) as caught:
        read_reference(file, recorded(), time_column="t", **options)

    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_no_file_is_told(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FileError, match="cannot read"):
            read_reference(path, recorded(), time_column="t", power_column="p")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=80)
    | st.lists(
        st.tuples(
            st.sampled_from([str(utc_s(5)), "1e11", "2026-03-10", "0001-01-01T00:00", "9999-12-31"])
            | st.text(max_size=8),
            st.text(max_size=5) | st.floats().map(str),
        ).map(",".join),
        max_size=5,
    ).map(lambda rows: "\n".join(["t,p", *rows, ""]).encode("utf-8", "surrogateescape")),
    zone=st.sampled_from([None, "UTC", "Europe/Berlin", "-11:30"]),
)
def test_any_file_is_read_or_a_clear_error(tmp_path, body, zone):
    file = tmp_path / "m.csv"
    file.write_bytes(body)

    try:
        found = read_reference(file, recorded(), time_column="t", power_column="p", time_zone=zone)
    except PactError:
        return
    assert all(value >= 0 for value in found.values)


@settings(max_examples=40)
@given(
    steps_s=st.lists(st.floats(0.1, 5.0), min_size=3, max_size=30),
    powers_w=st.lists(st.floats(0.0, 2000.0), min_size=31, max_size=31),
    cut=st.floats(0.0, 1.0),
    counts=st.booleans(),
)
def test_two_windows_side_by_side_give_the_energy_of_both(steps_s, powers_w, cut, counts):
    times_s = [sum(steps_s[:n]) for n in range(len(steps_s) + 1)]
    found = Reference(
        Path("m"), "p", counts, tuple(times_s), tuple(powers_w[: len(times_s)]), None, 0, 0, 0.0
    )
    end_s = times_s[-1] + 1.0
    middle_s = cut * end_s

    whole = found.energy(-1.0, end_s)
    parts = found.energy(-1.0, middle_s), found.energy(middle_s, end_s)

    for index in range(2):
        total = parts[0][index] + parts[1][index]
        assert total == pytest.approx(whole[index], rel=1e-6, abs=1e-3)
