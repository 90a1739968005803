"""What all tests share."""

import pytest

from support.programs import run_program


@pytest.fixture
def program(tmp_path):
    """Run a Python program in a folder of its own; see `support.programs.run_program`."""

    def run(code, **options):
        return run_program(code, tmp_path, **options)

    return run
