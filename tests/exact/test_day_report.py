"""What it costs to report a day: power once a second, counters a hundred times."""

import json
import os
import subprocess
import sys

import pytest

from pactmeter.model.channel import Channel, Domain, Kind, Origin
from pactmeter.units import Unit

DAY_S, BINS_A_SECOND, EPOCHS = 86_400, 100, 200
CPU_S, MEMORY_MB = 15.0, 1000
EVENTS = ("faults", "migrations", "context-switches", "cycles")
TITLE = (
    f"Reporting a day: {DAY_S} rows of 6 channels, {DAY_S * BINS_A_SECOND / 1e6:.2f} M of counters"
)
COLUMNS = ("command", "CPU s", "bound", "memory MB", "bound ")

CHANNELS = [
    Channel(name, unit, kind, name, domain, Origin.MEASURED, accuracy_pct=5.0)
    for name, unit, kind, domain in (
        ("psu.dc_output", Unit.WATT, Kind.POWER, Domain.DC),
        ("psu1.dc_output", Unit.WATT, Kind.POWER, Domain.DC),
        ("cpu.package0", Unit.JOULE, Kind.ENERGY, Domain.PACKAGE),
        ("cpu.dram0", Unit.JOULE, Kind.ENERGY, Domain.DRAM),
        ("gpu0", Unit.JOULE, Kind.ENERGY, Domain.GPU),
        ("gpu1", Unit.JOULE, Kind.ENERGY, Domain.GPU),
    )
]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Write the files of a day."""
    folder = tmp_path_factory.mktemp("day")
    columns = [column for channel in CHANNELS for column in channel.columns]
    with (folder / "day.csv").open("w") as file:
        file.write(",".join(["due_s,read_s,late_s,window_s", *columns, *EVENTS]) + "\n")
        for row in range(1, DAY_S + 1):
            cells = (f"{100 + k + row % 7},{(100 + k) * row},10" for k in range(len(CHANNELS)))
            file.write(f"{row},{row},0.00001,1,{','.join(cells)},100,50,0,900000\n")
    with (folder / "day.counters.csv").open("w") as file:
        file.write(",".join(["start_s,dt_s", *EVENTS, "g0_running,g1_running"]) + "\n")
        for second in range(DAY_S):
            file.writelines(
                f"{second}.{k:02d},0.01,{k % 3},{k % 2},0,9000,1,1\n" for k in range(BINS_A_SECOND)
            )
    with (folder / "day.regions.csv").open("w") as file:
        file.write("start_s,end_s,name,index,tid\n")
        long_s = DAY_S / EPOCHS
        file.writelines(f"{k * long_s},{(k + 1) * long_s},epoch,{k},1\n" for k in range(EPOCHS))
        file.write(f"0,{DAY_S},call,0,1\n")
    about = {"poll_period_s": 0.1, "roughness": {"pairs": 800_000, "square_w2": 1e6}}
    event = {"status": "ok", "scope": "tree", "reason": None, "group": "g0"}
    manifest = {
        "schema": 1,
        "status": "complete",
        "reason": None,
        "calls": 1,
        "zero_monotonic_s": 1000.0,
        "config": {"measure_period_s": 1.0},
        "channels": [{**channel.to_dict(), **about} for channel in CHANNELS],
        "events": [{"column": name, **event} for name in EVENTS],
        "gaps": [],
        "sampler": {"cpu_s": 200.0, "late_rows": 0},
    }
    (folder / "day.json").write_text(json.dumps(manifest))
    yield folder
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("words", [(), ("--json",), ("--each", "epoch")], ids=" ".join)
def test_a_day_is_reported_in_15_s_of_cpu_and_1_gb(day, words, figures):
    command = [sys.executable, "-m", "pactmeter", "report", str(day / "day.csv"), *words]
    # without coverage's tracer, which costs more than what it looks at
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=plain)
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    cpu_s, memory_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1000
    figures(TITLE, *COLUMNS).add(
        " ".join(("report", *words)), f"{cpu_s:.1f}", CPU_S, f"{memory_mb:.0f}", MEMORY_MB
    )

    assert process.returncode == 0
    assert str(100 * DAY_S) in told
    if "--json" in words:
        (epoch,) = json.loads(told)["regions"]
        assert epoch["count"] == EPOCHS
        assert epoch["counters"]["faults"] == 99 * DAY_S
    assert cpu_s <= CPU_S
    assert memory_mb <= MEMORY_MB
