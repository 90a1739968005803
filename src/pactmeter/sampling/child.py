"""The sampler process: set up from one message, tell what was opened, serve."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pactmeter.clock import ClockPair
from pactmeter.config.run import RunConfig
from pactmeter.counters.access import raise_limit
from pactmeter.counters.backends import open_counters
from pactmeter.counters.proc import MIN_PERIOD_S, ProcCounters
from pactmeter.errors import PactError
from pactmeter.kernel.process import open_pidfd, raise_priority, set_name
from pactmeter.model.finding import Finding
from pactmeter.sampling.link import Link
from pactmeter.sampling.polled import PolledCounting
from pactmeter.sampling.poller import Poller
from pactmeter.sampling.polling import POLL_PERIOD_S
from pactmeter.sampling.power import Power
from pactmeter.sampling.record import Record, about_host
from pactmeter.sampling.sampled import SampledCounting
from pactmeter.sampling.sampler import Sampler
from pactmeter.sensors.base import Request
from pactmeter.sensors.registry import discover_all

if TYPE_CHECKING:
    from pactmeter.counters.backends import AnyCounters
    from pactmeter.sampling.counting import Counting
    from pactmeter.sampling.link import Message
    from pactmeter.sensors.base import Device

_SWITCH_S = 0.0005
"""How long a thread of the sampler may keep the interpreter while another one waits for it."""


def main(fd: int) -> None:
    """Serve the program at the other end of this socket."""
    # A terminal's Ctrl-C and a batch system's SIGTERM go to every process of the job. The sampler
    # ends when the program does, and closes the run first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    set_name("pactmeter")
    # who waits for an edge of a call must not wait for a thread that makes bins
    sys.setswitchinterval(_SWITCH_S)
    os.chdir("/")  # holds no file system busy, and does not care if the program's folder goes
    link = Link(socket.socket(fileno=fd))
    try:
        message = link.receive(10.0)
    except EOFError:
        return
    if message is None:
        return
    try:
        sampler, pidfd, ready = _set_up(link, message)
    except PactError as error:
        _answer(link, {"type": "failed", **error.to_dict()})
        return
    except Exception as error:  # noqa: BLE001  whatever went wrong, the user is to read it
        traceback.print_exc()
        text = f"the sampler failed to start: {type(error).__name__}: {error}"
        _answer(link, {"type": "failed", "error": "SamplerError", "message": text})
        return
    _answer(link, ready)
    try:
        sampler.serve(pidfd)
    except Exception as error:
        sampler.give_up(f"the sampler failed: {type(error).__name__}: {error}")
        raise  # its traceback reaches the program


def _answer(link: Link, message: Message) -> None:
    with contextlib.suppress(EOFError):
        link.send(message)


def _set_up(link: Link, message: Message) -> tuple[Sampler, int | None, Message]:
    config = RunConfig.from_dict(message["config"])
    target = int(message["target_pid"])
    raise_limit()  # of open files: counters of many threads need many
    start = ClockPair.now()
    priority = raise_priority(realtime=config.realtime)
    try:
        pidfd = open_pidfd(int(message["parent_pid"]))
    except OSError:  # kernels before 5.3, and sandboxes: the socket's end tells too
        pidfd = None

    counters = open_counters(
        config.events_groups,
        pid=target,
        scope=config.scope,
        exclude_pids=[os.getpid(), *message.get("exclude_pids", [])],
        backend=config.counter_backend,
        period_s=config.perf_measure_period_s,
    )
    try:
        request = Request(
            psu=config.psu,
            meters=config.meters,
            rails=config.rails,
            estimate_cpu=config.estimate_cpu,
        )
        sampled_by = message.get("devices_sampled_by")
        found = discover_all(request, on_missing=config.on_error) if sampled_by is None else None
        findings = [finding.to_dict() for finding in found.findings] if found else []
        problems = [str(problem) for problem in found.problems] if found else []
        must = config.on_error == "raise" and "auto" not in config.psu
        devices = list(found.devices) if found else []
        refused = _open(devices, must_psu=must)
        findings += [_finding(device, error) for device, error in refused]
        record = Record(Path(config.file))
    except BaseException:
        counters.close()
        raise
    shut = [device for device, _ in refused]

    def poller(device: Device, period_s: float) -> Poller:
        return Poller(device, period_s, is_open=device not in shut)

    power = Power(devices, min(POLL_PERIOD_S, config.measure_period_s), poller)
    counting = _counting(counters, config)
    problems += _event_problems(config, counters)
    notes = [str(note) for note in message.get("notes", [])]
    if len(shut) == len(devices) and not counting.anything and sampled_by is None:
        problems.append("no power source and no event could be opened: pactmeter doctor says why")
    about = {
        "command": message.get("command"),
        "config": _as_written(message["config"]),
        "used": {
            "file": str(record.files.power),
            "priority": priority,
            "poll_period_s": min(POLL_PERIOD_S, config.measure_period_s),
            "counter_backend": counters.backend,
            "counter_backend_why": counters.why,
            "rank": message.get("rank"),
            "devices_sampled_by": sampled_by,
        },
        "channels": power.channels,
        "findings": findings,
        "events": counters.describe(),
        "zero_monotonic_s": None,
        "calls": 0,
        "sampler": {"pid": os.getpid()},
        **about_host(start),
    }
    try:
        record.begin([*power.columns, *counters.columns], counting.columns, about)
    except PactError:
        record.abandon()
        raise
    ready = {
        "type": "ready",
        "pid": os.getpid(),
        "file": str(record.files.power),
        "wanted": str(record.wanted),
        "warnings": problems + notes,
        "devices_sampled_by": sampled_by,
        "channels": [c["name"] for c in about["channels"]],
    }
    return Sampler(config, link, record, power, counting, notes=notes), pidfd, ready


def _as_written(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as the manifest may hold them: without a meter's password."""
    if not config["meters"]:
        return config
    from pactmeter.model.meter import without_password

    return {**config, "meters": [without_password(url) for url in config["meters"]]}


def _open(devices: list[Device], *, must_psu: bool) -> list[tuple[Device, PactError]]:
    """Open the devices; return those that refuse, each with its reason.

    They stay in the run and are tried again: what is there and gives nothing is a gap of the sum
    that it belongs to.

    Raises:
        DeviceError: A PSU asked for by name refuses.
    """
    refused = []
    for device in devices:
        try:
            device.open()
        except PactError as error:
            if must_psu and _source(device).startswith("psu"):
                raise
            refused.append((device, error))
    return refused


def _source(device: Device) -> str:
    return device.channels[0].name.split(".")[0] if device.channels else device.name


def _finding(device: Device, error: PactError) -> dict[str, Any]:
    return Finding(
        _source(device), device.name, found=False, detail=error.message, fix=error.fix
    ).to_dict()


def _counting(counters: AnyCounters, config: RunConfig) -> Counting:
    period_s = config.perf_measure_period_s
    if isinstance(counters, ProcCounters):
        return PolledCounting(counters, max(period_s, MIN_PERIOD_S))
    if counters.backend == "ring":
        return SampledCounting(counters, period_s, config.measure_period_s)
    return PolledCounting(counters, period_s)


def _event_problems(config: RunConfig, counters: AnyCounters) -> list[str]:
    """Events, or a scope, asked for by name that are known, but not to be had here."""
    if not config.events_asked and config.scope == "tree":
        return []
    return [
        f"event {event['name']} is not counted: {event['reason']}"
        for event in counters.describe()
        if event["status"] != "ok"
    ]
