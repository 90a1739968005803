"""``pactmeter study status``: where a study stands, read from its folder alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pactmeter.study import journal, plan, process
from pactmeter.study.state import state_of
from pactmeter.study.told import duration, result

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Status:
    """Where a study stands.

    Attributes:
        study: Its name.
        profile: Its profile; None: none.
        seed: What the order was drawn by.
        state: ``finished``, ``running`` (a runner is at work), or ``stopped``.
        runner: Process of the runner; None: there is none.
        total: Trials in the plan.
        done: Trials that are done.
        failed: Trials that have failed, each with the reason.
        left: Trials that were not run.
        left_s: How long these will take, in seconds; None: unknown.
        orphans: Processes that a killed runner has left.
        baselines: Files of the idle baselines, or why there is none.
    """

    study: str
    profile: str | None
    seed: int
    state: str
    runner: str | None
    total: int
    done: int
    failed: tuple[tuple[str, str], ...]
    left: tuple[str, ...]
    left_s: float | None
    orphans: tuple[int, ...]
    baselines: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data (schema 1)."""
        failed = [{"trial": stem, "reason": reason} for stem, reason in self.failed]
        return {"schema": SCHEMA, **asdict(self), "failed": failed}


def status_of(folder: Path) -> Status:
    """Return where the study of a folder stands.

    Raises:
        FileError: It holds no study, or a file of it is damaged.
    """
    made = plan.read(folder)
    owner = journal.runner(folder)
    state = state_of(journal.read(folder))
    found = result(made, state)
    left = state.left(made.trials)
    state_word = "stopped" if left else "finished"
    orphans: set[int] = set()
    if owner is None:
        for program in state.programs.values():
            if program.boot_id == process.boot_id():
                orphans |= process.remains(program)
    return Status(
        study=made.definition.name,
        profile=made.definition.profile,
        seed=made.seed,
        state=state_word if owner is None else "running",
        runner=owner,
        total=found.total,
        done=found.done,
        failed=tuple(found.failed),
        left=tuple(one.stem for one in left),
        left_s=state.seconds_left_s(left, made.definition) if left else 0.0,
        orphans=tuple(sorted(orphans)),
        baselines=tuple(
            f"{entry['when']}: {entry['file'] or entry['reason']}" for entry in state.baselines
        ),
    )


def render(found: Status) -> str:
    """Return it as lines of text."""
    profile = f", profile {found.profile}" if found.profile else ""
    words = {
        "running": f"a runner is at work (process {found.runner})",
        "stopped": "stopped: the same `pactmeter study run` goes on with it",
        "finished": "finished",
    }
    lines = [
        f"study     {found.study}{profile}; order drawn by seed {found.seed}",
        f"state     {words[found.state]}",
        f"done      {found.done} of {found.total}",
    ]
    if found.left:
        about = "" if found.left_s is None else f", about {duration(found.left_s)}"
        lines.append(f"left      {len(found.left)}{about}: {_some(found.left)}")
    lines += [f"failed    {stem}: {reason}" for stem, reason in found.failed]
    lines += [f"baseline  {text}" for text in found.baselines]
    if found.orphans:
        numbers = ", ".join(map(str, found.orphans))
        lines.append(f"note      its runner was killed and left processes running: {numbers}")
    return "\n".join(lines)


def _some(names: tuple[str, ...], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
