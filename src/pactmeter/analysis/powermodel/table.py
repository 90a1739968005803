"""The windows of several runs as one table to fit, and what must not be fitted together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd

from pactmeter.analysis.powermodel.windows import DC, SYSTEM_FIX
from pactmeter.errors import ConfigError, PactError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from pactmeter.analysis.powermodel.windows import Windows

REMAINDER, WHOLE = "remainder", "psu.dc_output"


@dataclass(frozen=True, slots=True)
class Table:
    """Windows of several runs, ready for fitting: every cell is known.

    Attributes:
        features: A row a window, a column a feature: rates, utilisations.
        meters: CPU and GPU power as far as there are any, in watts.
        power_w: What is to be modelled, in watts.
        dc_w: DC output power of the supply, in watts.
        temperatures_c: What there is of temperatures in all runs; NaN where they are not known.
        workload: Workload of each window; repeats of one workload are one.
        family: Family of workloads of each window.
        runs: What the windows come from, as plain data.
        notes: What the reader should know.
    """

    features: pd.DataFrame
    meters: pd.DataFrame
    power_w: npt.NDArray[np.float64]
    dc_w: npt.NDArray[np.float64]
    temperatures_c: pd.DataFrame
    workload: npt.NDArray[np.str_]
    family: npt.NDArray[np.str_]
    runs: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def collect(
    parts: Sequence[Windows], groups: Sequence[tuple[str, str]], target: str = REMAINDER
) -> Table:
    """Return the windows of several runs as one table.

    Args:
        parts: The runs.
        groups: Workload and family of each.
        target: ``remainder``: DC output less CPU (RAPL) and GPU (NVML) power; ``psu.dc_output``.

    Raises:
        ConfigError: The runs do not belong together: other hosts, scopes, kinds of file, meters.
        PactError: Nothing is left to fit.
    """
    check_alike(parts)
    for part in parts:
        if DC not in part.table:
            raise PactError(
                f"{part.file} has no DC output power, which a model is fitted to",
                "record with a power supply that is measured",
            )
    meters = parts[0].meters
    if target == REMAINDER and not meters:
        raise PactError(
            "there is no CPU or GPU power to take from the DC output", f"--target {WHOLE}"
        )
    features, notes = _common(parts)
    warm = [n for n in parts[0].temperatures if all(n in p.temperatures for p in parts)]
    tables, runs = [], []
    for part, (workload, family) in zip(parts, groups, strict=True):
        whole = part.table.dropna(subset=["dt_s", DC, *meters, *features])
        if whole.empty:
            raise PactError(
                f"{part.file} has no window in which everything is known",
                "a run must be longer than half of a --window, with every sensor read",
            )
        tables.append(whole.assign(workload=workload, family=family))
        about = {"file": part.file, "workload": workload, "family": family}
        lost = len(part.table) - len(whole)
        runs.append({**about, "windows": len(whole), "windows_lost": lost})
    whole = pd.concat(tables, ignore_index=True)
    dc_w = whole[DC].to_numpy(float)
    return Table(
        features=whole[features],
        meters=whole[meters],
        power_w=dc_w - whole[meters].sum(axis=1).to_numpy(float) if target == REMAINDER else dc_w,
        dc_w=dc_w,
        temperatures_c=whole[warm],
        workload=whole["workload"].to_numpy(str),
        family=whole["family"].to_numpy(str),
        runs=tuple(runs),
        notes=tuple(notes),
    )


def check_alike(parts: Sequence[Windows]) -> None:
    """Refuse runs that cannot be fitted together.

    Raises:
        ConfigError: There is none, two overlap in time, or hosts, meters, scopes or kinds differ.
    """
    if not parts:
        raise ConfigError("there is no run to fit", "name the power files of some runs")
    first = parts[0]
    for part in parts[1:]:
        for what, mine, others in (
            ("kind of file", part.source, first.source),
            ("synthetic mark", part.synthetic, first.synthetic),
            ("host", part.host, first.host),
            ("meters", part.meters, first.meters),
        ):
            if mine != others:
                raise ConfigError(
                    f"{part.file} has another {what} ({_told(mine)}) than {first.file}"
                    f" ({_told(others)})",
                    "fit runs of one machine, recorded alike",
                )
        check_events(part, first.events, first.file, first.tree)
    spans = sorted((p.span_s, p.file) for p in parts if p.span_s is not None)
    files = sorted(p.file for p in parts)
    same = [(a, b) for a, b in pairwise(files) if a == b]
    same += [(a, b) for (this_s, a), (next_s, b) in pairwise(spans) if next_s[0] < this_s[1]]
    for earlier, later in same:
        raise ConfigError(
            f"{earlier} and {later} were recorded at the same time: what one is fitted on"
            " would be what the other is judged by",
            "name each run once",
        )


def check_events(
    part: Windows, events: dict[str, str], whose: str, tree: Sequence[str] = ()
) -> None:
    """Refuse a run whose events are others than these, or count for another scope.

    Raises:
        ConfigError: They do.
    """
    for name, full_name in events.items():
        if name in part.tree:
            text = f"{name} counts the program in {part.file}, the whole machine in {whose}"
            raise ConfigError(text, SYSTEM_FIX)
        if part.events.get(name, full_name) != full_name:
            text = f"{name} is {part.events[name]} in {part.file}, and {full_name} in {whose}"
            raise ConfigError(text, "record all runs with the same events")
    for name in tree:
        if name in part.events:
            text = f"{name} counts the program in {whose}, the whole machine in {part.file}"
            raise ConfigError(text, SYSTEM_FIX)


def _told(value: object) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _common(parts: Sequence[Windows]) -> tuple[list[str], list[str]]:
    """Return the features that all runs have, and what is to be told of the others."""
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    everywhere = dict.fromkeys(name for part in parts for name in part.features)
    lacking = {n: next((p.file for p in parts if n not in p.features), None) for n in everywhere}
    notes += [
        f"{name} is left out: {file} does not have it" for name, file in lacking.items() if file
    ]
    features = [name for name, file in lacking.items() if file is None]
    if not any(name in parts[0].events for name in features):
        raise PactError(
            "the runs have no event in common", "record all of them with the same events"
        )
    return features, notes
