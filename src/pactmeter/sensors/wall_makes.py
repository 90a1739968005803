"""What each make of meter is asked, and where in its answer the figures stand.

Facts: Shelly's API from the second generation on (components Switch, PM1, EM1, EM; `apower` and
`act_power` in watts, `aenergy.total` in Wh) and Tasmota's commands (`Status 10`: `ENERGY.Power` in
watts, `Total` in kWh; `Status 11`: the relays). All of them only tell, none sets anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from pactmeter.errors import ReadError
from pactmeter.model.meter import COMPONENTS
from pactmeter.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from pactmeter.model.meter import MeterAddress
    from pactmeter.sensors.wall_http import MeterClient

BENCH = "pactmeter-bench"
"""What an emulated meter says of its firmware or model."""
_MOST = 10**15
_JOULES_PER_WH = JOULES_PER_KWH / 1000
_PART = re.compile(rf"({'|'.join(COMPONENTS)}):(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a meter says of itself.

    Attributes:
        unit: The same for the same outlet of the same unit, always.
        label: Its name for people.
        is_emulated: Whether its firmware says that it is no meter.
    """

    unit: str
    label: str
    is_emulated: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of a meter, in SI units.

    Attributes:
        power_w: Power, as the meter has it at this time.
        power_step_w: Smallest step of the power.
        voltage_v: Voltage; None where it gives none.
        total_j: Its energy counter; None where it gives none.
        total_step_j: Smallest step of the counter.
    """

    power_w: float
    power_step_w: float
    voltage_v: float | None = None
    total_j: float | None = None
    total_step_j: float = 0.0


class Make(Protocol):
    """A make of meters.

    Attributes:
        field: What it calls power.
        accuracy_pct: Half-width (k=2) of its own error, in percent of the reading.
        accuracy_source: Where that comes from.
        least_s: It is asked at most once in so many seconds.
    """

    field: str
    accuracy_pct: float
    accuracy_source: str
    least_s: float

    def identify(self, client: MeterClient) -> Identity:
        """Return what the device says of itself, and see that it measures."""

    def ask(self, client: MeterClient) -> Sample:
        """Return what it shows now."""


class Shelly:
    """Shelly of the second generation or later.

    It is asked five times a second: how often it has something new is not told.
    """

    accuracy_pct = 3.5
    accuracy_source = "Swedish Energy Agency, tests of plugs: total error below 3.5 % from 30 W on"
    least_s = 0.15

    def __init__(self, address: MeterAddress) -> None:
        self._address = address
        self._part = ""
        self.field = ""

    def identify(self, client: MeterClient) -> Identity:
        """Return its id, and choose the part that measures."""
        told = client.get("/shelly")
        unit = told.get("id")
        if "gen" not in told and isinstance(told.get("type"), str):
            raise ReadError(
                f"the meter at {client.place} is a Shelly of the first generation ({told['type']})",
                "use one of the second generation or later, or a plug with Tasmota",
            )
        if not isinstance(unit, str) or not unit:
            raise ReadError(
                f"{client.place} is no Shelly: it does not tell its id",
                "tasmota:// is for plugs with Tasmota",
            )
        if told.get("auth_en") is True and self._address.password is None:
            raise client.password_error()
        self._choose(client)
        name = told.get("name")
        own = f"{name} ({unit})" if isinstance(name, str) and name else unit
        return Identity(f"{unit} {self._part}", f"Shelly {own} {self._part}", _is_bench(told))

    def ask(self, client: MeterClient) -> Sample:
        """Return what the part shows now."""
        component, _, number = self._part.partition(":")
        service = "Switch" if component == "switch" else component.upper()
        told = client.get(f"/rpc/{service}.GetStatus?id={number}")
        who = f"{self._part} of the Shelly at {client.place}"
        if told.get("output") is False:
            raise ReadError(f"{who} is switched off", "switch it on, or name the outlet in use")
        errors = told.get("errors")
        for error in errors if isinstance(errors, list) else ():
            if error == "power_meter_failure" or "act_power" in str(error):
                raise ReadError(f"{who} reports {error}", "restart the meter")
        total = told.get("aenergy")
        total_wh = _optional(total.get("total")) if isinstance(total, dict) else None
        return Sample(
            power_w=_power_w(told, _SHELLY_FIELDS[component], who, _SHELLY_MOST_W[component]),
            power_step_w=0.1,
            voltage_v=_optional(told.get("voltage")),
            total_j=None if total_wh is None else total_wh * _JOULES_PER_WH,
            total_step_j=0.001 * _JOULES_PER_WH,
        )

    def _choose(self, client: MeterClient) -> None:
        status = client.get("/rpc/Shelly.GetStatus")
        found = [match for key in status if (match := _PART.fullmatch(key)) is not None]
        parts = [
            match[0]
            for match in found
            if isinstance(status[match[0]], dict) and _SHELLY_FIELDS[match[1]] in status[match[0]]
        ]
        if not parts:
            raise ReadError(
                f"the Shelly at {client.place} does not measure power",
                "use a model that does, such as a Plug S",
            )
        wanted = self._address.part
        chosen = [part for part in parts if wanted in {None, part, part.partition(":")[2]}]
        if len(chosen) != 1:
            told = f"has no outlet {wanted}" if not chosen else "has more than one"
            raise ReadError(
                f"the Shelly at {client.place} {told}; it measures {', '.join(parts)}",
                f"write which one, as shelly://{client.place}/{(chosen or parts)[0]}",
            )
        self._part = chosen[0]
        component = self._part.partition(":")[0]
        self.field = _SHELLY_FIELDS[component]
        if component.startswith("em"):
            self.accuracy_pct = 5.0
            self.accuracy_source = "Type B: a meter with current clamps, no test known"


_SHELLY_FIELDS = {
    "switch": "apower",
    "pm1": "apower",
    "em1": "act_power",
    "em": "total_act_power",
}
_SHELLY_MOST_W = {"switch": 7_500.0, "pm1": 7_500.0, "em1": 30_000.0, "em": 100_000.0}
"""What a part shows beyond this cannot be: twice what 16 A carry, 120 A, three times 120 A."""


class Tasmota:
    """A plug with the Tasmota firmware.

    Many open a connection for every question, and what they measure is renewed once a second:
    they are asked twice in that time.
    """

    accuracy_pct = 10.0
    accuracy_source = (
        "Type B: as its owner calibrated it; of the plugs that the Swedish Energy Agency tested"
        " one missed by more than 5 % everywhere"
    )
    least_s = 0.45
    _most_w = 30_000.0

    def __init__(self, address: MeterAddress) -> None:
        self._number = int(address.part) if address.part else None
        self.field = f"ENERGY.Power {self._number}" if self._number else "ENERGY.Power"
        self._login = ""
        if address.password is not None:
            self._login = f"user={quote(address.user, '')}&password={quote(address.password, '')}&"

    def identify(self, client: MeterClient) -> Identity:
        """Return its network address and name."""
        told = self._get(client, "Status%200")
        status, net, firmware = (
            part if isinstance(part := told.get(key), dict) else {}
            for key in ("Status", "StatusNET", "StatusFWR")
        )
        unit = net.get("Mac") or status.get("Topic")
        if not isinstance(unit, str):
            raise ReadError(
                f"{client.place} is no Tasmota: it does not tell its address",
                "shelly:// is for the maker's own firmware",
            )
        self._check_relay(told.get("StatusSTS"), client)
        outlet = "" if self._number is None else f" {self._number}"
        label = f"Tasmota {status.get('DeviceName') or 'unnamed'} ({unit}){outlet}"
        return Identity(f"{unit}{outlet}", label, _is_bench(firmware))

    def ask(self, client: MeterClient) -> Sample:
        """Return what it shows now."""
        told = self._get(client, "Status%2010").get("StatusSNS")
        energy = told.get("ENERGY") if isinstance(told, dict) else None
        who = f"the Tasmota at {client.place}"
        if not isinstance(energy, dict):
            raise ReadError(
                f"{who} gives no ENERGY: it is no metering plug, or not set up as one",
                "choose the plug's template in Tasmota's configuration",
            )
        figures = {key: self._own(energy.get(key), client) for key in ("Power", "Voltage")}
        power_w = _power_w(figures, "Power", who, self._most_w)
        if power_w == 0:
            self._check_relay(self._get(client, "Status%2011").get("StatusSTS"), client)
        # a total that is one number is that of all its outlets
        total = energy.get("Total")
        if self._number is not None:
            total = self._own(total, client) if isinstance(total, list) else None
        total_kwh = _optional(total)
        return Sample(
            power_w=power_w,
            power_step_w=_step(figures["Power"]),
            voltage_v=_optional(figures["Voltage"]),
            total_j=None if total_kwh is None else total_kwh * JOULES_PER_KWH,
            total_step_j=_step(total) * JOULES_PER_KWH,
        )

    def _own(self, value: object, client: MeterClient) -> object:
        """Return the figure of the outlet that was asked for.

        Raises:
            ReadError: There are several and none was asked for, or not this one.
        """
        if not isinstance(value, list):
            return value
        if self._number is None or self._number > len(value):
            told = "more than one outlet" if self._number is None else f"no outlet {self._number}"
            raise ReadError(
                f"the Tasmota at {client.place} has {told}; it measures {len(value)}",
                f"write which one, as tasmota://{client.place}/1",
            )
        return value[self._number - 1]

    def _check_relay(self, status: object, client: MeterClient) -> None:
        name = f"POWER{self._number}" if self._number else "POWER"
        if isinstance(status, dict) and status.get(name) == "OFF":
            raise ReadError(f"the Tasmota at {client.place} is switched off", "switch it on")

    def _get(self, client: MeterClient, command: str) -> dict[str, Any]:
        told = client.get(f"/cm?{self._login}cmnd={command}")
        if "WARNING" in told:  # so do older versions ask for a password
            raise client.password_error()
        return told


def make_of(address: MeterAddress) -> Make:
    """Return how the meter at an address is spoken to."""
    return Shelly(address) if address.kind == "shelly" else Tasmota(address)


def _is_bench(told: dict[str, Any]) -> bool:
    return any(BENCH in value for value in told.values() if isinstance(value, str))


def _power_w(told: dict[str, Any], field: str, who: str, most_w: float) -> float:
    """Return a power in watts.

    Raises:
        ReadError: There is none, or it cannot be the power of a machine.
    """
    power_w = _optional(told.get(field))
    if power_w is None:
        raise ReadError(f"{who} gives no {field}", "use a model that measures power")
    if power_w < 0:
        raise ReadError(f"{who} shows {power_w:g} W", "turn its clamp or its plug round")
    if power_w > most_w:
        raise ReadError(f"{who} shows {power_w:g} W, more than the {most_w:g} W that can be")
    return power_w


def _optional(value: object) -> float | None:
    """Return a number of an answer, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)  # whose size is no matter
    return float(number) if abs(number) < _MOST else None


def _step(value: object) -> float:
    """Return the smallest step of a number as it is written, such as 0.1 for 12.0."""
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return float(10.0**exponent) if isinstance(exponent, int) else 1.0
