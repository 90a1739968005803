"""Where a study stands after a runner, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pactmeter.study.needs import Lack
    from pactmeter.study.plan import Plan
    from pactmeter.study.state import State
    from pactmeter.study.trial import Verdict


@dataclass
class Result:
    """What a runner leaves.

    Attributes:
        total: Trials in the plan.
        done: Trials that are done, by this runner or an earlier one.
        failed: Trials that have failed, each with the reason.
        left: Trials that are not run yet.
        lacks: What was not there.
        stopped: The signal that ended the runner; None: it came to its end.
    """

    total: int
    done: int
    failed: list[tuple[str, str]]
    left: int
    lacks: list[Lack] = field(default_factory=list)
    stopped: int | None = None


def result(
    made: Plan, state: State, lacks: Sequence[Lack] = (), stopped: int | None = None
) -> Result:
    """Return where a study stands."""
    statuses = [state.status(one) for one in made.trials]
    failed = [
        (one.stem, str(state.ended[one.stem]["reason"]))
        for one, status in zip(made.trials, statuses, strict=True)
        if status == "failed"
    ]
    return Result(
        len(statuses), statuses.count("done"), failed, statuses.count("open"), list(lacks), stopped
    )


def outcome(verdict: Verdict, duration_s: float, lingering: int) -> str:
    """Return the line that tells how a trial ended."""
    left = f"; {lingering} processes that it left were ended" if lingering else ""
    if verdict.reason is None:
        return f"    done in {duration(duration_s)}{left}"
    return f"    FAILED after {duration(duration_s)}: {verdict.reason}{left}"


def duration(seconds_s: float) -> str:
    """Return a time as people say it.

    >>> duration(7.25), duration(312), duration(7500)
    ('7.2 s', '5 min 12 s', '2 h 5 min')
    """
    if seconds_s < 60:
        return f"{seconds_s:.1f} s"
    minutes, seconds = divmod(round(seconds_s), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
