"""What this machine can measure: every source, found or not, why, and the exact fix."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pactmeter import __version__
from pactmeter.counters.backends import open_counters
from pactmeter.model.channel import Kind, Origin
from pactmeter.model.finding import Finding
from pactmeter.sensors.base import Request
from pactmeter.sensors.registry import discover_all

if TYPE_CHECKING:
    import argparse

    from pactmeter.sensors.base import Device

NAME = "doctor"
HELP = "say what can be measured here, what not, why, and how to mend it"

MEASURED, ESTIMATES, NOTHING = 0, 3, 4
_WORDS = {
    MEASURED: "this machine can measure energy.",
    ESTIMATES: "this machine can estimate or model energy, NOT measure it.",
    NOTHING: "this machine can record counters and time, NOT energy.",
}
_EVENTS = (("software events", ("FAULTS", "MIGRATIONS")), ("hardware events", ("CYCLES",)))


def prepare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print a line a source; return 0 (measured), 3 (estimates only) or 4 (nothing)."""
    found = discover_all(Request(), on_missing="warn")
    findings = [*found.findings, *_perf(), _clock()]
    code = _code(found.devices)
    container = in_container()
    synthetic = sorted({c.synthetic for d in found.devices for c in d.channels if c.synthetic})
    if args.json:
        data = {
            "schema": 1,
            "result": {MEASURED: "measured", ESTIMATES: "estimates", NOTHING: "nothing"}[code],
            "channels": [c.name for d in found.devices for c in d.channels],
            "synthetic": synthetic,
            "container": container,
            "findings": [finding.to_dict() for finding in findings],
        }
        print(json.dumps(data, indent=1))
        return code
    print(f"pactmeter {__version__} doctor: {platform.node()}, kernel {platform.release()}")
    for f in findings:
        print(f"  {f.source:8} {f.name:24} {'[ok]' if f.found else '[--]'} {f.detail}")
        if f.fix:
            print(f"{'':39}fix: {f.fix}")
    if container and code != MEASURED:
        print(
            f"container ({container}): start it with, for what its host has,\n  {docker_command()}"
        )
    told = f" Devices are {' or '.join(synthetic)}: no real power." if synthetic else ""
    print(f"Result: {_WORDS[code]}{told}")
    return code


def _code(devices: tuple[Device, ...]) -> int:
    origins = {
        channel.origin
        for device in devices
        for channel in device.channels
        if channel.kind is not Kind.QUANTITY
    }
    if Origin.MEASURED in origins:
        return MEASURED
    return ESTIMATES if origins else NOTHING


def _perf() -> list[Finding]:
    """Try the events by opening them on this process (a sysctl read tells less)."""
    findings = []
    for name, events in _EVENTS:
        counters = open_counters([[event] for event in events], pid=os.getpid(), scope="tree")
        described = counters.describe()
        counters.close()
        ok = [event["name"] for event in described if event["status"] == "ok"]
        bad = [event for event in described if event["status"] != "ok"]
        told = [", ".join(ok)] if ok else []
        told += [f"not {bad[0]['name']}: {bad[0]['reason']}"] if bad else []
        fix = bad[0].get("fix") if bad else None
        findings.append(Finding("perf", name, bool(ok), "; ".join(told), fix))
    return findings


def _clock() -> Finding:
    """How late a 10 ms timer is on this machine now."""
    late_ms = []
    due = time.monotonic()
    for _ in range(20):
        due += 0.01
        time.sleep(max(0.0, due - time.monotonic()))
        late_ms.append(1000 * (time.monotonic() - due))
    worst = max(late_ms)
    detail = f"worst lateness of 20: {worst:.1f} ms"
    return Finding("clock", "10 ms timer", worst < 10, detail)


def in_container() -> str | None:
    """Return the kind of container this is, or None on a plain host."""
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return os.environ.get("container")  # noqa: SIM112  as systemd names it


def docker_command() -> str:
    """Return the `docker run` options that give a container what can be given."""
    nodes = sorted(Path("/dev").glob("hidraw*")) or [Path("/dev/hidrawN")]
    devices = " ".join(f"--device {node}" for node in nodes)
    powercap = "/sys/devices/virtual/powercap"
    return f"docker run {devices} --gpus all --cap-add PERFMON -v {powercap}:{powercap}:ro IMAGE"
