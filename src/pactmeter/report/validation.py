"""A validation as one page of plain text, to be published for a model of supply or card."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pactmeter.analysis.validation import Validated, Validation


def render(found: Validation) -> str:
    """Return the page."""
    marks = f"  [{found.synthetic} devices]" if found.synthetic else ""
    windows = found.sources[0].loads if found.sources else ()
    told = ", ".join(f"{load.name} {load.olympic_w[1]:.1f} W" for load in windows)
    count = len(windows[0].source_w) if windows else 0
    seen = f"windows   {count} a load of {found.window_s:.0f} s; Olympic means of the meter: {told}"
    lines = [
        f"VALIDATION of {found.host} on {found.day}{marks}",
        f"against   {found.meter}: {found.meter_label}, +/- {found.accuracy_pct:g} % (k=2)",
        seen,
    ]
    for one in found.sources:
        lines += _source(one)
    lines += [f"left out  {name}: {why}" for name, why in found.left_out.items()]
    lines += [f"note      {text}" for text in found.notes]
    lines.append("intervals: 95 %, of the line; the meter's own error is in none of them")
    return "\n".join(lines)


def _source(one: Validated) -> list[str]:
    lines = ["", f"{one.channel}  ({one.label}; {one.origin})"]
    what = "  apart   " if one.is_ac else "  share   "
    cells = []
    for load in one.loads:
        figure = f"{load.apart_pct:+.2f} %" if one.is_ac else f"{100 + load.apart_pct:.1f} %"
        cells.append(f"{load.name} {load.olympic_w[0]:.1f} W ({figure})")
    lines.append(what + ", ".join(cells) + ("" if one.is_ac else " of the meter"))
    if one.line is None:
        lines.append(f"  line    none: {one.reason}")
    else:
        line = one.line
        lines.append(
            f"  line    meter = {line.offset_w:+.2f} W (+/- {line.u_offset_w:.2f}) +"
            f" {line.gain:.4f} (+/- {line.u_gain:.4f}) x source, from {line.from_w:.0f} to"
            f" {line.to_w:.0f} W"
        )
        low, high = line.low_pct, line.high_pct
        lines.append(f"  a load that was not seen: {low:+.2f} to {high:+.2f} % of what it gives")
    if one.agrees is not None:
        word = "met" if one.agrees else "not met"
        lines.append(f"  MLPerf  Olympic means within 5 % under each load: {word}")
    return lines
