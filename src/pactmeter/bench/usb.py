"""USB devices and their HID devices, as the emulated sysfs shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pactmeter.bench.hidraw import REPORT_DESCRIPTOR
from pactmeter.bench.sysfs import PCI_ROOT, Text, add_device, add_link, remove

if TYPE_CHECKING:
    from pactmeter.bench.tree import Tree

_CONTROLLER = "00fe:00:14.0"
_HUB = f"sys/{PCI_ROOT}/{_CONTROLLER}/usb9"

_MAKERS = {0x1B1C: "CORSAIR", 0x7793: "NZXT"}


@dataclass(frozen=True, slots=True)
class HidUnit:
    """A power supply as the USB knows it.

    Attributes:
        device: Name under which faults are ordered for it, ``psu0`` for one.
        vid: USB vendor.
        pid: USB product.
        name: Maker and product.
        serial: Serial number; may be empty.
        phys: Where it is plugged in (`port`); the same after a replug.
        bound: Whether the kernel's corsair-psu driver has it.
    """

    device: str
    vid: int
    pid: int
    name: str
    serial: str
    phys: str
    bound: bool

    @property
    def usb_name(self) -> str:
        """Its directory below the hub, such as ``9-1``."""
        return f"9-{_port_number(self.device)}"

    @property
    def driver(self) -> str:
        """The kernel's driver that has it."""
        return "corsair-psu" if self.bound else "hid-generic"


def port(device: str, *, replay: bool = False) -> str:
    """Return where a device is plugged in, as HID_PHYS says it.

    >>> port("psu0"), port("psu1", replay=True)
    ('usb-00fe:00:14.0-1/input0', 'pactmeter-replay-2/input0')

    Args:
        device: Its name; its number is that of the port, which count from 1.
        replay: Whether it only repeats what a real one once said, which the product must know.
    """
    return f"{'pactmeter-replay' if replay else f'usb-{_CONTROLLER}'}-{_port_number(device)}/input0"


def _port_number(device: str) -> int:
    return int(device.lstrip("abcdefghijklmnopqrstuvwxyz")) + 1


def add_controller(tree: Tree) -> None:
    """Add what is there before anything is plugged in: the controller and its hub."""
    for kind in ("usb", "hid"):
        tree.add_dir(f"sys/bus/{kind}/devices")
    add_device(tree, f"sys/{PCI_ROOT}", None, {})
    pci = {"DRIVER": "xhci_hcd", "PCI_CLASS": "C0330", "PCI_SLOT_NAME": _CONTROLLER}
    add_device(tree, f"sys/{PCI_ROOT}/{_CONTROLLER}", "bus/pci", pci)
    strings = ("Linux", "xHCI Host Controller", _CONTROLLER)
    _add_usb_device(tree, _HUB, 1, (0x1D6B, 0x0002), strings)


def add_unit(tree: Tree, unit: HidUnit, number: int, driver: str | None) -> str:
    """Add a unit's USB device, its interface and its HID device.

    Args:
        tree: The files shown.
        unit: What is plugged in.
        number: Which plug this is, counted from 0: a device gets new numbers every time.
        driver: What has taken the HID device; None if nothing has.

    Returns:
        Path of the HID device.
    """
    ids = (unit.vid, unit.pid)
    usb = f"{_HUB}/{unit.usb_name}"
    maker = _MAKERS.get(unit.vid, "")
    skipped = len(maker) if unit.name.upper().startswith(maker) else 0
    strings = (maker, unit.name[skipped:].strip(), unit.serial)
    _add_usb_device(tree, usb, number + 2, ids, strings)
    interface = f"{usb}/{unit.usb_name}:1.0"
    fields = {
        "DEVTYPE": "usb_interface",
        "DRIVER": "usbhid",
        "PRODUCT": "{:x}/{:x}/100".format(*ids),
        "TYPE": "0/0/0",
        "INTERFACE": "3/0/0",
    }
    attributes: dict[str, Text] = {
        "bInterfaceNumber": "00",
        "bAlternateSetting": " 0",
        "bNumEndpoints": "02",
        "bInterfaceClass": "03",
        "bInterfaceSubClass": "00",
        "bInterfaceProtocol": "00",
    }
    add_device(tree, interface, "bus/usb", fields, attributes)
    add_link(tree, f"sys/bus/usb/devices/{unit.usb_name}:1.0", interface)
    name = "0003:{:04X}:{:04X}.{:04X}".format(*ids, number + 1)
    hid = f"{interface}/{name}"
    fields = {
        "HID_ID": "0003:{:08X}:{:08X}".format(*ids),
        "HID_NAME": unit.name,
        "HID_PHYS": unit.phys,
        "HID_UNIQ": unit.serial,
        "MODALIAS": "hid:b0003g0001v{:08X}p{:08X}".format(*ids),
    }
    if driver is not None:
        fields = {"DRIVER": driver, **fields}
        add_link(tree, f"sys/bus/hid/drivers/{driver}/{name}", hid)
        add_link(tree, f"{hid}/driver", f"sys/bus/hid/drivers/{driver}")
    add_device(tree, hid, "bus/hid", fields)
    tree.add_text(f"{hid}/report_descriptor", REPORT_DESCRIPTOR)
    add_link(tree, f"sys/bus/hid/devices/{name}", hid)
    return hid


def remove_unit(tree: Tree, unit: HidUnit, hid: str) -> None:
    """Remove all that `add_unit` has added, and what lies in it."""
    name = hid.rpartition("/")[2]
    remove(tree, f"sys/bus/hid/drivers/{unit.driver}/{name}")
    tree.remove(f"sys/bus/hid/devices/{name}")
    for usb in (f"{unit.usb_name}:1.0", unit.usb_name):
        tree.remove(f"sys/bus/usb/devices/{usb}")
    tree.remove(f"{_HUB}/{unit.usb_name}")


def _add_usb_device(
    tree: Tree, path: str, number: int, ids: tuple[int, int], strings: tuple[str, str, str]
) -> None:
    """Add a USB device: its number at the bus, vendor and product, maker, name and serial."""
    maker, product, serial = strings
    fields = {
        "MAJOR": "189",
        "MINOR": str(8 * 128 + number - 1),
        "DEVNAME": f"bus/usb/009/{number:03}",
        "DEVTYPE": "usb_device",
        "DRIVER": "usb",
        "PRODUCT": "{:x}/{:x}/100".format(*ids),
        "TYPE": "0/0/0",
        "BUSNUM": "009",
        "DEVNUM": f"{number:03}",
    }
    attributes: dict[str, Text] = {
        "idVendor": f"{ids[0]:04x}",
        "idProduct": f"{ids[1]:04x}",
        "manufacturer": maker,
        "product": product,
        "bcdDevice": "0100",
        "bDeviceClass": "00",
        "busnum": "9",
        "devnum": str(number),
        "speed": "12",
        "version": " 2.00",
    }
    if serial:  # without a serial number there is no such file
        attributes["serial"] = serial
    add_device(tree, path, "bus/usb", fields, attributes)
    add_link(tree, f"sys/bus/usb/devices/{path.rpartition('/')[2]}", path)
