"""A workload's command: a list of words, in which some stand for what the study says."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError, unknown_name
from pactmeter.study.values import texts

if TYPE_CHECKING:
    from pathlib import Path

    from pactmeter.study.definition import Settings

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_WORDS = ("options", "measuring")
"""Placeholders that are a word of their own, and become several."""
PLACEHOLDERS = (*_WORDS, "python", "root", "here", "name", "trial", "seed", "psu")


def check_command(where: str, value: object) -> tuple[str, ...]:
    """Check a command: a list of words with known placeholders, never a line for a shell."""
    if isinstance(value, str):
        raise ConfigError(f"{where} is one text, not a list", 'as ["{python}", "{root}/train.py"]')
    words = texts(where, value)
    if not words:
        raise ConfigError(f"{where} is empty", 'as ["{python}", "{root}/train.py"]')
    for word in words:
        for name in _PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                error = unknown_name("placeholder", name, PLACEHOLDERS)
                raise ConfigError(f"{where}: {error.message}", error.fix)
            if name in _WORDS and word != f"{{{name}}}":
                raise ConfigError(f"{where}: '{{{name}}}' stands within {word!r}", "a word alone")
    return words


def expand(
    command: tuple[str, ...], settings: Settings, *, file: Path, name: str, trial: int, seed: int
) -> list[str]:
    """Return a trial's command.

    ``{options}`` becomes what every workload script takes, ``{measuring}`` the part of it that
    ``pactmeter run`` takes.

    Args:
        command: As the study defines it.
        settings: What holds for all trials.
        file: The study's file, which says where ``{root}`` and ``{here}`` are.
        name: Name of the workload.
        trial: Number of the trial: its data or its seed may depend on it.
        seed: The study's seed.
    """
    here = file.absolute().parent
    given = {
        "python": sys.executable,
        "root": str(root_of(here)),
        "here": str(here),
        "name": name,
        "trial": str(trial),
        "seed": str(seed),
        "psu": settings.psu,
    }
    groups = [",".join(group) for group in settings.events]
    words: list[str] = []
    for word in command:
        if word == "{options}":
            words += _measuring(settings)
            if settings.events:
                words += ["--events", ";".join(groups)]
            words += ["--seed", str(trial)]
            if settings.threads is not None:
                words += ["--threads", str(settings.threads)]
        elif word == "{measuring}":
            words += _measuring(settings)
            words += [word for group in groups for word in ("--events", group)]
        else:
            words.append(_PLACEHOLDER.sub(lambda found: given[found[1]], word))
    return words


def _measuring(settings: Settings) -> list[str]:
    words = ["--measure-period", f"{settings.measure_period_s:g}"]
    return [*words, "--perf-period", f"{settings.perf_period_s:g}", "--psu", settings.psu]


def root_of(here: Path) -> Path:
    """Return the root of the project that a folder belongs to; the folder itself if to none."""
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder
    return here
