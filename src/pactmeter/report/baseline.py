"""A baseline, and energies above it, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.quality import aligned

if TYPE_CHECKING:
    from pactmeter.analysis.baseline import Baseline


def render(found: Baseline) -> str:
    """Return the lines that tell of a baseline."""
    busy = "unknown" if found.busy_pct is None else f"{found.busy_pct:.1f} % busy"
    head = f"idle      {found.duration_s:.0f} s on {found.taken}; processors {busy}"
    lines = [head + f"; GPU contexts: {found.gpu_context}"]
    for energy in found.idle.values():
        u_w = (
            "unknown" if energy.u_j is None else f"{two_digits(energy.u_j / energy.covered_s):g} W"
        )
        marks = f" ({energy.synthetic})" if energy.synthetic else ""
        lines.append(
            f"          {energy.channel:<16}{energy.mean_w or 0.0:8.2f} W +/- {u_w} (k=2)"
            f"  {energy.origin}{marks}, {100 * energy.coverage:.1f} % covered"
        )
    return "\n".join([*lines, *(f"note      {text}" for text in found.notes)])


def render_net(told: dict[str, Any]) -> str:
    """Return the lines of ``report --baseline``: energy above idle, channel by channel."""
    rows = []
    for net in told["net"]:
        u = "unknown" if net["u_j"] is None else f"{two_digits(net['u_j']):g} J (k=2)"
        idle = f"idle {net['idle_w']:.2f} W +/- {two_digits(net['u_idle_w']):g} W"
        rows.append((net["channel"], f"{net['energy_j']:.1f} J +/- {u}", idle))
    lines = [
        f"{'' if number else 'above idle':<12}{line}" for number, line in enumerate(aligned(rows))
    ]
    if not lines:
        lines.append("above idle  none: the baseline and the run share no channel")
    return "\n".join([*lines, *(f"baseline  {text}" for text in told["notes"])])
