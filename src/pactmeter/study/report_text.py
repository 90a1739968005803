"""What a study comes to, as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.analysis.verdict import two_digits
from pactmeter.report.html.study import mean_text, one, pair_text
from pactmeter.report.quality import aligned
from pactmeter.study.told import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pactmeter.study.report import Figure, Report, Row


def render(found: Report) -> str:
    """Return the report's lines."""
    return "\n".join(_lines(found))


def _lines(found: Report) -> Iterator[str]:
    under = f", {found.profile}" if found.profile else ""
    done = found.total - len(found.failed) - len(found.left)
    yield f"study     {found.name}{under} on {found.host}: {done} of {found.total} trials done"
    for world in found.worlds:
        rows = [row for row in found.rows if row.world == world]
        yield ""
        yield f"[{', '.join(world) or 'real devices and data'}]"
        head = ("workload", "trials", "energy", "U (k=2)", "time", "power", "per unit of work")
        yield from aligned([head, *map(_cells, rows)])
        left = [_left(row) for row in rows if row.left]
        if left:
            yield ""
            yield from aligned([("uncovered", "", "energy", "power", "share"), *left])
    yield ""
    for row in found.rows:
        if row.left_why:
            yield f"uncovered {row.workload}: unknown, {row.left_why}"
    yield from _model(found)
    if found.noise_pct is not None:
        yield f"noise     {found.control} resolves {two_digits(found.noise_pct):g} %"
    for rest in found.rests:
        watts = "unknown" if rest.mean_w is None else f"{rest.mean_w:.2f} W"
        over = "" if rest.duration_s is None else f" over {duration(rest.duration_s)}"
        drift = "" if rest.drift_pct is None else f", drift {rest.drift_pct:+.2f} %"
        why = f" ({'; '.join(rest.notes)})" if rest.notes else ""
        yield f"at rest   {rest.file}: {watts}{over}{drift}{why}"
    yield from (f"failed    {stem}: {why}" for stem, why in found.failed)
    yield from (f"no figure {stem}: {why}" for stem, why in found.left_out)
    if found.left:
        yield f"not run   {len(found.left)} trials"
    yield from (f"note      {text}" for text in found.notes)
    yield "intervals: 95 % over trials; U is the sensor's own and in none of them"


def _cells(row: Row) -> tuple[str, ...]:
    u = "-" if row.energy is None else "unknown"
    if row.u_j is not None:
        u = f"{two_digits(row.u_j):g} J"
    per = [f"{_mean(figure, 'J')} / {one(unit)}" for unit, figure in row.per.items()]
    return (
        f"  {row.workload}",
        str(len(row.trials)),
        _mean(row.energy, "J") if row.energy else "not measured",
        u,
        _mean(row.time, "s"),
        _mean(row.power, "W"),
        ", ".join(per) or "-",
    )


def _left(row: Row) -> tuple[str, ...]:
    first = row.left[0]
    energy = f"{first.energy_j:.4g} J +/- unknown"
    if first.u_j is not None:
        energy = pair_text(first.energy_j, first.u_j, "J").replace("±", "+/-")
    share = "-" if first.share_pct is None else f"{first.share_pct:.1f} %"
    what = f"{first.whole} less {' + '.join(first.parts)}"
    violated = "; PARTS EXCEED THE WHOLE" if first.violated else ""
    return (
        f"  {row.workload}",
        what,
        energy,
        f"{first.mean_w:.1f} W",
        f"{share}{violated}",
    )


def _model(found: Report) -> Iterator[str]:
    model = found.model
    for preset, data in model.models.items():
        yield f"model     {preset}, fitted on stress: {data['verdict']}"
        tests = model.tests[preset]
        off = [test.off_pct for test in tests]
        if off:
            worst = max(tests, key=lambda test: abs(test.off_pct))
            yield (
                f"          {len(off)} other trials: energy off by {min(off):+.2f} to"
                f" {max(off):+.2f} % (worst: {worst.trial})"
            )
        else:
            yield "          there is no other trial that it could be tested on"
    word = "model    " if model.models else "no model "
    yield from (f"{word} {why}" for why in model.refused)


def _mean(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return "-"
    ends = {"value": figure.value, "low": figure.low, "high": figure.high}
    return mean_text(ends, unit).replace("±", "+/-")
