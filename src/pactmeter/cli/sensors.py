"""What can be recorded on this machine, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pactmeter.cli.options import add_meters
from pactmeter.sensors.base import Request
from pactmeter.sensors.registry import discover_all

if TYPE_CHECKING:
    import argparse

NAME = "sensors"
HELP = "list the channels that can be recorded here"


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--rails", action="store_true", help="with the power supply's rails")
    add_meters(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line a channel, or say that there is none."""
    request = Request(meters=tuple(args.meter), rails=args.rails)
    # a meter is the only thing that is asked for by name here
    found = discover_all(request, on_missing="raise" if args.meter else "warn")
    channels = [(device, channel) for device in found.devices for channel in device.channels]
    for device, channel in channels:
        marks = [channel.origin.value, channel.domain or "-", channel.unit.symbol]
        if channel.synthetic:
            marks.append(channel.synthetic)
        print(f"{channel.name:24} {' '.join(marks):28} {device.name}: {channel.description}")
    if not channels:
        print("no source of power or energy on this machine; pactmeter doctor says why")
    return 0
