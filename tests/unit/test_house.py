"""House rules that a program can check."""

import ast
import importlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import pactmeter

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
UNITS = (
    "_w",
    "_w2",
    "_j",
    "_s",
    "_v",
    "_a",
    "_hz",
    "_c",
    "_pct",
    "_kwh",
    "_g",
    "_g_per_kwh",
    "_uj",
)
# documented arguments, and numbers without a unit
PLAIN = {
    *("measure_period", "perf_measure_period", "pue", "figure", "mean", "value", "resolution"),
    *("coverage", "share", "kwh", "g_per_kwh", "now", "scale", "a", "b", "c"),
    *("low", "high", "spread", "error", "degrees", "n_eff", "tail", "p_value", "statistic"),
}


def names(text):
    """Package names of requirement lines."""
    return {re.split(r"[<>=\[]", line)[0] for line in text if line and not line.startswith("#")}


def test_requirements_files_and_extras_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    perf = [line.strip() for line in (ROOT / "requirements-perf.txt").read_text().splitlines()]
    known = {*extras["psu"], *extras["nvml"], *extras["report"]}
    assert {line for line in required if line and not line.startswith("#")} <= known
    assert {line for line in perf if line and not line.startswith("#")} == set(extras["perf"])
    named = {"liquidctl", "hidapi", "nvidia-ml-py", "pandas", "matplotlib"}
    assert names(required) == named
    comments = "\n".join(line for line in required if line.startswith("#"))
    assert "pynvml" in comments
    assert "performance-features" in comments
    assert project["dependencies"] == []


def test_what_liquidctl_needs_is_listed_less_what_needs_a_compiler():
    wanted = {
        re.split(r"[<>=;\[ ]", need)[0].lower()
        for need in metadata.requires("liquidctl")
        if "win32" not in need and "extra" not in need
    }
    listed = [line.strip() for line in (ROOT / "requirements-psu.txt").read_text().splitlines()]
    assert names(listed) == wanted - {"smbus"}


def test_versions_of_development_tools_are_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all("==" in tool for tool in project["optional-dependencies"]["dev"])


def test_the_version_is_stated_once_and_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", pactmeter.__version__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_grows_past_400_lines(path):
    assert path.read_text().count("\n") <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_float_in_a_public_signature_ends_in_its_unit(path):
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            fields = [(a.arg, a.annotation) for a in (*node.args.args, *node.args.kwonlyargs)]
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            fields = [
                (item.target.id, item.annotation)
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
        else:
            continue
        for name, annotation in fields:
            text = ast.unparse(annotation) if annotation is not None else ""
            if text in {"float", "float | None"} and not name.endswith(UNITS) and name not in PLAIN:
                wrong.append(f"{node.name}: {name}")
    assert wrong == []


def test_what_is_exported_is_there():
    for name in pactmeter.__all__:
        assert getattr(pactmeter, name) is not None
    assert set(pactmeter.__all__) == set(dir(pactmeter))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pactmeter.nonsense


def test_the_documented_import_re_exports_and_nothing_else():
    module = importlib.import_module("trackerPACT")
    assert module.PACT is pactmeter.PACT
    assert module.Tracker is pactmeter.Tracker
    assert (ROOT / "src/trackerPACT.py").read_text().count("\n") < 10
