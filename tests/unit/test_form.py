"""Damaged runs: a clear error or figures that can be, never a traceback or what is no number."""

import contextlib
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pactmeter.analysis.form import flaw
from pactmeter.analysis.run import load
from pactmeter.analysis.summary import summarize
from pactmeter.cli.main import main
from pactmeter.errors import FileError
from support.written import CORE, DC, GPU, PACKAGE, write

ROWS = 20
GAP = {"channels": ["gpu0"], "start_s": 3.0, "end_s": 4.0, "reason": "x"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def fresh(folder):
    watts = [200.0 + 7 * (row % 5) for row in range(ROWS)]
    about = {DC.name: {"lag": {"energy_j": 1.0, "tau_s": 0.3}, "roughness": None}}
    more = {"gaps": [dict(GAP)], "about": about, "columns": {"gpu0.instant_w": watts}}
    sources = {DC: watts, PACKAGE: 90.0, CORE: 50.0, GPU: [w / 2 for w in watts]}
    return write(folder, sources, rows=ROWS, events=("faults",), more=more)


def told(file):
    """Return what both commands print, and that they have ended as commands do."""
    texts = []
    for command in ("report", "audit"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert main([command, str(file), "--json"]) in {0, 1}
        texts.append(out.getvalue())
        assert "NaN" not in out.getvalue()
        assert "Infinity" not in out.getvalue()
    return texts


def test_a_run_as_it_was_written_has_no_flaw(folder):
    run = load(fresh(folder))
    assert flaw(run.manifest, list(run.columns)) is None
    assert summarize(run)["headline"]["channel"] == "psu.dc_output"


cells = st.sampled_from(["", "nan", "inf", "-inf", "-5", "x", "1e308", "-1e308", "0", "1e-300"])
places = st.tuples(st.integers(1, ROWS), st.integers(0, 17), cells)


@settings(max_examples=30)
@given(st.lists(places, min_size=1, max_size=6))
def test_cells_that_cannot_be_are_no_figures(folder, changes):
    file = fresh(folder)
    lines = [line.split(",") for line in file.read_text().splitlines()]
    for row, column, cell in changes:
        lines[row][column % len(lines[row])] = cell
    file.write_text("\n".join(map(",".join, lines)) + "\n")
    told(file)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.data())
def test_a_manifest_that_was_changed_is_refused_or_read(folder, data):
    file = fresh(folder)
    path = file.with_suffix(".json")
    manifest = json.loads(path.read_text())
    at = manifest
    for _ in range(data.draw(st.integers(0, 3))):
        keys = at if isinstance(at, dict) else range(len(at))
        inner = [key for key in keys if isinstance(at[key], dict | list) and at[key]]
        if not inner:
            break
        at = at[data.draw(st.sampled_from(inner))]
    key = data.draw(st.sampled_from(list(at if isinstance(at, dict) else range(len(at)))))
    if data.draw(st.booleans()):
        del at[key]
    else:
        at[key] = data.draw(values)
    path.write_text(json.dumps(manifest))
    told(file)


@pytest.mark.parametrize("rows", [[], [1], [1] * 5, [3, 2, 1]])
def test_empty_short_repeated_and_reversed_tables_are_read(folder, rows):
    file = fresh(folder)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], *(lines[row] for row in rows)]) + "\n")
    told(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["channels"].append(m["channels"][0]), "described twice"),
        (lambda m: m["channels"][0].update(name="psu.other"), "no column 'psu.other_w'"),
        (lambda m: m["channels"][0].update(kind="heat"), "not described whole"),
        (lambda m: m["channels"][0].update(accuracy_pct=math.nan), "accuracy_pct is not of its"),
        (lambda m: m["gaps"][0].pop("end_s"), "a gap is not described whole"),
        (lambda m: m["events"][0].pop("status"), "an event is not described whole"),
        (lambda m: m.update(gaps=None), "gaps is not of its kind"),
        (lambda m: m["config"].update(marks=["made up"]), "config.marks is not of its kind"),
        (lambda m: m["config"].update(marks={"data": 3}), "config.marks is not of its kind"),
        (lambda m: m["config"].update(marks={"data": None}), "config.marks is not of its kind"),
        (lambda m: m.update(schema="1"), "is not a manifest"),
        (lambda m: m.update(schema=99), "newer PACT"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told(folder, change, words):
    file = fresh(folder)
    manifest = json.loads(file.with_suffix(".json").read_text())
    change(manifest)
    file.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(FileError, match=words):
        load(file)
