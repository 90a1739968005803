"""Regions: what is marked arrives once and whole, at no cost, and no figure is made up."""

import asyncio
import json
import math
import os
import statistics
import struct
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pactmeter
from pactmeter import region
from pactmeter.analysis import regions as analysis
from pactmeter.analysis import spans
from pactmeter.analysis.read import read
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.errors import ConfigError
from pactmeter.model.channel import Channel, Domain, Kind
from pactmeter.report.text import regions_table
from pactmeter.session import marks
from pactmeter.session import regions as session
from pactmeter.store import spool
from pactmeter.units import Unit
from support import children

COST_US, COST_NO_RUN_US = 2.0, 1.0
TITLE = "A region, entered and left"
COLUMNS = ("situation", "CPU time us", "bound us")


@pytest.fixture
def opened(tmp_path):
    """Open a run that nobody samples; return the reader of its marks."""
    folder = tmp_path / "marks"
    folder.mkdir()
    power = tmp_path / "PACT.csv"
    power.write_text("")
    (tmp_path / "PACT.json").write_text(json.dumps({"schema": 1, "marks": str(folder)}))
    session.call_opened(str(power))
    yield spool.SpoolReader(folder)
    session.run_closed(str(power))


# --- what may be marked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("",), "empty"),
        ((3,), "not a text"),
        ((None,), "not a text"),
        ((print,), "not a text"),
        (("call",), "cannot be named 'call'"),
        (("x", "1"), "not a whole number"),
        (("x", 1.0), "not a whole number"),
        (("x", True), "not a whole number"),
        (("x", 1 << 64), "64 bits"),
    ],
)
def test_a_wrong_name_or_index_is_told_with_or_without_a_run(arguments, told):
    with pytest.raises(ConfigError, match=told) as caught:
        region(*arguments)
    assert caught.value.fix


def test_what_cannot_be_looped_over_or_called_is_told():
    with pytest.raises(ConfigError, match="cannot be looped over"):
        region.over("x", 3)
    with pytest.raises(ConfigError, match="not a text"):
        region.over(3, [])
    with pytest.raises(ConfigError, match="no function"):
        region("x")(3)


def test_names_are_one_line_of_200_characters(opened):
    names = ['a,"b"', "two\nlines\r\n\x00", "ü" * 10_000, "\udc80", "x" * 200 + "y"]
    for name in names:
        with region(name):
            pass
    found = [mark.name for mark in opened.take()]
    assert found == ['a,"b"', "two lines   ", "ü" * 200, " ", "x" * 200]


def test_whole_numbers_of_any_kind_are_an_index(opened):
    class Whole:
        def __index__(self):
            return 7

    for index in (None, -1, 1 << 40, Whole()):
        with region("x", index):
            pass
    assert [mark.number for mark in opened.take()] == [None, -1, 1 << 40, 7]


# --- where marks arrive --------------------------------------------------------------------------


def test_nested_and_repeated_regions_each_have_their_own_times(opened):
    again = region("outer", 1)
    with again, region("inner"), again:
        time.sleep(0.002)
    inner_again, inner, outer = opened.take()
    assert (inner_again.name, inner.name, outer.name) == ("outer", "inner", "outer")
    assert outer.start_ns <= inner.start_ns <= inner_again.start_ns
    assert inner_again.end_ns <= inner.end_ns <= outer.end_ns
    assert inner.end_ns - inner.start_ns >= 2_000_000
    assert outer.tid == threading.get_native_id()
    assert opened.take() == []


def test_what_is_raised_inside_passes_and_the_region_is_marked(opened):
    with pytest.raises(KeyError), region("x"):
        raise KeyError
    assert len(opened.take()) == 1


def test_the_body_of_a_loop_is_a_region_an_item_and_not_the_getting_of_it(opened):
    def slow():
        for item in "ab":
            time.sleep(0.01)
            yield item

    steps = region.over("step", ["a", "b", "c"])
    assert [*steps, *steps] == ["a", "b", "c"] * 2
    assert len(steps) == 3
    assert [mark.number for mark in opened.take()] == [0, 1, 2] * 2
    for _ in region.over("slow", slow()):
        pass
    assert all(mark.end_ns - mark.start_ns < 10_000_000 for mark in opened.take())
    for _ in region.over("left", range(9)):
        break
    with pytest.raises(ZeroDivisionError):
        [1 / n for n in region.over("raised", [1, 0])]
    assert [mark.name for mark in opened.take()] == ["left", "raised", "raised"]


def test_functions_of_every_kind_are_marked_each_time_they_run(opened):
    @region("plain")
    def plain(x):
        """Doc."""
        return x

    @region("generator", 4)
    def generator():
        return (yield 1)

    @region("coroutine")
    async def coroutine():
        await asyncio.sleep(0.002)
        return 2

    @region("stream")
    async def stream():
        got = yield 1
        try:
            yield got
        except ValueError:
            yield "caught"

    class Model:
        @region("method")
        @classmethod
        def make(cls):
            return cls.__name__

    async def use():
        s = stream()
        got = [await s.__anext__(), await s.asend(5), await s.athrow(ValueError())]
        return [*got, await coroutine(), [n async for n in stream()]]

    assert (plain(1), plain.__name__, plain.__doc__) == (1, "plain", "Doc.")
    g = generator()
    next(g)
    with pytest.raises(StopIteration) as stopped:
        g.send("sent")
    assert stopped.value.value == "sent"
    assert asyncio.run(use()) == [1, 5, "caught", 2, [1, None]]
    assert Model.make() == "Model"
    found = opened.take()
    assert [(mark.name, mark.number) for mark in found if mark.name != "stream"] == [
        ("plain", None),
        ("generator", 4),
        ("coroutine", None),
        ("method", None),
    ]
    assert sum(mark.name == "stream" for mark in found) >= 1


def test_marks_of_many_threads_arrive_once_each(opened):
    most = 20_000

    def work(name):
        for i in range(most):
            with region(name, i):
                pass

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        found = []
        while any(thread.is_alive() for thread in threads):
            found += opened.take()  # as the sampler does, while they are at it
        found += opened.take(final=True)
    finally:
        sys.setswitchinterval(before)
    assert len(found) == 4 * most
    for n in range(4):
        mine = [mark for mark in found if mark.name == f"t{n}"]
        assert sorted(mark.number for mark in mine) == list(range(most))
        assert len({mark.tid for mark in mine}) == 1
    assert list(opened.folder.iterdir()) == []


def test_a_slot_that_a_thread_took_and_never_filled_holds_nothing_up(opened, monkeypatch):
    with region("before"):
        pass
    next(session._current._chunk.places)
    with region("after"):
        pass
    assert [mark.name for mark in opened.take()] == ["before"]
    monkeypatch.setattr(spool, "_HOLE_S", 0.0)
    assert [mark.name for mark in opened.take()] == ["after"]


def test_many_different_names_arrive(opened):
    for n in range(5000):
        with region(f"step {n} {'x' * 100}"):
            pass
    assert len({mark.name for mark in opened.take(final=True)}) == 5000


def test_memory_is_bounded_where_nobody_takes_marks_and_the_loss_is_told(opened, monkeypatch):
    monkeypatch.setattr(marks, "MOST_CHUNKS", 3)
    for i in range(6 * spool.SLOTS):
        with region("x", i):
            pass
    assert sum(path.stat().st_size for path in opened.folder.iterdir()) <= 3 * spool.SIZE
    found = opened.take()
    assert len(found) + opened.lost == 6 * spool.SLOTS
    assert opened.lost > 0


def test_where_memory_is_full_the_program_goes_on_with_one_warning(opened, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    marked = region("x")(lambda: None)
    with pytest.warns(RuntimeWarning, match="No space left") as told:
        assert [marked() for _ in range(3)] == [None] * 3
    assert len(told) == 1
    monkeypatch.undo()
    deadline_s = time.monotonic() + 10
    while not (found := opened.take()) and time.monotonic() < deadline_s:
        with region("x"):
            pass
    assert found
    assert opened.lost >= 3


def test_marking_stops_quietly_once_the_run_has_ended(opened):
    with region("x"):
        pass
    assert len(opened.take(final=True)) == 1
    opened.remove()
    for i in range(2 * spool.SLOTS):
        with region("x", i):
            pass
    assert not opened.folder.exists()


def test_a_forked_child_marks_what_it_begins_and_nothing_of_its_parent(opened):
    with region("before"):
        pass
    pid = 0
    with region("around"):
        pid = os.fork()
        if pid == 0:
            with region("child"):
                pass
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    found = opened.take()
    assert sorted((mark.name, mark.tid == os.getpid()) for mark in found) == [
        ("around", True),
        ("before", True),
        ("child", False),
    ]
    assert [path.name.split("-")[0] for path in opened.folder.iterdir()] == [str(os.getpid())]


def test_the_run_around_has_the_marks_again_when_an_inner_one_has_ended(tmp_path):
    names = []
    before = os.environ.get(session.VARIABLE)

    def seen():
        names.append(Path(os.environ[session.VARIABLE]).name)

    outer, inner = str(tmp_path / "outer"), str(tmp_path / "inner")
    for step in (
        lambda: session.call_opened(outer),
        lambda: session.call_opened(inner),
        lambda: session.call_closed(inner),
        lambda: session.call_closed(outer),
        lambda: session.call_opened(inner),
        lambda: session.run_closed(inner),
    ):
        step()
        seen()
    session.run_closed(outer)
    assert names == ["outer", "inner", "outer", "outer", "inner", "outer"]
    assert os.environ.get(session.VARIABLE) == before


def test_what_a_killed_sampler_left_is_removed_once_it_is_empty_or_a_day_old(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MEMORY", tmp_path)
    live = spool.SpoolReader.create()
    for name in ("empty", "young", "old"):
        (tmp_path / f"pactmeter-{name}").mkdir()
        if name != "empty":
            (tmp_path / f"pactmeter-{name}" / "1-0").write_bytes(b"")
    os.utime(tmp_path / "pactmeter-old", (0, 0))
    new = spool.SpoolReader.create()
    assert set(tmp_path.iterdir()) == {live.folder, new.folder, tmp_path / "pactmeter-young"}
    live.remove()
    new.remove()
    monkeypatch.setattr(spool, "MEMORY", tmp_path / "none")
    assert spool.SpoolReader.create().folder is None


# --- what it costs -------------------------------------------------------------------------------


def cost(power=None):
    """Return the CPU time of a region in microseconds: the median of many loops."""
    reader = spool.SpoolReader(None)
    if power:
        session.call_opened(power)
        reader = spool.SpoolReader(Path(power).parent / "marks")
    found, taken = [], 0
    for _ in range(9):
        start_s = time.process_time()
        for i in range(200_000 // 9):
            with region("x", i):
                pass
        found.append(1e6 * (time.process_time() - start_s) / (200_000 // 9))
        taken += len(reader.take())
    assert taken == (200_000 // 9 * 9 if power else 0)
    return statistics.median(found)


def test_a_region_costs_at_most_2_us_and_well_below_1_us_without_a_run(opened, tmp_path, figures):
    alone = {session.VARIABLE: None}
    with_run = children.run(__file__, "cost", str(tmp_path / "PACT.csv"), env=alone)
    without = children.run(__file__, "cost", env=alone)
    figures(TITLE, *COLUMNS).add("with a run", with_run, COST_US)
    figures(TITLE, *COLUMNS).add("without a run", without, COST_NO_RUN_US)
    assert with_run <= COST_US
    assert without <= COST_NO_RUN_US


# --- what regions come to ------------------------------------------------------------------------

GAUGE = Channel(
    "psu.dc_output", Unit.WATT, Kind.POWER, "psu", Domain.DC, resolution=1.0, accuracy_pct=5.0
)


@pytest.fixture
def recorded(tmp_path):
    """Write a run of 60 s at 100 W in its first half and 300 W in its second."""

    def write(marked, *, missing=(), row_s=1.0, about=None):
        lines, total_j = ["due_s,read_s,late_s,window_s,psu.dc_output_w,_j,_n"], 0.0
        lines[0] = lines[0].replace(",_", ",psu.dc_output_")
        for row in range(1, round(60 / row_s) + 1):
            t = row * row_s
            watts = 100.0 if t <= 30 else 300.0
            if row in missing:
                lines.append(f"{t},{t},0,{row_s},,,0")
                continue
            total_j += watts * row_s
            lines.append(f"{t},{t},0,{row_s},{watts},{total_j},10")
        (tmp_path / "PACT.csv").write_text("\n".join(lines) + "\n")
        bins = [f"{k / 100},0.01,{k % 2}," for k in range(6000)]
        header = "start_s,dt_s,faults,cycles"
        (tmp_path / "PACT.counters.csv").write_text("\n".join([header, *bins]) + "\n")
        rows = [f"{a},{b},{name},{index},1" for a, b, name, index in marked]
        header = "start_s,end_s,name,index,tid"
        (tmp_path / "PACT.regions.csv").write_text("\n".join([header, *rows]) + "\n")
        event = {"scope": "tree", "reason": None, "group": "g"}
        manifest = {
            "schema": 1,
            "status": "complete",
            "reason": None,
            "calls": 1,
            "zero_monotonic_s": 1000.0,
            "marks": str(tmp_path / "marks"),
            "config": {"measure_period_s": row_s},
            "channels": [{**GAUGE.to_dict(), "poll_period_s": 0.1, **(about or {})}],
            "events": [
                {"column": "faults", "status": "ok", **event},
                {"column": "cycles", "status": "missing", **event},
            ],
        }
        (tmp_path / "PACT.json").write_text(json.dumps(manifest))
        return load(tmp_path / "PACT.csv")

    return write


def test_energy_and_counts_are_those_of_the_time_of_the_regions(recorded):
    run = recorded([(0, 60, "call", 0), (5, 15.5, "low", 0), (40, 50, "high", "")])
    low, high = summarize(run)["regions"]
    assert (low["name"], low["count"], low["duration_s"], low["mean_s"]) == ("low", 1, 10.5, 10.5)
    assert low["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(1050.0)
    assert high["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(3000.0)
    assert low["counters"] == {"faults": 525, "cycles": None}
    assert high["energy"]["psu.dc_output"]["u_j"] >= 0.05 * 3000.0


def test_regions_of_a_name_that_overlap_count_once(recorded):
    marked = [(2, 12, "x", 0), (7, 17, "x", 1), (8, 9, "x", 2), (40, 50, "x", 3), (50, 55, "x", 4)]
    (x,) = analysis.regions(recorded(marked))
    assert (x["count"], x["duration_s"], x["mean_s"]) == (5, 30.0, 7.2)
    assert x["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(1500 + 4500)
    assert x["counters"]["faults"] == 1500


def test_each_region_of_a_name_can_be_told_apart_by_its_index(recorded):
    run = recorded([(0, 10, "epoch", 0), (40, 50, "epoch", 1), (3, 8, "other", 0)])
    found = analysis.regions(run, each="epoch")
    assert [(r["index"], r["energy"]["psu.dc_output"]["energy_j"]) for r in found] == [
        (0, pytest.approx(1000.0)),
        (1, pytest.approx(3000.0)),
    ]


def test_the_calls_are_told_one_by_one(recorded):
    run = recorded([(0, 25, "call", 0), (5, 15, "x", 0), (40, 60, "call", 1)])
    found = analysis.regions(run, each="call")
    assert [r["energy"]["psu.dc_output"]["energy_j"] for r in found] == [
        pytest.approx(2500.0),
        pytest.approx(6000.0),
    ]


def test_any_window_has_its_energy_and_counts(recorded):
    run = recorded([(0, 60, "call", 0)])
    low, across = analysis.windows(run, [(5, 15.5), (20, 40)])
    assert low["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(1050.0)
    assert low["counters"]["faults"] == 525
    assert across["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(1000.0 + 3000.0)


@pytest.mark.parametrize("span", [(10, 5), (5, 5), (-1, 5), (50, 61), (math.nan, 5)])
def test_a_window_outside_the_run_is_refused_with_its_length(recorded, span):
    with pytest.raises(ConfigError, match="not within the run") as told:
        analysis.windows(recorded([]), [span])
    assert "0:60" in told.value.fix


@given(
    edges=st.lists(st.floats(0, 60), min_size=2, max_size=8, unique=True).map(sorted),
    lost=st.sets(st.integers(0, 599)),
)
def test_windows_side_by_side_add_up_to_the_window_around_them(edges, lost):
    """Read in one pass, however many edges cut its bins, and whatever is missing."""
    rows = [[f"{k / 10:.6f}", "0.1", "" if k in lost else str(k % 7)] for k in range(600)]
    sums = spans._Sums([2], edges)
    for first in range(0, 600, 64):
        sums.add(rows[first : first + 64])
    (found,) = sums.at_edges()
    for edge_s, (amount, known_s) in zip(edges, found, strict=True):
        inside = [(k, min(1.0, max(0.0, edge_s * 10 - k))) for k in range(600) if k not in lost]
        assert amount == pytest.approx(sum(share * (k % 7) for k, share in inside), abs=1e-3)
        assert known_s == pytest.approx(sum(share * 0.1 for _, share in inside), abs=1e-4)


@pytest.mark.parametrize(
    ("length_s", "row_s", "about", "is_given"),
    [
        (1.9, 1.0, {}, False),  # less than two rows
        (2.1, 1.0, {}, True),
        (0.9, 0.2, {}, False),  # less than ten polls
        (1.1, 0.2, {}, True),
        (4.9, 0.2, {"update_period_s": 0.5}, False),  # less than ten updates
        (5.1, 0.2, {"update_period_s": 0.5}, True),
        (1.9, 0.2, {"lag": {"tau_s": 0.2, "energy_j": 1.0}}, False),
    ],
)
def test_what_is_shorter_than_the_source_resolves_has_no_energy(
    recorded, length_s, row_s, about, is_given
):
    marked = [(k * 6, k * 6 + length_s, "x", k) for k in range(4)]
    (x,) = analysis.regions(recorded(marked, row_s=row_s, about=about))
    found = x["energy"]["psu.dc_output"]
    assert ("energy_j" in found) is is_given
    if not is_given:
        assert "least that is resolved" in found["refused"]


def test_a_thousand_short_regions_do_not_add_up_to_a_figure(recorded):
    marked = [(10 + k / 100, 10.01 + k / 100, "step", k) for k in range(1000)]
    (step,) = analysis.regions(recorded(marked))
    assert "refused" in step["energy"]["psu.dc_output"]
    assert step["counters"]["faults"] is None  # one bin each


def test_what_was_not_measured_has_no_energy(recorded):
    run = recorded([(1, 11, "x", 0), (55, 65, "late", 0), (40, 50, "fine", 0)], missing=(5,))
    x, fine, late = analysis.regions(run)
    assert "90.0 % of its time is measured" in x["energy"]["psu.dc_output"]["refused"]
    assert "50.0 % of its time is measured" in late["energy"]["psu.dc_output"]["refused"]
    assert late["counters"]["faults"] is None
    assert fine["energy"]["psu.dc_output"]["energy_j"] == pytest.approx(3000.0)


def test_an_edge_within_a_step_of_power_widens_the_uncertainty(recorded):
    run = recorded([(20, 29.5, "to", 0), (5, 14.5, "steady", 0)], row_s=2.0)
    steady, to = analysis.regions(run)
    u = [r["energy"]["psu.dc_output"]["u_j"] for r in (steady, to)]
    # half-way into a row of 2 s beside a step of 200 W, up to 0.1 s late
    assert u[1] ** 2 - u[0] ** 2 == pytest.approx((2 * (0.375 + 0.1) * 200) ** 2 / 3, rel=0.01)


def test_a_stuck_device_gives_no_figure(recorded):
    (x,) = analysis.regions(recorded([(0, 10, "x", 0)], about={"taken_back": {"energy_j": 1.0}}))
    assert "stuck" in x["energy"]["psu.dc_output"]["refused"]


def test_marks_that_a_dead_sampler_left_are_read_once(recorded, tmp_path):
    run = recorded([(1, 11, "x", 0)])
    folder = tmp_path / "marks"
    folder.mkdir()
    session.call_opened(str(run.files.power))
    try:
        chunk = session._current
        chunk.mark("x", 0, 1_001_000_000_000, 1_011_000_000_000)
        chunk.mark("x", 1, 1_040_000_000_000, 1_050_000_000_000)
        run.files.regions.write_text(
            "start_s,end_s,name,index,tid\n"
            f"1.000000,11.000000,x,0,{threading.get_native_id()}\n"
            "2,3,torn"
        )
        (x,) = analysis.regions(run)
        assert x["count"] == 2
        assert len(read(run.files.power).regions) == 2
    finally:
        session.run_closed(str(run.files.power))


def test_a_chunk_that_is_damaged_gives_no_marks_and_no_error(tmp_path):
    for name, data in (("1-0", b""), ("1-1", b"\xff" * spool.SIZE), ("1-2", os.urandom(1000))):
        (tmp_path / name).write_bytes(data)
    reader = spool.SpoolReader(tmp_path)
    assert spool.marks_left(tmp_path) == []
    assert reader.take(final=True) == []


def test_the_table_gives_figures_and_says_why_there_is_none(recorded):
    run = recorded([(5, 15, "low", 0), *((20, 20.1, f"s{k}", k) for k in range(50))])
    text = regions_table(summarize(run)["regions"], [])
    assert "low     1      10.000 s  10.000 s  1000.0 J +/- " in text
    assert "and 11 more" in text
    assert text.count("least that is resolved") == 1
    assert "none was marked" in regions_table([], [])


def test_a_run_without_regions_has_an_empty_list(recorded):
    assert summarize(recorded([(0, 60, "call", 0)]))["regions"] == []
    assert "regions" not in summarize(recorded([]), with_regions=False)


def test_the_public_name_is_exported():
    assert pactmeter.region is region
    assert struct.calcsize("<qqqII") == spool.SLOT.size == 32


if __name__ == "__main__":
    children.answer(globals())
