"""An emulated machine with known power: run any command on it, then compare with the truth.

pactmeter bench run --psu hx1500i --rapl 1x --gpu 1 --truth truth.json -- COMMAND ...
pactmeter bench run --help
pactmeter bench names
"""

from __future__ import annotations

import argparse
import os
import sys

NAME = "bench"
HELP = "run a command on an emulated machine whose true joules are known"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="run|load|fault|clear|names ...")


def run(args: argparse.Namespace) -> int:
    """Become the emulated machine's own process: nothing of the product is loaded in it."""
    words = args.words or ["--help"]
    os.execv(sys.executable, [sys.executable, "-m", "pactmeter.bench", *words])  # noqa: S606
