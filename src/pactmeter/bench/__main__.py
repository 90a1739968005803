"""``python -m pactmeter.bench``: what ``pactmeter bench`` starts.

run      run a command on an emulated machine with known power
load     (on it) give components another load
fault    (on it) order a fault
clear    (on it) end a device's faults
names    list the supplies, GPUs, loads and faults there are
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from pactmeter.bench import faults, gpu, loads, options, run, topology
from pactmeter.bench.control import tell
from pactmeter.errors import PactError
from pactmeter.model import psu


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pactmeter: {message}\n  fix: {self.prog} --help\n")


def main(words: list[str]) -> int:
    """Run a command; return its exit code."""
    parser = _Parser(
        prog="pactmeter bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    options.declare(commands.add_parser("run", help="run a command on an emulated machine"))
    load = commands.add_parser("load", help="give components another load, now")
    load.add_argument("load", metavar="COMPONENT=LOAD")
    order = commands.add_parser("fault", help="order a fault")
    order.add_argument("fault", metavar="DEVICE:FAULT[=VALUE][*COUNT][@START[+SECONDS]]")
    clear = commands.add_parser("clear", help="end a device's faults")
    clear.add_argument("device", metavar="DEVICE[:FAULT]")
    commands.add_parser("names", help="list what there is")
    args = parser.parse_args(words)
    try:
        return _COMMANDS[args.command](args)
    except PactError as error:
        sys.stderr.write(f"pactmeter: {error}\n")
        return error.exit_code


def _run(args: argparse.Namespace) -> int:
    return run.run(options.spec_of(args))


def _load(args: argparse.Namespace) -> int:
    component, _, spec = args.load.partition("=")
    tell({"load": {"component": component, "spec": spec}})
    return 0


def _fault(args: argparse.Namespace) -> int:
    tell({"fault": args.fault})
    return 0


def _clear(args: argparse.Namespace) -> int:
    device, _, name = args.device.partition(":")
    tell({"clear": {"device": device, "name": name or None}})
    return 0


def _names(_args: argparse.Namespace) -> int:
    lines = ["power supplies (--psu): " + ", ".join(_known_psus())]
    lines += ["", "RAPL (--rapl): 1x to 8x, and"]
    lines += [f"  {name:<14}{text}" for name, text in topology.OPTIONS.items()]
    lines += ["", "GPUs (--gpu): " + ", ".join(gpu.PRESETS)]
    lines += ["", "loads (--load); terms can be added: training+noise:3"]
    lines += [f"  {name:<14}{text}" for name, text in loads.NAMES.items()]
    for kind, known in faults.KINDS.items():
        lines += [
            "",
            f"faults of {kind} (--fault); in brackets the value they take and its default",
        ]
        lines += [f"  {name:<14}{text}" for name, text in known.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _known_psus() -> list[str]:
    return [model.name.split(" ", 1)[1].lower().replace(" ", "-") for model in psu.MODELS]


_COMMANDS = {"run": _run, "load": _load, "fault": _fault, "clear": _clear, "names": _names}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
