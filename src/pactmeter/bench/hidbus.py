"""Power supplies at the USB: plugged in, unplugged, and back under another number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.bench.sysfs import Text, add_device, add_link
from pactmeter.bench.usb import HidUnit, add_controller, add_unit, remove_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pactmeter.bench.faults import FaultBoard
    from pactmeter.bench.hidraw import HidrawNode
    from pactmeter.bench.tree import Tree

NODES = "pactmeter/fuse/dev"
"""Where ``/dev/hidrawN`` points to: the tree, as it is mounted in the namespace."""

_MAJOR = 511
"""Device number of hidraw nodes; real ones are lower, so udev has nothing on record for it."""
_FIRST_HWMON = 4
_RENUMBERED = 40
"""How far off the number of an hwmon directory is while it is another one."""


@dataclass(frozen=True, slots=True)
class _Known:
    unit: HidUnit
    make_node: Callable[[], HidrawNode]
    probe: Callable[[], Mapping[str, Text]] | None


@dataclass(slots=True)
class _Plugged:
    """A unit that is plugged in.

    Attributes:
        hid: Path of its HID device.
        number: Number of its node.
        node: The node; None if the driver's probe failed.
        hwmon: Files of its hwmon directory; None if it has none.
        hwmon_number: Number of that directory.
        renumbered: Whether the directory has its other number.
    """

    hid: str
    number: int
    node: HidrawNode | None
    hwmon: Mapping[str, Text] | None
    hwmon_number: int
    renumbered: bool = False

    @property
    def hwmon_name(self) -> str:
        return f"hwmon{self.hwmon_number + (_RENUMBERED if self.renumbered else 0)}"


class HidBus:
    """The units at the bus, and what sysfs and ``/dev`` show of them.

    Args:
        tree: The files shown.
        faults: What is ordered for the units.
        dev: Folder for the links ``hidrawN``, which is ``/dev`` of the namespace; None: no links.
    """

    def __init__(self, tree: Tree, faults: FaultBoard, dev: Path | None = None) -> None:
        self._tree = tree
        self._faults = faults
        self._dev = dev
        self._known: dict[str, _Known] = {}
        self._plugged: dict[str, _Plugged] = {}
        self._plugs = 0
        add_controller(tree)

    def add(
        self,
        unit: HidUnit,
        make_node: Callable[[], HidrawNode],
        probe: Callable[[], Mapping[str, Text]] | None = None,
    ) -> None:
        """Add a unit, and plug it in.

        Args:
            unit: What it is.
            make_node: Makes its device node, at every plug.
            probe: What the kernel's driver does after that, of a unit that is bound: returns the
                files of the hwmon directory, or raises OSError, and then there is no node either.
        """
        self._known[unit.device] = _Known(unit, make_node, probe)
        self.plug(unit.device)

    def node(self, device: str) -> HidrawNode | None:
        """Return the node that a unit has now, if it has one."""
        plugged = self._plugged.get(device)
        return plugged.node if plugged else None

    def number(self, device: str) -> int | None:
        """Return the number of the node that a unit has now, if it has one."""
        plugged = self._plugged.get(device)
        return plugged.number if plugged and plugged.node else None

    def update(self) -> None:
        """Plug and unplug, renumber, and set modes, as the faults that hold now want it."""
        for device in self._known:
            if self._faults.active(device, "unplug"):
                self.unplug(device)
                continue
            self.plug(device)
            plugged = self._plugged[device]
            renumbered = self._faults.active(device, "renumber") is not None
            if plugged.hwmon is not None and plugged.renumbered != renumbered:
                self._remove_hwmon(plugged)
                plugged.renumbered = renumbered
                self._add_hwmon(plugged, plugged.hwmon)
            if plugged.node is not None:
                denied = self._faults.active(device, "deny") is not None
                self._tree.set_mode(f"dev/hidraw{plugged.number}", 0o600 if denied else 0o666)

    def plug(self, device: str) -> None:
        """Plug a unit in, under numbers that none had before; nothing if it is plugged in."""
        if device in self._plugged:
            return
        known = self._known[device]
        number, self._plugs = self._plugs, self._plugs + 1
        node: HidrawNode | None = known.make_node()
        driver: str | None = known.unit.driver
        hwmon = None
        if known.probe is not None:
            try:
                hwmon = known.probe()
            except OSError:
                node = driver = None
        hid = add_unit(self._tree, known.unit, number, driver)
        plugged = _Plugged(hid, number, node, hwmon, _FIRST_HWMON + number)
        self._plugged[device] = plugged
        if hwmon is not None:
            self._add_hwmon(plugged, hwmon)
        if node is not None:
            self._add_node(plugged, node)

    def unplug(self, device: str) -> None:
        """Unplug a unit: nothing of it stays; nothing happens if it is not plugged in."""
        plugged = self._plugged.pop(device, None)
        if plugged is None:
            return
        tree, unit = self._tree, self._known[device].unit
        if plugged.node is not None:
            plugged.node.unplug()
            name = f"hidraw{plugged.number}"
            if self._dev is not None:
                (self._dev / name).unlink(missing_ok=True)
            tree.remove(f"dev/{name}")
            tree.remove(f"sys/class/hidraw/{name}")
        if plugged.hwmon is not None:
            self._remove_hwmon(plugged)
        remove_unit(tree, unit, plugged.hid)

    def _add_node(self, plugged: _Plugged, node: HidrawNode) -> None:
        name = f"hidraw{plugged.number}"
        path = f"{plugged.hid}/hidraw/{name}"
        fields = {"MAJOR": str(_MAJOR), "MINOR": str(plugged.number), "DEVNAME": name}
        numbers = {"dev": f"{_MAJOR}:{plugged.number}"}
        add_device(self._tree, path, "class/hidraw", fields, numbers)
        add_link(self._tree, f"{path}/device", plugged.hid)
        self._tree.add_node(f"dev/{name}", node, 0o666)
        if self._dev is not None:
            (self._dev / name).symlink_to(f"{NODES}/{name}")
        # Last, as the kernel does: who sees this finds the rest.
        add_link(self._tree, f"sys/class/hidraw/{name}", path)

    def _add_hwmon(self, plugged: _Plugged, files: Mapping[str, Text]) -> None:
        path = f"{plugged.hid}/hwmon/{plugged.hwmon_name}"
        add_device(self._tree, path, "class/hwmon", {}, files)
        add_link(self._tree, f"{path}/device", plugged.hid)
        add_link(self._tree, f"sys/class/hwmon/{plugged.hwmon_name}", path)

    def _remove_hwmon(self, plugged: _Plugged) -> None:
        self._tree.remove(f"sys/class/hwmon/{plugged.hwmon_name}")
        self._tree.remove(f"{plugged.hid}/hwmon/{plugged.hwmon_name}")
