"""Pictures: what is drawn is what the analysis says, gaps stay gaps, and no name breaks one."""

import importlib
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image

from pactmeter.analysis.agreement.compare import compare_sources
from pactmeter.analysis.regions import regions
from pactmeter.analysis.run import load
from pactmeter.analysis.validation import validate
from pactmeter.cli.main import main
from pactmeter.errors import ConfigError, FileError, PactError
from pactmeter.model.channel import Domain, Origin
from pactmeter.report.plots import KINDS
from pactmeter.report.plots.asked import Asked
from pactmeter.report.plots.counters import read_series
from pactmeter.report.plots.make import make
from pactmeter.report.plots.style import CYCLE, RC, plain
from pactmeter.report.plots.thin import steps, thinned
from support.written import AC, CORE, DC, GPU, PACKAGE, WALL, counter, gauge, write

HOSTILE = (
    "<script>alert(1)</script>",
    "a\nb\r\tc\x00\x1b[31m",
    r"\begin{x} $\frac{1}{0}$ 50% #_^~&{}",
    "$x_$",
    "_hidden",
    "x" * 10_000,
    "שלום עולם",
    "مرحبا\u202eabc\u2066",
    "功率 \U0001f600",
    "\"quoted\" 'too'",
    "",
)
ROWS = 120


def powers(rows=ROWS, seed=3):
    """A machine's powers: the supply gives what the parts draw and 40 W."""
    rng = np.random.default_rng(seed)
    gpu_w = np.repeat(rng.uniform(50, 300, -(-rows // 10)), 10)[:rows] + rng.normal(0, 1, rows)
    cpu_w = rng.uniform(40, 90, rows)
    dc_w = gpu_w + cpu_w + 40
    return {
        DC: dc_w.tolist(),
        AC: (1.1 * dc_w + 5 + rng.normal(0, 1, rows)).tolist(),
        WALL: (1.12 * dc_w).tolist(),
        PACKAGE: cpu_w.tolist(),
        CORE: (0.7 * cpu_w).tolist(),
        GPU: gpu_w.tolist(),
    }


MARKS = [
    [0.0, 120.0, "call", 0, 1],
    [0.0, 60.0, "train", 0, 1],
    [60.0, 100.0, "eval", 0, 1],
    [100.0, 100.5, "short", 0, 1],
]


@pytest.fixture
def run_file(tmp_path):
    return write(tmp_path, powers(), rows=ROWS, events=("faults", "cycles"), regions=MARKS)


def validation_file(folder, source=DC, *, has_line=True):
    loads = {"idle": 80.0, "half": 240.0, "full": 420.0}
    rng = np.random.default_rng(1)
    meter_w, marks = [], []
    for place, (name, load_w) in enumerate(loads.items()):
        for k in range(5):
            start_s = 60.0 * (5 * place + k)
            marks.append([start_s, start_s + 60, f"validate.{name}", k, 1])
            meter_w += (load_w * (1 + 0.02 * np.sin(np.arange(60)))).tolist()
    source_w = [0.9 * w - 4 + rng.normal(0, 0.3) for w in meter_w]
    if not has_line:
        source_w = [200.0] * len(meter_w)
    return write(folder, {WALL: meter_w, source: source_w}, rows=900, regions=marks)


def model_files(folder, names=("cpu_a", "cpu_b", "io_a", "io_b")):
    """Runs of four workloads with counts of the whole machine, and the model fitted to them."""
    files = []
    for place, name in enumerate(names):
        rng = np.random.default_rng(place)
        cycles = (1 + place) * 1e9 * rng.uniform(0.7, 1.3, 200)
        (folder / name).mkdir()
        at_s = 1000.0 * place
        clock = {"monotonic_s": at_s, "utc_s": 1.772e9 + at_s}
        event = {"column": "cycles", "scope": "system", "status": "ok", "reason": None}
        more = {
            "clock": {"start": clock, "end": {k: v + 200 for k, v in clock.items()}},
            "events": [{**event, "group": "0", "full_name": "cycles"}],
            "columns": {"cycles": cycles.tolist()},
        }
        dc_w = 60 + 2e-8 * cycles + rng.normal(0, 0.5, 200)
        sources = {DC: dc_w.tolist(), PACKAGE: (0.2 * dc_w).tolist()}
        files.append(str(write(folder / name, sources, rows=200, more=more)))
    model = folder / "model.json"
    assert main(["model", "fit", *files, "-o", str(model)]) == 0
    return model, files


def drawn(kind, *files, **asked):
    module = importlib.import_module(f"pactmeter.report.plots.{kind.replace('-', '_')}")
    with mpl.rc_context(RC):
        figure = module.draw(Asked(tuple(map(str, files)), **asked))
        figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def title(figure, panel=0):
    return figure.axes[panel].get_title(loc="left").replace("\n", " ")


def fills(axes):
    """Return how the points of a panel are filled."""
    return {line.get_fillstyle() for line in axes.lines if line.get_marker() == "o"}


def legend_of(figure):
    return {
        text.get_text(): handle
        for legend in figure.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }


@pytest.fixture(scope="module")
def files_of(tmp_path_factory):
    """For every kind what it is drawn from."""
    folder = tmp_path_factory.mktemp("plots")
    for name in ("run", "validation", "model"):
        (folder / name).mkdir()
    run = write(folder / "run", powers(), rows=ROWS, events=("faults", "cycles"), regions=MARKS)
    model, runs = model_files(folder / "model")
    found = {kind: [str(run)] for kind in KINDS}
    found["validation"] = [str(validation_file(folder / "validation"))]
    found["residuals"] = [str(model), *runs[:2]]
    found["residuals alone"] = [str(model)]
    return found


@pytest.mark.parametrize(("width", "inches"), [("single", 3.5), ("double", 7.2)])
@pytest.mark.parametrize("kind", [*KINDS, "residuals alone"])
def test_every_kind_gives_a_picture_as_wide_as_its_columns(kind, width, inches, files_of, tmp_path):
    out = tmp_path / "out.png"

    code = main(["plot", kind.split()[0], *files_of[kind], "-o", str(out), "--width", width])

    assert code == 0
    with Image.open(out) as picture:
        picture.load()
        assert abs(picture.width - 300 * inches) <= 1
        assert picture.height < 300 * 9.5
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 10
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("kind", KINDS)
def test_every_axis_names_its_quantity_and_unit(kind, files_of):
    for axes in drawn(kind, *files_of[kind]).axes:
        if not axes.axison:
            continue
        categories = [label.get_text() for label in axes.get_yticklabels()]
        named_rows = kind == "regions" and categories
        assert named_rows or "/ " in axes.get_ylabel()
        shared = kind == "counters" and not axes.get_subplotspec().is_last_row()
        assert shared or "/ " in axes.get_xlabel()


@pytest.mark.parametrize("ending", ["svg", "pdf", "PNG"])
def test_the_same_run_gives_the_same_file(ending, run_file, tmp_path):
    outs = [tmp_path / f"{k}.{ending}" for k in "ab"]
    for out in outs:
        assert main(["plot", "power", str(run_file), "-o", str(out)]) == 0

    first, second = (out.read_bytes() for out in outs)

    assert first == second
    if ending == "svg":
        root = ET.fromstring(first)
        assert root.tag.endswith("svg")
        assert b"http://" not in first.replace(b"http://www.w3.org", b"").replace(
            b"http://purl.org", b""
        ).replace(b"http://creativecommons.org", b"")
    if ending == "pdf":
        assert first.startswith(b"%PDF-")
        assert b"/Type3" not in first


def test_gaps_are_gaps_and_no_line_crosses_them(tmp_path):
    dc_w = [100.0] * 40
    dc_w[10:15] = [None] * 5

    figure = drawn("power", write(tmp_path, {DC: dc_w}, rows=40))

    times, watts = figure.axes[0].lines[0].get_data()
    in_gap = (times > 10) & (times < 15)
    assert np.isnan(watts[in_gap]).all()
    assert np.nanmin(watts) == 100.0


def test_a_pause_between_calls_is_a_gap():
    start_s = np.array([0.0, 1, 2, 50, 51])

    times, watts = steps(start_s, start_s + 1, np.full(5, 7.0))

    assert np.isnan(times).sum() == 1
    assert np.isnan(watts[np.searchsorted(times[:6], 3) + 1])


def test_what_is_estimated_or_emulated_is_broken_and_named(tmp_path):
    emulated = gauge("psu.dc_output", Domain.DC, synthetic="emulated")
    guess = gauge("cpu.estimate", Domain.PACKAGE, origin=Origin.ESTIMATED)

    figure = drawn("power", write(tmp_path, {emulated: 100.0, guess: 30.0, GPU: 20.0}))

    legend = legend_of(figure)
    assert set(legend) == {"psu.dc_output (emulated)", "cpu.estimate (estimated)", "gpu0"}
    is_broken = {name: line.is_dashed() for name, line in legend.items()}
    assert is_broken == {name: name != "gpu0" for name in legend}
    assert len({to_hex(line.get_color()) for line in legend.values()}) == 3
    assert "emulated: psu.dc_output" in title(figure)


def test_a_machine_is_called_emulated_only_where_all_of_it_is(tmp_path):
    fake = [gauge(f"gpu{k}", Domain.GPU, synthetic="emulated") for k in range(6)]

    some = write(tmp_path, {DC: 900.0, **dict.fromkeys(fake, 100.0)})
    assert "emulated: gpu0, gpu1, gpu2 and 3 more" in title(drawn("power", some))
    everything = write(tmp_path, dict.fromkeys(fake, 100.0))
    assert "on here, emulated devices" in title(drawn("power", everything))


def test_what_the_program_marked_stands_above_the_picture(tmp_path):
    config = {"measure_period_s": 1.0, "marks": {"data": "made up", "weights": "$random$"}}

    figure = drawn("power", write(tmp_path, {DC: 100.0}, more={"config": config}))

    assert f"on here, data: made up, {plain('weights: $random$')}" in title(figure)


def test_many_gpus_share_the_colour_of_their_kind(tmp_path):
    gpus = {counter(f"gpu{k}", Domain.GPU): 50.0 + k for k in range(16)}

    figure = drawn("power", write(tmp_path, {DC: 2000.0, PACKAGE: 50.0, **gpus}))

    assert "gpu0 … gpu15 (16)" in legend_of(figure)
    assert len(legend_of(figure)) == 3


def test_parts_of_a_package_are_drawn_where_they_are_asked_for(run_file):
    assert "cpu.core0" not in legend_of(drawn("power", run_file))
    assert set(legend_of(drawn("power", run_file, channels=("cpu.core0",)))) == {"cpu.core0"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_envelope_holds_every_peak_and_the_energy(data):
    count = data.draw(st.integers(2, 400))
    most = data.draw(st.integers(1, 50))
    values = np.array(
        data.draw(
            st.lists(st.one_of(st.just(np.nan), st.floats(0, 1e4)), min_size=count, max_size=count)
        )
    )
    start_s = np.arange(count, dtype=float)

    found = thinned(start_s, start_s + 1, values, most)

    assert found.mean.size == min(count, most)
    known = ~np.isnan(values)
    assert known.any() == (~np.isnan(found.mean)).any()
    if known.any():
        assert np.nanmin(found.low) == values[known].min()
        assert np.nanmax(found.high) == values[known].max()
        whole = ~np.isnan(found.mean)
        slack = 1e-9 * (1 + values[known].max())
        assert (found.low[whole] <= found.mean[whole] + slack).all()
        assert (found.mean[whole] <= found.high[whole] + slack).all()


def test_a_short_gap_of_a_long_run_leaves_a_tick():
    start_s = np.arange(30_000, dtype=float)
    values = np.full(30_000, 5.0)
    values[12_345] = np.nan

    found = thinned(start_s, start_s + 1, values)

    assert found.is_thinned
    assert np.flatnonzero(found.has_gaps).tolist() == [12_345 * 1500 // 30_000]
    assert not np.isnan(found.mean).any()


def test_a_gap_that_is_seen_needs_no_tick():
    start_s = np.arange(30_000, dtype=float)
    values = np.full(30_000, 5.0)
    values[10_007:12_003] = np.nan

    found = thinned(start_s, start_s + 1, values)

    assert np.isnan(found.mean).any()
    assert not found.has_gaps.any()


def test_the_stack_and_what_is_not_covered_make_up_the_whole(run_file):
    figure = drawn("stack", run_file)

    told = compare_sources([load(run_file)], span_s=1.0)
    whole = next(each for each in told.remainders if each.whole == "psu.dc_output")
    assert f"not covered: {whole.energy_j:.1f} J" in title(figure)
    assert "% of psu.dc_output" in title(figure)
    assert {"psu.dc_output", "cpu.package0", "gpu0", "not covered"} == set(legend_of(figure))
    top = figure.axes[0].lines[-1].get_ydata()
    assert np.nanmean(top) == pytest.approx(np.mean(powers()[DC]), rel=1e-6)


def test_parts_beyond_the_whole_are_crossed_and_told(tmp_path):
    figure = drawn("stack", write(tmp_path, {DC: 100.0, PACKAGE: 80.0, GPU: 60.0}))

    assert "parts beyond the whole" in legend_of(figure)
    assert "exceed the whole" in figure.axes[0].get_title(loc="left").replace("\n", " ")


def test_parts_that_look_alike_share_one_box(tmp_path):
    gpus = {counter(f"gpu{k}", Domain.GPU): 50.0 for k in range(8)}

    figure = drawn("stack", write(tmp_path, {DC: 900.0, PACKAGE: 60.0, **gpus}))

    names = ["psu.dc_output", "cpu.package0", "gpu0 … gpu7 (8)", "not covered"]
    assert list(legend_of(figure)) == names


def test_a_part_has_one_colour_in_all_panels(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    alone = write(tmp_path / "a", {DC: 300.0, GPU: 50.0})
    beside = write(tmp_path / "b", {DC: 300.0, PACKAGE: 60.0, GPU: 50.0})

    figure = drawn("stack", alone, beside)

    colour = to_hex(legend_of(figure)["gpu0"].get_facecolor())
    faces = [
        to_hex(axes.collections[k].get_facecolor()[0])
        for axes, k in zip(figure.axes, (0, 1), strict=True)
    ]
    assert faces == [colour, colour]


@pytest.mark.parametrize("kind", ["power", "stack", "regions"])
def test_what_is_modelled_in_one_of_the_runs_is_named_so(kind, tmp_path):
    modelled = counter("cpu.package0", Domain.PACKAGE, 20.0, origin=Origin.MODELLED)
    files = []
    for name, part in (("a", modelled), ("b", PACKAGE)):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, {DC: 300.0, part: 60.0}, rows=120, regions=MARKS))

    asked = {"channels": ("cpu.package0",)} if kind == "regions" else {}
    legend = set(legend_of(drawn(kind, *files, **asked)))

    named = {name.removesuffix(" ± U (k=2)") for name in legend}
    assert {"cpu.package0 (modelled)", "cpu.package0"} <= named


def test_a_stack_has_one_whole(run_file):
    with pytest.raises(ConfigError, match="a stack has one whole"):
        drawn("stack", run_file, channels=("psu.dc_output", "bogus"))


def test_a_run_without_parts_has_no_stack(tmp_path):
    with pytest.raises(PactError, match=r"no whole that was measured together with its parts"):
        drawn("stack", write(tmp_path, {DC: 100.0}))


def test_the_line_and_the_limits_are_those_of_compare(run_file):
    told = compare_sources([load(run_file)], channels=("wall.plug", "psu.ac_input"), span_s=2.0)
    pair = told.pairs[0]

    asked = {"channels": ("wall.plug", "psu.ac_input"), "span_s": 2.0}
    identity = drawn("identity", run_file, **asked)
    ba = drawn("bland-altman", run_file, **asked)

    assert f"gain {pair.line.gain.value:.4f}" in title(identity)
    assert "psu.ac_input (estimated) / W" in {axes.get_ylabel() for axes in identity.axes}
    levels = [line.get_ydata()[0] for line in ba.axes[0].lines if len(line.get_ydata()) == 2]
    limits = pair.limits_pct
    for figure in (limits.bias, limits.lower, limits.upper):
        assert figure.value in levels
    assert f"bias of the spans {limits.bias.value:+.2f} %" in title(ba)
    assert f"bias of the total {pair.bias.total_pct.value:+.2f} %" in title(ba)
    assert limits.bias.value != pytest.approx(pair.bias.total_pct.value, abs=0.005)
    assert "bias of the spans" in legend_of(ba)


def test_the_supply_stands_against_the_sum_of_its_parts(run_file):
    figure = drawn("identity", run_file, channels=("psu.dc_output", "cpu.package0", "gpu0"))

    axes = figure.axes[0]
    x, y = axes.lines[0].get_data()
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "psu.dc_output / W",
        "cpu.package0 + gpu0 / W",
    )
    assert x - y == pytest.approx(np.full(x.size, 40.0), abs=0.01)
    assert "no error" in title(figure)
    assert fills(axes) == {"full"}


def test_parts_beyond_their_whole_are_no_mere_remainder(tmp_path):
    figure = drawn("identity", write(tmp_path, {DC: 100.0, PACKAGE: 80.0, GPU: 60.0}))

    assert "the parts exceed the whole beyond U: one of them is wrong" in title(figure)
    assert "no error" not in title(figure)


@pytest.mark.parametrize(
    ("dc_w", "domain_pct", "told"),
    [
        (99.5, 5.0, "the parts exceed the whole, within U"),
        (50.0, None, "the parts exceed the whole, and U is unknown"),
        ([100.0] * 50 + [40.0] * 10, 5.0, "in 1 of 6 spans the parts exceed it beyond U"),
    ],
)
def test_what_parts_say_of_their_whole_goes_as_far_as_u(dc_w, domain_pct, told, tmp_path):
    sources = {gauge("psu.dc_output", Domain.DC, domain_pct): dc_w, PACKAGE: 80.0}
    if told.startswith("the parts"):
        sources[GPU] = 20.0

    figure = drawn("identity", write(tmp_path, sources))

    assert told in title(figure)
    assert "no error" not in title(figure)


def test_a_modelled_part_is_named_and_hollow(tmp_path):
    modelled = counter("cpu.package0", Domain.PACKAGE, 20.0, origin=Origin.MODELLED)
    (axes,) = drawn("identity", write(tmp_path, {DC: 300.0, modelled: 100.0, GPU: 50.0})).axes

    assert axes.get_ylabel() == "cpu.package0 (modelled) + gpu0 / W"
    assert fills(axes) == {"none"}


def test_of_many_parts_it_is_told_how_many_are_modelled(tmp_path):
    modelled = counter("cpu.package0", Domain.PACKAGE, 20.0, origin=Origin.MODELLED)
    gpus = {counter(f"gpu{k}", Domain.GPU): 50.0 for k in range(8)}
    (axes,) = drawn("identity", write(tmp_path, {DC: 900.0, modelled: 100.0, **gpus})).axes

    assert axes.get_ylabel().replace("\n", " ") == "sum of 9 parts (1 modelled) / W"


def test_real_sources_beside_emulated_ones_stay_real(tmp_path):
    other = gauge("wall.other", Domain.AC, 1.0)
    fake = gauge("gpu0", Domain.GPU, synthetic="emulated")
    watts = powers()[WALL]
    file = write(tmp_path, {WALL: watts, other: [1.01 * w for w in watts], fake: 9.0}, rows=ROWS)

    identity, ba = (drawn(kind, file, span_s=2.0) for kind in ("identity", "bland-altman"))

    names = {identity.axes[0].get_xlabel(), identity.axes[0].get_ylabel()}
    assert names == {"wall.plug / W", "wall.other / W"}
    assert fills(identity.axes[0]) == fills(ba.axes[0]) == {"full"}
    assert "(emulated)" not in title(ba)


def test_one_compared_run_names_its_file_and_host(run_file):
    asked = {"channels": ("wall.plug", "psu.ac_input"), "span_s": 2.0}

    for kind in ("identity", "bland-altman"):
        assert title(drawn(kind, run_file, **asked)).startswith("PACT.csv, on here")


def test_a_run_without_rows_takes_no_other_runs_place(run_file, tmp_path):
    (tmp_path / "empty").mkdir()
    empty = write(tmp_path / "empty", {DC: []}, rows=0)

    figure = drawn("identity", empty, run_file, channels=("psu.dc_output", "gpu0"))

    assert to_hex(figure.axes[0].lines[0].get_color()) == CYCLE[1].lower()


def test_a_supply_and_its_parts_have_no_limits_of_agreement(tmp_path):
    file = write(tmp_path, {DC: 100.0, PACKAGE: 30.0})

    with pytest.raises(PactError, match="differences are no errors") as caught:
        drawn("bland-altman", file)
    assert "identity" in caught.value.fix


def test_regions_carry_their_figures_and_a_refusal_its_reason(run_file):
    figure = drawn("regions", run_file, channels=("psu.dc_output",))

    told = {row["name"]: row["energy"]["psu.dc_output"] for row in regions(load(run_file))}
    axes = figure.axes[0]
    points = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o")
    assert points == pytest.approx(
        sorted(each["energy_j"] / 1e3 for each in told.values() if "energy_j" in each)
    )
    assert axes.get_xlabel() == "energy / kJ"
    assert " no figure" in texts(figure)
    assert "least that is" in axes.get_title(loc="left").replace("\n", " ")


def test_a_region_without_a_name_has_a_row_of_its_own(tmp_path):
    marks = [[0.0, 60.0, "", 0, 1], [60.0, 120.0, "train", 0, 1]]
    figure = drawn("regions", write(tmp_path, powers(), rows=ROWS, regions=marks))

    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["(no name)", "train"]


def test_what_is_said_above_regions_stays_in_the_picture(tmp_path):
    marks = [[0.0, 60.0, "x" * 60, 0, 1]]
    more = {"host": {"name": "the-second-rack-on-the-left"}}
    figure = drawn("regions", write(tmp_path, powers(), rows=ROWS, regions=marks, more=more))

    FigureCanvasAgg(figure).draw()
    above = next(text for text in figure.findobj(mpl.text.Text) if "rack" in text.get_text())
    assert above.get_window_extent().x1 <= figure.bbox.x1


def test_counts_become_rates_and_a_peak_survives_thinning(tmp_path):
    file = write(tmp_path, {DC: 100.0}, rows=20, events=("faults",))
    lines = ["start_s,dt_s,faults,0_running"]
    lines += [f"{k / 100:.2f},0.01,{1000 if k == 7777 else 2},1" for k in range(20_000)]
    lines[5001] = "50.00,0.01,,1"
    (tmp_path / "PACT.counters.csv").write_text("\n".join(lines) + "\n")

    series = read_series(load(file), ["faults"])["faults"]

    assert series.is_thinned
    assert 1000 <= series.mean.size <= 1600
    assert np.nanmax(series.high) == pytest.approx(100_000)
    assert np.nanmin(series.low) == pytest.approx(200)
    assert series.has_gaps.sum() == 1
    assert "faults\n/ (1/s)" in {axes.get_ylabel() for axes in drawn("counters", file).axes}


def test_a_run_without_energy_says_so_and_still_shows_its_counters(tmp_path, capsys):
    file = write(tmp_path, {}, events=("faults",), regions=MARKS)

    for kind in ("power", "stack", "regions"):
        assert main(["plot", kind, str(file), "-o", str(tmp_path / "no.png")]) == 1
        assert "pactmeter plot counters" in capsys.readouterr().err
    assert main(["plot", "counters", str(file), "-o", str(tmp_path / "yes.png")]) == 0


@pytest.mark.parametrize("kind", ["power", "stack"])
def test_a_faulty_supply_is_named_as_the_reason(kind, tmp_path):
    swinging = [5.0, -5.0] * 30

    with pytest.raises(PactError, match=r"psu\.dc_output: a power is negative") as caught:
        drawn(kind, write(tmp_path, {DC: swinging}, events=("faults",)))
    assert "which channel is faulty" in caught.value.fix
    if kind == "stack":
        with pytest.raises(PactError, match=r"psu\.dc_output: a power is negative"):
            drawn(kind, write(tmp_path, {DC: swinging, GPU: 5.0}))


def test_events_that_were_not_counted_are_named(tmp_path):
    event = {"scope": "tree", "group": "0", "status": "ok", "reason": None}
    denied = {**event, "column": "cycles", "status": "denied", "reason": "perf_event_paranoid"}
    more = {"events": [{**event, "column": "faults"}, denied]}
    file = write(tmp_path, {DC: 1.0}, events=("faults",), more=more)

    assert "not counted: cycles" in drawn("counters", file).axes[0].get_title(loc="left")
    with pytest.raises(PactError, match="perf_event_paranoid"):
        drawn("counters", file, channels=("CYCLES",))


def test_a_validation_shows_its_line_and_what_it_leaves(tmp_path):
    file = validation_file(tmp_path)
    line = validate(load(file)).sources[0].line

    upper, lower = drawn("validation", file).axes

    assert f"{line.gain:.4f}" in upper.get_title(loc="left")
    left = np.concatenate([each.get_ydata() for each in lower.lines if each.get_marker() == "o"])
    assert left.size == 15
    assert np.abs(left).max() < 1.0
    assert lower.get_ylabel() == "meter less line / %"


@pytest.mark.parametrize("has_line", [True, False])
@pytest.mark.parametrize(
    ("marks", "fill"),
    [
        ({}, "full"),
        ({"origin": Origin.MODELLED}, "none"),
        ({"synthetic": "emulated"}, "none"),
    ],
)
def test_what_a_source_leaves_is_filled_as_the_source_is(marks, fill, has_line, tmp_path):
    file = validation_file(tmp_path, gauge("psu.dc_output", Domain.DC, **marks), has_line=has_line)

    upper, lower = drawn("validation", file).axes

    assert fills(lower) == {fill}
    hollow = [not points.get_facecolor().size for points in upper.collections[:3]]
    assert hollow == [fill == "none"] * 3
    told = ", ".join(str(mark) for mark in marks.values())
    assert upper.get_xlabel() == f"psu.dc_output{f' ({told})' if told else ''} / W"


def test_runs_that_a_model_was_fitted_on_are_hollow(files_of):
    model, first, *_ = files_of["residuals"]

    figure = drawn("residuals", model, first)

    assert "hollow: runs that it was fitted on" in title(figure)
    points = [line for line in figure.axes[0].lines if line.get_xdata().size > 2]
    assert {line.get_fillstyle() for line in points} == {"none"}


def test_the_axis_of_a_model_s_errors_holds_for_both_of_them(files_of):
    figure = drawn("residuals", files_of["residuals"][0])

    assert figure.axes[0].get_xlabel() == "error of the prediction (DC less CPU and GPU) / W"
    assert {"RMSE", "bias (predicted less measured)"} < set(legend_of(figure))


def test_a_damaged_model_is_told(tmp_path, files_of, capsys):
    text = Path(files_of["residuals"][0]).read_text().replace('"baselines"', '"base"')
    (tmp_path / "m.json").write_text(text)

    out = str(tmp_path / "x.png")
    assert main(["plot", "residuals", str(tmp_path / "m.json"), "-o", out]) == 1
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_breaks_a_picture(name, tmp_path):
    marks = [[0.0, 60.0, name, 0, 1], [60.0, 120.0, "plain", 0, 1]]
    hostile = gauge(f"hwmon.{name}.power1", Domain.GPU)
    file = write(
        tmp_path,
        {DC: 100.0, hostile: 20.0},
        rows=ROWS,
        regions=marks,
        more={"host": {"name": name}},
    )

    for kind in ("regions", "power"):
        for ending in ("svg", "pdf"):
            make(kind, Asked((str(file),)), tmp_path / f"{kind}.{ending}")
        root = ET.parse(tmp_path / f"{kind}.svg").getroot()
        assert not [tag for tag in root.iter() if tag.tag.endswith("script")]
    assert all("\n" not in label and len(label) <= 41 for label in (plain(name), plain(name, 24)))


def test_letters_stay_and_what_turns_them_around_goes():
    assert plain("$5 a_b 50% é ب") == "$5 a_b 50% é ب"
    assert plain("a\u202eb\u200bc") == "abc"
    assert plain("功") == "\ufffd"


def test_a_picture_that_is_there_is_kept_unless_forced(run_file, tmp_path, capsys):
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")

    assert main(["plot", "power", str(run_file), "-o", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main(["plot", "power", str(run_file), "-o", str(out), "--force"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_written_whole_or_not_at_all(run_file, tmp_path):
    asked = Asked((str(run_file),))

    with pytest.raises(ConfigError, match=r"names no picture"):
        make("power", asked, tmp_path / "out.gif")
    with pytest.raises(FileError, match="cannot write"):
        make("power", asked, tmp_path / "no" / "out.png")
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(FileError, match="is no plain file"):
        make("power", asked, tmp_path / "dir.png", force=True)
    with pytest.raises(ConfigError, match="did you mean 'stack'"):
        make("stck", asked, tmp_path / "out.png")


def test_a_run_that_is_still_written_is_drawn_and_says_so(tmp_path, monkeypatch):
    file = write(tmp_path, powers(), rows=ROWS, more={"status": "running"})
    monkeypatch.setattr("pactmeter.analysis.run.is_live", lambda _: True)
    with file.open("a") as lines:
        lines.write("121,121,0,1,1")  # torn

    figure = drawn("power", file)

    assert "still running" in figure.axes[0].get_title(loc="left")
    assert np.nanmax(figure.axes[0].lines[0].get_xdata()) == 120.0


def test_a_run_without_rows_is_told(tmp_path):
    with pytest.raises(PactError, match="has no rows"):
        drawn("power", write(tmp_path, {DC: []}, rows=0))


def test_what_is_asked_for_and_not_there_is_told_with_near_names(run_file, tmp_path, capsys):
    out = ["-o", str(tmp_path / "x.png")]

    assert main(["plot", "power", str(run_file), *out, "--channel", "gpu1"]) == 2
    assert "did you mean 'gpu0'" in capsys.readouterr().err
    assert main(["plot", "identity", str(run_file), *out, "--span", "0"]) == 2
    assert main(["plot", "power", *[str(run_file)] * 7, *out]) == 2
    assert main(["plot", "counters", str(run_file), str(run_file), *out]) == 2
    with pytest.raises(SystemExit):
        main(["plot", "pie", str(run_file), *out])
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("power", ["--span", "5"], "power takes no --span"),
        ("power", ["--against", "bogus"], "power takes no --against"),
        ("regions", ["--span", "5"], "regions takes no --span"),
        ("counters", ["--reference", "m.csv"], "counters takes no --reference"),
        ("identity", ["--against", "wall.plug"], "identity takes no --against"),
        ("validation", ["--span", "5"], "validation takes no --span"),
        ("residuals", ["--channel", "bogus"], "residuals takes no --channel"),
        ("power", ["--unit", "W"], "add --reference"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(kind, words, told, run_file, tmp_path, capsys):
    out = tmp_path / "x.png"

    assert main(["plot", kind, str(run_file), "-o", str(out), *words]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_without_matplotlib_it_says_what_to_install(run_file, tmp_path, capsys, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("pactmeter.report.plots.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert main(["plot", "power", str(run_file), "-o", str(tmp_path / "x.png")]) == 1

    assert "pip install 'pactmeter[report]'" in capsys.readouterr().err


def test_no_display_is_needed_and_other_settings_do_not_leak(run_file, tmp_path):
    out = str(tmp_path / "a.png")
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 33\n"
        "from pactmeter.cli.main import main\n"
        f"assert main(['plot', 'power', {str(run_file)!r}, '-o', {out!r}]) == 0\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams['font.size'] == 33\n"
    )
    environment = {"MPLBACKEND": "TkAgg", "PYTHONPATH": ":".join(sys.path)}

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)

    assert main(["plot", "power", str(run_file), "-o", str(tmp_path / "b.png")]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_help_names_every_kind(capsys):
    with pytest.raises(SystemExit):
        main(["plot", "--help"])

    said = capsys.readouterr().out
    assert all(kind in said for kind in KINDS)
