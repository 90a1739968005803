"""Idle baselines before and after the trials: ``pactmeter baseline``, as a user would run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pactmeter.study.definition import Settings

_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_LAST_WORDS = 300


def baseline_file(session: int, when: str) -> str:
    """Return the name of a baseline: each runner takes its own, before and after its trials."""
    return f"baseline_{session}_{when}.csv"


def baseline_command(settings: Settings, power: Path) -> list[str]:
    """Return the command that measures the machine at rest.

    Where no program could compute on a GPU, none is given a context: loading torch for it would
    cost more rest than it saves.
    """
    words = [sys.executable, "-P", "-m", "pactmeter", "baseline", "--output", str(power)]
    words += ["--duration", f"{settings.baseline_s:g}", "--psu", settings.psu]
    if not any(Path(device).exists() for device in _DEVICES):
        words.append("--no-gpu-context")
    return words


def why(exit_code: int, output: Path) -> str | None:
    """Return why there is no baseline, in its own words; None: there is one."""
    if exit_code == 0:
        return None
    try:
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line.removeprefix("pactmeter: ").strip() for line in lines if line.strip()]
    own = [line for line in told if not line.startswith(("fix:", "measuring the machine"))]
    return own[-1][:_LAST_WORDS] if own else f"exit code {exit_code}"
