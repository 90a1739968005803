"""The documented import: ``from trackerPACT import PACT``. Re-exports, nothing else."""

from pactmeter import PACT, Tracker

__all__ = ["PACT", "Tracker"]
