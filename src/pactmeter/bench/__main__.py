"""``python -m pactmeter.bench``: what ``pactmeter bench`` starts.

run      run a command on an emulated machine with known power
load     (on it) give components another load
fault    (on it) order a fault
clear    (on it) end a device's faults
compare  true and reported joules of a run of PACT that was measured on it
names    list the supplies, GPUs, loads and faults there are
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from pactmeter.bench import faults, gpu, loads, options, run, topology
from pactmeter.bench.control import tell
from pactmeter.bench.truth import compare
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
    beside = commands.add_parser("compare", help="compare a run with the truth")
    beside.add_argument("truth", type=Path, metavar="TRUTH.json")
    beside.add_argument("run", type=Path, metavar="PACT.csv")
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


def _compare(args: argparse.Namespace) -> int:
    lines = [
        f"{'channel':<18}{'true':>12}{'reported':>14}{'error':>10}{'U (k=2)':>10}{'covered':>10}"
    ]
    for one in compare(args.truth, args.run):
        true_j, reported_j, u_j = one["true_j"], one["reported_j"], one["u_j"]
        error_pct = 100 * (reported_j - true_j) / true_j if true_j else 0.0
        u_pct = f"{100 * u_j / reported_j:.1f} %" if u_j and reported_j else "-"
        lines.append(
            f"{one['channel']:<18}{true_j:>10.1f} J{reported_j:>12.1f} J{error_pct:>+8.2f} %"
            f"{u_pct:>10}{100 * one['coverage']:>8.1f} %"
        )
    sys.stdout.write("\n".join(lines) + "\n")
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


_COMMANDS = {
    "run": _run,
    "load": _load,
    "fault": _fault,
    "clear": _clear,
    "compare": _compare,
    "names": _names,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
