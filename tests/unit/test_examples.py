"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SRC).with_suffix("").parts)
    for path in (SRC / "pactmeter").rglob("*.py")
    # those with a framework of their own have examples that are not run
    if ">>> " in path.read_text() and "doctest: +SKIP" not in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    failed, _ = doctest.testmod(importlib.import_module(name))

    assert failed == 0
