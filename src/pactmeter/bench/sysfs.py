"""What every directory of the emulated sysfs has, and which parts of sysfs are emulated."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pactmeter.bench.tree import Tree

Text = str | Callable[[], str]
"""An attribute: its text without the newline, or what makes all of it at each read."""

PCI_ROOT = "devices/pci00fe:00"
"""Where the emulated USB controller is; no real machine has this PCI domain."""

SUBTREES = (
    "class/hidraw",
    "class/hwmon",
    "class/powercap",
    "class/power_supply",
    "bus/usb",
    "bus/hid",
    PCI_ROOT,
    "devices/virtual/powercap",
)
"""Parts of /sys that are the emulated machine's alone; what the real one has there is hidden."""


def add_frame(tree: Tree) -> None:
    """Add the directories that are there before any device is."""
    for path in SUBTREES:
        tree.add_dir(f"sys/{path}")


def add_device(
    tree: Tree,
    path: str,
    subsystem: str | None,
    uevent: Mapping[str, str],
    attributes: Mapping[str, Text] | None = None,
) -> None:
    """Add a device's directory.

    Args:
        tree: The files shown.
        path: Where, from the tree's root.
        subsystem: Its class or bus, such as ``class/hidraw``: udev finds parents by it.
        uevent: What it tells udev.
        attributes: Its files.
    """
    tree.add_dir(path)
    tree.add_text(f"{path}/uevent", "".join(f"{key}={uevent[key]}\n" for key in uevent))
    if subsystem is not None:
        add_link(tree, f"{path}/subsystem", f"sys/{subsystem}")
    for name, text in (attributes or {}).items():
        tree.add_text(f"{path}/{name}", f"{text}\n" if isinstance(text, str) else text)


def add_link(tree: Tree, path: str, target: str) -> None:
    """Add a link to another path of the tree, relative as in sysfs."""
    tree.add_link(path, os.path.relpath(target, path.rpartition("/")[0]))


def remove(tree: Tree, path: str) -> None:
    """Remove what is there, if it is there."""
    if tree.exists(path):
        tree.remove(path)
