"""Experiments of a test module in processes of their own: without coverage's tracer, side by side.

A module that uses them ends with ``if __name__ == "__main__": children.answer(globals())``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
MOST = 8


def start(module, experiment, *arguments, env=None):
    """Start an experiment, a function of the module; its result must be plain data.

    Variables of `env` that are None are taken out of the environment.
    """
    paths = filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))
    wanted = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(env or {})}
    environment = {
        name: value
        for name, value in wanted.items()
        if value is not None and not name.startswith("COVERAGE_")
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", module, experiment, json.dumps(arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(child, timeout=300):
    """Wait for an experiment and return its result."""
    with child:
        try:
            out, err = child.communicate(timeout=timeout)
        finally:
            child.kill()
    assert child.returncode == 0, err
    return json.loads(out)


def run(module, experiment, *arguments, env=None):
    """Return the result of an experiment."""
    return result(start(module, experiment, *arguments, env=env))


def share_out(module, experiment, *arguments, seeds, env=None):
    """Return one result a seed: ``experiment(seed, *arguments)``, on all processors."""
    parts = min(len(os.sched_getaffinity(0)), MOST)
    shares = [list(range(part, seeds, parts)) for part in range(parts)]
    started = [
        start(module, "__each__", experiment, share, *arguments, env=env) for share in shares
    ]
    found = dict(pair for child in started for pair in result(child))
    return [found[seed] for seed in range(seeds)]


def answer(names):
    """Run what `start` asked for and write its result to standard output."""
    experiment, arguments = sys.argv[1], json.loads(sys.argv[2])
    if experiment == "__each__":
        experiment, seeds, *rest = arguments
        found = [(seed, names[experiment](seed, *rest)) for seed in seeds]
    else:
        found = names[experiment](*arguments)
    json.dump(found, sys.stdout)
