"""What workloads need, looked for before the first trial: nothing starts that cannot end well."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError, PactError
from pactmeter.sensors.base import Request
from pactmeter.study import room, stress_loads
from pactmeter.study.command import expand, root_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pactmeter.study.definition import Definition, Workload

_WORKLOADS = frozenset(
    {
        "torch",
        "transformers",
        "tokenizers",
        "dm_control",
        "mujoco",
        "gymnasium",
        "stable_baselines3",
    }
)
_DEVICES = ("dev/nvidiactl", "dev/kfd", "dev/dxg")
"""What a program must be given to compute on a GPU: of NVIDIA, of AMD, in WSL."""
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not there.

    Attributes:
        what: What, such as ``python:torch``, with what there is instead.
        fix: What to do about it.
        workloads: Names of the workloads that need it.
    """

    what: str
    fix: str
    workloads: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}, needed by {', '.join(self.workloads)}: {self.fix}"


def lacking(
    definition: Definition, names: Collection[str], folder: Path, root: Path = Path("/")
) -> list[Lack]:
    """Return what the workloads of these names need and is not there.

    Args:
        definition: The study.
        names: The workloads that are to run.
        folder: Where their files will lie.
        root: Of the file system (tests).
    """
    found: dict[tuple[str, str], list[str]] = {}
    for workload in definition.workloads:
        if workload.name in names:
            for pair in _lacks(workload, definition, folder, root):
                found.setdefault(pair, []).append(workload.name)
    return [Lack(what, fix, tuple(needing)) for (what, fix), needing in found.items()]


def _lacks(
    workload: Workload, definition: Definition, folder: Path, root: Path
) -> Iterable[tuple[str, str]]:
    """Yield what one workload lacks, each with its fix."""
    for need in workload.needs:
        fix = _fix(need, definition, root)
        if fix is not None:
            yield need, fix
    words = expand(
        workload.command,
        definition.settings,
        file=definition.file,
        name=workload.name,
        trial=1,
        seed=0,
    )
    if f"tool:{words[0]}" not in workload.needs and shutil.which(words[0]) is None:
        yield f"program {words[0]!r}", stress_loads.how_to_get(words[0])
    script = words[1] if words[0] == sys.executable and len(words) > 1 else ""
    if script.endswith(".py") and not Path(script).is_file():
        yield f"script {script}", "is the study's file where it belongs?"
    free = room.free_memory(root)
    if free is not None and workload.memory_mb * _MB > free * room.MEMORY_SHARE:
        yield (
            f"{workload.memory_mb} MB of memory ({_of(free, room.MEMORY_SHARE)})",
            "end other programs, or use a larger machine",
        )
    free = shutil.disk_usage(_existing(folder)).free
    if workload.disk_mb * _MB > free * room.DISK_SHARE:
        yield (
            f"{workload.disk_mb} MB of disk ({_of(free, room.DISK_SHARE)})",
            "-o FOLDER_ON_A_LARGER_DISK",
        )


def _of(free: int, share: float) -> str:
    return f"{free // _MB} MB are free, {share:.0%} of which may be taken"


def _fix(need: str, definition: Definition, root: Path) -> str | None:
    """Return what to do about a need; None where it is met."""
    kind, _, what = need.partition(":")
    if kind == "python":
        return None if _is_installed(what) else _install(what)
    if kind == "tool":
        return None if shutil.which(what) else stress_loads.how_to_get(what)
    if kind == "file":
        here = definition.file.absolute().parent
        path = what.replace("{root}", str(root_of(here))).replace("{here}", str(here))
        return None if Path(path).exists() else "fetch it; the README beside the study says how"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}:
        return "unset CUDA_VISIBLE_DEVICES, which hides every GPU"
    if any((root / device).exists() for device in _DEVICES):
        return None
    return "install the GPU's driver, or give the container the GPU"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _install(module: str) -> str:
    if module in _WORKLOADS:
        return "pip install 'pactmeter[workloads]'"
    return f"pip install {module.replace('_', '-')}"


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    path = folder.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def warnings(root: Path = Path("/")) -> list[str]:
    """Return what would make trials hard to compare: a busy machine, one on its battery."""
    found = []
    cores = len(os.sched_getaffinity(0))
    load, _, _ = os.getloadavg()
    if load > max(0.5, 0.1 * cores):
        found.append(f"the machine is busy: {load:.1f} processes ran in the last minute")
    supplies = sorted((root / "sys/class/power_supply").glob("*/online"))
    if supplies and not any(_is_on(path) for path in supplies):
        found.append("the machine runs on its battery")
    return found


def _is_on(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


def preflight(
    definition: Definition, names: Sequence[str], folder: Path, *, skip_missing: bool
) -> list[Lack]:
    """Return what workloads lack, where these may be left out.

    Raises:
        ConfigError: Nothing at all could be run.
        DeviceError: The power supply that is named is not there.
        PactError: Something is not there; says which workload needs it and how to install it.
    """
    if definition.settings.psu.lower() not in {"auto", "none"}:
        from pactmeter.sensors import psu

        psu.discover(Request(psu=(definition.settings.psu,)))
    lacks = lacking(definition, names, folder)
    if lacks and not skip_missing:
        listed = "\n".join(f"  {lack}" for lack in lacks)
        raise PactError(
            f"the study needs what is not there\n{listed}",
            "install it, or --skip-missing to run the rest",
        )
    if not set(names) - missing(lacks):
        listed = "\n".join(f"  {lack}" for lack in lacks)
        raise ConfigError(f"no workload is left to run\n{listed}")
    return lacks


def missing(lacks: Sequence[Lack]) -> set[str]:
    """Return the workloads that lack something."""
    return {name for lack in lacks for name in lack.workloads}
