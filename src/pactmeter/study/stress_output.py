"""What stress tools say of the work they did, and that they did it.

`stress` says no more than that it ended well; `stress-ng` counts bogo-ops; gpu-burn counts matrix
products and says of each GPU whether all of them were right. An exit code of 0 is no proof:
`stress-ng` gives it also for a worker that could take no memory and did nothing, gpu-burn also
for a faulty GPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.errors import PactError

if TYPE_CHECKING:
    from pactmeter.study.child import Ended

_FLOP_A_PRODUCT = 1_100_048_498_688
"""What gpu-burn counts for one product of two matrices of 8192 x 8192."""
_WHOLE = 0.9
"""What of its time a load must have run: the tools cut seconds, and round."""
_NG_CODES = {
    2: "a stressor failed",
    3: "no memory or disk for it",
    4: "not possible on this machine",
    5: "a stressor was killed",
    7: "its own figures are not to be trusted",
}


@dataclass(frozen=True, slots=True)
class Metrics:
    """What `stress-ng` tells of one stressor.

    Attributes:
        stressor: Its name.
        bogo_ops: Rounds of its work, all workers together.
        wall_s: How long it ran, in seconds.
        cpu_s: CPU time of its workers, user and system, in seconds.
    """

    stressor: str
    bogo_ops: int
    wall_s: float
    cpu_s: float


def stress(log: str) -> None:
    """Check the log of `stress`, which tells nothing of work.

    Raises:
        PactError: It did not end well.
    """
    fine = r"^stress: info: \[\d+\] successful run completed in \d+s$"
    if not re.search(fine, log, re.MULTILINE):
        raise PactError(f"stress did not end well: {_reason(log)}")


def stress_ng(log: str, yaml: str | None = None) -> list[Metrics]:
    """Return what `stress-ng` tells of its stressors.

    Args:
        log: What it printed; with ``--metrics-brief`` the figures are in it.
        yaml: What it wrote with ``--yaml``, which is preferred.

    Raises:
        PactError: There are no figures, or a stressor did no work.
    """
    found = (_from_yaml(yaml) if yaml else []) or _from_brief(log)
    if not found:
        raise PactError(f"stress-ng tells of no work: {_reason(log)}")
    idle = [each.stressor for each in found if each.bogo_ops <= 0]
    if idle:
        raise PactError(f"stress-ng {', '.join(idle)} did no work (0 bogo-ops): {_reason(log)}")
    return found


def _from_yaml(text: str) -> list[Metrics]:
    """Read the list ``metrics:`` of the form of YAML that `stress-ng` writes, if it is whole."""
    part = re.search(r"^metrics:\s*\n(.*?)(?=^\S)", text, re.MULTILINE | re.DOTALL)
    if not text.endswith("...\n"):
        return []
    found = []
    for item in re.split(r"^\s*- ", part[1], flags=re.MULTILINE)[1:] if part else ():
        pairs = dict(re.findall(r"^\s*([a-z0-9-]+):[ \t]*(\S+)[ \t]*$", item, re.MULTILINE))
        try:
            found.append(
                Metrics(
                    pairs["stressor"].strip("'\""),
                    int(pairs["bogo-ops"]),
                    float(pairs["wall-clock-time"]),
                    float(pairs["user-time"]) + float(pairs["system-time"]),
                )
            )
        except (KeyError, ValueError):  # what the log says is read instead
            return []
    return found


def _from_brief(log: str) -> list[Metrics]:
    """Read the table of ``--metrics-brief``: name, bogo-ops, real, user and system time, rates."""
    number = r"\s+(\d+\.\d+)"
    row = rf"^stress-ng: (?:metrc|info): +\[\d+\] ([a-z][\w-]*)\s+(\d+){number}{number}{number}\s"
    return [
        Metrics(name, int(ops), float(wall), float(user) + float(system))
        for name, ops, wall, user, system in re.findall(row, log, re.MULTILINE)
    ]


@dataclass(frozen=True, slots=True)
class Burn:
    """What a burn of the GPUs tells.

    Attributes:
        gpus: How many were tested.
        products: Matrix products, all GPUs together.
        flop: Floating-point operations in them.
    """

    gpus: int
    products: int
    flop: int


def gpu_burn(log: str) -> Burn:
    r"""Return what gpu-burn tells (our own burn with torch prints the same).

    >>> gpu_burn("50.0%  proc'd: 2 (9876 Gflop/s)   errors: 0 \r100.0%  proc'd: 10 (9876 Gflop/s)"
    ...     "   errors: 0   temps: 65 C\nTested 1 GPUs:\n\tGPU 0: OK\n").products
    10

    Raises:
        PactError: A GPU is faulty or has died, no work was done, or the end is missing.
    """
    tested = re.search(r"^Tested (\d+) GPUs:$", log, re.MULTILINE)
    if tested is None:
        raise PactError(f"gpu-burn did not reach its end: {_reason(log)}")
    state = dict(re.findall(r"^\s*GPU (\d+): (OK|FAULTY)\s*$", log[tested.end() :], re.MULTILINE))
    faulty = [f"GPU {number}" for number, word in state.items() if word == "FAULTY"]
    if faulty:
        raise PactError(
            f"{', '.join(faulty)}: FAULTY, it computes wrong results",
            "cool it, undo overclocking, try its memory; its figures are worth nothing",
        )
    if not state or len(state) != int(tested[1]):
        raise PactError(f"gpu-burn tells of {len(state)} of {tested[1]} GPUs: {_reason(log)}")
    told = re.findall(r"proc'd: ([^\r\n]*?) *errors:", log)
    counts = [int(count) for count in re.findall(r"(-?\d+) \(", told[-1] if told else "")]
    if "DIED!" in log or any(count < 0 for count in counts):
        raise PactError("a GPU has died under gpu-burn")
    if len(counts) != len(state) or not all(counts):
        raise PactError(f"gpu-burn did no work on a GPU: {_reason(log)}")
    size = re.search(r"^(\d+(?:\.\d+)?) Gflop a product$", log, re.MULTILINE)
    each = round(float(size[1]) * 1e9) if size else _FLOP_A_PRODUCT
    return Burn(len(state), sum(counts), sum(counts) * each)


def work(
    tool: str, log: str, yaml: str | None, ended: Ended, duration_s: float | None
) -> dict[str, float]:
    """Return the work of a load that has ended, as far as its tool and the kernel tell.

    Args:
        tool: As `stress_loads.tool_of` names it.
        log: What it printed.
        yaml: What `stress-ng` wrote with ``--yaml``.
        ended: How it ended.
        duration_s: How long it was told to work, in seconds.

    Raises:
        PactError: It failed, ended early, or did no work.
    """
    told: dict[str, float] = {}
    if ended.code:
        known = _NG_CODES.get(ended.code) if tool == "stress-ng" else None
        meaning = f" ({known})" if known else ""
        raise PactError(f"{tool} ended with exit code {ended.code}{meaning}: {_reason(log)}")
    if duration_s is not None and ended.took_s < duration_s * _WHOLE:
        after = f"{ended.took_s:.1f} of {duration_s:g} s"
        raise PactError(f"{tool} ended after {after}: {_reason(log)}")
    if tool == "stress":
        stress(log)
    elif tool == "stress-ng":
        told["bogo_ops"] = sum(each.bogo_ops for each in stress_ng(log, yaml))
    elif tool in {"gpu-burn", "torch"}:
        burn = gpu_burn(log)
        told |= {"gpus": burn.gpus, "products": burn.products, "gflop": burn.flop / 1e9}
    if ended.cpu_s <= 0:
        raise PactError(f"{tool} did no work: it used no CPU time")
    return {
        "seconds": round(ended.took_s, 3),
        **told,
        "cpu_s": round(ended.cpu_s, 3),
        "faults": ended.faults,
        "written_mb": round(ended.written_bytes / 1e6, 3),
    }


def _reason(log: str) -> str:
    """Return what a tool says went wrong, else its last words, on one line."""
    wrong = r"^stress(?:-ng)?: (?:FAIL|fail|error|warn): +\[\d+\] (?:\(\d+\) )?(.*)$"
    lines = re.findall(wrong, log, re.MULTILINE)[:2]
    lines = lines or [line.strip() for line in re.split(r"[\r\n]+", log) if line.strip()][-2:]
    return "; ".join(lines)[-300:] or "it printed nothing"
