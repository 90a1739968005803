"""Which RAPL zones a processor has, by names such as ``2x`` and ``1x,psys``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pactmeter.errors import ConfigError, unknown_name

OPTIONS = {
    "amd": "an AMD processor: package and core alone",
    "psys": "a zone of the whole platform",
    "mmio": "package 0 a second time, through other registers (intel-rapl-mmio)",
    "die2": "two dies a package, each with zones of its own",
    "nodram": "no dram, as most clients",
    "nocore": "no core, as servers",
    "nouncore": "no uncore, as servers",
    "reversed": "the paths count the packages backwards",
}
"""What can follow ``Nx,``, and what it means."""

INTEL_BITS = 14
DRAM_BITS = 16
"""Memory of Intel's servers counts in steps of its own."""
AMD_BITS = 16

_COUNT = re.compile(r"[1-8]x")
_PARTS = {"intel": ("core", "uncore", "dram"), "amd": ("core",)}


@dataclass(frozen=True, slots=True)
class ZoneSpec:
    """One zone.

    Attributes:
        path: Name of its directory, such as ``intel-rapl:0:1``.
        name: What it says it is, such as ``dram``.
        component: What feeds it, such as ``cpu.dram0``.
        bits: Its counter counts in 2^-bits joules.
    """

    path: str
    name: str
    component: str
    bits: int = INTEL_BITS

    @property
    def parent(self) -> str:
        """The directory that it lies in: a zone, or the control type."""
        return self.path.rpartition(":")[0]

    @property
    def control(self) -> str:
        """The control type, such as ``intel-rapl``."""
        return self.path.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Topology:
    """The zones of a machine.

    Attributes:
        text: How the user named it.
        vendor: ``intel`` or ``amd``.
        sockets: Number of processors.
        packages: Number of components ``cpu.packageN`` that feed it: one a die.
        zones: The zones, each behind the one it lies in.
    """

    text: str
    vendor: str
    sockets: int
    packages: int
    zones: tuple[ZoneSpec, ...]


def topology(text: str) -> Topology:
    """Return the zones that ``Nx[,OPTION...]`` names; the options are `OPTIONS`.

    Without a number it is one processor: ``amd`` is ``1x,amd``.

    >>> [f"{zone.path} {zone.name}" for zone in topology("1x,nocore,nouncore").zones]
    ['intel-rapl:0 package-0', 'intel-rapl:0:0 dram']

    Raises:
        ConfigError: An option is not known, or does not go with another one.
    """
    words = text.split(",")
    count = words.pop(0) if _COUNT.fullmatch(words[0]) else "1x"
    for word in words:
        if word not in OPTIONS:
            raise unknown_name("RAPL option", word, ["1x", "2x", "4x", *OPTIONS])
    sockets, given = int(count[0]), set(words)
    dies = 2 if "die2" in given else 1
    packages = sockets * dies
    _check(text, packages, given)
    vendor = "amd" if "amd" in given else "intel"
    parts = [part for part in _PARTS[vendor] if f"no{part}" not in given]
    bits = AMD_BITS if vendor == "amd" else INTEL_BITS
    zones = []
    for place in range(packages):
        package = packages - 1 - place if "reversed" in given else place
        socket, die = divmod(package, dies)
        path, name = f"intel-rapl:{place}", f"package-{socket}"
        if dies > 1:
            name += f"-die-{die}"
        zones.append(ZoneSpec(path, name, f"cpu.package{package}", bits))
        for index, part in enumerate(parts):
            step = DRAM_BITS if part == "dram" else bits
            zones.append(ZoneSpec(f"{path}:{index}", part, f"cpu.{part}{package}", step))
    if "psys" in given:
        zones.append(ZoneSpec(f"intel-rapl:{packages}", "psys", "cpu.psys"))
    if "mmio" in given:
        zones.append(ZoneSpec("intel-rapl-mmio:0", "package-0", "cpu.package0"))
    return Topology(text, vendor, sockets, packages, tuple(zones))


def _check(text: str, packages: int, given: set[str]) -> None:
    """Raise ConfigError for options that do not go together."""
    alien = given & {"psys", "mmio"} if "amd" in given else set()
    if alien:
        names = " and ".join(sorted(alien))
        raise ConfigError(f"RAPL {text!r}: AMD processors have no {names}", f"leave out {names}")
    if "reversed" in given and packages == 1:
        raise ConfigError(f"RAPL {text!r}: one package has no order", "2x,reversed")
