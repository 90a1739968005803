import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

from pactmeter.export import hdf5
from pactmeter.model.channel import Domain, Origin
from support.rights import refuse
from support.written import AC, DC, GPU, PACKAGE, counter, gauge, written

h5py = pytest.importorskip("h5py")

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("PACTMETER_PEERS", ROOT / ".venv/peers/bin/python"))
REGIONS = [
    [0.0, 4.0, "call", 0, 1],
    [0.0, 1.0, "epoch/one", 0, 1],
    [1.0, 3.0, "epoch/one", 1, 1],
]
DUMP = """
import json, sys
from pathlib import Path
from perun.io.hdf5 import importHDF5
def told(node):
    return {
        "type": node.type.name,
        "metadata": {key: str(value) for key, value in node.metadata.items()},
        "metrics": {m.value: [float(v.value), v.metric_md.unit.value]
                    for m, v in node.metrics.items()},
        "device": node.deviceType and node.deviceType.value,
        "values": [] if node.raw_data is None else node.raw_data.values.tolist(),
        "joules": [] if node.raw_data is None or node.raw_data.alt_values is None
        else node.raw_data.alt_values.tolist(),
        "times": [] if node.raw_data is None else node.raw_data.timesteps.tolist(),
        "regions": {name: [r.runs_per_rank.mean, r.raw_data[0].tolist()]
                    for name, r in (node.regions or {}).items()},
        "nodes": {name: told(child) for name, child in node.nodes.items()},
    }
print(json.dumps(told(importHDF5(Path(sys.argv[1])))))
"""


def perun(tmp_path, *words):
    """Run the peers' Python in a folder of its own; return what it prints."""
    if not PEERS.exists():
        refuse(f"there is no {PEERS}: make .venv/peers.stamp, or set PACTMETER_PEERS")
    done = subprocess.run(
        [PEERS, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run(tmp_path):
    watts = {AC: 330.0, DC: [300.0, 100.0, None, 200.0], PACKAGE: 80.0, GPU: 100.0}
    return written(tmp_path, watts, rows=4, regions=REGIONS)


def test_perun_reads_the_tree_with_its_figures(tmp_path, run):
    hdf5.write(run, tmp_path / "run.hdf5")

    app = json.loads(perun(tmp_path, "-c", DUMP, "run.hdf5"))

    (multi,) = app["nodes"].values()
    one = multi["nodes"]["0"]
    host = one["nodes"]["here"]
    assert [node["type"] for node in (app, multi, one, host)] == [
        "APP",
        "MULTI_RUN",
        "RUN",
        "NODE",
    ]
    for node in (one, host):
        assert node["metrics"]["energy"] == [600.0, "J"]  # the headline, not the sum of all
        assert node["metrics"]["power"] == [200.0, "W"]
        assert node["metrics"]["cpu_energy"] == [320.0, "J"]
        assert node["metrics"]["gpu_power"] == [100.0, "W"]
        assert node["metrics"]["runtime"] == [4.0, "s"]
        assert node["metadata"]["origin"] == "measured"
        assert float(node["metadata"]["energy_u_j"]) > 0
    supply = host["nodes"]["node"]["nodes"]["psu.dc_output"]
    assert supply["times"] == [1, 2, 4]  # a gap has no sample
    assert supply["values"] == [300, 100, 200]
    assert supply["joules"] == [300, 400, 600]
    assert host["nodes"]["node"]["nodes"]["psu.ac_input"]["metadata"]["origin"] == "estimated"
    assert host["nodes"]["gpu"]["device"] == "gpu"
    assert one["regions"]["epoch\u2215one"] == [2, [0, 1, 1, 3]]


def test_every_energy_says_where_it_comes_from_and_perun_still_reads_it(tmp_path):
    modelled = counter("cpu.package0", Domain.PACKAGE, 20.0, origin=Origin.MODELLED)
    gpus = {counter(f"gpu{k}", Domain.GPU, synthetic="emulated"): 50.0 for k in range(2)}
    hdf5.write(written(tmp_path, {DC: 300.0, modelled: 100.0, **gpus}), tmp_path / "run.hdf5")

    with h5py.File(tmp_path / "run.hdf5") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: dict(item.attrs)}))
    of_host = {
        name.rpartition("/metrics/")[2]: attrs
        for name, attrs in found.items()
        if "/here/metrics/" in name
    }
    keys = ("value", "origin", "synthetic")
    told = {name: tuple(attrs.get(key) for key in keys) for name, attrs in of_host.items()}
    assert told == {
        "RUNTIME": (60.0, None, None),
        "ENERGY": (18000.0, "measured", ""),
        "POWER": (300.0, "measured", ""),
        "CPU_ENERGY": (6000.0, "modelled", ""),
        "CPU_POWER": (100.0, "modelled", ""),
        "GPU_ENERGY": (6000.0, "measured", "emulated"),
        "GPU_POWER": (100.0, "measured", "emulated"),
    }
    assert float(of_host["CPU_ENERGY"]["u"]) == pytest.approx(1200.0, rel=0.01)
    assert float(of_host["GPU_POWER"]["u"]) == pytest.approx(5.0, rel=0.01)  # equal cards err alike
    sensor = next(
        attrs for name, attrs in found.items() if name.endswith("package0/metrics/ENERGY")
    )
    assert sensor["origin"] == "modelled"

    app = json.loads(perun(tmp_path, "-c", DUMP, "run.hdf5"))
    (multi,) = app["nodes"].values()
    assert multi["nodes"]["0"]["metrics"]["cpu_energy"] == [6000.0, "J"]


def test_powers_of_parts_with_gaps_are_those_of_their_own_time(tmp_path):
    gpus = [counter(f"gpu{k}", Domain.GPU, None if k else 5.0) for k in range(2)]
    run = written(tmp_path, {gpus[0]: 100.0, gpus[1]: [100.0, 100.0, None, None]}, rows=4)
    hdf5.write(run, tmp_path / "run.hdf5")

    with h5py.File(tmp_path / "run.hdf5") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: dict(item.attrs)}))
    power = next(a for name, a in found.items() if name.endswith("here/metrics/GPU_POWER"))
    assert power["value"] == pytest.approx(200.0)
    assert power["u"] == "unknown"


def test_perun_exports_it_as_csv_and_text(tmp_path, run):
    hdf5.write(run, tmp_path / "run.hdf5")

    for form in ("csv", "text"):
        perun(tmp_path, "-m", "perun", "export", "run.hdf5", form)

    (table,) = tmp_path.glob("PACT_*.csv")
    with table.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["sensor"] == "psu.dc_output"]
    assert [float(row["value"]) for row in rows] == [300, 100, 200]
    assert {row["unit"] for row in rows} == {"W"}
    (text,) = tmp_path.glob("PACT_*.txt")
    assert "PERUN REPORT" in text.read_text()
    assert "600" in text.read_text()


@pytest.mark.parametrize("sources", [{}, {GPU: [None] * 4}])
def test_perun_reads_a_run_without_energy(tmp_path, sources):
    run = written(tmp_path, sources, rows=4, events=("faults",))
    hdf5.write(run, tmp_path / "run.hdf5")

    perun(tmp_path, "-m", "perun", "export", "run.hdf5", "text")

    (text,) = tmp_path.glob("PACT_*.txt")
    assert "ENERGY" not in text.read_text()


def test_the_mark_of_emulated_devices_and_the_summary_travel_along(tmp_path):
    fake = gauge("gpu1", Domain.GPU, synthetic="emulated")
    hdf5.write(written(tmp_path, {fake: 5.0}), tmp_path / "run.hdf5")

    found = {}
    with h5py.File(tmp_path / "run.hdf5") as file:
        file.visititems(lambda name, item: found.update({name.rsplit("/", 1)[-1]: item}))
        assert found["gpu1"].attrs["synthetic"] == "emulated"
        assert found["gpu1"].attrs["accuracy_pct"] == "5"
        told = json.loads(file["PACT/pactmeter"][()])

    assert told["summary"]["headline"]["synthetic"] == "emulated"


def test_times_after_a_week_are_exact(tmp_path):
    week_s = 7 * 86400.0
    hdf5.write(written(tmp_path, {DC: 5.0}, rows=7, row_s=week_s / 7), tmp_path / "run.hdf5")

    with h5py.File(tmp_path / "run.hdf5") as file:
        found = []
        file.visititems(lambda name, item: found.append(item) if "timesteps" in name else None)
        assert found[0][-1] == week_s
        assert found[0].dtype == "float64"
