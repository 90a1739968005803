"""RAPL as the kernel's powercap shows it: counters that tick and wrap, fed by P(t)."""

from __future__ import annotations

import errno
import math
import os
import random
from typing import TYPE_CHECKING, Protocol

from pactmeter.bench.sysfs import add_device, add_link, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pactmeter.bench.faults import Fault, FaultBoard
    from pactmeter.bench.topology import Topology, ZoneSpec
    from pactmeter.bench.tree import Tree

TICK_S = 0.000976
"""How often the processor updates a counter (Intel SDM volume 3B, section on RAPL)."""

_COUNTS = 2**32
"""Where the register starts again."""
_NJ_PER_J = 1_000_000_000
_NJ_PER_UJ = 1_000

_ROOT = "sys/devices/virtual/powercap"
_JUMP_J = 50.0


class EnergySource(Protocol):
    """What feeds a counter."""

    def energy_j(self, from_s: float, to_s: float) -> float:
        """Return the joules between two times."""
        ...


class RaplZone:
    """One counter.

    The register counts steps of 2^-bits joules in 32 bits. The kernel knows a step in whole
    nanojoules and shows whole microjoules, so that 2^-14 J become 61.035 uJ; so does this.

    Args:
        spec: Which zone it is.
        source: What feeds it.
        faults: What is ordered for it.
        clock: Tells the time, in seconds since the command's start.
        preset_uj: What the counter shows at time 0, in microjoules.
    """

    def __init__(
        self,
        spec: ZoneSpec,
        source: EnergySource,
        faults: FaultBoard,
        clock: Callable[[], float],
        *,
        preset_uj: int = 0,
    ) -> None:
        self.spec = spec
        self._source = source
        self._faults = faults
        self._clock = clock
        self._step_nj = _NJ_PER_J >> spec.bits
        self._preset = preset_uj * _NJ_PER_UJ // self._step_nj

    @property
    def range_uj(self) -> int:
        """The highest value, in microjoules; one step further the counter is 0 again."""
        return self._shown_uj(_COUNTS - 1)

    def energy_uj(self) -> int:
        """Return what the counter shows now, in microjoules.

        Raises:
            OSError: As ordered.
        """
        now_s = self._clock()
        if self._strikes("eio"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        frozen = self.ordered("frozen")
        return self._shown_uj(self._counts(frozen.start_s if frozen else now_s))

    def ordered(self, name: str) -> Fault | None:
        """Return a fault of this zone, or of all, that holds now."""
        faults = self._faults
        return faults.active(self.spec.component, name) or faults.active("rapl", name)

    def _strikes(self, name: str) -> bool:
        """Return whether a fault hits this read, and use one up of those that are counted."""
        faults = self._faults
        return any(faults.take(device, name) for device in (self.spec.component, "rapl"))

    def _shown_uj(self, counts: int) -> int:
        return counts * self._step_nj // _NJ_PER_UJ

    def _counts(self, t_s: float) -> int:
        """Return the register at a time."""
        start_s, preset = self._anchor(t_s)
        until_s = t_s // TICK_S * TICK_S
        energy_j = self._source.energy_j(start_s, until_s)
        return (preset + math.floor(energy_j * (1 << self.spec.bits))) % _COUNTS

    def _anchor(self, t_s: float) -> tuple[float, int]:
        """Return when the counter was last set, in seconds, and to what, in steps."""
        anchor = (0.0, self._preset)
        for fault in sorted(self._faults.all(), key=lambda one: one.start_s):
            if fault.name not in {"back", "jump"} or fault.start_s > t_s:
                continue
            if fault.device not in {"rapl", self.spec.component} or fault.duration_s == 0.0:
                continue
            left_j = float(fault.value or _JUMP_J)
            steps = 0 if fault.name == "back" else -round(left_j * (1 << self.spec.bits))
            anchor = (fault.start_s // TICK_S * TICK_S, steps)
        return anchor


class Powercap:
    """The zones in the tree, and what the faults make of them.

    Args:
        tree: The files shown.
        zones: The zones, each behind the one it lies in.
        mode: Permissions of ``energy_uj``; root's alone since Linux 5.10.
    """

    def __init__(self, tree: Tree, zones: Iterable[RaplZone], mode: int = 0o400) -> None:
        self._tree = tree
        self._zones = tuple(zones)
        self._mode = mode
        for control in dict.fromkeys(zone.spec.control for zone in self._zones):
            path = f"{_ROOT}/{control}"
            add_device(tree, path, "class/powercap", {}, {"enabled": "1"})
            add_link(tree, f"sys/class/powercap/{control}", path)
        self.update()

    def update(self) -> None:
        """Let zones come and go, and change files, as the faults that hold now want it."""
        gone: set[str] = set()
        for zone in self._zones:
            spec = zone.spec
            path = self._path(spec)
            if zone.ordered("vanish") or spec.parent in gone:
                gone.add(spec.path)
                remove(self._tree, f"sys/class/powercap/{spec.path}")
                remove(self._tree, path)
                continue
            if not self._tree.exists(path):
                self._add(zone, path)
            limit = f"{path}/max_energy_range_uj"
            if zone.ordered("no_range"):
                remove(self._tree, limit)
            elif not self._tree.exists(limit):
                self._tree.add_text(limit, f"{zone.range_uj}\n")
            self._tree.set_mode(f"{path}/energy_uj", 0 if zone.ordered("deny") else self._mode)

    def _add(self, zone: RaplZone, path: str) -> None:
        files = {"name": zone.spec.name, "enabled": "1"}
        add_device(self._tree, path, "class/powercap", {}, files)
        # Mode 0 keeps root out too: sysfs opens nothing that nobody may open.
        self._tree.add_text(f"{path}/energy_uj", lambda: f"{zone.energy_uj()}\n", self._mode)
        add_link(self._tree, f"{path}/device", path.rpartition("/")[0])
        add_link(self._tree, f"sys/class/powercap/{zone.spec.path}", path)

    def _path(self, spec: ZoneSpec) -> str:
        """Return where a zone is: below its package, which is below the control type."""
        above = [spec.parent] if spec.parent != spec.control else []
        return "/".join((_ROOT, spec.control, *above, spec.path))


def presets(topology: Topology, seed: int) -> dict[str, int]:
    """Return what counters show at time 0, by component, in microjoules.

    No two are alike, as on a machine that has been up for a while: there are programs that take
    counters with the same value for one counter seen twice. None is past half of its range, so
    that wraps come when they are ordered.
    """
    chance = random.Random(seed)  # noqa: S311  a load's past, not a secret
    return {
        spec.component: chance.randrange(_COUNTS // 2) * (_NJ_PER_J >> spec.bits) // _NJ_PER_UJ
        for spec in topology.zones
    }


def make_zones(
    topology: Topology,
    sources: Mapping[str, EnergySource],
    faults: FaultBoard,
    clock: Callable[[], float],
    preset_uj: Mapping[str, int] | None = None,
) -> list[RaplZone]:
    """Return the zones of a topology.

    Args:
        topology: Which there are.
        sources: What feeds them, by component.
        faults: What is ordered for them.
        clock: Tells the time, in seconds since the command's start.
        preset_uj: What counters show at time 0, by component, in microjoules.
    """
    presets = preset_uj or {}
    return [
        RaplZone(
            spec,
            sources[spec.component],
            faults,
            clock,
            preset_uj=presets.get(spec.component, 0),
        )
        for spec in topology.zones
    ]
