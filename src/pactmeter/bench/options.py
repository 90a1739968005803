"""What the user asks the emulated machine to be, checked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.bench import faults, loads
from pactmeter.bench.gpu import parse_gpus
from pactmeter.bench.loads import Span
from pactmeter.bench.machine import Machine, PsuSpec, parse_psu
from pactmeter.bench.topology import topology
from pactmeter.bench.truth import check_free
from pactmeter.errors import ConfigError
from pactmeter.model.exchanges import Exchange, exchanges, model_of, read_reports
from pactmeter.model.psu import Protocol

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

    @property
    def devices(self) -> list[str]:
        """Names of what faults can befall."""
        found = [f"psu{n}" for n in range(len(self.psus))]
        found += [f"gpu{n}" for n in range(len(self.gpus))]
        if self.rapl:
            found += ["rapl", *dict.fromkeys(zone.component for zone in self.rapl.zones)]
        return found

    def fault(self, text: str, now_s: float = 0.0) -> faults.Fault:
        """Return the fault that a text names; see `faults.parse`.

        Raises:
            ConfigError: It is none, or does nothing on this machine.
        """
        fault = faults.parse(text, self.devices, now_s)
        if faults.kind_of(fault.device) == "psu":
            psu = self.psus[int(fault.device.removeprefix("psu"))]
            is_nzxt = psu.model.protocol is Protocol.NZXT
            faults.check_psu(fault, is_nzxt=is_nzxt, is_bound=psu.hwmon)
        return fault


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``bench run``."""
    add = parser.add_argument
    repeated: dict[str, Any] = {"action": "append", "default": []}
    add(
        "--psu",
        **repeated,
        metavar="NAME[,OPTION...]",
        help="a power supply, such as hx1500i or e850; more with more --psu. Options: serial=TEXT; "
        "share=X (its part of the machine's power, relative to the others); tau=S (its power "
        "sensor lags so many seconds); standby=W (on the 5 V standby rail, unseen by its sensor); "
        "input_v=V (230); hwmon (held by the kernel driver)",
    )
    add("--rapl", metavar="Nx[,OPTION...]", help="RAPL of N processors: 1x; 2x; 1x,psys; amd; ...")
    add("--gpu", metavar="[Nx]MODEL[,...]", help="NVIDIA GPUs: 2 (A100); h100; 2xt4,rtx4090; ...")
    add(
        "--load",
        **repeated,
        metavar="[COMPONENT=]LOAD",
        help="what processors, memory and GPUs draw: training, steady:WATTS, ... (follow: the CPU "
        "use of the command); of one component (cpu, dram, gpu, gpu0, rest) with more --load. "
        "`pactmeter bench names` lists all",
    )
    add("--seed", type=int, default=0, metavar="N", help="of all that is random in a load (0)")
    add(
        "--fault",
        **repeated,
        metavar="DEVICE:FAULT[=VALUE][*COUNT][@START[+SECONDS]]",
        help="psu0:unplug@5+3, rapl:eio*1@2, gpu0:lost@4+2, ...; START in seconds after the "
        "command's; more with more --fault. `pactmeter bench names` lists all",
    )
    add("--replay", metavar="FILE", help="a power supply that `pactmeter record` has recorded")
    add(
        "--truth",
        metavar="FILE",
        help="write the true joules of the command's time, the faults, and what was written to "
        "power supplies, as JSON",
    )
    add("words", nargs="*", metavar="command", help="what to run on the machine")


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
    recorded = None if args.replay is None else _recording(args.replay)
    if recorded:
        psus.append(recorded[0])
    rapl = None if args.rapl is None else topology(args.rapl)
    gpus = [] if args.gpu is None else parse_gpus(args.gpu)
    general, single = _loads(args.load)
    machine = Machine(
        psus,
        packages=rapl.packages if rapl else 1,
        gpus=[Span(gpu.idle_w, gpu.busy_w) for gpu in gpus],
        load=general,
        loads=single,
        seed=args.seed,
        is_replay=recorded is not None and not (args.psu or rapl or gpus),
    )
    spec = Spec(
        machine,
        sorted(psus, key=lambda psu: psu.order),
        rapl,
        gpus,
        follows=[name for name, load in machine.loads.items() if load == loads.FOLLOW],
        replay=recorded[1] if recorded else None,
        truth=None if args.truth is None else _writable(Path(args.truth).absolute()),
        command=args.words,
    )
    spec.orders = [spec.fault(text) for text in args.fault]
    return spec


def _writable(path: Path) -> Path:
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be a file", "name a file in a folder that exists")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} may not be written by this user", "name another file")
    check_free(path)
    return path


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
    return PsuSpec(model, serial=REPLAYED, replayed=True), list(exchanges(recording.reports))


REPLAYED = "replayed"
"""Serial number of a supply that only repeats what a real one once said."""
