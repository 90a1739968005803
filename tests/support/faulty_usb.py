"""The fake hidapi of `unit.psu_fakes` with what goes wrong between a program and the firmware."""

from __future__ import annotations

import math

from unit.psu_fakes import FakeHidapi, FakeHidDevice


class FaultyHidapi(FakeHidapi):
    """Opening, reading and writing fail as ordered, and another program may ask too."""

    def __init__(self, clock, faults):
        super().__init__(clock)
        self.faults = faults
        self.said = {}

    def device(self):
        return FaultyHidDevice(self)


class FaultyHidDevice(FakeHidDevice):
    def open_path(self, path):
        super().open_path(path)
        self.chat = self._firmware.status_requests()
        if self._strikes("open"):
            self.path = None
            raise OSError("open failed")

    def write(self, report):
        if self._strikes("eio"):
            return -1
        self._overhear(self.api.clock.now_s)
        return super().write(report)

    def read(self, max_length, timeout_ms=0):
        if self._strikes("eio"):
            raise OSError("read error")
        self._overhear(self.api.clock.now_s + timeout_ms / 1e3, waits=True)
        return super().read(max_length, timeout_ms)

    @property
    def _firmware(self):
        _, _, firmware = self.api.plugged.get(self.path) or (None, None, None)
        return firmware

    def _strikes(self, name):
        firmware = self._firmware
        return firmware is not None and self.api.faults.take(firmware.device, name)

    def _overhear(self, until_s, *, waits=False):
        """Let another program ask what it asks until then; everybody hears the answers.

        Who waits has heard enough with the first report that comes.
        """
        firmware = self._firmware
        if firmware is None:
            return
        chats = (f for f in self.api.faults.all() if f.name == "chatter")
        for fault in (f for f in chats if f.device == firmware.device):
            end_s = fault.start_s + (fault.duration_s or math.inf)
            while True:
                said = self.api.said.get(fault, 0)
                due_s = fault.start_s + said / float(fault.value or 20.0)
                first_s = min((at_s for at_s, _ in self.queue), default=math.inf)
                if due_s > until_s or due_s >= end_s or (waits and first_s <= due_s):
                    break
                self.api.said[fault] = said + 1
                clock = self.api.clock
                clock.now_s = max(clock.now_s, due_s)
                for delay_s, reply in firmware.handle(self.chat[said % len(self.chat)]):
                    self.queue.append((due_s + delay_s, reply))
