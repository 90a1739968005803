import csv
import fcntl
import json
import math
import sys

import pytest

from pactmeter.analysis.run import load
from pactmeter.cli.main import main
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.export import figures, registry
from pactmeter.export.base import export
from pactmeter.export.times import Clock
from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.units import Unit
from support.written import DC, GPU, PACKAGE, UTC_S, gauge, write, written

EVENTS = ("migrations", "faults", "cache-misses", "cycles")
ESTIMATE = gauge("cpu.estimate", Domain.PACKAGE, 50.0, origin=Origin.ESTIMATED)
FAKE = gauge("gpu1", Domain.GPU, synthetic="emulated")


def share(name):
    return Channel(name, Unit.PERCENT, Kind.QUANTITY, name)


def exported(run, to, out, **options):
    return export(run, registry.find(to), out, **options)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- saving -----------------------------------------------------------------------------------


def test_what_is_there_is_kept_unless_forced(tmp_path):
    run = written(tmp_path, {DC: 200.0})
    out = tmp_path / "out.csv"
    out.write_text("mine")

    with pytest.raises(FileError, match="is there already") as caught:
        exported(run, "long", out)

    assert "--force" in caught.value.fix
    assert out.read_text() == "mine"
    exported(run, "long", out, force=True)
    assert table(out)


@pytest.mark.parametrize("name", ["PACT.csv", "PACT.json", "PACT.regions.csv", "link.csv"])
def test_files_of_the_run_are_never_written_over(tmp_path, name):
    run = written(tmp_path, {DC: 200.0})
    (tmp_path / "link.csv").hardlink_to(tmp_path / "PACT.csv")
    before = (tmp_path / name).read_bytes()

    with pytest.raises(FileError, match="what this is made from"):
        exported(run, "long", tmp_path / name, force=True)

    assert (tmp_path / name).read_bytes() == before


def test_a_file_beside_is_kept_too(tmp_path):
    run = written(tmp_path, {DC: 200.0})
    (tmp_path / "out.csv.json").write_text("mine")

    with pytest.raises(FileError, match=r"out\.csv\.json is there already"):
        exported(run, "original", tmp_path / "out.csv")

    assert (tmp_path / "out.csv.json").read_text() == "mine"
    assert not (tmp_path / "out.csv").exists()


def test_a_device_or_a_folder_is_not_replaced(tmp_path):
    run = written(tmp_path, {DC: 200.0})
    (tmp_path / "folder").mkdir()

    for out in (tmp_path / "folder", tmp_path / "null"):
        if out.name == "null":
            out.symlink_to("/dev/null")
        with pytest.raises(FileError, match="no plain file"):
            exported(run, "long", out, force=True)


def test_a_failed_export_leaves_nothing(tmp_path):
    run = written(tmp_path, {DC: 200.0})
    names = sorted(path.name for path in tmp_path.iterdir())

    def fail(run, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match="No space left"):
        exported(run, "long", tmp_path / "out.csv", write=fail)

    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("out", ["absent/out.csv", "x" * 300])
def test_where_nothing_can_be_written_the_error_says_so(tmp_path, out):
    with pytest.raises(FileError, match="cannot write"):
        exported(written(tmp_path, {DC: 200.0}), "long", tmp_path / out)


@pytest.mark.parametrize(("to", "package"), [("parquet", "pyarrow"), ("hdf5", "h5py")])
def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, to, package):
    run = written(tmp_path, {DC: 200.0})
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(PactError, match=package) as caught:
        exported(run, to, tmp_path / "out")

    assert caught.value.fix == f"pip install 'pactmeter[{to}]'"
    assert not (tmp_path / "out").exists()


# --- names and plug-ins -----------------------------------------------------------------------


def test_every_exporter_says_what_it_is():
    for name in registry.BUILT_IN:
        exporter = registry.find(name)
        assert name == exporter.NAME
        assert exporter.EXTRA in {None, "parquet", "hdf5"}


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ConfigError, match="'paruqet'") as caught:
        registry.find("paruqet")

    assert "'parquet'" in caught.value.fix


class Entry:
    value = "other_package.mine"

    def __init__(self, name, loads):
        self.name = name
        self._loads = loads

    def load(self):
        if isinstance(self._loads, Exception):
            raise self._loads
        return self._loads


@pytest.fixture
def plugged(monkeypatch):
    """Install exporters of another package."""

    def install(*entries):
        def entry_points(group, name=None):
            assert group == "pactmeter.exporters"
            return [entry for entry in entries if name in {None, entry.name}]

        monkeypatch.setattr(registry.metadata, "entry_points", entry_points)

    return install


def test_another_packages_exporter_is_found_and_used(tmp_path, plugged):
    class Mine:
        NAME = "mine"

        @staticmethod
        def write(run, path):
            path.write_text(f"{run.duration_s:g}")
            path.with_name("beside.txt").write_text("more")

    plugged(Entry("mine", Mine), Entry("long", None))
    run = written(tmp_path, {DC: 200.0})

    assert registry.names() == [*registry.BUILT_IN, "mine"]
    made = exported(run, "mine", tmp_path / "out.txt")
    assert [path.name for path in made] == ["out.txt", "beside.txt"]
    assert made[0].read_text() == "60"
    assert registry.find("long").__name__ == "pactmeter.export.long"


@pytest.mark.parametrize("loads", [ImportError("no such thing"), RuntimeError("boom"), object()])
def test_a_broken_exporter_of_another_package_is_told_by_name(plugged, loads):
    plugged(Entry("mine", loads))

    with pytest.raises(PactError, match="'mine'"):
        registry.find("mine")


# --- times ------------------------------------------------------------------------------------


def test_the_time_of_day_counts_from_the_first_call_and_drifts_evenly(tmp_path):
    clock = {
        "start": {"monotonic_s": 100.0, "utc_s": UTC_S},
        "end": {"monotonic_s": 1100.0, "utc_s": UTC_S + 1000.5},
    }
    run = written(tmp_path, {DC: 1.0}, more={"clock": clock, "zero_monotonic_s": 102.0})

    assert Clock(run).utc_s(0.0) == pytest.approx(UTC_S + 2.001, abs=1e-6)
    assert Clock(run).utc_s(998.0) == pytest.approx(UTC_S + 1000.5, abs=1e-6)


def test_a_clock_that_was_set_is_no_clock_that_drifts(tmp_path):
    clock = {
        "start": {"monotonic_s": 100.0, "utc_s": UTC_S},
        "end": {"monotonic_s": 160.0, "utc_s": UTC_S + 7200},
    }
    run = written(tmp_path, {DC: 1.0}, more={"clock": clock})

    assert Clock(run).utc_s(30.0) == pytest.approx(UTC_S + 30)


# --- the original's CSV -----------------------------------------------------------------------


def test_the_originals_reader_reads_its_twelve_columns(tmp_path):
    original = pytest.importorskip("pactmeter.analysis.powermodel.original")
    more = {"columns": {"gpu0.util_sm_pct": [50.0] * 60, "gpu0.util_mem_pct": [25.0] * 60}}
    sources = {DC: 300.0, GPU: 100.0, PACKAGE: 80.0}
    path = write(tmp_path, sources, events=EVENTS, more=more)
    manifest = json.loads((tmp_path / "PACT.json").read_text())
    manifest["channels"] += [
        share("gpu0.util_sm_pct").to_dict(),
        share("gpu0.util_mem_pct").to_dict(),
    ]
    (tmp_path / "PACT.json").write_text(json.dumps(manifest))

    out = exported(load(path), "original", tmp_path / "out.csv")[0]

    assert original.is_original(out)
    header = out.read_text().splitlines()[0].split(",")
    assert header == [*original.COLUMNS, *EVENTS]
    found = original.read_original(out, 10.0)
    assert found.totals == {f"{event}_per_s": 300.0 for event in EVENTS}
    for name, value in (("dc_w", 300.0), ("gpu_w", 100.0), ("cpu_w", 80.0)):
        assert found.table[name].to_list() == pytest.approx([value] * 6)
    assert found.table["gpu.util_sm_pct"].to_list() == pytest.approx([50.0] * 6)
    assert found.table["faults_per_s"].to_list() == pytest.approx([5.0] * 6)


def test_rows_are_those_of_the_run_and_unknown_is_empty(tmp_path):
    second = gauge("gpu1", Domain.GPU)
    run = written(tmp_path, {GPU: [10.0, None, 30.0], second: 5.0, ESTIMATE: 70.0}, rows=3)

    rows = table(exported(run, "original", tmp_path / "out.csv")[0])

    assert [row["Nvidia_SMI_Power(W)"] for row in rows] == ["15", "", "35"]
    assert {row["Intel_RAPL_Power(W)"] for row in rows} == {""}  # an estimate is no reading
    assert {row["Total_PSU_Power(W)"] for row in rows} == {""}
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert {row["duration(s)"] for row in rows} == {"1"}
    assert all(len(row["start_time"]) == 19 for row in rows)


def test_units_origins_uncertainties_and_marks_stand_beside(tmp_path):
    run = written(tmp_path, {DC: 300.0, FAKE: 100.0}, events=EVENTS)

    _, beside = exported(run, "original", tmp_path / "out.csv")
    told = json.loads(beside.read_text())

    assert beside.name == "out.csv.json"
    assert told["columns"]["Nvidia_SMI_Power(W)"] == {
        "unit": "W",
        "channels": ["gpu1"],
        "origin": ["measured"],
        "synthetic": ["emulated"],
        "accuracy_pct": 5.0,
    }
    assert told["summary"]["headline"]["u_j"] > 0
    assert told["columns"]["cycles"]["scope"] == "tree"


# --- long CSV and Parquet ---------------------------------------------------------------------


def test_every_energy_and_power_has_unit_origin_uncertainty_and_mark(tmp_path):
    run = written(tmp_path, {DC: 300.0, FAKE: 100.0, ESTIMATE: 50.0}, events=EVENTS)

    rows = table(exported(run, "long", tmp_path / "out.csv")[0])

    power = [row for row in rows if row["quantity"] in {"energy", "power"}]
    assert power
    for row in power:
        assert row["unit"] in {"J", "W"}
        assert float(row["u"]) > 0
        assert row["u_basis"] == ("sensor" if row["level"] == "row" else "budget")
        assert row["origin"] == ("estimated" if row["source"] == "cpu.estimate" else "measured")
        assert row["synthetic"] == ("emulated" if row["source"] == "gpu1" else "")
    assert {row["level"] for row in rows} == {"run", "mark", "row", "bin"}


def test_the_rows_of_the_long_table_add_up_to_the_runs_energy(tmp_path):
    run = written(tmp_path, {DC: [100.0, None, 300.0, 200.0], PACKAGE: 40.0}, rows=4)

    rows = table(exported(run, "long", tmp_path / "out.csv")[0])

    for source, energy_j in (("psu.dc_output", 600.0), ("cpu.package0", 160.0)):
        mine = [r for r in rows if r["source"] == source and r["quantity"] == "energy"]
        parts = [float(row["value"]) for row in mine if row["level"] == "row"]
        assert math.fsum(parts) == pytest.approx(energy_j)
        assert [float(r["value"]) for r in mine if r["level"] == "run"] == [energy_j]


def test_regions_come_with_their_energy_and_their_marks(tmp_path):
    lines = [[0.0, 60.0, "call", 0, 1], [10.0, 30.0, "epoch", 0, 1], [30.0, 50.0, "epoch", 1, 1]]
    run = written(tmp_path, {DC: 100.0}, regions=lines, events=EVENTS)

    rows = table(exported(run, "long", tmp_path / "out.csv")[0])

    mine = [row for row in rows if row["region"] == "epoch"]
    energy = next(row for row in mine if row["quantity"] == "energy")
    assert float(energy["value"]) == pytest.approx(4000)
    assert float(energy["u"]) > 0
    assert [(r["index"], r["value"]) for r in mine if r["level"] == "mark"] == [
        ("0", "20.0"),
        ("1", "20.0"),
    ]
    assert float(next(r for r in mine if r["source"] == "faults")["value"]) == 200


def test_parquet_holds_what_the_long_csv_holds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run = written(tmp_path, {DC: [100.0, None, 300.0], FAKE: 50.0}, rows=3, events=EVENTS)

    lines = table(exported(run, "long", tmp_path / "out.csv")[0])
    read = parquet.read_table(exported(run, "parquet", tmp_path / "out.parquet")[0])

    rows = read.to_pylist()
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert list(row) == list(line)
        for name, cell in line.items():
            if name in {"value", "u", "start_s", "end_s"} and cell:
                assert row[name] == pytest.approx(float(cell), abs=1e-6)
            elif name != "start_utc":
                assert ("" if row[name] is None else str(row[name])) == cell, name
    first = next(row for row in rows if row["level"] == "row")
    assert first["start_utc"].timestamp() == pytest.approx(UTC_S)
    told = json.loads(read.schema.metadata[b"pactmeter"])
    assert told["summary"]["headline"]["channel"] == "psu.dc_output"


# --- the command, and bad input ---------------------------------------------------------------


def test_the_command_names_the_files_it_wrote(tmp_path, capsys, monkeypatch):
    write(tmp_path, {FAKE: 100.0})
    monkeypatch.chdir(tmp_path)

    assert main(["export", "PACT.csv", "--to", "latex", "-o", "run.tex"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["run.tex", "run.bib"]
    assert "emulated" in lines[2]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--to", "nothing"], 2, "unknown format 'nothing'"),
        (["--to", "long", "--merge", "x.json"], 2, "--merge"),
        (["--to", "trace", "--merge", "absent.json"], 1, "absent.json"),
    ],
)
def test_wrong_use_is_told(tmp_path, capsys, monkeypatch, words, code, told):
    write(tmp_path, {DC: 100.0})
    monkeypatch.chdir(tmp_path)

    assert main(["export", "PACT.csv", "-o", "out", *words]) == code

    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


ODD = (
    '<script>alert("x")</script>',
    "line\nbreak",
    "\u05d0\u05d1 \u202eright to left",
    "\\{}$&#%_^~|[]*",
    "a/b/../c",
    "=1+1",
    "x" * 10_000,
)


@pytest.mark.parametrize("to", registry.BUILT_IN)
def test_odd_names_are_written_and_nothing_breaks(tmp_path, to):
    lines = [[0.0, 60.0, "call", 0, 1], *([10.0, 30.0, name, None, 1] for name in ODD)]
    host = {"name": "".join(ODD) + "\ud800\x00"}
    odd = gauge(ODD[0] + ODD[3], Domain.GPU)
    run = written(tmp_path, {DC: 100.0, odd: 5.0}, regions=lines, more={"host": host})

    made = exported(run, to, tmp_path / "out")

    assert all(path.stat().st_size for path in made)


@pytest.mark.parametrize("to", registry.BUILT_IN)
def test_a_run_without_energy_is_exported_with_its_counters(tmp_path, capsys, monkeypatch, to):
    write(tmp_path, {}, events=EVENTS)
    monkeypatch.chdir(tmp_path)

    assert main(["export", "PACT.csv", "--to", to, "-o", "out"]) == 0

    assert "no energy was measured" in capsys.readouterr().out
    assert (tmp_path / "out").stat().st_size


@pytest.mark.parametrize("to", registry.BUILT_IN)
def test_a_run_that_is_being_written_is_exported_as_far_as_it_is(tmp_path, capsys, to):
    path = write(tmp_path, {DC: 100.0}, events=EVENTS, more={"status": "running"})
    for name in ("PACT.csv", "PACT.counters.csv", "PACT.regions.csv"):
        with (tmp_path / name).open("a") as file:
            file.write("61,61.0,0.")  # a torn row

    assert main(["export", str(path), "--to", to, "-o", str(tmp_path / "out")]) == 0

    assert "this is what there is" in capsys.readouterr().out


def test_a_run_that_a_sampler_holds_is_running(tmp_path, capsys):
    path = write(tmp_path, {DC: 100.0}, more={"status": "running"})

    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["export", str(path), "--to", "long", "-o", str(tmp_path / "out")]) == 0

    assert "the run is running" in capsys.readouterr().out


@pytest.mark.parametrize("to", registry.BUILT_IN)
def test_missing_or_foreign_sidecars_cost_no_more_than_what_they_hold(tmp_path, to):
    run = written(tmp_path, {DC: 100.0}, events=EVENTS)
    (tmp_path / "PACT.counters.csv").unlink()
    (tmp_path / "PACT.regions.csv").write_text("a,b,c,d,e\nx,y,z,w,v\n")

    assert exported(run, to, tmp_path / "out")


def test_a_row_that_no_sensor_vouches_for_has_no_uncertainty(tmp_path):
    unsure = gauge("hwmon.chip.power1", None, accuracy=None)
    run = written(tmp_path, {unsure: 10.0}, rows=2)

    found = [f for f in figures.figures(run) if f.level == "row"]

    assert {(figure.u, figure.u_basis) for figure in found} == {(None, None)}
