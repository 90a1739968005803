"""The truth file: what every component drew, over the command's window and within it.

Of a replayed supply no truth is known: the file has no channels of it.
"""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.errors import FileError

if TYPE_CHECKING:
    from pactmeter.bench.machine import Machine

_SLACK_S = 0.01
_POINTS = 2000
"""Points of the cumulative energy that a truth file holds, whatever the length of its window."""


def truth_of(machine: Machine, from_s: float, to_s: float, zero_s: float) -> dict[str, Any]:
    """Return window and true joules as a truth file holds them.

    Args:
        machine: The machine.
        from_s: Start of the window on CLOCK_MONOTONIC, in seconds.
        to_s: Its end.
        zero_s: CLOCK_MONOTONIC at t = 0.
    """
    step_s = (to_s - from_s) / _POINTS
    times_s = [from_s + k * step_s for k in range(_POINTS)] + [to_s]
    running = dict.fromkeys(machine.true_energy(0.0, 0.0), 0.0)
    cumulative: dict[str, list[float]] = {name: [0.0] for name in running}
    for start_s, end_s in itertools.pairwise(times_s):
        for name, energy_j in machine.true_energy(start_s - zero_s, end_s - zero_s).items():
            running[name] += energy_j
            cumulative[name].append(round(running[name], 4))
    return {
        "schema": 1,
        "window_s": [from_s, to_s],
        "true_energy_j": running,
        "cumulative": {"t_s": [round(t, 6) for t in times_s], "energy_j": cumulative},
    }


def read_truth(path: Path) -> dict[str, Any]:
    """Return a truth file's content.

    Raises:
        FileError: It is none.
    """
    try:
        truth: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = truth["true_energy_j"], truth["cumulative"]["t_s"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it does not hold what one holds"
        raise FileError(
            f"{path} is no truth file: {why}",
            "pactmeter bench run --truth FILE ... -- command writes one",
        ) from error
    return truth


def check_free(path: Path) -> None:
    """Make sure that a truth file may take a file's place.

    Raises:
        FileError: Something else is there, such as the manifest of a run of the same name.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        read_truth(path)
    except FileError as error:
        raise FileError(
            f"{path} is no truth file and is not overwritten", "--truth truth.json"
        ) from error


def within(truth: dict[str, Any], windows_s: list[tuple[float, float]]) -> dict[str, float]:
    """Return the true joules of windows on CLOCK_MONOTONIC (straight between the file's points)."""
    times_s: list[float] = truth["cumulative"]["t_s"]

    def at(column: list[float], t_s: float) -> float:
        if t_s <= times_s[0]:
            return column[0]
        if t_s >= times_s[-1]:
            return column[-1]
        k = bisect_right(times_s, t_s) - 1
        share = (t_s - times_s[k]) / (times_s[k + 1] - times_s[k])
        return column[k] + share * (column[k + 1] - column[k])

    return {
        name: sum(at(column, end_s) - at(column, start_s) for start_s, end_s in windows_s)
        for name, column in truth["cumulative"]["energy_j"].items()
    }


def windows_of(run: Path) -> list[tuple[float, float]]:
    """Return the calls of a run of PACT on CLOCK_MONOTONIC, in seconds.

    Raises:
        FileError: There is no such run.
    """
    try:
        manifest = json.loads(run.with_suffix(".json").read_text(encoding="utf-8"))
        zero_s = float(manifest["zero_monotonic_s"])
        with run.with_suffix(".regions.csv").open(newline="", encoding="utf-8") as file:
            calls = [
                (float(row["start_s"]), float(row["end_s"]))
                for row in csv.DictReader(file)
                if row["name"] == "call"  # the others are regions the program marked
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "its manifest is not one"
        raise FileError(
            f"{run} is no run of PACT: {why}", "name the power file of a run, such as PACT.csv"
        ) from error
    merged: list[tuple[float, float]] = []
    for start_s, end_s in sorted(calls):
        if merged and start_s <= merged[-1][1]:  # nested and concurrent calls count once
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((start_s, end_s))
    return [(zero_s + start_s, zero_s + end_s) for start_s, end_s in merged]


def compare(truth: Path, run: Path) -> list[dict[str, Any]]:
    """Return true and reported joules of every channel of a run, over the run's own calls.

    Raises:
        FileError: One of the files is not what it should be, or the truth of none is known.
    """
    known, windows_s = read_truth(truth), windows_of(run)
    from_s, to_s = known["window_s"]
    if not windows_s or windows_s[0][0] < from_s - _SLACK_S or windows_s[-1][1] > to_s + _SLACK_S:
        raise FileError(
            f"{run} was not measured on the machine of {truth}: the times do not match",
            "name the truth that the same pactmeter bench run has written",
        )
    true_j = within(known, windows_s)
    # the product reports as it does for anybody: it knows nothing of the bench
    package = str(Path(__file__).resolve().parents[1])  # which runs from a clone too
    words = [sys.executable, package, "report", str(run), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FileError(done.stderr.strip().removeprefix("pactmeter: "))
    found = [
        {
            "channel": source["channel"],
            "true_j": true_j[source["channel"]],
            "reported_j": source["energy_j"],
            "u_j": source["u_j"],
            "coverage": source["coverage"],
        }
        for source in json.loads(done.stdout)["sources"]
        if source["channel"] in true_j
    ]
    if not found:
        raise FileError(
            f"{truth} knows the truth of no channel of {run}",
            "it is known of emulated devices, not of a replayed supply",
        )
    return found
