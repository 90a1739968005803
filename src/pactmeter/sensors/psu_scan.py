"""Which supported power supplies are plugged in, from sysfs alone: nothing is opened or asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pactmeter.model import psu
from pactmeter.sensors import sysfs

DEV = Path("/dev")
"""Where device nodes are."""

WHERE = "/sys/class/hidraw and /sys/class/hwmon"
"""What is searched, for messages."""

_KERNEL_DRIVER = "corsair-psu"
_HWMON_NAME = "corsairpsu"
_REPLAY = "pactmeter-replay"
"""How the port of a recorded supply begins, which the emulated machine presents again."""


@dataclass(frozen=True, slots=True)
class Found:
    """A supported power supply that is plugged in.

    Attributes:
        model: Which one it is.
        serial: Its serial number; empty where it has none.
        port: Where it is plugged in (HID_PHYS), such as ``usb-0000:00:14.0-9/input0``.
        bound: Whether the kernel's corsair-psu driver has it.
        node: Its device node, if there is one.
        hwmon: Its hwmon directory, if the kernel driver offers one.
        synthetic: ``emulated`` or ``replayed`` if this is no hardware of this machine.
    """

    model: psu.PsuModel
    serial: str
    port: str
    bound: bool
    node: Path | None
    hwmon: Path | None
    synthetic: str | None

    @property
    def identity(self) -> str:
        """What a user types to bind exactly this unit, as far as it can be told."""
        return f"{self.model.usb_id}:{self.serial}" if self.serial else self.model.usb_id


def scan() -> tuple[Found, ...]:
    """Return every supported power supply, in an order that survives a replug."""
    classes = sysfs.root() / "class"
    nodes: dict[Path, Path] = {}
    hwmons: dict[Path, Path] = {}
    for entry in _entries(classes / "hidraw"):
        nodes[_parent(entry)] = entry
    for entry in _entries(classes / "hwmon"):
        if sysfs.read_text(entry / "name") == _HWMON_NAME:
            hwmons[_parent(entry)] = entry
    parents = {**nodes, **hwmons}
    found = [_identify(parent, nodes.get(parent), hwmons.get(parent)) for parent in parents]
    return tuple(
        sorted(filter(None, found), key=lambda one: (one.model.name, one.serial, one.port))
    )


def find_again(before: Found) -> Found | None:
    """Return the same unit, under whatever number it has now; None if it is not there.

    A unit without a serial is known by its port alone: another one of its kind, measured twice,
    would be worse than a gap.
    """
    same = [now for now in scan() if now.model == before.model and now.serial == before.serial]
    if len(same) == 1 and before.serial:
        return same[0]
    at_port = [now for now in same if now.port == before.port]
    return at_port[0] if len(at_port) == 1 else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _parent(entry: Path) -> Path:
    """Return the HID device behind a class entry: what joins its hidraw node and its hwmon."""
    return (entry / "device").resolve()


def _identify(parent: Path, node: Path | None, hwmon: Path | None) -> Found | None:
    uevent = sysfs.read_text(parent / "uevent") or ""
    fields = dict(line.partition("=")[::2] for line in uevent.splitlines())
    # HID_ID=0003:00001B1C:00001C1F: bus, vendor, product.
    ids = re.fullmatch(
        r"0003:0000([0-9A-F]{4}):0000([0-9A-F]{4})", fields.get("HID_ID", "").upper()
    )
    model = psu.find(int(ids[1], 16), int(ids[2], 16)) if ids else None
    if model is None:
        return None
    device = DEV / node.name if node else None
    entry = hwmon or node or parent
    return Found(
        model=model,
        serial=fields.get("HID_UNIQ", "").strip(),
        port=fields.get("HID_PHYS", "").strip(),
        bound=hwmon is not None or _driver(parent, fields) == _KERNEL_DRIVER,
        node=device,
        hwmon=hwmon,
        synthetic=_synthetic(entry, device if not hwmon else None, fields.get("HID_PHYS", "")),
    )


def _driver(parent: Path, fields: dict[str, str]) -> str:
    try:
        return (parent / "driver").readlink().name
    except OSError:
        return fields.get("DRIVER", "")


def _synthetic(entry: Path, device: Path | None, port: str) -> str | None:
    """Return ``emulated`` or ``replayed`` for a supply that is no hardware of this machine."""
    made = sysfs.synthetic(entry) or _stand_in(device)
    return "replayed" if made and port.startswith(_REPLAY) else made


def _stand_in(device: Path | None) -> str | None:
    """Return ``emulated`` for a node that exists and is no character device."""
    if device is None or not device.exists() or device.is_char_device():
        return None
    return "emulated"
