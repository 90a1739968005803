"""Intervals one below the other, as a drawing that needs no script."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pactmeter.report.html.markup import Markup, text

_ROW, _LEFT, _WIDE, _RIGHT = 26, 250, 460, 20
_LONGEST = 34
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """A named figure with the ends of its interval, all in one unit."""

    name: str
    low: float
    value: float
    high: float


def forest(title: str, found: list[Interval], unit: str) -> Markup:
    """Return the intervals with a line at zero; nothing where there is none to draw."""
    shown = [i for i in found if all(map(math.isfinite, (i.low, i.value, i.high)))]
    if not shown:
        return Markup("")
    low, high = min(0.0, *(i.low for i in shown)), max(0.0, *(i.high for i in shown))
    step = _step((high - low) or 1.0)
    low, high = math.floor(low / step) * step, max(math.ceil(high / step), 1) * step
    tall = _ROW * len(shown)

    def at(value: float) -> float:
        return round(_LEFT + _WIDE * (value - low) / (high - low), 1)

    parts = []
    for k in range(round((high - low) / step) + 1):
        tick = low + k * step
        kind = "zero" if abs(tick) < step / 2 else "grid"
        parts.append(f'<path class="{kind}" d="M{at(tick)} 0V{tall}"/>')
        label = f"{tick:.6g} {unit}" if kind == "grid" else f"0 {unit}"
        parts.append(f'<text class="tick" x="{at(tick)}" y="{tall + 16}">{text(label)}</text>')
    for k, each in enumerate(shown):
        y = _ROW * k + _ROW / 2
        label = each.name if len(each.name) <= _LONGEST else f"{each.name[: _LONGEST - 1]}…"
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" class="row">{text(label)}</text>')
        ends = f"M{at(each.low)} {y - 5}v10M{at(each.low)} {y}H{at(each.high)}m0 -5v10"
        parts.append(f'<path class="bar" d="{ends}"/>')
        parts.append(f'<circle class="dot" cx="{at(each.value)}" cy="{y}" r="4"/>')
    box = f"0 -4 {_LEFT + _WIDE + _RIGHT} {tall + 28}"
    return Markup(
        f'<figure><svg class="forest" viewBox="{box}" role="img" aria-label="{text(title)}">'
        f"{''.join(parts)}</svg><figcaption>{text(title)}</figcaption></figure>\n"
    )


def _step(span: float) -> float:
    """Return a round step (1, 2 or 5 times a power of ten) that divides a span about in five."""
    least = span / _TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= least * 0.999)
