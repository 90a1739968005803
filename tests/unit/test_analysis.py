"""From files to figures: nothing counted twice, nothing claimed that was not measured."""

import json
import math

import pytest

from pactmeter.analysis.energy import energies, total
from pactmeter.analysis.headline import headline
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.analysis.verdict import two_digits
from pactmeter.errors import FileError, PactError
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.report.text import render
from pactmeter.units import Unit
from support.written import counter, written


def channel(name, domain, kind=Kind.ENERGY, origin=Origin.MEASURED, accuracy=5.0, **more):
    unit = Unit.WATT if kind is Kind.POWER else Unit.JOULE
    return Channel(name, unit, kind, name, domain, origin, accuracy_pct=accuracy, **more)


@pytest.fixture
def recorded(tmp_path):
    """Write a run of some channels at constant power, one row a second."""

    def write(channels, *, rows=60, status="complete", missing=(), gaps=(), events=()):
        header = ["due_s", "read_s", "late_s", "window_s"]
        header += [column for c, _ in channels for column in c.columns]
        header += [event["column"] for event in events]
        lines, totals = [",".join(header)], [0.0] * len(channels)
        for row in range(1, rows + 1):
            cells = [row, row, 0, 1]
            for i, (c, watts) in enumerate(channels):
                if (row, c.name) in missing:
                    cells += ["", "", 0]
                    continue
                totals[i] += watts
                cells += [watts, totals[i], 10]
            lines.append(",".join(map(str, [*cells, *[5 for _ in events]])))
        (tmp_path / "PACT.csv").write_text("\n".join(lines) + "\n")
        manifest = {
            "schema": 1,
            "status": status,
            "reason": None,
            "calls": 1,
            "config": {"measure_period_s": 1.0},
            "channels": [{**c.to_dict(), "poll_period_s": 0.1} for c, _ in channels],
            "gaps": list(gaps),
            "events": list(events),
            "running_shares": {"faults": 0.5},
            "sampler": {"cpu_s": 0.1, "late_rows": 0},
        }
        (tmp_path / "PACT.json").write_text(json.dumps(manifest))
        return load(tmp_path / "PACT.csv")

    return write


PACKAGE = channel("cpu.package0", Domain.PACKAGE)
CORE = channel("cpu.core0", Domain.CORE)
DRAM = channel("cpu.dram0", Domain.DRAM)
PSYS = channel("cpu.psys", Domain.PSYS)
DC = channel("psu.dc_output", Domain.DC, Kind.POWER, resolution=2.0)
AC = channel("psu.ac_input", Domain.AC, Kind.POWER, Origin.ESTIMATED)
WALL = channel("wall.plug", Domain.AC, Kind.POWER)


def gpu(n):
    return channel(f"gpu{n}", Domain.GPU)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_n_devices_give_n_times(recorded, count):
    run = recorded([(gpu(n), 300.0) for n in range(count)])
    first = headline(energies(run))
    assert first.energy_j == pytest.approx(count * 60 * 300.0)
    assert first.u_j == pytest.approx(count * 0.05 * 60 * 300.0, rel=1e-3)  # equal cards err alike


def test_a_part_is_never_added_to_its_whole(recorded):
    run = recorded([(PACKAGE, 100.0), (CORE, 80.0), (DRAM, 20.0), (gpu(0), 300.0)])
    first = headline(energies(run))
    assert first.energy_j == pytest.approx(60 * 400.0)
    assert first.label == (
        "CPU + GPU measured subtotal, excludes memory, board, fans and supply losses"
    )
    assert (first.channel, first.domain) == ("cpu+gpu", None)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ([WALL, DC, AC, PSYS, PACKAGE], "wall.plug"),
        ([AC, DC, PSYS, PACKAGE], "psu.dc_output"),
        ([PSYS, PACKAGE], "cpu.psys"),
        ([PACKAGE], "cpu"),
        ([AC], None),
        ([channel("cpu.package0", Domain.PACKAGE, origin=Origin.MODELLED)], None),
        ([channel("hwmon.x.y", None)], None),
        ([], None),
    ],
)
def test_the_headline_is_what_covers_most_and_is_measured(recorded, channels, expected):
    first = headline(energies(recorded([(c, 10.0) for c in channels])))
    assert (first.channel if first else None) == expected


def test_a_subtotal_without_a_measured_cpu_says_so(recorded):
    modelled = channel("cpu.package0", Domain.PACKAGE, origin=Origin.MODELLED)
    first = headline(energies(recorded([(modelled, 50.0), (gpu(0), 100.0)])))
    assert first.energy_j == pytest.approx(6000.0)
    assert first.label.startswith("GPU measured subtotal, excludes CPU, memory")


def test_two_power_supplies_are_summed(recorded):
    other = channel("psu1.dc_output", Domain.DC, Kind.POWER)
    first = headline(energies(recorded([(DC, 100.0), (other, 50.0)])))
    assert first.energy_j == pytest.approx(9000.0)
    assert "2 devices" in first.label


def test_what_was_not_covered_has_no_energy_and_is_told(recorded):
    missing = {(row, DC.name) for row in range(10, 25)}
    run = recorded([(DC, 200.0)], missing=missing)
    (energy,) = energies(run)
    assert energy.energy_j == pytest.approx(45 * 200.0)
    assert (energy.covered_s, energy.gap_s, energy.gaps) == (45.0, 15.0, 1)
    assert energy.coverage == 0.75
    summary = summarize(run)
    assert summary["verdict"]["level"] == "none"
    assert summary["verdict"]["checks"][0]["outcome"] == "fail"
    assert "75.0 % covered, 1 gap" in render(run, summary)


def test_a_row_covered_in_part_counts_in_part(recorded):
    run = recorded([(DC, 100.0)], rows=2)
    run.columns["psu.dc_output_j"][1] = 150.0  # half of the second row, by its energy
    (energy,) = energies(run)
    assert (energy.energy_j, energy.covered_s) == (150.0, 1.5)


def test_a_channel_at_zero_watts_is_covered(recorded):
    (energy,) = energies(recorded([(PACKAGE, 0.0)]))
    assert (energy.energy_j, energy.coverage) == (0.0, 1.0)


def test_the_budget_of_a_power_supply_holds_sensor_resolution_sampling_and_edges(recorded):
    (energy,) = energies(recorded([(DC, 400.0)]))
    items = {item.name: item.u_j for item in energy.budget}
    assert items["sensor"] == pytest.approx(0.025 * 24000)
    assert items["resolution"] == pytest.approx(2.0 * 60 / math.sqrt(12))
    assert items["sampling"] == pytest.approx(0.008 * 24000 / math.sqrt(3))
    assert set(items) == {"sensor", "resolution", "sampling", "edges"}
    assert energy.u_j == pytest.approx(2 * math.hypot(*items.values()))


def test_an_uncalibrated_power_supply_over_a_minute_reaches_the_5_percent_class(recorded):
    verdict = summarize(recorded([(DC, 400.0)]))["verdict"]
    assert verdict["level"] == "5%"
    assert {check["outcome"] for check in verdict["checks"]} == {"pass"}


def test_a_short_run_is_warned_of_and_a_long_gap_too(recorded):
    gaps = [{"channels": [DC.name], "start_s": 3.0, "end_s": 7.5, "reason": "x"}]
    checks = summarize(recorded([(DC, 400.0)], rows=20, gaps=gaps))["verdict"]["checks"]
    outcomes = {c["id"]: (c["outcome"], c["figure"]) for c in checks}
    assert outcomes["Q1"] == ("pass", 1.0)
    assert outcomes["Q2"] == ("warn", 4.5)
    assert outcomes["Q3"] == ("warn", 20.0)


def test_where_the_sensors_accuracy_is_unknown_so_is_the_uncertainty(recorded):
    unknown = channel("psu.dc_output", Domain.DC, Kind.POWER, accuracy=None)
    run = recorded([(unknown, 100.0)])
    summary = summarize(run)
    assert summary["headline"]["u_j"] is None
    assert summary["verdict"]["level"] == "none"
    assert "+/- unknown" in render(run, summary)
    assert total(energies(run) * 2, "x", "x").u_j is None


def test_counters_are_summed_over_rows_and_carry_their_running_share(recorded):
    events = [
        {"column": "faults", "scope": "tree", "status": "ok", "reason": None, "group": "faults"},
        {
            "column": "cycles",
            "scope": "tree",
            "status": "missing",
            "reason": "no PMU",
            "group": "c",
        },
    ]
    run = recorded([], rows=4, events=events)
    summary = summarize(run)
    assert summary["counters"]["faults"]["total"] == 20
    assert summary["counters"]["faults"]["running_share"] == 0.5
    assert summary["counters"]["cycles"]["total"] is None
    text = render(run, summary)
    assert "faults 20 (50 % of the time)" in text
    assert "cycles (missing: no PMU)" in text
    assert "no source was found" in text


def test_a_summary_has_at_most_15_lines_of_a_large_machine(recorded):
    run = recorded([(c, 50.0) for c in (DC, AC, PACKAGE, DRAM, *map(gpu, range(4)))])
    text = render(run, summarize(run))
    assert len(text.splitlines()) <= 15
    assert text.splitlines()[1].startswith("energy    3000.0 J +/- ")


def test_a_run_is_found_by_any_of_its_files(recorded):
    run = recorded([(DC, 1.0)])
    for path in (*run.files.all[1:], run.files.power):
        assert load(path).files == run.files


def test_a_run_whose_sampler_died_is_incomplete(recorded):
    run = recorded([(DC, 1.0)], status="running")
    assert (run.status, "died" in run.reason) == ("incomplete", True)


def test_what_is_not_a_run_is_told(tmp_path, recorded):
    with pytest.raises(FileError, match="there is no run"):
        load(tmp_path / "none.csv")
    run = recorded([])
    run.files.power.write_text("a,b\n1,2\n")
    with pytest.raises(FileError, match="not a power table"):
        load(run.files.power)


def test_frames_without_pandas_are_an_error_that_names_the_extra(monkeypatch, recorded):
    import sys

    import pactmeter

    run = recorded([(DC, 1.0)])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PactError, match=r"pactmeter\[report\]"):
        pactmeter.read(run.files.power)


def test_an_uncertainty_is_stated_with_two_digits():
    assert [two_digits(v) for v in (0.0, 1.234, 0.0567, 98765.0)] == [0.0, 1.2, 0.057, 99000.0]


def test_of_what_nothing_was_read_the_energy_is_unknown_not_zero(recorded):
    run = recorded([(DC, 100.0)], missing={(row, DC.name) for row in range(1, 61)})
    summary = summarize(run)
    (source,) = summary["sources"]
    assert (source["energy_j"], source["u_j"], source["coverage"]) == (None, None, 0.0)
    assert summary["headline"] is None
    text = render(run, summary)
    assert "psu.dc_output gave no reading" in text
    assert "0.0 J" not in text


def test_the_power_of_a_sum_is_the_sum_of_the_powers_whatever_each_one_misses(tmp_path):
    cards = [counter(f"gpu{k}", Domain.GPU) for k in range(2)]
    run = written(tmp_path, {cards[0]: 300.0, cards[1]: [100.0] * 30 + [None] * 30})

    first = headline(energies(run))

    assert first.mean_w == pytest.approx(400.0)
    assert first.energy_j == pytest.approx(300 * 60 + 100 * 30)
    assert first.coverage == pytest.approx((300 * 60 + 100 * 30) / (400 * 60))
