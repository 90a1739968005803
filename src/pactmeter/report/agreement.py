"""The sources within runs compared, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.gpu_update import Unknown
from pactmeter.analysis.verdict import two_digits
from pactmeter.report.quality import aligned

if TYPE_CHECKING:
    from pactmeter.analysis.agreement.beside import Beside
    from pactmeter.analysis.agreement.deming import Line
    from pactmeter.analysis.agreement.limits import Limits
    from pactmeter.analysis.agreement.pairs import Estimate
    from pactmeter.analysis.agreement.remainder import Remainder
    from pactmeter.analysis.agreement.result import Agreement, SourcePair


def render(found: Agreement) -> str:
    """Return the comparison's lines."""
    lines = [found.first_line]
    if found.lag_s:
        told = ", ".join(f"{name} {1000 * lag_s:.0f} ms" for name, lag_s in found.lag_s.items())
        lines.append(f"delays taken out before: {told}")
    lines += ["", "SOURCES OF ONE MEASURAND (a difference is an error of one of them)"]
    for pair in found.pairs:
        lines += _pair(pair)
    if not found.pairs:
        lines.append("  none: no two sources measure the same")
    lines += ["", "UNCOVERED REMAINDER (what the parts leave of the whole: no error)"]
    for remainder in found.remainders:
        lines += _remainder(remainder)
    if not found.remainders:
        lines.append("  none: no whole was measured together with its parts")
    for beside in found.beside:
        lines += _beside(beside)
    if found.refused:
        lines += ["", "NOT COMPARED"]
        for each in found.refused:
            fix = f" ({each.fix})" if each.fix else ""
            why = each.why.removeprefix(f"{each.what} ").removeprefix(f"{each.what}: ")
            lines.append(f"  {each.what}: {why}{fix}")
    return "\n".join(lines)


def _pair(pair: SourcePair) -> list[str]:
    stated = [
        f"{name} ({origin}, U {'unknown' if u_pct is None else f'{u_pct:.1f} %'})"
        for name, origin, u_pct in zip(
            (pair.source, pair.reference), pair.origins[::-1], pair.u_pct[::-1], strict=True
        )
    ]
    runs = f"{pair.runs} run{'s' * (pair.runs != 1)}, {pair.spans} spans"
    lines = [f"  {stated[0]} against {stated[1]}: {runs}"]
    bias, scores, lag = pair.bias, pair.scores, pair.lag
    limits: Limits | Unknown | None = pair.limits_pct
    line: Line | Unknown | None = pair.line
    add = lines.append
    if isinstance(bias, Unknown) and bias == limits == line:  # too few windows for any of them
        add(f"    unknown   bias, limits and line: {bias.reason}")
        limits = line = None
    elif isinstance(bias, Unknown):
        add(f"    bias      unknown: {bias.reason}")
    else:
        add(
            f"    bias      {with_interval(bias.total_pct, '%')}, {with_interval(bias.mean_w, 'W')}"
        )
    if isinstance(limits, Unknown):
        add(f"    limits    unknown: {limits.reason}")
    elif limits is not None:
        ends = f"{limits.lower.value:+.2f} to {limits.upper.value:+.2f} %"
        outer = f"{limits.lower.interval[0]:+.2f} to {limits.upper.interval[1]:+.2f} %"
        add(f"    limits    {ends} hold 95 % of spans ({outer} with their own intervals)")
    if isinstance(line, Unknown):
        add(f"    line      unknown: {line.reason}")
    elif line is not None:
        between = f"{line.range_w[0]:.0f} to {line.range_w[1]:.0f} W"
        gain = with_interval(line.gain, "", ".4f")
        offset = with_interval(line.offset_w, "W")
        add(f"    line      gain {gain}, offset {offset}; seen: {between}")
    if isinstance(scores, Unknown):
        add(f"    errors    unknown: {scores.reason}")
    else:
        r2 = "-" if scores.r2_pct is None else f"{scores.r2_pct / 100:.4f}"
        told = f"MAPE {scores.mape_pct:.2f} %, WMAPE {scores.wmape_pct:.2f} %, R2 {r2}"
        add(f"    errors    {told}")
    if isinstance(lag, Unknown):
        add(f"    lag       unknown: {lag.reason}")
    elif lag is not None:
        word = "taken out" if lag.applied else "not taken out: others fit as well"
        low, high = (1000 * end for end in lag.lag_s.interval)
        add(f"    lag       {1000 * lag.lag_s.value:.0f} ms ({low:.0f} to {high:.0f}), {word}")
    return lines


def with_interval(estimate: Estimate, unit: str, style: str = "+.2f") -> str:
    """Return a figure with its 95 % interval, such as ``+0.75 % (-0.11 to +1.61)``."""
    low, high = estimate.interval
    text = f"{estimate.value:{style}}{' ' * bool(unit)}{unit}"
    return f"{text} ({low:{style}} to {high:{style}})"


def _remainder(found: Remainder) -> list[str]:
    u = "unknown" if found.u_j is None else f"{two_digits(found.u_j):g} J (k=2)"
    share = "" if found.share_pct is None else f", {found.share_pct:.1f} % of {found.whole}"
    what = f"{found.whole} less {' + '.join(found.parts)}"
    lines = [f"  {what}: {found.energy_j:.1f} J +/- {u}{share} in {found.covered_s:.0f} s"]
    if found.violated:
        lines.append("    the parts exceed the whole beyond U: one of them is wrong")
    elif found.violations:
        lines.append(f"    in {found.violations} spans the parts exceed the whole beyond U")
    rows = [["load", "remainder", "U (k=2)", "of the load", "spans"]]
    rows += [
        [
            f"{each.load_w:.1f} W",
            f"{each.remainder_w:.1f} W",
            "unknown" if each.u_w is None else f"{two_digits(each.u_w):g} W",
            "-" if each.share_pct is None else f"{each.share_pct:.1f} %",
            str(each.spans),
        ]
        for each in found.by_load()
    ]
    return lines + [f"    {line}" for line in aligned(rows, str.rjust)]


def _beside(beside: Beside) -> list[str]:
    if not beside.estimates:
        return []
    where = f"{beside.reference} {beside.reference_j:.1f} J" if beside.reference else "no reference"
    lines = ["", f"WHAT OTHER TOOLS WOULD SAY of {beside.run} (estimates; {where})"]
    rows = []
    for each in beside.estimates:
        share = beside.share_pct(each)
        of = "" if share is None else f"{share:.1f} % of it"
        carbon = "" if each.carbon_g is None else f"{each.carbon_g:.4g} gCO2e"
        rows.append([each.tool, f"{each.energy_j:.1f} J", of, carbon, each.covers])
    return lines + [f"  {line}" for line in aligned(rows)]
