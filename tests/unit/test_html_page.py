"""The page of a run: what it says, what it never lets through, what it does not ask for."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.errors import FileError
from pactmeter.model.channel import Domain
from pactmeter.report.html.lines import time_lines
from pactmeter.report.html.page import run_page, write_page
from support.pages import long_run
from support.written import AC, DC, PACKAGE, counter, gauge, write, written

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "]]><!--",
    "a\\b%_$#{}~^&",
    "\u202eright to left \u05d0\u05d1",
    "x" * 10_000,
    "\udcff not UTF-8",
]


class Elements(HTMLParser):
    """Tags with their attributes, and whether every one is closed."""

    VOID = frozenset({"meta", "link", "br", "wbr", "img", "input", "!doctype"})

    def __init__(self, content):
        super().__init__()
        self.found, self.open = [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(run):
    return run_page(run, summarize(run))


def data_of(content):
    told = re.search(r'<script type="application/json" id="pact-data">(.*?)</script>', content)
    return json.loads(told[1])


def test_the_page_tells_the_headline_with_its_uncertainty(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0}))

    assert re.search(r"6000\.0 J ± 3\d0 J \(k=2\)", content)
    assert 'psu.dc_output <span class="mark">measured</span>' in content


def test_an_estimate_is_marked_as_one(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0, AC: 110.0}))

    assert '<span class="mark">estimated</span>' in content


def test_what_is_emulated_is_said_first(tmp_path):
    run = written(tmp_path, {gauge("psu.dc_output", Domain.DC, synthetic="emulated"): 100.0})

    assert "Not hardware: emulated devices." in page_of(run)


def test_where_some_of_it_is_emulated_it_is_said_which(tmp_path):
    card = counter("gpu0", Domain.GPU, synthetic="emulated")

    content = page_of(written(tmp_path, {DC: 100.0, card: 50.0}))

    assert "Not hardware: emulated: gpu0." in content


def test_the_marks_of_a_run_stand_at_its_headline(tmp_path):
    marks = {"data": "made up", "weights": "random"}
    run = written(tmp_path, {DC: 100.0}, more={"config": {"measure_period_s": 1.0, "marks": marks}})

    content = page_of(run)

    said = "Marked by the program: <bdi>data: made up</bdi>, <bdi>weights: random</bdi>"
    assert content.index('class="figure"') < content.index(said) < content.index("<dl>")
    assert "Marked by the program" not in page_of(written(tmp_path, {DC: 100.0}))


def test_how_much_is_covered_stands_at_the_top(tmp_path):
    content = page_of(written(tmp_path, {DC: [100.0] * 40 + [None] * 20}))

    assert "<dt>Covered</dt><dd>66.7 %, 1 gap</dd>" in content


def test_the_share_of_the_uncertainty_has_two_digits_and_no_exponent(tmp_path):
    content = page_of(written(tmp_path, {DC: [100.0] * 20 + [None] * 20 + [200.0] * 20}))

    assert re.search(r"<dt>Uncertainty</dt><dd>1\d0 % of it \(k=2\)</dd>", content)


def test_of_no_energy_no_share_is_told(tmp_path):
    assert "<dt>Uncertainty</dt>" not in page_of(written(tmp_path, {DC: 0.0}))


def test_every_head_of_an_estimate_says_that_it_is_one(tmp_path):
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "epoch", 0, 1]]
    card = counter("gpu0", Domain.GPU, synthetic="emulated")
    run = written(tmp_path, {DC: 100.0, AC: 110.0, card: 20.0}, regions=regions)

    content = page_of(run)

    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', content)
    plain = [html.unescape(re.sub("<[^>]*>", "", head)) for head in heads]
    assert plain.count("psu.ac_input (estimated)") == 2  # power over time, and the regions
    assert plain.count("gpu0 (emulated)") == 2
    assert plain.count("psu.dc_output") == 2
    assert "<caption>psu.ac_input (estimated): U " in content
    assert not {"psu.ac_input", "gpu0"} & set(plain)


@pytest.mark.parametrize("line", ["12.x,13.0,epoch,9,1", "1,2,epoch,nine,1", "2,1,epoch,9,1"])
def test_one_bad_row_of_the_regions_costs_that_row_and_is_told(tmp_path, line):
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "epoch", 0, 1]]
    path = write(tmp_path, {DC: 100.0}, regions=regions)
    file = tmp_path / "PACT.regions.csv"
    file.write_text(f"{file.read_text()}{line}\n30,60,after,0,1\n")

    content = page_of(load(path))

    assert data_of(content)["regions"]["names"] == ["call", "epoch", "after"]
    for name in ("epoch", "after"):
        assert f'<th scope="row"><bdi>{name}</bdi></th>' in content
    assert "PACT.regions.csv: 1 row is no region and left out" in content


def test_what_a_damaged_byte_takes_from_the_regions_is_told(tmp_path):
    path = write(tmp_path, {DC: 100.0})
    with (tmp_path / "PACT.regions.csv").open("ab") as file:
        file.write(b"0,30,\xff,0,1\n")

    assert "PACT.regions.csv: what follows is left out" in page_of(load(path))


def test_regions_without_a_flaw_have_no_banner(tmp_path):
    path = write(tmp_path, {DC: 100.0})
    assert "left out" not in page_of(load(path))

    (tmp_path / "PACT.regions.csv").unlink()
    assert "left out" not in page_of(load(path))


def test_a_long_name_is_cut_and_its_title_is_all_of_it(tmp_path):
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "x" * 10_000, "", 1]]
    host = {"name": "h" * 3000, "cpu": {"model": "m" * 3000}}
    run = written(tmp_path, {DC: 100.0}, regions=regions, more={"host": host})

    content = page_of(run)

    body = re.sub(r'<script type="application/json".*', "", content, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", "", body)
    for letter, length in (("x", 10_000), ("h", 3000), ("m", 3000)):
        assert f'title="{letter * length}"' in content
        assert f"{letter * 80}…" in shown
        assert letter * 81 not in shown


def test_a_run_without_any_energy_says_so(tmp_path):
    content = page_of(written(tmp_path, {}, events=("faults",)))

    assert "Energy: not measured" in content
    assert "pactmeter doctor" in content
    assert data_of(content)["panels"][0]["title"] == "faults"


def test_the_page_has_every_section(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0, PACKAGE: 40.0}, events=("faults",)))

    sections = re.findall(r'<section id="([a-z]+)"', content)
    wanted = "headline time verdict sources budget regions sampling hardware assumptions files"
    assert sections == wanted.split()


def test_the_files_stand_with_their_hashes(tmp_path):
    path = write(tmp_path, {DC: 100.0})

    content = page_of(load(path))

    for name in ("PACT.csv", "PACT.counters.csv", "PACT.regions.csv", "PACT.json"):
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() in content


def test_a_run_that_goes_on_says_so(tmp_path):
    run = written(tmp_path, {DC: 100.0})
    summary = summarize(run) | {"status": "running"}

    assert "still going on" in run_page(run, summary)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_gets_out_of_its_place(tmp_path, name):
    regions = [[0.0, 30.0, name.replace("\udcff", "?"), "", 1]]
    more = {
        "config": {"measure_period_s": 1.0, "marks": {name: name}},
        "host": {"name": name, "kernel": name},
        "reason": name,
        "status": "incomplete",
        "notes": [name],
        "problems": [name],
        "packages": {name: name},
        "gaps": [{"device": name, "start_s": 1.0, "end_s": 2.0, "reason": name, "channels": []}],
        "findings": [{"name": name, "found": False, "detail": name, "fix": name}],
        "about": {DC.name: {"description": name, "device": name}},
    }
    run = written(tmp_path, {DC: 100.0}, regions=regions, more=more, events=("faults",))

    content = page_of(run)

    content.encode("utf-8")
    plain = page_of(written(tmp_path, {DC: 100.0}, events=("faults",)))
    tags = [tag for tag, _ in Elements(content).found]
    assert tags.count("script") == [tag for tag, _ in Elements(plain).found].count("script")
    assert not {"img", "b", "iframe"} & set(tags)
    assert not any(k.startswith("on") for _, attrs in Elements(content).found for k in attrs)
    assert html.escape(name.encode("utf-8", "backslashreplace").decode()) in content


def test_every_element_is_closed(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0}, events=("faults",)))

    assert Elements(content).open == []


def test_every_table_has_a_caption_and_heads_with_scope(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0}, events=("faults",)))

    found = Elements(content).found
    tables = sum(tag == "table" for tag, _ in found)
    assert sum(tag == "caption" for tag, _ in found) == tables
    assert all("scope" in attrs for tag, attrs in found if tag == "th")


def test_the_page_asks_for_nothing(tmp_path):
    found = Elements(page_of(written(tmp_path, {DC: 100.0}))).found

    asked = [attrs.get("src") or attrs.get("href") for _, attrs in found]
    assert {a for a in asked if a} == {"data:,", "#main"}
    policy = next(attrs["content"] for _, attrs in found if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_policy_allows_exactly_our_scripts(tmp_path):
    content = page_of(written(tmp_path, {DC: 100.0}))

    scripts = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in content
    assert len(scripts) == 2


def test_uplot_is_as_its_author_released_it():
    script = (files("pactmeter.report.html") / "static" / "uPlot.iife.js").read_bytes()

    # of the wheel uplot-python 1.1.1; its head says uPlot 1.6.16
    assert hashlib.sha256(script).hexdigest() == (
        "655bc8aa33781e8721c5af6b59f1699c03c9bda951aa74a6ab518ac20cc4326d"
    )


def test_the_licence_of_uplot_is_in_every_page(tmp_path):
    assert "THE SOFTWARE IS PROVIDED" in page_of(written(tmp_path, {DC: 100.0}))


def test_an_earlier_page_is_kept(tmp_path):
    run = written(tmp_path, {DC: 100.0})
    path = tmp_path / "run.html"
    path.write_text("mine")

    with pytest.raises(FileError, match="is there already") as caught:
        write_page(path, run_page(run, summarize(run)))

    assert "--force" in caught.value.fix
    assert path.read_text() == "mine"


def test_an_earlier_page_is_replaced_where_asked_for(tmp_path):
    run = written(tmp_path, {DC: 100.0})
    path = tmp_path / "run.html"
    path.write_text("old")

    write_page(path, run_page(run, summarize(run)), force=True)

    assert path.read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob(".pactmeter-*"))


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    run = written(tmp_path, {DC: 100.0})

    with pytest.raises(FileError, match="cannot write"):
        write_page(tmp_path / "no" / "run.html", run_page(run, summarize(run)))


@pytest.mark.slow
def test_an_hour_is_at_most_4_megabytes(tmp_path):
    content = page_of(load(long_run(tmp_path)))

    assert len(content.encode()) <= 4_000_000
    assert all("low" not in line for p in data_of(content)["panels"] for line in p["lines"])


@pytest.mark.slow
def test_the_time_lines_of_a_day_leave_room_in_8_megabytes(tmp_path):
    # an envelope is as large whatever the rates are; these are the least that need one
    told = time_lines(load(long_run(tmp_path, hours=24, power_hz=5, counters_hz=5)))

    assert len(json.dumps(told)) <= 7_000_000
    assert all({"low", "high"} <= set(line) for p in told["panels"] for line in p["lines"])
