"""How a wall meter is named: ``shelly://[:PASSWORD@]HOST[:PORT][/OUTLET][#NAME,accuracy=1%]``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from pactmeter.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = ("shelly", "tasmota")
COMPONENTS = ("switch", "pm1", "em1", "em")
"""Parts of a Shelly that measure power, by its own names; a part is one with a number."""

_EXAMPLE = "write shelly://192.168.1.20 or tasmota://plug.local"
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_COMPONENT = re.compile(rf"({'|'.join(COMPONENTS)}):\d{{1,3}}", re.ASCII)
_PERCENT = re.compile(r"(\d{1,2}(\.\d{1,4})?)%?", re.ASCII)
_HTTP_PORT = 80
_USER = "admin"
"""Both makes know this one user alone."""


@dataclass(frozen=True, slots=True)
class MeterAddress:
    """A meter as the user named it.

    Attributes:
        kind: How it is spoken to: ``shelly`` or ``tasmota``.
        host: Its name or address in the network.
        port: TCP port of its web server.
        part: Which of its outlets: a number, or for a Shelly a part as ``pm1:0``; None: not said.
        name: What its channel is called after ``wall.``.
        accuracy_pct: Half-width (k=2) of its error in percent of the reading, as the user states
            it; None: not stated.
        user: Who asks; never shown.
        password: For it; never shown. None: no password.
    """

    kind: str
    host: str
    port: int
    part: str | None
    name: str
    accuracy_pct: float | None = None
    user: str = field(default=_USER, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Host and port, as in a web address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _HTTP_PORT else f"{host}:{self.port}"


def without_password(url: str) -> str:
    """Return a meter's URL as it may be shown and written down.

    Whatever comes before the last @ goes, so that a URL that is written wrongly tells no more.

    >>> without_password("shelly://admin:se/cr@et@192.168.1.20/1")
    'shelly://***@192.168.1.20/1'
    """
    return re.sub(r"^([a-z]*://)?.*@", r"\1***@", url, flags=re.DOTALL | re.IGNORECASE)


def parse(url: str) -> MeterAddress:
    """Return the meter that a URL names.

    >>> parse("shelly://192.168.1.20/pm1:0").name
    '192-168-1-20-pm1-0'
    >>> meter = parse("tasmota://plug.local#desk,accuracy=1%")
    >>> meter.name, meter.accuracy_pct
    ('desk', 1.0)

    Raises:
        ConfigError: It names none; says what is wrong with it, and never a password.
    """
    shown = without_password(url)
    scheme, colon, _ = shown.partition("://")
    if not colon:
        raise ConfigError(f"meter {shown!r} does not say what kind it is", _EXAMPLE)
    kind = scheme.lower()
    if kind not in KINDS:
        raise unknown_name("kind of meter", scheme, KINDS)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:  # its text, and the URL itself, may hold a password
        raise ConfigError(f"a {kind}:// meter has a wrong host or port", _EXAMPLE) from None
    if not _is_host(host):
        fix = "write / # ? and @ in a password as %2F %23 %3F and %40" if "@" in url else _EXAMPLE
        raise ConfigError(f"meter {shown!r} names no host", fix)
    if parts.query or port == 0:
        raise ConfigError(f"meter {shown!r} has a part that is not understood", _EXAMPLE)
    user, password = _credentials(shown, parts)
    part = _part(shown, kind, parts.path.strip("/").lower())
    name, accuracy_pct = _fragment(shown, unquote(parts.fragment))
    if name is None:
        name = "-".join(filter(None, (_short(host), part))).replace(":", "-")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"meter {shown!r}: {name!r} is no name", "use letters, digits, - and _, as #desk"
        )
    return MeterAddress(
        kind, host, port or _HTTP_PORT, part, name, accuracy_pct, user or _USER, password
    )


def parse_all(urls: Iterable[str]) -> tuple[MeterAddress, ...]:
    """Return the meters that URLs name, each of another name.

    Raises:
        ConfigError: One names none, or two would have the same channel or are the same.
    """
    meters: dict[str, MeterAddress] = {}
    for meter in map(parse, urls):
        if meter.name in meters:
            raise ConfigError(
                f"two meters would be called 'wall.{meter.name}'",
                f"give each a name of its own, as {meter.kind}://{meter.place}#desk",
            )
        for other in meters.values():
            if (other.host, other.port, other.part) == (meter.host, meter.port, meter.part):
                raise ConfigError(
                    f"meter {meter.kind}://{meter.place} is named twice",
                    "name it once: its energy would count twice",
                )
        meters[meter.name] = meter
    return tuple(meters.values())


def _credentials(shown: str, parts: SplitResult) -> tuple[str | None, str | None]:
    user, password = parts.username, parts.password
    if user is None and password is None:
        return None, None
    if not password:
        raise ConfigError(f"meter {shown!r} names a user and no password", "write :PASSWORD@HOST")
    return unquote(user or ""), unquote(password)


def _part(shown: str, kind: str, path: str) -> str | None:
    """Return which outlet the path names.

    Raises:
        ConfigError: It names none.
    """
    if not path:
        return None
    if kind == "shelly" and (_NUMBER.fullmatch(path) or _COMPONENT.fullmatch(path)):
        return path
    if kind == "tasmota" and _NUMBER.fullmatch(path) and int(path) > 0:
        return path
    known = ", ".join(f"/{one}:0" for one in COMPONENTS)
    fix = f"write its number, as /0, or its part, as {known}"
    if kind == "tasmota":
        fix = "write its number, as /1 for the first"
    raise ConfigError(f"meter {shown!r}: {path!r} is no outlet", fix)


def _fragment(shown: str, text: str) -> tuple[str | None, float | None]:
    """Return the name and the accuracy in percent that stand after the #.

    Raises:
        ConfigError: Something else stands there.
    """
    name: str | None = None
    accuracy_pct: float | None = None
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            name = key
            continue
        number = _PERCENT.fullmatch(value) if key == "accuracy" else None
        if number is None or float(number[1]) == 0:
            raise ConfigError(
                f"meter {shown!r}: {item!r} is not understood", "write as #desk,accuracy=1%"
            )
        accuracy_pct = float(number[1])
    return name, accuracy_pct


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return "%" not in host  # a zone belongs to this machine, and HTTP forbids it


def _short(host: str) -> str:
    """Return an address whole, and of a name its first part."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.partition(".")[0]
    return re.sub(r"[.:]+", "-", host).strip("-")
