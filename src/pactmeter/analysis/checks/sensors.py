"""Q5, Q6, Q8, Q12: does the sensor see what the load does, and is it in order?"""

from __future__ import annotations

import math
from statistics import stdev
from typing import TYPE_CHECKING

from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, WARN, Case, Check
from pactmeter.analysis.checks.period import MOST_LOOKS, MOST_TURNS, load_periods
from pactmeter.model.channel import Domain, Kind, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLOCK_PCT = 0.3
"""A sensor's own clock may differ by so much from the period that it states or was seen at."""
_LEAST_ROWS = 10
_CLOSE_PCT, _FAR_PCT = 1.0, 5.0
_METERS = frozenset({Domain.DC, Domain.PACKAGE, Domain.PSYS, Domain.GPU})


def phase_lock(case: Case) -> Check:
    """Q5: whether the load repeats with the period of a gauge (Yang 2023, arXiv 2312.02741)."""
    rule = (
        f"load's period over that of the gauge: not 1 to {MOST_LOOKS}, not 1/2 to 1/{MOST_TURNS};"
        " a sensor that sees a part of its period only carries the duty bound"
    )
    if not case.gauges:
        text = "energy counters lose nothing between two readings"
        return Check("Q5", PASS, None, text, rule)
    is_bound = any(item.name == "duty" for part in case.gauges for item in part.budget)
    told = "; the duty bound is in U" if is_bound else ""
    loads = load_periods(case.run)
    if not loads:
        text = f"the load's own period is not known{told}"
        todo = "mark the steps as regions, or count CYCLES: ten periods tell"
        return Check("Q5", NOT_CHECKED, None, text, rule, todo)
    for part in case.gauges:
        sensor_s, doubt_pct = _gauge_period(case, part.channel)
        for load in loads:
            # a sensor that averages over the load's period misses nothing of it
            is_averaged = case.tau_s(part.channel) >= load.period_s
            if not is_averaged and load.is_locked(sensor_s, doubt_pct):
                text = (
                    f"{load.name!r} repeats every {load.period_s:.4g} s, {part.channel} is read"
                    f" every {sensor_s:.4g} s: they may be locked{told}"
                )
                todo = "put random pauses between the steps, repeat, or use another sensor"
                return Check("Q5", WARN, round(load.period_s / sensor_s, 4), text, rule, todo)
    ratio = loads[0].period_s / _gauge_period(case, case.gauges[0].channel)[0]
    return Check("Q5", PASS, round(ratio, 4), f"no load is locked to a sensor{told}", rule)


def _gauge_period(case: Case, channel: str) -> tuple[float, float]:
    """Return how far apart the readings of a gauge are, in seconds, and its doubt in percent.

    Polls are on our clock, a sensor that renews its readings more seldom is on its own.
    """
    poll_s, update_s = case.poll_s(channel), case.update_s(channel) or 0.0
    return (update_s, _CLOCK_PCT) if update_s > 1.1 * poll_s else (poll_s, 0.0)


def closure(case: Case) -> Check:
    """Q6: a GPU's energy counter against its power (Zeus #12, #181).

    Both come from one sensor, so this proves arithmetic, never trueness: it cannot raise a level.
    """
    rule = "counter against integrated power, in %: 1 passes, above 5 the counter is not believed"
    mine = {part.channel for part in case.parts}
    judged = []
    for channel in case.run.channels:
        if channel.domain is not Domain.GPU or channel.kind is not Kind.ENERGY:
            continue
        for word in ("instant_w", "average_w"):
            powers = case.run.columns.get(f"{channel.name}.{word}")
            counted = case.run.columns.get(f"{channel.name}_w")
            if powers is None or counted is None:
                continue
            apart = apart_pct(counted, powers, case.run.windows_s)
            if apart is not None:
                judged.append((abs(apart[0]) - 2 * apart[1], apart, channel.name))
    if not judged:
        text = f"no GPU has counter and power beside each other over {_LEAST_ROWS} rows"
        return Check("Q6", NOT_CHECKED, None, text, rule)
    beyond_pct, (difference_pct, u_pct), name = max(judged)
    text = f"{name}: counter {difference_pct:+.1f} % (+/- {2 * u_pct:.1f}) against its power"
    if beyond_pct <= _CLOSE_PCT:
        return Check("Q6", PASS, round(difference_pct, 3), text, rule)
    # of a GPU that the figure does not hold it says nothing about the figure
    is_far = beyond_pct > _FAR_PCT and name in mine
    todo = "`pactmeter probe gpu` tells which of the two is wrong"
    return Check("Q6", FAIL if is_far else WARN, round(difference_pct, 3), text, rule, todo)


def apart_pct(
    counted_w: Sequence[float | None], gauged_w: Sequence[float | None], windows_s: Sequence[float]
) -> tuple[float, float] | None:
    """Return by how much a counter is above a gauge, in percent, and the standard uncertainty.

    The uncertainty is that of the mean of the rows' differences. None for fewer than ten rows.
    """
    rows = [
        (counted, gauged, window_s)
        for counted, gauged, window_s in zip(counted_w, gauged_w, windows_s, strict=False)
        if counted is not None and gauged is not None and window_s > 0
    ]
    gauged_j = math.fsum(gauged * window_s for _, gauged, window_s in rows)
    if len(rows) < _LEAST_ROWS or gauged_j <= 0:
        return None
    apart_j = [(counted - gauged) * window_s for counted, gauged, window_s in rows]
    spread_j = stdev(apart_j) * math.sqrt(len(rows))
    return 100 * math.fsum(apart_j) / gauged_j, 100 * spread_j / gauged_j


def stuck(case: Case) -> Check:
    """Q8: readings that stood still while the machine moved, as the sampler found them."""
    rule = (
        "time in s in which all codes of a device stood still for 10 polls while another meter"
        " moved by more than three steps: 0"
    )
    mine = {part.channel for part in case.parts}
    found = [
        gap
        for gap in case.run.manifest.get("gaps", [])
        if str(gap.get("reason")).startswith("stuck") and mine & set(gap.get("channels", ()))
    ]
    if found:
        ends_s = [case.last_s if gap["end_s"] is None else gap["end_s"] for gap in found]
        stuck_s = math.fsum(
            end_s - gap["start_s"] for end_s, gap in zip(ends_s, found, strict=True)
        )
        todo = "unplug the device and plug it in again; its maker may have newer firmware"
        return Check("Q8", WARN, round(stuck_s, 6), str(found[0]["reason"]), rule, todo)
    devices = {
        case.run.about(c.name).get("device")
        for c in case.run.channels
        if c.domain in _METERS and c.kind is not Kind.QUANTITY and c.origin is not Origin.ESTIMATED
    }
    if len(devices) < 2:
        text = "one meter alone: nothing to tell a standstill by"
        return Check("Q8", NOT_CHECKED, None, text, rule)
    return Check("Q8", PASS, 0.0, "no meter stood still while another moved", rule)


def lag(case: Case) -> Check:
    """Q12: a lag that the run itself showed; a burst (`pactmeter sync`) would tell all of it."""
    rule = "lag of the gauges in s: known, and applied or reported"
    taus_s = {
        part.channel: float(found["tau_s"])
        for part in case.parts
        if (found := case.run.about(part.channel).get("lag"))
    }
    if not taus_s:
        text = "no lag showed in this run, none was measured"
        return Check("Q12", NOT_CHECKED, None, text, rule, "`pactmeter sync` measures it")
    told = ", ".join(f"{name} {tau_s:.2g} s" for name, tau_s in taus_s.items())
    return Check("Q12", PASS, round(max(taus_s.values()), 6), f"lag corrected: {told}", rule)
