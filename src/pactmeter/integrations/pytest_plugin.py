"""``@pytest.mark.energy_budget(joules=50)``: a test that takes more energy than that fails.

A test is over its budget if its measured energy is, even with the whole uncertainty (k=2) taken
off. Where nothing is measured its energy is unknown, and a test that passed is told as skipped.
What counts is the energy of the machine while the test's own function runs, fixtures aside.

Every pytest beside which pactmeter is installed imports this module: what measures is not loaded
before a marked test runs.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from pactmeter.integrations.one_run import OneRun

MARKER = "energy_budget"
_TOLD = "energy_budget"
"""Property of a report (and in JUnit's XML) that holds the outcome in words."""
_USAGE = f"@pytest.mark.{MARKER}(joules=50), and keyword arguments of PACT beside it"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(joules, **arguments): fail the test if it takes more energy than that, as PACT"
        " measures it with these arguments",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Measure a test that has a budget, and judge it if it passes."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return (yield)
    from pactmeter.integrations.budget import Outcome, judged

    with tempfile.TemporaryDirectory(prefix="pactmeter-") as folder:
        budget_j, one = _started(marker, Path(folder))
        try:
            result = yield
        finally:  # the figures of a test that failed are told too
            one.stop()
            found = judged(one, budget_j)
            text = f"{found.outcome}: {found.text}"
            item.user_properties += [(_TOLD, text), ("energy_budget_j", budget_j)]
            if found.energy is not None:
                figures = [("energy_j", found.energy.energy_j), ("energy_u_j", found.energy.u_j)]
                item.user_properties += figures
    if found.outcome is Outcome.OVER:
        pytest.fail(f"{MARKER}: {found.text}", pytrace=False)
    if found.outcome is Outcome.UNKNOWN:
        pytest.skip(f"{MARKER}: its energy is unknown: {found.text}")
    return result


def _started(marker: pytest.Mark, folder: Path) -> tuple[float, OneRun]:
    """Return the budget in joules and the run, which has begun; a wrong marker fails the test."""
    from pactmeter.errors import PactError
    from pactmeter.integrations.one_run import OneRun

    asked = {"on_error": "warn", "tracker_file_name": folder / "PACT.csv", **marker.kwargs}
    budget_j = asked.pop("joules", None)
    is_number = isinstance(budget_j, int | float) and not isinstance(budget_j, bool)
    if marker.args or not is_number or not 0 < budget_j < math.inf:
        pytest.fail(f"{MARKER} needs a number of joules\n  fix: {_USAGE}", pytrace=False)
    try:
        one = OneRun(**asked)
        one.start()
    except PactError as error:
        wrong = str(error)
    else:
        return float(budget_j), one
    pytest.fail(f"{MARKER}: {wrong}", pytrace=False)  # outside, so that it is told once


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what became of each budget; reports bring it, from workers of xdist too."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    lines = [
        f"{report.nodeid}: {value}"
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == _TOLD
    ]
    if lines:
        terminalreporter.section("energy budgets")
        for line in lines:
            terminalreporter.write_line(line)
