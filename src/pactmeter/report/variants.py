"""Sets of runs compared, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.quality import aligned

if TYPE_CHECKING:
    from pactmeter.analysis.stats.compare import SetsCompared, SetSummary
    from pactmeter.analysis.stats.intervals import Estimate
    from pactmeter.analysis.variants import Variants

_NAMES = {"energy_j": ("energy", "J"), "duration_s": ("time", "s"), "mean_w": ("power", "W")}


def render(found: Variants) -> str:
    """Return the comparison's lines, the answer first."""
    lines = [found.first_line]
    for variant in found.variants:
        energy = variant.figures["energy_j"]
        lines += ["", f"{variant.name} against A: {answer(variant.name, energy)}"]
        rows = [["", "A", variant.name, "difference", "ratio", "p", "verdict"]]
        for figure, (name, unit) in _NAMES.items():
            rows.append([name, *cells(variant.figures[figure], unit)])
        lines += [f"  {line}" for line in aligned(rows)]
        lines += [f"  {text}" for text in further(energy)]
        if variant.u_ratio_pct is None:
            lines.append("  how much the sensors' own errors change the ratio is unknown")
        elif variant.u_ratio_pct:
            lines.append(f"  the sensors' own errors may change it by {variant.u_ratio_pct:.1f} %")
    lines.append("")
    lines += [f"note  {text}" for text in found.notes]
    methods = {v.figures["energy_j"].difference.method for v in found.variants}
    lines.append(f"note  intervals: 95 %, {'; '.join(sorted(methods))}")
    return "\n".join(lines)


def answer(name: str, energy: SetsCompared) -> str:
    """Return whether a variant uses more or less energy, in words with the interval."""
    ratio = energy.ratio
    if ratio is None:
        return energy.verdict
    interval = f"95 % interval {100 * (ratio.low - 1):+.1f} to {100 * (ratio.high - 1):+.1f} %"
    if not energy.differ:
        return f"{energy.verdict} in energy ({interval})"
    word = "less" if ratio.value < 1 else "more"
    return f"{name} uses {abs(100 * (ratio.value - 1)):.1f} % {word} energy ({interval})"


def cells(found: SetsCompared, unit: str) -> list[str]:
    """Return both means, difference, ratio, p-value and verdict of one figure."""
    p = "-" if found.p_value is None else f"{found.p_value:.3g}"
    return [
        _summary(found.base, unit),
        _summary(found.new, unit),
        _estimate(found.difference, unit),
        "-" if found.ratio is None else _estimate(found.ratio, ""),
        f"{p} (of {found.comparisons})" if found.comparisons > 1 else p,
        found.verdict,
    ]


def _summary(found: SetSummary, unit: str) -> str:
    half = (found.mean.high - found.mean.low) / 2
    return f"{found.mean.value:.5g} {unit} +/- {two_digits(half):g} (n={found.mean.n[0]})"


def _estimate(found: Estimate, unit: str) -> str:
    space = f" {unit}" if unit else ""
    return f"{found.value:.4g}{space} [{found.low:.4g}, {found.high:.4g}]"


def further(energy: SetsCompared) -> list[str]:
    """Return effect size, further tests, and what must be known of them, a line each."""
    lines = []
    if energy.effect is not None:
        lines.append(f"effect size {_estimate(energy.effect, '')}  ({energy.effect.method})")
    if energy.base.olympic is not None and energy.new.olympic is not None:
        one, two = energy.base.olympic.value, energy.new.olympic.value
        lines.append(f"Olympic mean of the energy: A {one:.5g} J, the variant {two:.5g} J")
    if energy.equivalence is not None:
        same = energy.equivalence
        word = "shown" if same.equivalent else "not shown"
        lines.append(
            f"the same within {same.margin_pct:g} %: {word} (TOST, p = {same.p_value:.3g})"
        )
    if energy.ranks is not None and energy.cliff is not None:
        lines.append(
            f"Mann-Whitney p = {energy.ranks.p_value:.3g}, Cliff's delta"
            f" {_estimate(energy.cliff, '')}"
        )
    if energy.permutation is not None:
        lines.append(f"permutation test p = {energy.permutation.p_value:.3g}")
    if energy.difference.note:
        lines.append(f"approximate: {energy.difference.note}")
    return [*lines, *(f"left out: {text}" for text in energy.left_out)]
