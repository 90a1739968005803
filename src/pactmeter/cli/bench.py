"""An emulated machine whose true joules are known: run any command on it, then compare.

pactmeter bench run --psu hx1500i --rapl 1x --gpu 1 --truth truth.json -- command args...

run: run a command there; load, fault, clear: change the machine meanwhile, from the command;
compare: true and reported joules of a run; names: all supplies, GPUs, loads and faults.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

NAME = "bench"
HELP = "run a command on an emulated machine whose true joules are known"

_ROOT = str(Path(__file__).resolve().parents[2])
# the package's own folder, as it may not be installed, and not that of the user's files
_BOOT = f"""import sys
sys.path.append({_ROOT!r})
from pactmeter.bench.__main__ import main
sys.exit(main(sys.argv[1:]))"""


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="run|load|fault|clear|compare|names ...",
        help="`pactmeter bench run --help` and so on say more",
    )


def run(args: argparse.Namespace) -> int:
    """Become the emulated machine's own process: nothing of the product is loaded in it."""
    words = args.words or ["--help"]
    os.execv(sys.executable, [sys.executable, "-P", "-c", _BOOT, *words])  # noqa: S606
