"""Commands on the emulated machine, as a user runs them, and its truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pactmeter.bench import truth as files
from support.rights import refuse

PACT = (sys.executable, "-m", "pactmeter")


@dataclass
class Benched:
    """A command that has ended, and the truth of its window."""

    code: int
    out: str
    err: str
    folder: Path
    truth: dict | None

    def within(self, run="PACT.csv"):
        """Return the true joules during the calls of a run that was recorded on the machine."""
        return files.within(self.truth, files.windows_of(self.folder / run))

    def report(self, run="PACT.csv"):
        """Return what PACT reports of a run."""
        words = [*PACT, "report", str(self.folder / run), "--json"]
        return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)


@cache
def _trouble():
    words = [*PACT, "bench", "run", "--", "true"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() if done.returncode else None


def require():
    """Skip where no machine can be emulated; in CI that is a failure."""
    if _trouble():
        refuse(_trouble())


def bench(folder, *options, command, env=None, timeout=120, launcher=()):
    """Run a command on an emulated machine; options as of `pactmeter bench run`."""
    path = Path(folder) / "truth.json"
    words = [*launcher, *PACT, "bench", "run", *options, "--truth", str(path), "--", *command]
    # the tests hide the real machine's GPUs; this machine's are its own
    inherited = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**inherited, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    truth = json.loads(path.read_text()) if path.exists() else None
    return Benched(done.returncode, done.stdout, done.stderr, Path(folder), truth)


def bench_program(folder, *options, code, **more):
    """Run a Python program on an emulated machine."""
    path = Path(folder) / "program.py"
    path.write_text(code)
    return bench(folder, *options, command=(sys.executable, path), **more)
