"""AC input energy of a run after a supply's own curve, row by row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pactmeter.analysis.energy import energy
from pactmeter.errors import ConfigError
from pactmeter.model.channel import MACHINE_MODEL, Domain, Origin
from pactmeter.model.energy import BudgetItem

if TYPE_CHECKING:
    from pactmeter.analysis.run import RecordedRun
    from pactmeter.model.channel import Channel
    from pactmeter.model.energy import Energy
    from pactmeter.model.psu_curve_points import PointsCurve


def ac_input(run: RecordedRun, curve: PointsCurve, supply: str = "psu") -> Energy:
    """Return the AC input energy of a supply, from its DC output and a curve: estimated.

    The curve bends, so that it is evaluated in each row; what lies within a row is taken as even.
    Its error is the same in all rows and adds linearly; that of the DC power is scaled by how much
    AC power a watt of DC costs there.

    Args:
        run: The run.
        curve: The supply's.
        supply: How its channels begin: ``psu``, ``psu1``.

    Raises:
        ConfigError: The run has no DC power of that supply, or one that the curve cannot have.
    """
    channels = {channel.name: channel for channel in run.channels}
    dc = channels.get(f"{supply}.dc_output")
    if dc is None:
        raise ConfigError(
            f"{run.files.power} has no {supply}.dc_output that the curve could be applied to",
            "name a run with that power supply",
        )
    whole = energy(run, dc)
    volts = _volts(run, channels.get(f"{supply}.input_v"))
    watts = run.columns.get(dc.columns[0], [])
    ac_j = u_j = dc_j = low_j = 0.0
    for power_w, window_s in zip(watts, run.windows_s, strict=True):
        if power_w is None:
            continue
        found = curve.apply(power_w, volts)
        ac_j += found.ac_w * window_s
        u_j += found.u_w * window_s
        dc_j += power_w * window_s
        low_j += found.ac_w * window_s if found.extrapolated else 0.0
    if dc_j <= 0:
        raise ConfigError(f"{run.files.power} has no reading of {supply}.dc_output")
    # what is covered, and what a lag still owed, is that of the DC energy
    scale = whole.energy_j / dc_j
    share_pct = 100 * low_j / ac_j
    basis = f"curve of {curve.name} ({curve.source})"
    if share_pct > 0:
        basis += f"; {share_pct:.0f} % of it extrapolated"
    step_w = 0.01 * curve.rated_w
    mean_w = min(dc_j / math.fsum(run.windows_s), curve.rated_w - step_w)
    slope = (curve.apply(mean_w + step_w, volts).ac_w - curve.apply(mean_w, volts).ac_w) / step_w
    items = [replace(item, u_j=slope * item.u_j) for item in whole.budget]
    if items:
        items.append(BudgetItem("curve", scale * u_j / 2, basis, is_systematic=True))
    return replace(
        whole,
        channel=MACHINE_MODEL,
        label=f"AC input of {supply}, {basis}",
        domain=Domain.AC,
        origin=Origin.ESTIMATED,
        energy_j=ac_j * scale,
        budget=tuple(items),
    )


def _volts(run: RecordedRun, channel: Channel | None) -> float | None:
    """Return the mean input voltage; None where it was not read."""
    if channel is None:
        return None
    known = [value for value in run.columns.get(channel.columns[0], []) if value]
    return math.fsum(known) / len(known) if known else None
