"""The marker `energy_budget`, in a pytest of its own."""

import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from pactmeter.integrations import pytest_plugin
from pactmeter.integrations.budget import Outcome, judged
from support.wall_bench import Load, ShellyBench
from support.written import AC, DC, GPU, gauge, written

ROOT = Path(__file__).parents[2]


@pytest.fixture
def meter(sysfs, monkeypatch):
    """Give the machine a wall meter that shows 100 W and states how exact it is."""
    shelly = ShellyBench(Load((1.0, 100.0)))
    monkeypatch.setenv("METER", shelly.url())
    yield
    shelly.close()


class Stopped:
    """A run that has been stopped, with some sources."""

    def __init__(self, folder, sources):
        self._run = written(folder, sources)

    def recorded(self):
        return self._run


@pytest.mark.parametrize(
    ("budget_j", "outcome"),
    [
        (5000.0, Outcome.OVER),
        (5600.0, Outcome.OVER),
        (5900.0, Outcome.UNCLEAR),
        (6100.0, Outcome.UNCLEAR),
        (6700.0, Outcome.WITHIN),
    ],
)
def test_energy_is_over_a_budget_only_beyond_its_uncertainty(tmp_path, budget_j, outcome):
    found = judged(Stopped(tmp_path, {DC: 100.0}), budget_j)  # 6000 J +/- 5 %

    assert found.outcome is outcome
    assert "6000.0 J +/- 3" in found.text


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ({}, "no source of power was found"),
        ({AC: 100.0}, "no measured energy; there is psu.ac_input (estimated)"),
        ({gauge("gpu0", GPU.domain, None): 100.0}, "how sure that is nobody knows"),
        ({DC: [None] * 60}, "psu.dc_output (measured)"),
    ],
)
def test_energy_that_is_not_known_is_no_zero(tmp_path, sources, why):
    found = judged(Stopped(tmp_path, sources), 1e9)

    assert found.outcome is Outcome.UNKNOWN
    assert why in found.text


@pytest.fixture
def run_tests(tmp_path):
    """Run a file of tests with the plugin alone and return the exit code and what was printed."""

    def run(code, *words):
        (tmp_path / "test_it.py").write_text(
            "import os\nimport time\nimport pytest\n\n" + textwrap.dedent(code)
        )
        plugin = ["-p", "no:pactmeter", "-p", "pactmeter.integrations.pytest_plugin"]
        quiet = ["-p", "no:cacheprovider", "--strict-markers", "-W", "error"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugin, *quiet, *words, "test_it.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.usefixtures("meter")
def test_a_test_within_its_budget_passes_and_is_told(run_tests):
    code, out = run_tests(
        """
        @pytest.mark.energy_budget(joules=1000, meters=[os.environ['METER']])
        def test_small():
            time.sleep(1.5)
        """
    )

    assert code == 0, out
    assert "= energy budgets =" in out
    assert "test_it.py::test_small: within: 1" in out
    assert "is within the budget of 1000 J" in out


@pytest.mark.usefixtures("meter")
def test_a_test_over_its_budget_fails_with_the_figures(run_tests):
    code, out = run_tests(
        """
        @pytest.mark.energy_budget(joules=5, meters=[os.environ['METER']])
        def test_large():
            time.sleep(5)
        """
    )

    assert code == 1, out
    assert "1 failed" in out
    assert "is over the budget of 5 J" in out


@pytest.mark.usefixtures("sysfs")
def test_unknown_energy_is_neither_a_pass_nor_a_failure(run_tests):
    code, out = run_tests(
        """
        @pytest.mark.energy_budget(joules=1000)
        def test_unknown():
            pass
        """,
        "-rs",
    )

    assert code == 0, out
    assert "1 skipped" in out
    assert "passed" not in out
    assert "test_unknown: unknown: no source of power was found" in out
    assert "energy_budget: its energy is unknown: no source of power was found" in out
    assert "unknown: its energy is unknown" not in out


@pytest.mark.usefixtures("meter")
def test_a_test_that_fails_by_itself_keeps_its_failure_and_is_told(run_tests):
    code, out = run_tests(
        """
        @pytest.mark.energy_budget(joules=1, meters=[os.environ['METER']])
        def test_wrong():
            time.sleep(1.5)
            assert 1 == 2
        """
    )

    assert code == 1
    assert "assert 1 == 2" in out
    assert "test_wrong: unclear: 1" in out


def test_pytest_finds_the_plugin_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (plugin,) = project["entry-points"]["pytest11"].items()

    assert plugin == ("pactmeter", pytest_plugin.__name__)


def test_tests_without_the_marker_are_left_alone(run_tests):
    code, out = run_tests(
        """
        import sys

        def test_free():
            assert "pactmeter.session.run" not in sys.modules
        """
    )

    assert code == 0, out
    assert "energy budgets" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "needs a number of joules"),
        ("joules='5'", "needs a number of joules"),
        ("joules=-1", "needs a number of joules"),
        ("joules=float('nan')", "needs a number of joules"),
        ("joules=True", "needs a number of joules"),
        ("5", "needs a number of joules"),
        ("joules=5, mesure_period=1", "did you mean 'measure_period'"),
        ("joules=5, PSU='Corsair_1500i', on_error='raise'", "1b1c:1c1f"),
    ],
)
def test_a_wrong_marker_fails_the_test_before_it_runs(run_tests, arguments, told):
    code, out = run_tests(
        f"""
        @pytest.mark.energy_budget({arguments})
        def test_it():
            print("it ran")
        """
    )

    assert code == 1
    failure = out.partition("= short test summary info =")[0]
    assert failure.count(told) == 1
    assert "During handling of" not in out
    assert "it ran" not in out


@pytest.mark.usefixtures("meter")
def test_the_figures_are_in_junit_s_report(run_tests, tmp_path):
    run_tests(
        """
        @pytest.mark.energy_budget(
            joules=1000, tracker_file_name='kept.csv', meters=[os.environ['METER']]
        )
        def test_small():
            time.sleep(1.5)
        """,
        "--junitxml=report.xml",
    )

    text = (tmp_path / "report.xml").read_text()
    for name in ("energy_budget", "energy_budget_j", "energy_j", "energy_u_j"):
        assert f'<property name="{name}"' in text
    assert (tmp_path / "kept.csv").exists()
