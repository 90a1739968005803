"""Find out how often a GPU's power is renewed, over what time it is a mean, what polling costs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pactmeter import __version__
from pactmeter.analysis.gpu_probe import examine
from pactmeter.errors import ConfigError
from pactmeter.report.probe import render
from pactmeter.sensors.gpu_card import find
from pactmeter.sensors.gpu_load import choose
from pactmeter.sensors.gpu_probe import MonotonicClock, Recorder

if TYPE_CHECKING:
    import argparse

    from pactmeter.analysis.gpu_probe import Probe
    from pactmeter.sensors.gpu_card import Card
    from pactmeter.sensors.gpu_probe import Recording

NAME = "probe"
HELP = "find out how a GPU's power readings come about"

_SHORTEST_S, _LONGEST_S = 15.0, 180.0


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("what", nargs="?", choices=("gpu",), default="gpu", help="what is probed (gpu)")
    add("--gpu", type=int, metavar="N", help="this GPU alone, by its number in nvidia-smi (all)")
    add(
        "--duration",
        type=float,
        default=_LONGEST_S,
        metavar="S",
        help=f"seconds for each GPU, {_SHORTEST_S:.0f} to {_LONGEST_S:.0f} ({_LONGEST_S:.0f})",
    )
    add(
        "--load",
        choices=("auto", "torch", "none"),
        default="auto",
        help="what makes the GPU work: torch, nothing, or torch where nobody else uses it (auto)",
    )
    add("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Probe one card after the other and print what was found."""
    if not _SHORTEST_S <= args.duration <= _LONGEST_S:
        raise ConfigError(
            f"a probe takes {_SHORTEST_S:.0f} to {_LONGEST_S:.0f} s, not {args.duration:g}",
            f"--duration {min(max(args.duration, _SHORTEST_S), _LONGEST_S):.0f}",
        )
    cards, left_out = find(args.gpu)
    told = []
    try:
        for card in cards:
            recording, notes = _probe(card, args.load, args.duration)
            probe = examine(recording)
            told.append(_to_dict(card, recording, probe, notes))
            if not args.json:
                print(render(_title(card, recording), probe, card.missing, notes))
    finally:
        for card in cards:
            card.close()
    if args.json:
        data = {
            "schema": 1,
            "pactmeter": __version__,
            "gpus": told,
            "left_out": [finding.to_dict() for finding in left_out],
        }
        print(json.dumps(data, indent=1))
    else:
        for finding in left_out:
            print(f"{finding.name}: not probed, {finding.detail}")
    return 0 if any(gpu["problem"] is None for gpu in told) else 1


def _probe(card: Card, wanted: str, duration_s: float) -> tuple[Recording, list[str]]:
    """Return what a card reads, and what is to be told beside it."""

    def progress(text: str) -> None:
        print(f"gpu{card.index}: {text}", file=sys.stderr, flush=True)

    clock = MonotonicClock()
    load, no_load = choose(wanted, card)
    others = card.others()
    try:
        recording = Recorder(card, clock, progress).record(load, duration_s)
    finally:
        if load is not None:
            load.close()
    recording.no_load = recording.no_load or no_load
    notes = []
    if recording.problem:
        notes.append(recording.problem)
    if others:
        notes.append(f"{others} other programs computed on this GPU; the figures hold their load")
    if card.is_partitioned:
        notes.append("the program has a MIG slice, power is that of the whole GPU")
    if recording.load is None:
        notes.append(f"no load of known times: {recording.no_load}")
    return recording, notes


def _title(card: Card, recording: Recording) -> str:
    marks = f" [{card.synthetic}]" if card.synthetic else ""
    load = recording.load or "none"
    return f"gpu{card.index} {card.product} ({card.uuid}){marks}, load: {load}"


def _to_dict(card: Card, recording: Recording, probe: Probe, notes: list[str]) -> dict[str, Any]:
    return {
        "gpu": card.index,
        "uuid": card.uuid,
        "product": card.product,
        "synthetic": card.synthetic,
        "load": recording.load,
        "problem": recording.problem,
        "not_given": card.missing,
        **probe.to_dict(),
        "notes": notes,
    }
