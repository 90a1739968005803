"""What the user asks the emulated machine to be, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter.bench import faults, loads
from pactmeter.bench.gpu import parse_gpus
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, PsuSpec, parse_psu
from pactmeter.bench.topology import topology
from pactmeter.errors import ConfigError
from pactmeter.model.exchanges import Exchange, exchanges, model_of, read_reports

if TYPE_CHECKING:
    import argparse

    from pactmeter.bench.gpu import GpuModel
    from pactmeter.bench.topology import Topology


@dataclass
class Spec:
    """The machine that was asked for.

    Attributes:
        machine: Its components and supplies with their P(t).
        psus: Its supplies as asked for, in the order of `machine.supplies`.
        rapl: Its RAPL zones; None for none.
        gpus: Its GPUs.
        orders: Faults ordered from the start.
        follows: Components whose load is the command's own CPU use.
        replay: Recorded exchanges of a supply that is presented again, the last of `psus`.
        truth: Where the true joules are written; None: nowhere.
        command: What to run on it.
    """

    machine: Machine
    psus: list[PsuSpec]
    rapl: Topology | None
    gpus: list[GpuModel]
    orders: list[faults.Fault] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)
    replay: list[Exchange] | None = None
    truth: Path | None = None
    command: list[str] = field(default_factory=list)


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``bench run``."""
    add = parser.add_argument
    add(
        "--psu",
        action="append",
        default=[],
        metavar="NAME[,OPTION...]",
        help="a power supply, such as hx1500i or e850,serial=A1; options: serial=S, share=X of the "
        "machine's power, tau=S (lag of its sensor, 0: instant), standby=W (5VSB, unseen by the "
        "sensor), input_v=V, hwmon (held by the kernel driver); repeat for more",
    )
    add("--rapl", metavar="Nx[,OPTION...]", help="RAPL of N processors: 2x; 1x,psys; amd; ...")
    add("--gpu", metavar="[N][xMODEL]", help="NVIDIA GPUs: 2; h100; 4xa100; a100,rtx4090")
    add(
        "--load",
        action="append",
        default=[],
        metavar="[COMPONENT=]LOAD",
        help="training, steady:W, follow (default: the command's own CPU use), ...; repeat for "
        "single components (cpu, dram, gpu0, rest); `pactmeter bench names` lists all",
    )
    add("--seed", type=int, default=0, metavar="N", help="of everything random (0)")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="DEVICE:FAULT[=VALUE][*COUNT][@START[+SECONDS]]",
        help="psu0:unplug@5+3, rapl:eio*1@2, gpu0:lost@4+2, ...; repeat for more",
    )
    add("--replay", metavar="FILE", help="present a recorded supply again (`pactmeter record`)")
    add("--truth", metavar="FILE", help="write the true joules of the command's window (JSON)")
    add("words", nargs="*", metavar="-- command ...", help="what to run on the machine")


def spec_of(args: argparse.Namespace) -> Spec:
    """Return the machine that the options name.

    Raises:
        ConfigError: A name is not known, or the combination cannot be.
        FileError: A file cannot be read.
    """
    if not args.words:
        raise ConfigError(
            "no command is named", "pactmeter bench run --psu hx1500i -- liquidctl status"
        )
    psus = [parse_psu(text) for text in args.psu]
    recorded = _recording(args.replay) if args.replay else None
    if recorded:
        psus.append(recorded[0])
    rapl = topology(args.rapl) if args.rapl else None
    gpus = parse_gpus(args.gpu) if args.gpu else []
    general, single = _loads(args.load)
    machine = Machine(
        psus,
        packages=rapl.packages if rapl else 1,
        gpus=[Span(gpu.idle_w, gpu.busy_w) for gpu in gpus],
        load=general,
        loads=single,
        seed=args.seed,
    )
    devices = [supply.name for supply in machine.supplies] + [f"gpu{n}" for n in range(len(gpus))]
    if rapl:
        devices += ["rapl", *dict.fromkeys(zone.component for zone in rapl.zones)]
    orders = [faults.parse(text, devices) for text in args.fault]
    if args.truth and not Path(args.truth).absolute().parent.is_dir():
        raise ConfigError(f"there is no folder for {args.truth}", "name a file in one that exists")
    return Spec(
        machine,
        sorted(psus, key=lambda psu: psu.order),
        rapl,
        gpus,
        orders,
        [name for name, load in machine.loads.items() if load == loads.FOLLOW],
        recorded[1] if recorded else None,
        Path(args.truth).absolute() if args.truth else None,
        args.words,
    )


def _loads(given: list[str]) -> tuple[str, dict[str, str]]:
    """Return the load of everything, and those of single components."""
    general, single = loads.FOLLOW, {}
    for text in given:
        component, equals, spec = text.partition("=")
        if equals and ":" not in component:
            single[component] = spec
        else:
            general = text
    loads.check(general)
    return general, single


def _recording(path: str) -> tuple[PsuSpec, list[Exchange]]:
    """Return the supply that was recorded, and its exchanges."""
    recording = read_reports(Path(path))
    model = model_of(recording.reports, recording.header)
    return PsuSpec(model, serial=REPLAYED), list(exchanges(recording.reports))


REPLAYED = "replayed"
"""Serial number of a supply that only repeats what a real one once said."""
