"""Faults that can be ordered of the emulated machine, and which of them hold at a moment."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pactmeter.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

_HIDRAW = {
    "unplug": "the device is gone, and comes back under another hidraw number",
    "uninitialised": "the firmware wants the handshake again, as after resume",
    "open": "open(2) of the node fails [errno name, EACCES]",
    "deny": "the node may be opened by root alone",
    "drop": "no reply",
    "late": "a reply comes after its asker gave up [seconds, 0.4]",
    "delay": "each reply takes longer [seconds, 0.05]",
    "short": "replies are cut [bytes, 2]",
    "long": "replies have 96 bytes",
    "empty": "replies hold nothing but zeros",
    "foreign": "a report that answers another program comes first",
    "wrong_echo": "the reply repeats another request",
    "chatter": "another program asks for everything, page selection included [per second, 20]",
    "raw": "a register answers these bytes [register:hex, ee:ff7b]",
    "frozen": "all values stay as they are",
    "zero": "total and rails read 0",
    "eio": "read(2) and write(2) fail with EIO",
}
_NZXT = {
    "busy": "the controller answers that it has no time",
    "bad_pec": "the checksum of a reply is wrong",
}
_HWMON = {
    "renumber": "the hwmon directory has another number",
    "etimedout": "reads fail with ETIMEDOUT",
    "eopnotsupp": "reads fail with EOPNOTSUPP",
    "enodev": "reads fail with ENODEV",
}
_RAPL = {
    "eio": "reads fail with EIO",
    "deny": "energy_uj cannot be opened, not even by root",
    "vanish": "the zone is gone, as by CPU hotplug",
    "back": "the counter starts again at 0",
    "jump": "the counter is set so that it wraps after so many joules [joules, 50]",
    "frozen": "the counter stands still",
    "no_range": "max_energy_range_uj is missing",
}
_GPU = {
    "lost": "every call fails: GPU is lost (15)",
    "gone": "it is off the bus: one GPU less is counted, nothing finds it, its handle is lost",
    "reset_required": "every call fails: GPU requires reset (16)",
    "no_permission": "every call fails: insufficient permissions (4)",
    "unknown": "every call fails: unknown error (999)",
    "hang": "each call takes this long [seconds, 5]",
    "not_supported": "a quantity is not supported (3) [power, energy or utilisation]",
    "energy_reset": "the energy counter starts again at 0",
    "frozen": "all values stay as they are",
    "garbage": "power reads 4 MW",
    "driver": "nvmlInit fails [NVML error number, 18]",
    "function": "a function is missing from the library [its name]",
}
KINDS: dict[str, dict[str, str]] = {
    "psu": {**_HIDRAW, **_NZXT, **_HWMON},
    "rapl": _RAPL,
    "gpu": _GPU,
}
"""Fault names and what they do, by kind of device."""

_RAW = r"[0-9a-f]{2}:([0-9a-f]{2}){1,60}|[a-z]+\d_[a-z]+:.*"
"""A register and its bytes, or a file of the hwmon directory and its text."""

_SECONDS = r"\d+(?:\.\d+)?"
_SPEC = re.compile(
    r"(?P<device>[a-z0-9.]+):(?P<name>[a-z_]+)(?:=(?P<value>[^@*]+))?"
    rf"(?:\*(?P<count>\d+))?(?:@(?P<start>{_SECONDS})(?:\+(?P<duration>{_SECONDS}))?)?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one device.

    Attributes:
        device: Device it befalls, such as ``psu0``, ``rapl``, ``cpu.package0`` or ``gpu1``.
        name: Which fault, a key of `KINDS`.
        value: Its argument, where it has one.
        start_s: When it begins, in seconds since the command's start.
        duration_s: How long it holds; None: until it is cleared.
        count: How many times it strikes; None: as long as it holds.
    """

    device: str
    name: str
    value: str | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    count: int | None = None

    def holds(self, t_s: float) -> bool:
        """Return whether it holds at a moment."""
        if t_s < self.start_s or self.count == 0:
            return False
        return self.duration_s is None or t_s < self.start_s + self.duration_s

    def to_dict(self) -> dict[str, object]:
        """Return the fault as plain data, for the truth file."""
        return {
            "device": self.device,
            "fault": self.name,
            "value": self.value,
            "start_s": self.start_s,
            "duration_s": self.duration_s,
        }


def kind_of(device: str) -> str:
    """Return the kind of a device: ``psu``, ``rapl`` or ``gpu``."""
    return "rapl" if device.startswith("cpu.") else device.rstrip("0123456789")


def parse(spec: str, devices: list[str], now_s: float = 0.0) -> Fault:
    """Return the fault that ``DEVICE:FAULT[=VALUE][*COUNT][@START[+DURATION]]`` names.

    Args:
        spec: What the user typed.
        devices: Devices of the machine.
        now_s: When a fault without a start begins, in seconds.

    Raises:
        ConfigError: The device, the fault or its value is not known.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ConfigError(
            f"{spec!r} is no fault", "DEVICE:FAULT[=VALUE][*COUNT][@START[+DURATION]] in seconds"
        )
    device = device_of(match["device"], devices)
    known = KINDS[kind_of(device)]
    if match["name"] not in known:
        raise unknown_name("fault", match["name"], sorted(known))
    fault = Fault(
        device,
        match["name"],
        match["value"],
        float(match["start"]) if match["start"] else now_s,
        float(match["duration"]) if match["duration"] else None,
        int(match["count"]) if match["count"] else None,
    )
    _check_value(fault, known[fault.name])
    return fault


def device_of(name: str, devices: list[str]) -> str:
    """Return the device of a name; ``psu`` and ``gpu`` are the first of their kind.

    Raises:
        ConfigError: There is none.
    """
    if name in {"psu", "gpu"} and f"{name}0" in devices:
        return f"{name}0"
    if not devices:
        raise ConfigError(
            f"unknown device {name!r}: this machine has none", "add one with --psu, --rapl or --gpu"
        )
    if name not in devices:
        raise unknown_name("device", name, devices)
    return name


def check_psu(fault: Fault, *, is_nzxt: bool, is_bound: bool) -> None:
    """Make sure that a fault can befall a power supply.

    Args:
        fault: A fault of a power supply.
        is_nzxt: Whether it speaks NZXT's protocol.
        is_bound: Whether the kernel's driver holds it.

    Raises:
        ConfigError: It would do nothing there.
    """
    name = fault.name
    if name in _NZXT and not is_nzxt:
        raise ConfigError(f"only NZXT supplies have the fault {name!r}", "--psu e850")
    if name == "uninitialised" and is_nzxt:
        raise ConfigError(f"only Corsair supplies have the fault {name!r}", "--psu hx1500i")
    if name in _HWMON and not is_bound:
        raise ConfigError(
            f"only supplies that the kernel driver holds have the fault {name!r}",
            "--psu hx1500i,hwmon",
        )


def _check_value(fault: Fault, meaning: str) -> None:
    if fault.value is not None and "[" not in meaning:
        raise ConfigError(f"fault {fault.name!r} takes no value", f"{fault.device}:{fault.name}")
    if fault.value is None and fault.name in {"raw", "not_supported", "function"}:
        raise ConfigError(f"fault {fault.name!r} wants a value", meaning)
    good = True
    if fault.name in {"late", "delay", "short", "chatter", "jump", "hang", "driver"}:
        good = fault.value is None or re.fullmatch(r"\d+(\.\d+)?", fault.value) is not None
        if good and fault.name == "chatter":
            good = float(fault.value or 20.0) > 0.0
    elif fault.name == "raw":
        good = re.fullmatch(_RAW, fault.value or "", re.IGNORECASE) is not None
    elif fault.name == "open":
        good = fault.value is None or hasattr(errno, fault.value)
    elif fault.name == "not_supported":
        good = fault.value in {"power", "energy", "utilisation"}
    elif fault.name == "function":
        good = re.fullmatch(r"nvml[A-Z]\w*", fault.value or "") is not None
    if not good:
        raise ConfigError(f"fault {fault.name!r} cannot have the value {fault.value!r}", meaning)


class FaultBoard:
    """The faults that were ordered, asked by the devices at every step."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._past: list[Fault] = []
        self.changes = 0
        """Grows with every order, for those who publish faults elsewhere."""

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._faults.append(fault)
        self.changes += 1

    def clear(self, device: str, name: str | None = None) -> None:
        """End the faults of a device (those of one name)."""
        now_s = self._clock()
        kept = []
        for fault in self._faults:
            if fault.device == device and name in {None, fault.name}:
                ended_s = max(0.0, now_s - fault.start_s)
                self._past.append(replace(fault, duration_s=ended_s))
            else:
                kept.append(fault)
        self._faults = kept
        self.changes += 1

    def active(self, device: str, name: str) -> Fault | None:
        """Return a fault that holds now; it is not used up."""
        if not self._faults:
            return None
        now_s = self._clock()
        for fault in self._faults:
            if fault.name == name and fault.device == device and fault.holds(now_s):
                return fault
        return None

    def take(self, device: str, name: str) -> Fault | None:
        """Return a fault that holds now, and use one up of those that strike a number of times."""
        fault = self.active(device, name)
        if fault is not None and fault.count is not None:
            self._faults[self._faults.index(fault)] = replace(fault, count=fault.count - 1)
        return fault

    def all(self) -> list[Fault]:
        """Return every fault that was ordered."""
        return [*self._past, *self._faults]
