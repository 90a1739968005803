"""The summary of a run on a terminal and in a pipe: short, whole, and as wide as the screen."""

import io
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.cli.main import main
from pactmeter.model.channel import Domain
from pactmeter.report.screen import Screen, Style
from pactmeter.report.text import regions_table, render
from support.written import (
    AC,
    DC,
    GPU,
    PACKAGE,
    PSYS,
    UTC_S,
    WALL,
    counter,
    gauge,
    write,
    written,
)

CODE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def many(folder, sources=12, notes=5):
    """A run with more to tell than a screen holds."""
    channels = {gauge("psu.dc_output", Domain.DC, resolution=2.0): [100.0, None] * 30}
    channels |= {counter(f"gpu{k}", Domain.GPU): 40.0 + k for k in range(sources)}
    more = {"notes": [f"note number {k} of some length, as notes are" for k in range(notes)]}
    return written(folder, channels, events=("faults", "cycles"), more=more)


@pytest.mark.parametrize("width", [None, 60, 80, 132, 300])
def test_a_summary_has_15_lines_at_most_and_none_is_wider_than_the_screen(tmp_path, width):
    run = many(tmp_path)

    lines = render(run, summarize(run), screen=Screen(width)).splitlines()

    assert len(lines) <= 15
    assert all(len(line) <= (width or 10_000) for line in lines)
    assert lines[1].startswith("energy    ")
    assert any(line.startswith("verdict") for line in lines)
    assert "PACT.csv" in " ".join(lines[-2:])


def test_what_is_left_out_of_a_summary_is_counted(tmp_path):
    run = many(tmp_path)

    text = render(run, summarize(run), screen=Screen(80))

    shown = len(re.findall(r"^(?:sources   | {10})(?:psu|gpu)", text, flags=re.MULTILINE))
    assert f"and {13 - shown} more (--json has all)" in text


def test_a_short_run_is_told_whole(tmp_path):
    run = written(tmp_path, {DC: 100.0, PACKAGE: 40.0, GPU: 30.0})

    text = render(run, summarize(run))

    assert " more (" not in text
    assert all(name in text for name in ("psu.dc_output", "cpu.package0", "gpu0"))


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (DC, "excluded  the power supply's own losses"),
        (WALL, "excluded  what another outlet than the metered one feeds"),
        (PSYS, "excluded  what the processor's platform counter does not see, supply losses"),
        (PACKAGE, "CPU measured subtotal, excludes memory, board, fans and supply losses"),
    ],
)
def test_what_the_headline_excludes_is_said(tmp_path, channel, said):
    run = written(tmp_path, {channel: 100.0})

    assert said in render(run, summarize(run))


def test_a_narrow_screen_leaves_columns_out_before_it_breaks_lines(tmp_path):
    run = written(tmp_path, {DC: 100.0})

    lines = render(run, summarize(run), screen=Screen(80)).splitlines()

    (line,) = [line for line in lines if line.startswith("sources")]
    assert "measured" in line
    assert "% covered" in line


def test_80_columns_hold_a_source_a_line(tmp_path):
    found = [gauge(f"cpu.package{k}", Domain.PACKAGE, synthetic="emulated") for k in range(6)]
    run = written(tmp_path, dict.fromkeys(found, 1234.5))

    lines = render(run, summarize(run), screen=Screen(80)).splitlines()

    assert sum("cpu.package" in line and "% covered" in line for line in lines) == 6


@given(st.text(st.characters(categories=["L", "N", "Zs"]), max_size=300), st.integers(40, 200))
def test_a_broken_line_keeps_all_its_words(line, width):
    parts = list(Screen(width).lines(line))

    assert "".join("".join(parts).split()) == "".join(line.split())
    assert all(len(part) <= width for part in parts)


def test_a_terminal_has_its_width_and_its_colours(monkeypatch):
    monkeypatch.setenv("COLUMNS", "91")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert Screen.of(Terminal()) == Screen(91, is_coloured=True)


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)],
)
def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch, name, value, coloured):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)

    assert Screen.of(Terminal()).is_coloured is coloured


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_a_pipe_has_neither_width_nor_colours(stream):
    assert Screen.of(stream) == Screen(None, is_coloured=False)


def test_the_headline_stands_out_and_colours_add_nothing_else(tmp_path):
    run = written(tmp_path, {DC: 100.0})

    plain = render(run, summarize(run), screen=Screen(80))
    coloured = render(run, summarize(run), screen=Screen(80, is_coloured=True))

    assert CODE.sub("", coloured) == plain
    assert coloured.splitlines()[1].startswith(Style.BOLD)


def test_a_report_in_a_pipe_is_plain(tmp_path, capsys):
    path = write(tmp_path, {DC: 100.0})

    assert main(["report", str(path)]) == 0

    assert not CODE.search(capsys.readouterr().out)


# --- the page -----------------------------------------------------------------------------------


def test_a_report_makes_a_page_and_names_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {DC: 100.0})

    assert main(["report", str(path), "--html", "run.html"]) == 0

    assert "page      run.html" in capsys.readouterr().out
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")


def test_a_page_that_is_there_is_kept_unless_forced(tmp_path, capsys):
    path, page = write(tmp_path, {DC: 100.0}), tmp_path / "run.html"
    page.write_text("mine")

    assert main(["report", str(path), "--html", str(page)]) == 1
    assert "--force" in capsys.readouterr().err
    assert page.read_text() == "mine"
    assert main(["report", str(path), "--html", str(page), "--force"]) == 0
    assert page.read_text() != "mine"


def test_no_page_is_written_over_the_run_itself(tmp_path, capsys):
    path = write(tmp_path, {DC: 100.0})
    before = path.read_bytes()

    assert main(["report", str(path), "--html", str(path), "--force"]) == 1

    assert "is what this is made from" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_force_without_a_page_is_wrong_usage(tmp_path, capsys):
    assert main(["report", str(write(tmp_path, {DC: 100.0})), "--force"]) == 2

    assert "add --html FILE" in capsys.readouterr().err


def test_a_page_holds_what_was_asked_for_beside_the_summary(tmp_path):
    path, page = write(tmp_path, {DC: 100.0}), tmp_path / "run.html"

    words = ["--html", str(page), "--window", "10:20", "--each", "call"]

    assert main(["report", str(path), *words]) == 0

    told = page.read_text()
    assert "Windows" in told
    assert "One by one" in told


@pytest.mark.parametrize("vs", [False, True])
def test_a_comparison_makes_a_page(tmp_path, capsys, vs):
    for name in "abcd":
        (tmp_path / name).mkdir()
    sources = {DC: [100.0, 200.0] * 30, PACKAGE: [50.0, 100.0] * 30}
    runs = [str(write(tmp_path / name, sources)) for name in "abcd"]
    page = tmp_path / "compare.html"
    words = [*runs[:2], "--vs", *runs[2:]] if vs else runs

    assert main(["compare", *words, "--html", str(page)]) == 0

    assert f"page      {page}" in capsys.readouterr().out
    assert "<title>" in page.read_text()


def test_the_run_that_a_page_is_of_may_be_one_without_energy(tmp_path):
    path, page = write(tmp_path, {}, events=("faults",)), tmp_path / "run.html"

    assert main(["report", str(path), "--html", str(page)]) == 0

    assert "Energy: not measured" in page.read_text()
    assert load(path).manifest["events"]


def test_no_page_is_written_over_what_it_is_made_from(tmp_path, capsys):
    path = write(tmp_path, {DC: 100.0})
    meter = tmp_path / "meter.csv"
    lines = [f"{UTC_S + k},110" for k in range(-5, 70)]
    meter.write_text("\n".join(["time,P [W]", *lines]) + "\n")
    words = ["--reference", str(meter), "--power-column", "P [W]", "--accuracy", "1"]

    assert main(["report", str(path), *words, "--html", str(meter), "--force"]) == 1

    assert "is what this is made from" in capsys.readouterr().err
    assert meter.read_text().startswith("time,P [W]")


# --- what a stranger must be told ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ({}, "no source was found"),
        ({DC: [None] * 60}, "psu.dc_output gave no reading"),
        ({AC: 100.0}, "what was found is estimated"),
        (
            {gauge("hwmon.board", None): 100.0},
            "hwmon.board is measured, but covers no whole machine, processor or GPU",
        ),
    ],
)
def test_why_there_is_no_headline_is_said(tmp_path, sources, why):
    run = written(tmp_path, sources)
    summary = summarize(run)

    assert f"energy    not measured: {why} (" in render(run, summary)
    assert why in summary["verdict"]["checks"][0]["text"]


def test_only_what_is_emulated_is_called_so(tmp_path):
    card = counter("gpu0", Domain.GPU, synthetic="emulated")
    run = written(tmp_path, {DC: 100.0, card: 40.0})

    assert render(run, summarize(run)).splitlines()[0].endswith("  [emulated: gpu0]")


def test_nothing_in_a_run_writes_on_the_terminal(tmp_path):
    run = written(tmp_path, {DC: 100.0}, more={"problems": ["a \x1b]0;title\x07 b"]})

    assert "\x1b" not in render(run, summarize(run))


def test_a_table_of_regions_fits_the_screen_and_says_what_it_leaves_out(tmp_path):
    marks = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "\x1b[2J" + "long" * 999, 0, 1]]
    sources = {DC: 100.0, AC: 110.0, PACKAGE: 40.0, GPU: 30.0}
    summary = summarize(written(tmp_path, sources, events=("faults",), regions=marks))

    wide = regions_table(summary["regions"], summary["sources"])
    narrow = regions_table(summary["regions"], summary["sources"], Screen(100))

    assert "psu.ac_input (estimated)" in wide
    assert "\x1b" not in wide
    assert all(len(line) <= 100 for line in narrow.splitlines())
    assert "no room for" in narrow
    assert "faults" in narrow.splitlines()[-1]


def test_a_page_is_written_though_nobody_reads_what_is_printed(tmp_path):
    path, page = write(tmp_path, {DC: 100.0, AC: 110.0}), tmp_path / "compare.html"
    words = [sys.executable, "-m", "pactmeter", "compare", str(path), "--html", str(page)]

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.close()

    assert page.read_text().startswith("<!doctype html>")


def test_the_marks_of_a_run_stand_below_its_energy(tmp_path):
    marks = {"data": "made up", "weights": "random"}
    run = written(tmp_path, {DC: 100.0}, more={"config": {"measure_period_s": 1.0, "marks": marks}})

    lines = render(run, summarize(run)).splitlines()

    assert lines[1].startswith("energy    ")
    assert lines[2] == "marks     data: made up, weights: random"
    assert summarize(run)["marks"] == marks


@pytest.mark.parametrize(
    "config", [None, {"measure_period_s": 1.0}, {"marks": None}, {"marks": {}}]
)
def test_a_run_without_marks_tells_of_none(tmp_path, config):
    path = write(tmp_path, {DC: 100.0})
    manifest = json.loads(path.with_suffix(".json").read_text())
    del manifest["config"]
    more = {} if config is None else {"config": config}
    path.with_suffix(".json").write_text(json.dumps(manifest | more))
    run = load(path)

    assert summarize(run)["marks"] == {}
    assert "\nmarks " not in render(run, summarize(run))
