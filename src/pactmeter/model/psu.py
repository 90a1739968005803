"""The power supplies PACT knows, and what each draws from the wall for what it gives.

No supply here measures its AC side. What is given for it is an estimate, evaluated from the
unit's efficiency curve at the DC power and the input voltage that it does measure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pactmeter.errors import unknown_name
from pactmeter.model.psu_curve import GOLD, PLATINUM, Efficiency, certified, minimum, published

DC_ACCURACY_PCT = 5.0
"""Half-width (k=2) of an uncalibrated supply's own DC reading: no maker publishes one."""

MAX_LOAD = 1.3
"""A reading above this share of the rated power is garbage: the supply would have tripped."""

VALID_INPUT_V = (90.0, 264.0)
"""Input range of the supplies; outside, a curve says nothing."""


GROUP = "pactmeter"
"""System group whose members may read the meters; `pactmeter setup` makes it."""
UDEV_FILE = "/etc/udev/rules.d/70-pactmeter.rules"


class Protocol(StrEnum):
    """The language a supply speaks over USB."""

    CORSAIR = "corsair"
    NZXT = "nzxt"


@dataclass(frozen=True, slots=True)
class PsuModel:
    """One model of power supply.

    Attributes:
        vid: USB vendor id.
        pid: USB product id.
        name: Name in messages and reports.
        rated_w: Rated DC output, in watts.
        protocol: What it speaks over USB.
        efficiency: What the AC estimate is made from.
        aliases: Further names that users type.
        kernel_only: Read through the kernel's corsair-psu driver alone; liquidctl lacks it.
    """

    vid: int
    pid: int
    name: str
    rated_w: float
    protocol: Protocol
    efficiency: Efficiency
    aliases: tuple[str, ...] = ()
    kernel_only: bool = False

    @property
    def usb_id(self) -> str:
        """The ``vid:pid`` that binds this model."""
        return f"{self.vid:04x}:{self.pid:04x}"

    @property
    def udev_rule(self) -> str:
        """The udev rule that lets `GROUP`, and who sits at the machine, talk to this model."""
        return (
            f'KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{{idVendor}}=="{self.vid:04x}",'
            f' ATTRS{{idProduct}}=="{self.pid:04x}", MODE="0660", GROUP="{GROUP}", TAG+="uaccess"'
        )

    @property
    def measures_input_v(self) -> bool:
        """Whether the supply measures its input voltage."""
        return self.protocol is Protocol.CORSAIR


@dataclass(frozen=True, slots=True)
class Match:
    """What a user's name for a PSU stands for: a model, and a serial if one was typed."""

    model: PsuModel
    serial: str | None = None


def _corsair(pid: int, name: str, rated_w: float, curves: Efficiency, *aliases: str) -> PsuModel:
    return PsuModel(0x1B1C, pid, f"Corsair {name}", rated_w, Protocol.CORSAIR, curves, aliases)


def _kernel(pid: int, name: str, rated_w: float, curves: Efficiency) -> PsuModel:
    full = f"Corsair {name}"
    return PsuModel(0x1B1C, pid, full, rated_w, Protocol.CORSAIR, curves, kernel_only=True)


def _nzxt(pid: int, name: str, rated_w: float) -> PsuModel:
    curves = minimum(rated_w, GOLD)
    alias = f"NZXT_{rated_w:.0f}"
    return PsuModel(0x7793, pid, f"NZXT {name}", rated_w, Protocol.NZXT, curves, (alias,))


# Corsair's coefficients at 115 V and at 230 V are fits of the manufacturer's published efficiency
# curves (the two ATX 3.1 units: of the Cybenetics certificates 2510 and 2733); the figures are
# those that liquidctl 1.16 publishes. It notes that the curves of the HX1500i and of the
# HX1000i (2022) do not follow the published efficiency at 2 to 10 % load.
# fmt: off
MODELS: tuple[PsuModel, ...] = (
    _corsair(0x1C05, "HX750i", 750.0, published(
        (0.00013153276902318052, 1.0118732314945875, 9.783796618886313),
        (9.268856467314546e-05, 1.0183515407387007, 8.279822175342481))),
    _corsair(0x1C06, "HX850i", 850.0, published(
        (0.00011552923724840388, 1.0111311876704099, 12.015296651918918),
        (8.126644224872423e-05, 1.0176256272095185, 10.29064044237385))),
    _corsair(0x1C07, "HX1000i", 1000.0, published(
        (9.48609754417109e-05, 1.017050986526972, 11.619826520447452),
        (9.649987544008507e-05, 1.0018241767296636, 12.759957859756842))),
    _corsair(0x1C08, "HX1200i", 1200.0, published(
        (6.244705156199815e-05, 1.0234738310580973, 15.293509559389241),
        (5.9413179794350966e-05, 1.0023670927127724, 15.886126793547152))),
    _corsair(0x1C23, "HX1200i ATX 3.1", 1200.0, certified(
        (9.930197967499293e-05, 1.003634953854399, 13.956713659543981),
        (4.716701557627399e-05, 1.031689131040792, 8.562560345390088))),
    _corsair(0x1C27, "HX1200i ATX 3.1 #2", 1200.0, certified(
        (8.701178559061476e-05, 1.0119502460041445, 12.725770701505295),
        (3.4692421780176756e-05, 1.0391630676290817, 7.429785098514605))),
    _corsair(0x1C0A, "RM650i", 650.0, published(
        (0.00017323493381072683, 1.004704472168603, 12.376592422281606),
        (0.0001241313631031037, 1.0284317478987164, 9.465259079360674))),
    _corsair(0x1C0B, "RM750i", 750.0, published(
        (0.00015013694263596336, 1.0047044721686027, 14.28068356417111),
        (0.00010460621468919797, 1.0173089573727216, 11.495900706372142))),
    _corsair(0x1C0C, "RM850i", 850.0, published(
        (0.00012280002467981107, 1.0159421430340847, 13.555472968718759),
        (8.816054254801031e-05, 1.0234738318592156, 10.832902491655597))),
    _corsair(0x1C0D, "RM1000i", 1000.0, published(
        (0.00010018433053123574, 1.0272313660072225, 14.092187353321624),
        (8.600634771656125e-05, 1.0289245073649413, 13.701515390258626))),
    _corsair(0x1C1E, "HX1000i (2022)", 1000.0, published(
        (0.00012038623467957958, 0.9899868099948035, 13.125601514017152),
        (8.725695209710315e-05, 1.0017598021499974, 9.7895460633001540))),
    _corsair(0x1C1F, "HX1500i", 1500.0, published(
        (6.605968230747892e-05, 1.0125991461405333, 17.96728350708451),
        (4.634428233657273e-05, 1.0183515407387007, 16.559644350684962)), "Corsair_1500i"),
    _nzxt(0x5911, "E500", 500.0),
    _nzxt(0x5912, "E650", 650.0),
    _nzxt(0x2500, "E850", 850.0),
    _kernel(0x1C03, "HX550i", 550.0, minimum(550.0, PLATINUM)),
    _kernel(0x1C04, "HX650i", 650.0, minimum(650.0, PLATINUM)),
    _kernel(0x1C09, "RM550i", 550.0, minimum(550.0, GOLD)),
)
# fmt: on

_BY_ID = {(model.vid, model.pid): model for model in MODELS}


def find(vid: int, pid: int) -> PsuModel | None:
    """Return the model with these USB ids, or None if PACT does not know it."""
    return _BY_ID.get((vid, pid))


def names() -> list[str]:
    """Return the names to offer to a user: one a model, then the aliases.

    >>> names()[:2], "Corsair_1500i" in names()
    (['Corsair_HX750i', 'Corsair_HX850i'], True)
    """
    plain = [re.sub(r"\W+", "_", model.name.replace(".", "")).strip("_") for model in MODELS]
    return plain + [alias for model in MODELS for alias in model.aliases]


def match(name: str) -> Match:
    """Return what a user's name for a PSU stands for.

    Case, blanks and punctuation do not count, and the maker may be left out.

    >>> match("Corsair_1500i").model.usb_id, match("NZXT_850").model.usb_id
    ('1b1c:1c1f', '7793:2500')
    >>> match("1B1C:1C1F:00012345").serial
    '00012345'

    Raises:
        ConfigError: No supported PSU is called that.
    """
    ids = re.fullmatch(r"([0-9a-f]{4}):([0-9a-f]{4})(?::(.+))?", name.strip(), re.IGNORECASE)
    if ids:
        model = find(int(ids[1], 16), int(ids[2], 16))
        if model:
            return Match(model, ids[3])
        raise unknown_name("PSU", name, [known.usb_id for known in MODELS])
    folded = _folded(name)
    for model in MODELS:
        full = _folded(model.name)
        short = full.removeprefix("corsair").removeprefix("nzxt")
        if folded in {full, short, *map(_folded, model.aliases)}:
            return Match(model)
    # part of a name is no misspelling of it, so that its like would not be found
    near = [known for known in names() if folded and folded in _folded(known)]
    raise unknown_name("PSU", name, near or names())


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def ac_input_w(model: PsuModel, dc_w: float, input_v: float | None) -> float | None:
    """Return the estimated AC input power, in watts.

    The two curves are interpolated linearly in the input voltage. A model that measures no
    input voltage gets the mean of both: over the Gold certificates that is the unbiased choice.

    Args:
        model: The power supply.
        dc_w: Its DC output power, in watts.
        input_v: Its input voltage, in volts; None if it is not known.

    Returns:
        The estimate; None where there is none: the voltage is not known although the model
        measures it, or is outside the range of the supply.
    """
    curves = model.efficiency
    at_115_w, at_230_w = curves.at_115_v.at(dc_w), curves.at_230_v.at(dc_w)
    if not model.measures_input_v:
        return (at_115_w + at_230_w) / 2.0
    low_v, high_v = VALID_INPUT_V
    # A comparison with NaN is false, so that too gives no estimate.
    if input_v is None or not low_v <= input_v <= high_v:
        return None
    return at_115_w + (at_230_w - at_115_w) * (input_v - 115.0) / 115.0
