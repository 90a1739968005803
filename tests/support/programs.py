"""Programs that tests run as processes of their own, as a user would."""

import fcntl
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from pactmeter.analysis.run import RecordedRun, load

SRC = Path(__file__).parents[2] / "src"


@dataclass
class Finished:
    """A program that has ended, and the folder it ran in."""

    code: int
    out: str
    err: str
    folder: Path

    def run(self, name="PACT.csv") -> RecordedRun:
        """Load a run it recorded."""
        return load(self.folder / name)

    def settled(self, name="PACT.csv") -> RecordedRun:
        """Load a run once its sampler has let go of it."""
        return settled(self.folder / name)


def settled(power) -> RecordedRun:
    """Wait until a run's sampler has let go of its power file (its lock), then load it."""
    with Path(power).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    return load(power)


def program_file(code, folder, name="program.py"):
    """Write a program and return its path."""
    path = Path(folder) / name
    path.write_text(textwrap.dedent(code))
    return path


def run_program(code, folder, *, env=None, timeout=60, args=(), launcher=()):
    """Run a program and return how it ended."""
    path = program_file(code, folder)
    done = subprocess.run(
        [*launcher, sys.executable, str(path), *args],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, Path(folder))


def start_program(code, folder, *, env=None):
    """Start a program and return its process; its standard output can be read line by line."""
    path = program_file(code, folder)
    return subprocess.Popen(
        [sys.executable, "-u", str(path)],
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
