"""What the scripts of the studies share: their common options, and the count of their work.

A script declares its own options beside the common ones, measures its training with ``@PACT`` and
says at the end what work it has done::

    def main(args):
        work = script.Work(steps=args.steps, seconds_s=args.seconds)

        @PACT(tracker_file_name=args.tracker_file, PSU=args.psu)
        def train(): ...

        script.chosen(train, args)()
        work.report(data="real")

    if __name__ == "__main__":
        sys.exit(script.run(main, options(), PROFILES))
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import math
import os
import random
import re
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.errors import DeviceError, PactError
from pactmeter.study import work as said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PACKAGES = {
    "torch": "torch",
    "transformers": "'transformers>=5,<6'",
    "gymnasium": "gymnasium",
    "dm_control": "dm_control 'mujoco<4'",
    "stable_baselines3": "stable-baselines3",
}
"""What pip calls the modules that scripts need."""
PROFILES = ("tiny", "smoke", "paper")
LOSS_STEPS = 5
"""The first and the last loss that are told are means over so many steps."""


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts have."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    add = parser.add_argument
    add("--tracker-file", default="./PACT.csv", metavar="FILE", help="power file (./PACT.csv)")
    add("--measure-period", type=float, default=1.0, metavar="S", help="a row of power (1 s)")
    add("--perf-period", type=float, default=0.01, metavar="S", help="a row of counters (0.01 s)")
    add(
        "--events",
        type=event_groups,
        default=event_groups("MIGRATIONS;FAULTS;CACHE-MISSES;CYCLES"),
        metavar="A,B;C",
        help="events, ';' between the groups (MIGRATIONS;FAULTS;CACHE-MISSES;CYCLES)",
    )
    add("--psu", type=power_supply, default="auto", help="a power supply, 'auto' or 'none'")
    add("--threads", type=positive, metavar="N", help="threads of the CPU (the library's choice)")
    add("--seed", type=int, default=1, metavar="N", help="of all that is random (1)")
    add("--no-pact", action="store_true", help="do the same work without measuring it")
    return parser


def add_training(parser: argparse.ArgumentParser) -> None:
    """Declare what all trainings have."""
    add = parser.add_argument
    add("--profile", choices=PROFILES, help="settings: of tests, of a first look, of the paper")
    add("--steps", type=positive, metavar="N", help="stop after so many steps")
    add("--seconds", type=float, metavar="S", help="stop after so long")
    add("--warm-up", type=int, default=0, metavar="N", help="steps before those that count (0)")
    add("--device", default="auto", help="cpu, cuda or cuda:N (auto: a GPU where there is one)")


def run(
    main: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    profiles: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Run a script; return its exit code, with its errors told in a line and not as a traceback.

    Args:
        main: The script.
        parser: Its options.
        profiles: The settings of each profile; options given beside it prevail.
    """
    profile = getattr(parser.parse_args(), "profile", None)
    if profiles and profile:
        parser.set_defaults(**profiles[profile])
    try:
        main(parser.parse_args())
    except PactError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return error.exit_code
    return 0


def chosen(measured: Callable[[], Any], args: argparse.Namespace) -> Callable[[], Any]:
    """Return the measured function, or with ``--no-pact`` the one beneath the decorator."""
    return measured.__wrapped__ if args.no_pact else measured  # type: ignore[attr-defined]


def say(text: str) -> None:
    """Say a line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def need(name: str) -> Any:
    """Return a module that not every installation has.

    Raises:
        PactError: It cannot be imported; the fix is the line for pip.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PactError(
            f"this workload needs the module {name}: {error}",
            f"pip install {PACKAGES.get(name, name)}"
            " (all that the studies need: pip install 'pactmeter[workloads]')",
        ) from error


def prepare(args: argparse.Namespace) -> Any:
    """Set torch's threads and seeds; return the device to train on.

    Raises:
        PactError: There is no torch.
        DeviceError: The device that is named is not there.
    """
    if args.threads:  # also for the libraries that read it as they are loaded
        os.environ["OMP_NUM_THREADS"] = str(args.threads)
    torch = need("torch")
    if args.threads:
        torch.set_num_threads(args.threads)
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    name = args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"there is no device {name!r}", "cpu, cuda or cuda:N") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(
            f"there is no device {name!r}: torch {torch.__version__} sees {count} GPUs",
            "--device cpu, or a build of torch for the GPU's driver",
        )
    return device


def fingerprint(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a model's weights, as its ``state_dict()`` gives them."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Work:
    """The work of a training: counts it, says when it is enough, and tells of it.

    Attributes:
        steps: Optimiser steps so far.
        samples: Samples they have seen.
        is_done: Whether a limit has been reached.
    """

    def __init__(self, *, steps: int | None = None, seconds_s: float | None = None) -> None:
        self.steps = self.samples = 0
        self.is_done = False
        self._max_steps, self._max_s = steps or math.inf, seconds_s or math.inf
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=LOSS_STEPS)
        self.begin()

    def begin(self) -> None:
        """Start the clock; what came before does not count."""
        self._start_s = self._now_s = time.monotonic()
        self._start_cpu_s = self._now_cpu_s = time.process_time()

    def add(self, value: float, samples: int) -> None:
        """Count a step with the loss ``value``.

        Raises:
            PactError: The loss is no number: what follows would be no training.
        """
        if not math.isfinite(value):
            raise PactError(f"the loss is {value} after {self.steps} steps", "a lower rate: --lr")
        self.steps += 1
        self.samples += samples
        if len(self._first) < LOSS_STEPS:
            self._first.append(value)
        self._last.append(value)
        self.look()

    def look(self) -> None:
        """Look at the clock and the count, also between steps."""
        self._now_s, self._now_cpu_s = time.monotonic(), time.process_time()
        spent_s = self._now_s - self._start_s
        self.is_done = self.steps >= self._max_steps or spent_s >= self._max_s

    def tell(self, where: str) -> None:
        """Say how far the training is."""
        spent_s = self._now_s - self._start_s
        value = sum(self._last) / max(1, len(self._last))
        say(f"{where}: loss {value:.4f}, {self.steps} steps, {spent_s:.1f} s")

    def compare(self, usual: int) -> None:
        """Say the rate beside the usual one: steps in 60 s on two cores that do nothing else."""
        spent_s = max(self._now_s - self._start_s, 1e-9)
        say(f"{60 * self.steps / spent_s:.0f} steps in 60 s (two idle cores: {usual})")

    def report(self, **told: float | str) -> None:
        """Say what has been done in all, with further amounts and marks.

        Raises:
            PactError: It is nothing.
        """
        if not self.steps:
            raise PactError("the training ended before its first step", "more --steps or --seconds")
        spent_s = max(self._now_s - self._start_s, 1e-9)
        self.tell("done")
        said.report(
            steps=self.steps,
            samples=self.samples,
            train_s=round(spent_s, 6),
            train_cpu_s=round(self._now_cpu_s - self._start_cpu_s, 6),
            steps_per_s=round(self.steps / spent_s, 6),
            loss_first=sum(self._first) / len(self._first),
            loss_last=sum(self._last) / len(self._last),
            **told,
        )


def positive(text: str) -> int:
    """Return a whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def power_supply(text: str) -> str | None:
    """Return what `PACT` calls the power supply: None for ``none``."""
    return None if text.lower() == "none" else text


def event_groups(text: str) -> list[list[str]]:
    """Return groups of events.

    >>> event_groups("CYCLES,FAULTS;cpu/event=0x3c,umask=0/")
    [['CYCLES', 'FAULTS'], ['cpu/event=0x3c,umask=0/']]
    """
    # a comma within slashes belongs to the event
    groups = [re.findall(r"(?:[^,/]|/[^/]*/)+", group) for group in text.split(";")]
    if not all(groups):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty group")
    return groups


def cache_folder() -> Path:
    """Return where downloads are kept: below ``$XDG_CACHE_HOME``, or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path("~/.cache").expanduser()) / "pactmeter"
