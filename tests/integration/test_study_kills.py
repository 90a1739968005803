"""A study whose runner is killed at random moments is whole in the end."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES, CASE_S, KILLS, SEED = 3, 0.3, 5, 20240303


@pytest.fixture(scope="module")
def study_kills():
    """Import the benchmark, which is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("benchmarks.study_kills")


def test_every_trial_is_there_once_and_nothing_runs_on(study_kills, figures):
    draw = random.Random(SEED)

    found = study_kills.study_killed([draw.uniform(0.2, 1.5) for _ in range(KILLS)], CASES, CASE_S)

    shown = figures("A study whose runner is killed", "kills", "left running", "problems")
    shown.add(found.kills, found.left, len(found.problems))
    assert found.problems == []
    assert found.kills > 0
