"""Wall meters through `pactmeter run` and the decorator: emulated endpoints, real time.

The load's integral over the very window that was measured is the truth.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time

import pytest

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.bench.truth import windows_of
from support.wall_bench import Load, ShellyBench, TasmotaBench

TITLE = "Wall meters over HTTP: the load's integral beside what PACT makes of the answers"
COLUMNS = ("meter", "true J", "PACT J", "stated U (k=2) J", "counter J", "coverage")
SECRET = "Zq7-secret"
UNTIL_S = 20.0
SWAYING = Load((0.43, 180.0), (0.31, 140.0))
"""Steps that come faster than a plug is asked average out over minutes; here they are small."""


@pytest.fixture
def meter():
    started = []

    def start(make=ShellyBench, load=None, **options):
        started.append(make(load or SWAYING, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def run(tmp_path, gauge):
    """Start a measured command that ends when its standard input does."""
    started = []

    def start(*words, command=("cat",)):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "pactmeter", "run", *words, "--", *command],
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    _, told = process.communicate(timeout=UNTIL_S)
    return told


def rows_of(path):
    """Return the rows so far, without a last one that may be torn."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def wait_for(condition):
    until_s = time.monotonic() + UNTIL_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)  # what another process writes has no event


def sources_of(path):
    return {source["channel"]: source for source in summarize(load(path))["sources"]}


@pytest.mark.parametrize("make", [ShellyBench, TasmotaBench])
def test_joules_in_are_joules_out_and_the_password_stays_where_it_was(
    make, meter, run, tmp_path, figures
):
    bench = meter(make, update_s=0.1, password=SECRET)
    process = run("--meter", bench.url("#desk", f":{SECRET}@"))
    bench.wait_asked(12 if make is ShellyBench else 8)
    told = ended(process)

    assert process.returncode == 0, told
    assert SECRET not in told
    for path in tmp_path.iterdir():
        assert SECRET not in path.read_text(), path
    recorded = load(tmp_path / "PACT.csv")
    assert recorded.manifest["config"]["meters"] == [
        f"{bench.kind}://***@127.0.0.1:{bench.port}#desk"
    ]
    summary = summarize(recorded)
    headline, sources = summary["headline"], sources_of(tmp_path / "PACT.csv")
    assert (headline["channel"], headline["domain"]) == ("wall.desk", "ac")
    assert (headline["origin"], headline["synthetic"]) == ("measured", "emulated")
    assert "[emulated devices]" in told
    ((from_s, to_s),) = windows_of(tmp_path / "PACT.csv")
    true_j = bench.load.energy_j(from_s, to_s)
    counted = sources["wall.desk.counter"]
    figures(TITLE, *COLUMNS).add(
        bench.kind,
        f"{true_j:.1f}",
        f"{headline['energy_j']:.1f}",
        f"{headline['u_j']:.1f}",
        f"{counted['energy_j']:.1f}",
        f"{headline['coverage']:.3f}",
    )
    assert abs(headline["energy_j"] - true_j) <= headline["u_j"]
    assert abs(counted["energy_j"] - true_j) <= counted["u_j"]
    assert headline["coverage"] > 0.95


def test_a_meter_that_goes_away_is_a_gap_and_costs_no_other_sensor_its_time(meter, run, tmp_path):
    bench = meter(load=Load((1.0, 150.0)))
    process = run("--measure-period", "0.2", "--meter", bench.url("#desk"))
    file = tmp_path / "PACT.csv"
    bench.wait_asked(8)
    bench.stop()
    wait_for(lambda: [row for row in rows_of(file)[2:] if row["wall.desk_w"] == ""])
    bench.start()
    bench.wait_asked(6)
    told = ended(process)

    assert process.returncode == 0, told
    sources, recorded = sources_of(file), load(file)
    (gap,) = [g for g in recorded.manifest["gaps"] if "wall.desk" in g["channels"]]
    assert "refuses connections" in gap["reason"]
    wall = sources["wall.desk"]
    assert 0.1 < wall["coverage"] < 0.98
    covered_s = wall["coverage"] * recorded.duration_s
    assert wall["energy_j"] == pytest.approx(150.0 * covered_s, rel=0.02)
    others = [s for name, s in sources.items() if not name.startswith("wall")]
    assert others
    assert all(s["coverage"] > 0.95 and s["gaps"] == 0 for s in others)


def test_slow_answers_stall_nothing_and_end_when_told(meter, run, tmp_path):
    bench = meter()
    process = run("--measure-period", "0.2", "--meter", bench.url("#desk"))
    file = tmp_path / "PACT.csv"
    bench.wait_asked(5)
    bench.delay_s = 60.0
    seen = len(rows_of(file))
    wait_for(lambda: len(rows_of(file)) >= seen + 6)
    begin_s = time.monotonic()
    told = ended(process)

    assert process.returncode == 0, told
    assert time.monotonic() - begin_s < 5.0
    recorded = load(file)
    assert any("no answer from" in g["reason"] for g in recorded.manifest["gaps"])
    others = [s for name, s in sources_of(file).items() if not name.startswith("wall")]
    assert all(s["coverage"] > 0.95 and s["gaps"] == 0 for s in others)


def test_a_counter_that_starts_again_and_garbage_make_no_energy(meter, run, tmp_path):
    bench = meter(load=Load((1.0, 150.0)))
    process = run("--measure-period", "0.2", "--meter", bench.url("#desk"))
    bench.wait_asked(6)
    bench.reset()
    bench.wait_asked(3)
    bench.raw = (200, b'{"apower": 1e9, "aenergy": {"total": -5}}')
    bench.wait_asked(2)
    bench.raw = None
    bench.wait_asked(6)
    told = ended(process)

    assert process.returncode == 0, told
    file = tmp_path / "PACT.csv"
    duration_s, sources = load(file).duration_s, sources_of(file)
    reasons = [gap["reason"] for gap in load(file).manifest["gaps"]]
    assert any("went back" in reason for reason in reasons)
    assert any("more than the 7500 W" in reason for reason in reasons)
    for name in ("wall.desk", "wall.desk.counter"):
        source = sources[name]
        assert 0 < source["energy_j"] <= 150.0 * duration_s * 1.01 + 8.0


@pytest.mark.parametrize("warn", [False, True])
def test_a_meter_that_is_not_there_at_the_start_is_told_before_the_command(
    warn, meter, run, tmp_path
):
    bench = meter()
    bench.stop()
    words = ("--meter", bench.url("#desk"), *(("--warn",) if warn else ()))
    process = run(*words, command=("touch", "ran"))
    told = ended(process)

    assert f"wall.desk: 127.0.0.1:{bench.port} refuses connections" in told
    assert "check its address and port" in told
    assert process.returncode == (0 if warn else 1)
    assert (tmp_path / "ran").exists() is warn


def test_a_wrong_url_is_a_usage_error_and_shows_no_password(run):
    process = run("--meter", f"shely://:{SECRET}@plug")
    told = ended(process)

    assert process.returncode == 2
    assert "did you mean 'shelly'" in told
    assert SECRET not in told


def test_the_decorator_takes_meters(meter, tmp_path, gauge):
    bench = meter(load=Load((1.0, 150.0)))
    script = tmp_path / "train.py"
    script.write_text(
        "import time\n"
        "from pactmeter import PACT\n"
        f"@PACT(meters=[{bench.url('#desk,accuracy=1%')!r}])\n"
        "def train():\n"
        "    time.sleep(0.5)\n"
        "train()\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, timeout=UNTIL_S, check=False, env=os.environ
    )

    assert done.returncode == 0
    summary = summarize(load(tmp_path / "PACT.csv"))
    assert summary["headline"]["channel"] == "wall.desk"
    assert summary["headline"]["energy_j"] == pytest.approx(75.0, rel=0.1)
    manifest = json.loads((tmp_path / "PACT.json").read_text())
    assert manifest["channels"][0]["accuracy_source"] == "stated by the user"
