"""Loads by name: what power a component draws over time, as straight pieces.

A load is written ``TERM[+TERM...]``, such as ``training+noise:3``. The first term is the power,
each further one adds to it (of a term between idle and busy, what exceeds idle). Nothing draws
less than 0 W, whatever noise takes away.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.bench.timeline import FOREVER_S, Piece
from pactmeter.errors import ConfigError, FileError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLLOW = "follow"
"""The one load that is no fixed P(t): the CPU use of the command decides."""

NAMES = {
    "idle": "the component's idle power",
    "busy": "its power under full load",
    "steady": "steady:WATTS",
    "steps": "steps:WATTS,WATTS@SECONDS,...  the first from the start on",
    "ramp": "ramp:WATTS-WATTS@SECONDS-SECONDS  steady before and after",
    "training": "training[:PERIOD]  uneven steps of a training (0.35 s), pauses between epochs",
    "square": "square:PERIOD[,DUTY]  between idle and busy, exactly periodic (1 ms or longer)",
    "bursts": "on and off for 0.8 to 3.7 s at random",
    "noise": "noise:WATTS  standard deviation, a new value every 50 ms; added to another term",
    "trace": "trace:FILE  a CSV of t_s,power_w; straight between its points",
    FOLLOW: "the CPU use of the command's own processes, between idle and busy",
}
"""Every term and what it is."""

_NOISE_CELL_S = 0.05
_EDGE_S = 0.006
"""How long a change of power between two phases of a training step takes."""

# One training step: share of its time and power between idle (0) and busy (1) of each phase:
# waiting for data, forward, backward, optimiser.
_STEP = ((0.10, 0.15), (0.30, 0.80), (0.45, 1.00), (0.15, 0.55))
_STEP_S = 0.35
_STEP_SPREAD = 0.06
_EPOCH_STEPS = 120
_PAUSE = (1.5, 0.25)

_SHORTEST_SQUARE_S = 0.001
"""A shorter period would be told in more pieces than there is memory for."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a component draws at rest and under full load, in watts."""

    idle_w: float
    busy_w: float

    def at(self, share: float) -> float:
        """Return the power at a share of the way from idle to busy, in watts."""
        return self.idle_w + share * (self.busy_w - self.idle_w)


def pieces(spec: str, span: Span, seed: int = 0) -> Iterator[Piece]:
    """Return the pieces of a load.

    Args:
        spec: The load as typed.
        span: What the component draws at rest and under full load.
        seed: Of everything that is random; the same for all components, so that they step together.

    Raises:
        ConfigError: A term or its value is not known.
        FileError: A trace cannot be read.
    """
    texts = spec.split("+")
    if len(texts) > 1 and any(text.partition(":")[0] == FOLLOW for text in texts):
        raise ConfigError(f"load {spec!r}: {FOLLOW!r} cannot be part of a sum", f"--load {FOLLOW}")
    terms = [_term(text, span, seed + 1000 * place) for place, text in enumerate(texts)]
    made = [term(0.0 if place == 0 else span.idle_w) for place, term in enumerate(terms)]
    return _not_below_0(made[0] if len(made) == 1 else _sum(made))


def check(spec: str) -> None:
    """Raise the error that `pieces` would."""
    pieces(spec, Span(0.0, 1.0))


def _term(text: str, span: Span, seed: int) -> Callable[[float], Iterator[Piece]]:
    """Return a function from what is left out (the idle power, of later terms) to the pieces."""
    name, _, value = text.partition(":")
    if name not in NAMES:
        raise unknown_name("load", name, NAMES)
    try:
        return _MAKERS[name](value, span, seed)
    except ValueError as error:
        meaning = NAMES[name] if NAMES[name].startswith(name) else f"--load {name}"
        raise ConfigError(f"load {text!r} cannot be read", meaning) from error


def _absolute(made: Callable[[], Iterator[Piece]]) -> Callable[[float], Iterator[Piece]]:
    return lambda _idle_w: made()


def _relative(
    made: Callable[[], Iterator[tuple[float, float, float]]], span: Span
) -> Callable[[float], Iterator[Piece]]:
    """Return the watts of pieces that are given as shares between idle and busy."""

    def scaled(idle_w: float) -> Iterator[Piece]:
        for duration_s, first, last in made():
            yield Piece(duration_s, span.at(first) - idle_w, span.at(last) - idle_w)

    return scaled


def _positive(text: str) -> float:
    """Return a number of watts or seconds, which is not below 0."""
    number = float(text)
    if not 0.0 <= number < math.inf:
        raise ValueError("not a number, or below 0")
    return number


def _without(value: str) -> None:
    if value:
        raise ValueError("takes no value")


def _level(share: float) -> Callable[[str, Span, int], Callable[[float], Iterator[Piece]]]:
    def level(value: str, span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
        _without(value)
        return _relative(lambda: iter([(FOREVER_S, share, share)]), span)

    return level


def _steady(value: str, _span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
    watts = _positive(value)
    return _absolute(lambda: iter([Piece(FOREVER_S, watts, watts)]))


def _steps(value: str, _span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
    texts = [text.partition("@") for text in value.split(",")]
    changes = [(_positive(watts), _positive(at or "0")) for watts, _, at in texts]
    if any(a >= b for (_, a), (_, b) in itertools.pairwise(changes)):
        raise ValueError("times must rise")
    ends_s = [at_s for _, at_s in changes[1:]] + [FOREVER_S]

    def made() -> Iterator[Piece]:
        for (watts, from_s), to_s in zip(changes, ends_s, strict=True):
            yield Piece(to_s - from_s, watts, watts)

    return _absolute(made)


def _ramp(value: str, _span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
    watts, _, times = value.partition("@")
    first_w, last_w = map(_positive, watts.split("-"))
    from_s, to_s = map(_positive, times.split("-"))
    if not 0 <= from_s < to_s:
        raise ValueError("a ramp takes time")
    stretches = [
        Piece(from_s, first_w, first_w),
        Piece(to_s - from_s, first_w, last_w),
        Piece(FOREVER_S, last_w, last_w),
    ]
    return _absolute(lambda: iter(stretches))


def _training(value: str, span: Span, seed: int) -> Callable[[float], Iterator[Piece]]:
    period_s = _positive(value) if value else _STEP_S
    if period_s < 0.05:
        raise ValueError("shorter than its own edges")

    def made() -> Iterator[tuple[float, float, float]]:
        chance = random.Random(seed)  # noqa: S311  a load, not a secret
        level = _STEP[-1][1]
        # it is met in the middle of a step: runs of several seeds do not start in phase
        skip_s = chance.random() * period_s
        for step in itertools.count(1):
            factor = max(0.5, chance.gauss(1.0, _STEP_SPREAD)) * period_s
            phases = [(share * factor, power) for share, power in _STEP]
            if step % _EPOCH_STEPS == 0:
                phases.append(_PAUSE)
            for duration_s, power in phases:
                if skip_s >= duration_s:
                    skip_s -= duration_s
                    continue
                left_s, skip_s = duration_s - skip_s, 0.0
                edge_s = min(_EDGE_S, left_s / 2)
                yield edge_s, level, power
                yield left_s - edge_s, power, power
                level = power

    return _relative(made, span)


def _square(value: str, span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
    period, _, duty = value.partition(",")
    period_s, share = _positive(period), _positive(duty or "0.5")
    if period_s < _SHORTEST_SQUARE_S or not 0.0 < share < 1.0:
        raise ValueError("a period too short, or a duty not between 0 and 1")
    return _relative(
        lambda: itertools.cycle([(share * period_s, 1.0, 1.0), ((1 - share) * period_s, 0.0, 0.0)]),
        span,
    )


def _bursts(value: str, span: Span, seed: int) -> Callable[[float], Iterator[Piece]]:
    _without(value)

    def made() -> Iterator[tuple[float, float, float]]:
        chance = random.Random(seed)  # noqa: S311  a load, not a secret
        for share in itertools.cycle((0.0, 1.0)):
            yield chance.uniform(0.8, 3.7), share, share

    return _relative(made, span)


def _noise(value: str, _span: Span, seed: int) -> Callable[[float], Iterator[Piece]]:
    sd_w = _positive(value)

    def made() -> Iterator[Piece]:
        chance = random.Random(seed)  # noqa: S311  a load, not a secret
        while True:
            watts = chance.gauss(0.0, sd_w)
            yield Piece(_NOISE_CELL_S, watts, watts)

    return _absolute(made)


def _trace(value: str, _span: Span, _seed: int) -> Callable[[float], Iterator[Piece]]:
    path = Path(value)
    points: list[tuple[float, float]] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file)):
                try:
                    points.append((float(row[0]), _positive(row[1])))
                except (ValueError, IndexError):
                    if number:
                        raise FileError(f"{path}:{number + 1} is no t_s,power_w: {row}") from None
    except OSError as error:
        raise FileError(f"cannot read the trace {path}: {error.strerror}") from error
    if len(points) < 2 or any(a >= b for (a, _), (b, _) in itertools.pairwise(points)):
        raise FileError(f"{path} has no two points with rising times")

    def made() -> Iterator[Piece]:
        for (from_s, from_w), (to_s, to_w) in itertools.pairwise(points):
            yield Piece(to_s - from_s, from_w, to_w)

    return _absolute(made)


_MAKERS: dict[str, Callable[[str, Span, int], Callable[[float], Iterator[Piece]]]] = {
    "idle": _level(0.0),
    "busy": _level(1.0),
    "steady": _steady,
    "steps": _steps,
    "ramp": _ramp,
    "training": _training,
    "square": _square,
    "bursts": _bursts,
    "noise": _noise,
    "trace": _trace,
    FOLLOW: _level(0.0),  # until the first look at the command's processes
}


def _sum(parts: list[Iterator[Piece]]) -> Iterator[Piece]:
    """Return the sum of loads, cut wherever one of them breaks."""
    heads = [next(part) for part in parts]
    while True:
        step_s = min(head.duration_s for head in heads)
        if math.isclose(step_s, 0.0, abs_tol=1e-12):
            heads = [
                _following(head, part) if head.duration_s <= 1e-12 else head
                for head, part in zip(heads, parts, strict=True)
            ]
            continue
        cuts = [_cut(head, step_s) for head in heads]
        yield Piece(step_s, sum(h.from_w for h in heads), sum(c.from_w for c in cuts))
        heads = cuts


def _cut(piece: Piece, after_s: float) -> Piece:
    """Return what is left of a piece after some time."""
    share = after_s / piece.duration_s
    middle_w = piece.from_w + share * (piece.to_w - piece.from_w)
    return Piece(piece.duration_s - after_s, middle_w, piece.to_w)


def _following(head: Piece, part: Iterator[Piece]) -> Piece:
    """Return the next piece; a load that has ended stays where it was."""
    return next(part, Piece(FOREVER_S, head.to_w, head.to_w))


def _not_below_0(made: Iterator[Piece]) -> Iterator[Piece]:
    """Return the pieces with 0 in place of what lies below: no counter runs backwards."""
    for piece in made:
        first_w, last_w = max(0.0, piece.from_w), max(0.0, piece.to_w)
        if piece.from_w * piece.to_w >= 0.0:
            yield Piece(piece.duration_s, first_w, last_w)
            continue
        to_zero_s = piece.duration_s * piece.from_w / (piece.from_w - piece.to_w)
        yield Piece(to_zero_s, first_w, 0.0)
        yield Piece(piece.duration_s - to_zero_s, 0.0, last_w)
