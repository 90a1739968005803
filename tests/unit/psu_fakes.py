"""A fake sysfs with power supplies, and a stand-in for hidapi that talks to their firmware."""

from __future__ import annotations

from pactmeter.sensors import psu_hid, psu_scan
from pactmeter.sensors.psu_device import PsuDevice

CORSAIR_HX1500I = (0x1B1C, 0x1C1F)
CORSAIR_RM1000I = (0x1B1C, 0x1C0D)
NZXT_E850 = (0x7793, 0x2500)


class ManualClock:
    """A clock that only a sleep or a wait for a reply moves."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def sleep(self, duration_s):
        self.now_s += duration_s


class FakeHidapi:
    """What liquidctl needs of the module `hidraw`."""

    def __init__(self, clock):
        self.clock = clock
        self.plugged = {}

    def enumerate(self, vendor, product):
        return [
            {
                "path": path.encode(),
                "vendor_id": ids[0],
                "product_id": ids[1],
                "serial_number": serial,
                "release_number": 0x100,
                "interface_number": 0,
                "usage_page": 0xFF00,
                "usage": 1,
            }
            for path, (ids, serial, _) in self.plugged.items()
            if vendor in (0, ids[0]) and product in (0, ids[1])
        ]

    def device(self):
        return FakeHidDevice(self)


class FakeHidDevice:
    def __init__(self, api):
        self.api = api
        self.path = None
        self.queue = []
        self.blocking = True

    def open_path(self, path):
        if path.decode() not in self.api.plugged:
            raise OSError("open failed")
        self.path = path.decode()

    def close(self):
        self.path = None

    def set_nonblocking(self, flag):
        self.blocking = not flag
        return 0

    def write(self, report):
        if self.path is None:
            raise ValueError("not open")
        if self.path not in self.api.plugged:
            return -1
        assert len(report) == 65
        assert report[0] == 0
        firmware = self.api.plugged[self.path][2]
        for delay_s, reply in firmware.handle(bytes(report[1:])):
            self.queue.append((self.api.clock.now_s + delay_s, reply))
        return len(report)

    def read(self, max_length, timeout_ms=0):
        if self.path not in self.api.plugged:
            raise OSError("read error")
        clock = self.api.clock
        wait_s = timeout_ms / 1e3 if self.blocking else 0.0
        self.queue.sort(key=lambda entry: entry[0])
        if self.queue and self.queue[0][0] <= clock.now_s + wait_s:
            ready_s, report = self.queue.pop(0)
            clock.now_s = max(clock.now_s, ready_s)
            return list(report[:max_length])
        assert wait_s or not self.blocking, "a read without a time-out waits for ever"
        clock.now_s += wait_s
        return []


class Machine:
    """A fake ``/sys`` and ``/dev`` with supplies plugged in and out."""

    def __init__(self, folder, monkeypatch):
        self.sys = folder / "sys"
        self.dev = folder / "dev"
        self.dev.mkdir(parents=True)
        self.clock = ManualClock()
        self.hidapi = FakeHidapi(self.clock)
        self._opened = []
        monkeypatch.setenv("PACTMETER_SYSFS", str(self.sys))
        monkeypatch.setattr(psu_scan, "DEV", self.dev)
        psu_hid.require()  # before liquidctl is imported: it may need a stand-in for smbus
        monkeypatch.setattr("liquidctl.driver.usb.hid", self.hidapi)

    def open(self, ids, firmware, *, rails=False):
        """Plug in a supply and open it as the sampler does, on the fake clock."""
        self.plug(ids, firmware, serial="A1")
        device = PsuDevice(
            psu_scan.scan()[0], "psu", rails=rails, clock=self.clock, sleep=self.clock.sleep
        )
        device.open()
        self._opened.append(device)
        return device

    def close(self):
        """Close what `open` opened."""
        for device in self._opened:
            device.close()

    def plug(self, ids, firmware=None, *, number=0, serial="", port="usb-1/input0", node=True):
        """Plug in a supply with its hidraw node; returns its HID directory."""
        vid, pid = ids
        hid = self.sys / f"devices/0003:{vid:04X}:{pid:04X}.{number:04X}"
        hid.mkdir(parents=True)
        (hid / "uevent").write_text(
            f"DRIVER=hid-generic\nHID_ID=0003:0000{vid:04X}:0000{pid:04X}\n"
            f"HID_NAME=PSU\nHID_PHYS={port}\nHID_UNIQ={serial}\n"
        )
        (hid / "driver").symlink_to("../drivers/hid-generic")
        name = f"hidraw{number}"
        (hid / "hidraw" / name).mkdir(parents=True)
        (hid / "hidraw" / name / "device").symlink_to("../..")
        self._link("hidraw", hid / "hidraw" / name)
        if node:
            (self.dev / name).touch()
        self.hidapi.plugged[str(self.dev / name)] = (ids, serial, firmware)
        return hid

    def unplug(self, number=0):
        """Unplug what was plugged in under a number."""
        name = f"hidraw{number}"
        link = self.sys / "class/hidraw" / name
        hid = (link / "device").resolve()
        link.unlink()
        (hid / "uevent").unlink()
        (self.dev / name).unlink()
        del self.hidapi.plugged[str(self.dev / name)]

    def bind(self, hid, number=0, **values):
        """Bind the kernel driver to a HID directory; returns the hwmon directory."""
        (hid / "driver").unlink()
        (hid / "driver").symlink_to("../drivers/corsair-psu")
        folder = hid / "hwmon" / f"hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to("../..")
        files = {
            "name": "corsairpsu",
            "power1_input": 140_000_000,
            "power2_input": 124_000_000,
            "power3_input": 8_000_000,
            "power4_input": 1_500_000,
            "in0_input": 230_000,
            "temp1_input": 33_500,
        } | values
        for name, value in files.items():
            if value is not None:
                (folder / name).write_text(f"{value}\n")
        self._link("hwmon", folder)
        return folder

    def _link(self, kind, target):
        folder = self.sys / "class" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / target.name).symlink_to(target)
