"""The page in a real browser: what it asks for, how fast it is, who can use it."""

import os
import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.analysis.variants import compare_runs
from pactmeter.model.channel import Domain
from pactmeter.report.html.page import run_page, sets_page, study_page, write_page
from pactmeter.study.report import report
from pactmeter.study.results import load_study
from support.pages import long_run
from support.rights import refuse
from support.studies import Folder, defined, system_faults
from support.written import AC, DC, GPU, PACKAGE, counter, written

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HOSTILE = "<script>window.hit = 1</script>\"'\u202e"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        refuse("apt-get install chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


class Opened:
    """A page, with what it asked for and what it complained of."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.asked, self.complaints = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda told: self.complaints.append(told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.url = path.as_uri()

    def drawn(self):
        self.page.wait_for_selector("html[data-plots=done]", timeout=30_000)
        return self.page


@pytest.fixture
def small(tmp_path):
    watts = [100.0 + (50 if k % 20 < 10 else 0) for k in range(120)]
    watts[40:50] = [None] * 10
    regions = [[0.0, 120.0, "call", 0, 1]]
    regions += [[20.0 * k, 20.0 * k + 10, HOSTILE, k, 1] for k in range(6)]
    run = written(
        tmp_path,
        {DC: watts, AC: 130.0, PACKAGE: 40.0, GPU: 60.0},
        rows=120,
        events=("faults", "cycles"),
        regions=regions,
        more={"host": {"name": HOSTILE}},
    )
    path = tmp_path / "run.html"
    write_page(path, run_page(run, summarize(run)))
    return path


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    run = load(long_run(tmp_path_factory.mktemp("hour")))
    path = run.files.power.with_name("run.html")
    write_page(path, run_page(run, summarize(run)))
    return path


def shown(page):
    text = page.locator("#plots-view").inner_text()
    return tuple(float(n) for n in re.findall(r"([\d.]+) s", text))


def test_it_asks_for_nothing_and_does_not_complain(browser, small):
    opened = Opened(browser, small)

    opened.drawn()

    assert [url for url in opened.asked if url != opened.url and url != "data:,"] == []
    assert opened.complaints == []


def test_no_name_is_run_as_a_script(browser, small):
    page = Opened(browser, small).drawn()

    assert page.evaluate("window.hit") is None
    assert page.locator("text=window.hit").count() > 0


def test_power_regions_and_counters_are_drawn(browser, small):
    page = Opened(browser, small).drawn()

    assert page.locator(".plot canvas").count() == 4
    inked = """canvas => { const c = canvas.getContext('2d');
        const p = c.getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(p.buffer)).size }"""
    assert all(canvas.evaluate(inked) > 3 for canvas in page.locator(".plot canvas").all())


def test_plots_zoom_together_by_mouse_and_keys(browser, small):
    page = Opened(browser, small).drawn()
    over = page.locator(".plot .u-over").first
    over.scroll_into_view_if_needed()
    box = over.bounding_box()

    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20, steps=4)
    page.mouse.up()

    assert shown(page) == pytest.approx((30, 60), abs=1)
    page.locator(".plot").first.focus()
    page.keyboard.press("0")
    assert shown(page) == (0, 120)
    page.keyboard.press("+")
    assert shown(page) == (30, 90)
    page.keyboard.press("ArrowRight")
    assert shown(page) == (45, 105)


def page_of(folder, sources, **options):
    run = written(folder, sources, **options)
    path = folder / "run.html"
    write_page(path, run_page(run, summarize(run)), force=True)
    return path


COLOURED = """canvas => { const c = canvas.getContext('2d');
    const p = c.getImageData(0, 0, canvas.width, canvas.height).data;
    let n = 0;
    for (let i = 0; i < p.length; i += 4) {
        const rgb = [p[i], p[i + 1], p[i + 2]];
        n += p[i + 3] > 200 && Math.max(...rgb) - Math.min(...rgb) > 90;
    }
    return n }"""
"""How many pixels of a canvas are neither grey nor empty."""


@pytest.mark.parametrize(
    ("watts", "rows", "least"),
    [([250.0], 1, 10), ([250.0 if k % 2 else None for k in range(60)], 60, 300)],
)
def test_what_stands_alone_is_drawn(browser, tmp_path, watts, rows, least):
    path = page_of(tmp_path, {DC: watts}, rows=rows, events=("faults",))
    page = Opened(browser, path).drawn()

    assert page.locator(".plot canvas").first.evaluate(COLOURED) >= least
    if rows == 1:
        assert page.locator(".plot canvas").last.evaluate(COLOURED) >= least


def test_many_that_stand_alone_are_drawn_in_time(browser, tmp_path):
    watts = [250.0 + k % 5 if k % 2 else None for k in range(100_000)]
    watts[50_001] = 900.0
    page = Opened(browser, page_of(tmp_path, {DC: watts}, rows=100_000)).drawn()

    took_ms = page.evaluate(
        """async () => { const from = performance.now();
        document.querySelector('.tools button').click(); // zooms in
        await Promise.resolve(); await Promise.resolve();
        return performance.now() - from }"""
    )

    assert took_ms <= 3 * 60
    assert page.locator(".plot canvas").first.evaluate(COLOURED) > 500


def test_more_lines_than_colours_are_told_apart(browser, tmp_path):
    cards = {counter(f"gpu{k}", Domain.GPU): 50.0 + k for k in range(12)}
    page = Opened(browser, page_of(tmp_path, cards)).drawn()

    looks = page.locator(".swatch").evaluate_all(
        "all => all.map((s) => { const c = getComputedStyle(s);"
        " return c.color + c.borderTopWidth + c.borderTopStyle })"
    )

    assert len(set(looks)) == 12


def test_of_no_time_there_is_nothing_to_draw(browser, tmp_path):
    page = Opened(browser, page_of(tmp_path, {DC: []}, rows=0)).page

    page.wait_for_function("document.getElementById('plots-note').innerText.includes('nothing')")
    assert page.locator(".plot").count() == 0


@pytest.mark.parametrize("media", ["screen", "print"])
def test_no_number_is_torn(browser, tmp_path, media):
    cards = {counter(f"gpu{k}", Domain.GPU): 50.0 + k for k in range(8)}
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, "epoch", 0, 1]]
    path = page_of(tmp_path, {DC: 300.0, **cards}, regions=regions)
    page = Opened(browser, path, viewport={"width": 718, "height": 1000}).drawn()
    page.emulate_media(media=media)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")

    torn = page.evaluate(
        """() => { const torn = [];
        for (const cell of document.querySelectorAll('td.n, th')) {
            const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
                const text = texts.currentNode;
                for (const word of text.data.matchAll(/[^\\s-]+/g)) {
                    const range = document.createRange();
                    range.setStart(text, word.index);
                    range.setEnd(text, word.index + word[0].length);
                    const tops = [...range.getClientRects()].map((r) => r.top);
                    if (new Set(tops).size > 1) torn.push(word[0]);
                }
            }
        } return torn }"""
    )

    assert torn == []
    if media == "print":
        assert page.evaluate("document.documentElement.scrollWidth") <= 718


@pytest.mark.parametrize("width", [400, 718, 1200])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_no_long_name_widens_the_page(browser, tmp_path, width, media):
    long = "x" * 3000
    more = {
        "host": {"name": long, "kernel": long},
        "notes": [long],
        "problems": [long],
        "packages": {long: long},
        "gaps": [{"device": long, "start_s": 1.0, "end_s": 2.0, "reason": long, "channels": []}],
        "findings": [{"name": long, "found": False, "detail": long, "fix": long}],
        "about": {DC.name: {"description": long, "device": long}},
    }
    regions = [[0.0, 60.0, "call", 0, 1], [0.0, 30.0, long, 0, 1]]
    path = page_of(tmp_path, {DC: 100.0}, regions=regions, more=more)
    page = Opened(browser, path, viewport={"width": width, "height": 900}).drawn()
    page.emulate_media(media=media)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_small_screen_words_keep_room(browser, small):
    page = Opened(browser, small, viewport={"width": 400, "height": 800}).drawn()

    wide = (
        page.locator("#verdict .table")
        .first.locator("td.long")
        .evaluate_all("all => all.map((cell) => cell.getBoundingClientRect().width)")
    )

    assert wide
    assert min(wide) >= 200
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_pointing_tells_the_values(browser, small):
    page = Opened(browser, small).drawn()
    over = page.locator(".plot .u-over").last
    over.scroll_into_view_if_needed()
    box = over.bounding_box()

    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 20)
    page.mouse.move(box["x"] + box["width"] * 0.11, box["y"] + 20)
    page.wait_for_function("document.querySelector('.keys output').value !== ''")

    values = page.locator(".keys output").all_inner_texts()
    assert any(value.endswith("W") for value in values)
    assert any(value.endswith("/s") for value in values)
    at_s = float(re.fullmatch(r"at ([\d.]+) s", page.locator("#plots-at").inner_text())[1])
    assert at_s == pytest.approx(0.11 * 120, abs=1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_axe(browser, small, scheme):
    page = Opened(browser, small, color_scheme=scheme).drawn()

    found = Axe().run(page).response["violations"]

    serious = [v["id"] for v in found if v["impact"] in {"serious", "critical"}]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_comparison_has_no_serious_finding_of_axe(browser, tmp_path, scheme):
    sets = []
    for name, level_w in (("a", 100.0), ("b", 80.0)):
        folders = [tmp_path / f"{name}{k}" for k in range(3)]
        for folder in folders:
            folder.mkdir()
        sets.append([written(f, {DC: level_w + k}) for k, f in enumerate(folders)])
    path = tmp_path / "compare.html"
    write_page(path, sets_page(compare_runs(sets[0], {"B": sets[1]}), []))
    opened = Opened(browser, path, color_scheme=scheme)

    found = Axe().run(opened.page).response["violations"]

    assert [v["id"] for v in found if v["impact"] in {"serious", "critical"}] == []
    assert opened.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_study_has_no_serious_finding_of_axe_and_fits_its_window(
    browser, tmp_path, scheme, width
):
    loads = ["cpu_1", "io_1", "vm_1"]
    made = Folder(tmp_path / "study", defined({"stress": loads, "cv": [HOSTILE, "b"]}, trials=2))
    for place, name in enumerate([*loads, "b"]):
        rates = [500.0 * (place + 1) + row for row in range(60)]
        dc = [60 + place + rate / 100 for rate in rates]
        marks = {"data": "made up"} if name == "b" else {}
        told = {"marks": marks, "work": {"steps": 9}, "more": system_faults(rates)}
        made.rest("before" if place == 0 else "after", {DC: 50.0 + place}) if place < 2 else None
        made.done(f"{name}_1", {DC: dc, PACKAGE: 40.0 + place}, **told)
    made.failed(f"{HOSTILE}_1", HOSTILE)
    path = tmp_path / "study.html"
    study = load_study(made.path)
    write_page(path, study_page(report(study).to_dict(), study.files))
    viewport = {"width": width, "height": 800}
    opened = Opened(browser, path, color_scheme=scheme, viewport=viewport)
    for summary in opened.page.locator("summary").all():
        summary.click()

    found = Axe().run(opened.page).response["violations"]

    assert [v["id"] for v in found if v["impact"] in {"serious", "critical"}] == []
    assert opened.complaints == []
    assert opened.page.evaluate("window.hit") is None
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    for ident in ("energy", "work", "remainder", "model", "idle", "trials", "stats", "files"):
        assert opened.page.locator(f"section#{ident}").is_visible()
    assert opened.page.locator("svg.forest").count() == 2


def test_without_scripts_the_tables_hold_the_figures(browser, small):
    page = Opened(browser, small, java_script_enabled=False).page

    assert "plots need scripts" in page.locator("#plots-note").inner_text()
    page.locator("summary").first.click()
    assert page.locator("caption:has-text('Mean power over time')").is_visible()


def test_an_hour_is_drawn_in_time(browser, hour):
    page = Opened(browser, hour).drawn()

    first_ms = page.evaluate("performance.getEntriesByName('pact-first-plot')[0].startTime")
    took_ms = page.evaluate(
        """async () => { const took = [];
        const press = (name) => [...document.querySelectorAll('.tools button')]
            .find((b) => b.textContent === name).click();
        for (const name of ['Zoom in', 'Later', 'Zoom in', 'Earlier', 'Zoom out', 'Show all']) {
            const from = performance.now();
            press(name);
            await Promise.resolve(); await Promise.resolve();
            took.push(performance.now() - from);
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        } return took.sort((a, b) => a - b) }"""
    )
    print(f"first plot {first_ms:.0f} ms, zooms {[round(t) for t in took_ms]} ms")
    assert first_ms <= 3 * 1500
    assert took_ms[len(took_ms) // 2] <= 3 * 60
