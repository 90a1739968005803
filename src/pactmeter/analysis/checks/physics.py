"""Q7: what physics forbids, over windows that are long against the lag of the sensors.

A law is violated only beyond the combined uncertainty (k=2) of both its sides: those of one side
add linearly, as equal sensors err alike, the two sides in quadrature; of an equation, which either
side may violate, linearly too. Rails' volts and amperes are not recorded, so of them the power
alone is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import TYPE_CHECKING

from pactmeter.analysis.checks.check import FAIL, NOT_CHECKED, PASS, Case, Check
from pactmeter.model.channel import Domain, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.model.energy import Energy

EFFICIENCY = (0.5, 0.98)
"""No supply under load is worse, none is better (80 PLUS: 0.72 to 0.97 from 10 % load on)."""
_LEAST_WINDOW_S = 5.0
_LAGS = 50.0
"""A window is so many lags long: what one edge has too much is 2 % of it then."""
_LEAST_ROWS, _LEAST_VALUES = 10, 5


@dataclass(frozen=True, slots=True)
class Law:
    """One side must not be above the other, or the two must be equal.

    Attributes:
        name: The law in words.
        low: What must not be more; of an equation one side.
        high: What must not be less.
        scale: What the high side is multiplied with.
        is_equation: Whether neither side may be more.
    """

    name: str
    low: tuple[Energy, ...]
    high: tuple[Energy, ...]
    scale: float = 1.0
    is_equation: bool = False

    @property
    def members(self) -> tuple[Energy, ...]:
        """All energies of both sides."""
        return (*self.low, *self.high)


@dataclass(frozen=True, slots=True)
class Excess:
    """By how much a law is violated in the worst of its windows.

    Attributes:
        value: Excess over the combined U (k=2); up to 1 says nothing.
        start_s: Start of the window, in seconds.
        end_s: End of it, in seconds.
        low_j: What must not be more, in joules.
        high_j: What must not be less, in joules.
    """

    value: float
    start_s: float
    end_s: float
    low_j: float
    high_j: float


def physics(case: Case) -> Check:
    """Q7: conservation between the meters of the machine."""
    rule = (
        "excess over the combined U (k=2), at most 1: sum of rails = total, core + uncore <="
        " package, CPU + GPU <= DC <= AC, efficiency 0.5 to 0.98; no meter counted twice"
    )
    twice = read_twice(case)
    if twice is not None:
        text = f"{twice[0]} and {twice[1]} tell the same in every row: one meter, counted twice"
        return Check("Q7", FAIL, None, text, rule, "leave one of the two out, and report it to us")
    judged = [(law, excess) for law in laws(case) if (excess := worst_excess(case, law))]
    if not judged:
        text = (
            f"no two meters that hold one another, with known U, over {_LEAST_WINDOW_S:g} s or more"
        )
        return Check("Q7", NOT_CHECKED, None, text, rule)
    law, excess = max(judged, key=lambda one: one[1].value)
    if excess.value <= 1.0:
        names = ", ".join(law.name for law, _ in judged)
        return Check("Q7", PASS, round(excess.value, 4), f"holds: {names}", rule)
    text = (
        f"{law.name} is violated from {excess.start_s:.1f} to {excess.end_s:.1f} s:"
        f" {excess.low_j:.1f} J against {excess.high_j:.1f} J, {excess.value:.1f} times the"
        " combined U"
    )
    todo = "one of the meters is wrong, or feeds only a part: compare both with a reference meter"
    return Check("Q7", FAIL, round(excess.value, 4), text, rule, todo)


def read_twice(case: Case) -> tuple[str, str] | None:
    """Return two parts of the figure that are one and the same meter; None: all are different.

    Two counters that tell joule for joule the same in ten rows, of five different values, are one.
    """
    seen: dict[tuple[float | None, ...], str] = {}
    for part in case.parts:
        rows = tuple(case.run.columns.get(f"{part.channel}_w", []))
        if len(rows) < _LEAST_ROWS or len(set(rows)) < _LEAST_VALUES:
            continue
        if rows in seen:
            return seen[rows], part.channel
        seen[rows] = part.channel
    return None


def laws(case: Case) -> list[Law]:
    """Return the laws that the recorded channels let judge."""
    supplies, rails = case.of_domain(Domain.DC), [e for e in case.found if ".rail." in e.channel]
    found = []
    for dc in supplies:
        prefix = dc.channel.partition(".")[0] + ".rail."
        mine = tuple(rail for rail in rails if rail.channel.startswith(prefix))
        if mine:
            found.append(Law(f"rails = {dc.channel}", mine, (dc,), is_equation=True))
    packages, gpus = case.of_domain(Domain.PACKAGE), case.of_domain(Domain.GPU)
    for package in packages:
        number = package.channel.removeprefix("cpu.package")
        parts = [
            part
            for part in case.of_domain(Domain.CORE, Domain.UNCORE)
            if part.channel.removeprefix(f"cpu.{part.domain}") == number
        ]
        if parts:
            found.append(Law(f"core + uncore <= {package.channel}", tuple(parts), (package,)))
    inner = (*packages, *gpus, *case.of_domain(Domain.DRAM))
    if inner and supplies and case.has_all_of(Domain.DC):
        found.append(Law("CPU + GPU <= DC", inner, tuple(supplies)))
    if packages:
        found += [
            Law(f"packages <= {psys.channel}", tuple(packages), (psys,))
            for psys in case.of_domain(Domain.PSYS)
        ]
    if supplies:
        found += _of_the_mains(case, tuple(supplies))
    return [law for law in found if len({e.synthetic for e in law.members}) == 1]


def _of_the_mains(case: Case, supplies: tuple[Energy, ...]) -> list[Law]:
    """Return what holds between the two sides of the supplies, metered and estimated."""
    low, high = EFFICIENCY
    found = []
    metered = [e for e in case.of_domain(Domain.AC) if e.origin is Origin.MEASURED]
    if metered and case.has_all_of(Domain.DC) and case.has_all_of(Domain.AC):
        mains = tuple(metered)
        found.append(Law(f"DC <= {high:g} of metered AC", supplies, mains, high))
        found.append(Law(f"{low:g} of metered AC <= DC", mains, supplies, 1 / low))
    for dc in supplies:
        name = dc.channel.replace("dc_output", "ac_input")
        for ac in case.found:
            if ac.channel == name and ac.origin is Origin.ESTIMATED and ac.covered_s > 0:
                found.append(Law(f"{dc.channel} <= {high:g} of {name}", (dc,), (ac,), high))
                found.append(Law(f"{low:g} of {name} <= {dc.channel}", (ac,), (dc,), 1 / low))
    return found


def worst_excess(case: Case, law: Law) -> Excess | None:
    """Return the greatest excess over U; None: U is not known, or no window is long enough."""
    relative = []
    for member in law.members:
        if member.u_j is None:
            return None
        relative.append(member.u_j / member.energy_j if member.energy_j > 0 else 0.0)
    lag_s = max(case.lag_s(member.channel) for member in law.members)
    judged = []
    for rows in _windows(case, law, max(_LEAST_WINDOW_S, _LAGS * lag_s)):
        starts_s, windows_s, *means = zip(*rows, strict=True)
        energies_j = [sum(map(mul, windows_s, watts)) for watts in means]
        u_j = [
            # what a lagging meter shows belongs to other moments, at both edges
            share * energy_j + 2 * lag_s * (max(watts) - min(watts))
            for share, energy_j, watts in zip(relative, energies_j, means, strict=True)
        ]
        split = len(law.low)
        low_j, high_j = sum(energies_j[:split]), law.scale * sum(energies_j[split:])
        low_u_j, high_u_j = sum(u_j[:split]), law.scale * sum(u_j[split:])
        if law.is_equation:
            beyond_j, combined_j = abs(low_j - high_j), low_u_j + high_u_j
        else:
            beyond_j, combined_j = low_j - high_j, math.hypot(low_u_j, high_u_j)
        if combined_j > 0:
            excess = max(0.0, beyond_j) / combined_j
            end_s = starts_s[-1] + windows_s[-1]
            judged.append(Excess(excess, starts_s[0], end_s, low_j, high_j))
    return max(judged, key=lambda excess: excess.value, default=None)


def _windows(case: Case, law: Law, least_s: float) -> Iterator[list[tuple[float, ...]]]:
    """Yield runs of rows, each of the length that is wanted or more; what is left joins the last.

    A row is its start and length, in seconds, and the mean power of each member, in watts. Rows in
    which a member is not known are left out.
    """
    columns = [case.run.columns.get(f"{member.channel}_w", []) for member in law.members]
    times = case.run.columns.get("read_s", []), case.run.windows_s
    rows = [
        (read_s - window_s, window_s, *means)
        for read_s, window_s, *means in zip(*times, *columns, strict=False)
        if read_s is not None and window_s is not None and window_s > 0 and None not in means
    ]
    ends, sum_s = [0], 0.0
    for index, row in enumerate(rows, start=1):
        sum_s += row[1]
        if sum_s >= least_s:
            ends.append(index)
            sum_s = 0.0
    if len(ends) > 1:
        ends[-1] = len(rows)
    for first, last in pairwise(ends):
        yield rows[first:last]
