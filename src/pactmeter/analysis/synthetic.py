"""Which channels are of no real hardware."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.model.channel import Channel

_MOST = 3
"""So many are named."""


def synthetic_told(channels: Sequence[Channel]) -> str:
    """Return what must be said of channels that are no hardware's; empty where all are.

    >>> from pactmeter.model.channel import Channel, Kind
    >>> from pactmeter.units import Unit
    >>> gpu = Channel("gpu0", Unit.WATT, Kind.POWER, "", synthetic="emulated")
    >>> supply = Channel("psu.dc_output", Unit.WATT, Kind.POWER, "")
    >>> synthetic_told([gpu]), synthetic_told([supply, gpu]), synthetic_told([supply])
    ('emulated devices', 'emulated: gpu0', '')
    """
    named: dict[str, list[str]] = defaultdict(list)
    for channel in channels:
        if channel.synthetic:
            named[channel.synthetic].append(channel.name)
    if named and all(channel.synthetic for channel in channels):
        return f"{' and '.join(sorted(named))} devices"
    return "; ".join(f"{mark}: {_some(names)}" for mark, names in sorted(named.items()))


def _some(names: Sequence[str]) -> str:
    shown, more = ", ".join(names[:_MOST]), len(names) - _MOST
    return f"{shown} and {more} more" if more > 0 else shown
