"""``python -m pactmeter.bench``: the process that ``pactmeter bench`` becomes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from pactmeter.bench import faults, gpu, loads, options, run, topology
from pactmeter.bench.control import tell
from pactmeter.bench.truth import compare
from pactmeter.errors import ConfigError, PactError
from pactmeter.model import psu

_ABOUT = """\
An emulated machine whose true joules are known: any command runs on it, unmodified, and finds
power supplies (USB HID, hwmon), RAPL and NVIDIA GPUs there. It needs root and /dev/fuse, and
leaves nothing behind."""
_ON_IT = "In a command that `pactmeter bench run` has started:"
_FAULT = "DEVICE:FAULT[=VALUE][*COUNT][@START[+SECONDS]]"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pactmeter: {message}\n  fix: {self.prog} --help\n")


def main(words: list[str]) -> int:
    """Run a command; return its exit code."""
    parser = _Parser(prog="pactmeter bench", description=_ABOUT)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    start = commands.add_parser(
        "run",
        help="run a command on an emulated machine",
        usage="pactmeter bench run [options] -- command args...",
        description=f"{_ABOUT} The exit code is the command's.",
    )
    options.declare(start)
    load = commands.add_parser(
        "load",
        help="on it: give components another load",
        description=f"{_ON_IT} components draw another load from now on.",
    )
    load.add_argument("load", metavar="COMPONENT=LOAD", help="cpu=busy, gpu0=steady:300, ...")
    order = commands.add_parser(
        "fault", help="on it: order a fault", description=f"{_ON_IT} a device has a fault."
    )
    order.add_argument("fault", metavar=_FAULT, help="psu0:drop*3, rapl:eio, gpu0:lost@4+2, ...")
    clear = commands.add_parser(
        "clear",
        help="on it: end a device's faults",
        description=f"{_ON_IT} the faults of a device, or those of one name, end now.",
    )
    clear.add_argument("device", metavar="DEVICE[:FAULT]", help="psu0, gpu0:lost, ...")
    beside = commands.add_parser(
        "compare",
        help="compare a run with the truth",
        description="True and reported joules over the calls of a run that was measured on an "
        "emulated machine.",
    )
    beside.add_argument("truth", type=Path, metavar="TRUTH.json", help="of bench run --truth")
    beside.add_argument("run", type=Path, metavar="PACT.csv", help="the run's power file")
    commands.add_parser(
        "names",
        help="list all supplies, RAPL options, GPUs, loads and faults",
        description="List what bench run, load and fault understand.",
    )
    args, unknown = parser.parse_known_args(words)
    if unknown:
        chosen: argparse.ArgumentParser = commands.choices[args.command]
        chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code = _COMMANDS[args.command](args)
    except PactError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"pactmeter: {error}\n")
        return error.exit_code
    except BrokenPipeError:  # `pactmeter bench names | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # before the command was started: from then on it is the command's
        return 130
    return code


def _run(args: argparse.Namespace) -> int:
    return run.run(options.spec_of(args))


def _load(args: argparse.Namespace) -> int:
    component, equals, spec = args.load.partition("=")
    if not equals:
        raise ConfigError(f"{args.load!r} is no COMPONENT=LOAD", f"cpu={args.load}")
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
        reported, error_pct, u_pct = "unknown  ", "-", "-"
        if reported_j is not None:
            reported = f"{reported_j:.1f} J"
            error_pct = f"{100 * (reported_j - true_j) / true_j:+.2f} %" if true_j else "-"
            u_pct = f"{100 * u_j / reported_j:.1f} %" if u_j and reported_j else "-"
        lines.append(
            f"{one['channel']:<18}{true_j:>10.1f} J{reported:>14}{error_pct:>10}"
            f"{u_pct:>10}{100 * one['coverage']:>8.1f} %"
        )
    _show("\n".join(lines))
    return 0


def _names(_args: argparse.Namespace) -> int:
    supplies = [name.split("_", 1)[1].lower() for name in psu.names()[: len(psu.MODELS)]]
    blocks = [
        ["power supplies (--psu), or their USB ids", *_listed(supplies)],
        ["RAPL (--rapl): 1x to 8x, then any of", *_table(topology.OPTIONS)],
        ["GPUs (--gpu)", *_listed(list(gpu.PRESETS))],
        ["loads (--load); terms can be added, as training+noise:3", *_table(loads.NAMES)],
    ]
    for kind, known in faults.KINDS.items():
        title = f"faults of {kind} (--fault); in brackets the value and what it is without one"
        blocks.append([title, *_table(known)])
    _show("\n\n".join("\n".join(block) for block in blocks))
    return 0


def _show(text: str) -> None:
    if sys.stdout is not None:  # it may have been closed
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _listed(names: list[str]) -> list[str]:
    return [f"  {', '.join(names[i : i + 7])}" for i in range(0, len(names), 7)]


def _table(meanings: dict[str, str]) -> list[str]:
    return [f"  {name:<15} {text}" for name, text in meanings.items()]


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
