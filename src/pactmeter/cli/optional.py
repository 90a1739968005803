"""Packages that only some commands need: imported when such a command runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def packages_for(what: str) -> Iterator[None]:
    """Tell what needs a package that is not there, and how to install it.

    Args:
        what: What needs it, as the beginning of a sentence.

    Raises:
        PactError: A package was imported here that is not installed.
    """
    try:
        yield
    except ImportError as error:
        name = error.name or "a package that is not there"
        raise PactError(f"{what} needs {name}", "pip install 'pactmeter[report]'") from error
