import gzip
import json
from itertools import pairwise

import pytest

from pactmeter.analysis.run import load
from pactmeter.errors import FileError
from pactmeter.export import trace
from pactmeter.model.channel import Domain, Origin
from support.written import DC, GPU, UTC_S, gauge, write, written

TRIMONTH_S = 7_889_238
BASE_NS = int(UTC_S // TRIMONTH_S) * TRIMONTH_S * 10**9


def read(path):
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def traced(run, tmp_path, name="run.json.gz", **options):
    trace.write(run, tmp_path / name, **options)
    return read(tmp_path / name)


def of(found, phase, name=None):
    return [e for e in found["traceEvents"] if e["ph"] == phase and name in {None, e["name"]}]


def seconds(found, event):
    return found["baseTimeNanoseconds"] / 1e9 + event["ts"] / 1e6 - UTC_S


def test_every_event_has_what_the_format_asks_for(tmp_path):
    found = traced(written(tmp_path, {DC: 100.0, GPU: 5.0}, events=("faults",)), tmp_path)

    for event in found["traceEvents"]:
        assert {"ph", "pid", "name"} <= event.keys()
        assert isinstance(event["pid"], int)
        if event["ph"] == "M":
            continue
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
            assert isinstance(event["tid"], int)
        else:
            ((_, value),) = event["args"].items()
            assert isinstance(value, int | float)


def test_the_file_is_compressed_unless_its_name_says_json(tmp_path):
    run = written(tmp_path, {DC: 100.0})

    trace.write(run, tmp_path / "a.json")
    trace.write(run, tmp_path / "b.json.gz")
    trace.write(run, tmp_path / "c")

    assert (tmp_path / "a.json").read_bytes().startswith(b"{")
    assert (tmp_path / "b.json.gz").read_bytes() == (tmp_path / "c").read_bytes()
    assert read(tmp_path / "a.json") == read(tmp_path / "b.json.gz")


def test_times_count_from_where_those_of_torch_do(tmp_path):
    found = traced(written(tmp_path, {DC: [100.0, 200.0, 50.0]}, rows=3), tmp_path)

    assert found["baseTimeNanoseconds"] == BASE_NS
    values = of(found, "C", "psu.dc_output")
    assert [event["args"]["W"] for event in values] == [100, 200, 50, 0]
    assert [seconds(found, e) for e in values] == pytest.approx([0, 1, 2, 3], abs=1e-4)


def test_a_gap_falls_to_nothing_and_says_why(tmp_path):
    gaps = [
        {
            "device": "psu",
            "channels": ["psu.dc_output"],
            "start_s": 1.0,
            "end_s": 2.0,
            "reason": "it hung",
        }
    ]
    run = written(tmp_path, {DC: [100.0, None, 100.0]}, rows=3, more={"gaps": gaps})

    found = traced(run, tmp_path)

    values = of(found, "C", "psu.dc_output")
    assert [event["args"]["W"] for event in values] == [100, 0, 100, 0]
    (gap,) = of(found, "X", "not measured")
    assert gap["args"] == {"channels": "psu.dc_output", "reason": "it hung"}
    assert gap["dur"] == pytest.approx(1e6)


def test_a_pause_between_calls_is_told(tmp_path):
    path = write(tmp_path, {DC: 100.0}, rows=2)
    lines = path.read_text().splitlines()
    lines.append(lines[-1].replace("2,2,", "10,10,", 1))
    path.write_text("\n".join(lines) + "\n")

    found = traced(load(path), tmp_path)

    (pause,) = of(found, "X", "not measured")
    assert pause["args"] == {"reason": "no call was open"}
    assert pause["dur"] == pytest.approx(7e6)


def test_estimates_and_synthetic_devices_are_marked(tmp_path):
    estimate = gauge("cpu.estimate", Domain.PACKAGE, origin=Origin.ESTIMATED)
    fake = gauge("gpu1", Domain.GPU, synthetic="emulated")

    found = traced(written(tmp_path, {estimate: 5.0, fake: 6.0}), tmp_path)

    assert of(found, "C", "cpu.estimate (estimated)")
    assert of(found, "C", "gpu1 (emulated)")
    assert "emulated devices" in of(found, "M", "process_labels")[0]["args"]["labels"]
    told = {source["channel"]: source for source in found["pactmeter"]["summary"]["sources"]}
    assert told["gpu1"]["u_j"] > 0
    assert told["gpu1"]["synthetic"] == "emulated"


def test_events_are_rates_with_their_scope(tmp_path):
    found = traced(written(tmp_path, {}, events=("faults",), row_s=0.5, rows=4), tmp_path)

    values = of(found, "C", "faults (tree)")
    assert [event["args"]["1/s"] for event in values] == [10, 0]  # 5 in half a second, then the end
    assert seconds(found, values[-1]) == pytest.approx(2.0, abs=1e-4)


def test_regions_are_slices_that_nest(tmp_path):
    lines = [
        [0.0, 60.0, "call", 0, 7],
        [1.0, 10.0, "outer", 3, 7],
        [2.0, 3.0, "inner", None, 7],
        [5.0, 15.0, "crossing", None, 7],
        [16.0, 17.0, "later", None, 7],
        [4.0, 5.0, "elsewhere", None, 8],
    ]

    found = traced(written(tmp_path, {DC: 1.0}, regions=lines), tmp_path)

    slices = [event for event in of(found, "X") if event["name"] != "not measured"]
    assert {e["name"] for e in slices} == {
        "call 0",
        "outer 3",
        "inner",
        "crossing",
        "later",
        "elsewhere",
    }
    by_line = {}
    for event in slices:
        start_ns, length_ns = round(event["ts"] * 1e3), round(event["dur"] * 1e3)
        by_line.setdefault(event["tid"], []).append((start_ns, start_ns + length_ns))
    assert len(by_line) == 3
    for spans in by_line.values():
        for (start, end), (start2, end2) in pairwise(sorted(spans, key=lambda s: (s[0], -s[1]))):
            assert start2 >= end or (start2 >= start and end2 <= end)


def profile(tmp_path, *, first_s=5.0, base_ns=BASE_NS, pid=4321):
    """Write what the torch profiler exports, as far as it matters here."""
    zero_us = UTC_S * 1e6 - base_ns / 1e3
    events = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "ts": 0, "args": {"name": "py"}},
        {
            "ph": "X",
            "cat": "cpu_op",
            "name": "aten::mm",
            "pid": pid,
            "tid": pid,
            "ts": zero_us + first_s * 1e6,
            "dur": 1000.0,
        },
        {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 1, "dur": 0},
        {"ph": "X", "cat": "Trace", "name": "P", "pid": "Spans", "tid": "P", "ts": 1, "dur": 1},
    ]
    found = {"schemaVersion": 1, "deviceProperties": [], "traceEvents": events}
    if base_ns:
        found["baseTimeNanoseconds"] = base_ns
    path = tmp_path / "profile.json.gz"
    path.write_bytes(gzip.compress(json.dumps(found).encode()))
    return path


@pytest.mark.parametrize("base_ns", [BASE_NS, BASE_NS - TRIMONTH_S * 10**9, 0])
def test_a_torch_profile_and_the_run_stand_on_one_clock(tmp_path, base_ns):
    run = written(tmp_path, {DC: [100.0, 200.0]}, rows=2, row_s=5.0)

    found = traced(run, tmp_path, merge=profile(tmp_path, base_ns=base_ns))

    (op,) = of(found, "X", "aten::mm")
    step = of(found, "C", "psu.dc_output")[1]
    assert step["args"] == {"W": 200}
    assert step["ts"] == pytest.approx(op["ts"], abs=1.0)  # both 5 s after the start
    assert found["schemaVersion"] == 1
    ours = {event["pid"] for event in of(found, "C")}
    theirs = {4321, 0, "Spans"}
    assert ours.isdisjoint(theirs)
    assert min(ours) >= 1 << 22


def test_a_profile_of_another_time_is_refused(tmp_path):
    run = written(tmp_path, {DC: 1.0})

    with pytest.raises(FileError, match="shares no time"):
        trace.write(run, tmp_path / "out", merge=profile(tmp_path, first_s=90.0))


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bnonsense", b'{"a": 1}', b"[1, 2]", b"\xff"])
def test_what_is_no_trace_is_refused(tmp_path, data):
    (tmp_path / "other").write_bytes(data)

    with pytest.raises(FileError, match="trace"):
        trace.write(written(tmp_path, {DC: 1.0}), tmp_path / "out", merge=tmp_path / "other")
