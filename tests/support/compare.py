"""What a set of errors comes to, and what a figure says of itself."""

from __future__ import annotations

import math

_OF_SAMPLING = ("sampling", "resolution", "edges", "lag")


def within(errors, share=0.95):
    """Return the bound that this share of the errors does not exceed."""
    sizes = sorted(map(abs, errors))
    return sizes[math.ceil(share * len(sizes)) - 1]


def stated_sampling_j(energy):
    """Return the uncertainty (k=2) that a figure states for polling, steps, edges and lag."""
    return 2 * math.hypot(*(item.u_j for item in energy.budget if item.name in _OF_SAMPLING))
