"""PACT: how many joules a training took, where they went, and how sure that is.

>>> from pactmeter import PACT
>>> @PACT(tracker_file_name="train.csv")
... def train(): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pactmeter.analysis.read import read
    from pactmeter.decorator import PACT
    from pactmeter.errors import PactError
    from pactmeter.session.regions import region
    from pactmeter.session.session import Session, Tracker

__version__ = "0.1.0"
__all__ = ["PACT", "PactError", "Session", "Tracker", "__version__", "read", "region"]

_HOMES = {
    "PACT": "pactmeter.decorator",
    "PactError": "pactmeter.errors",
    "Session": "pactmeter.session.session",
    "Tracker": "pactmeter.session.session",
    "load_ipython_extension": "pactmeter.integrations.notebook",  # %load_ext pactmeter
    "read": "pactmeter.analysis.read",
    "region": "pactmeter.session.regions",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and only that: importing PACT must cost next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pactmeter' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
