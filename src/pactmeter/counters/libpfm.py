"""Processors' own event names, encoded by libpfm4 or, failing that, by ``perfmon``.

``libpfm.so.4`` (Debian: ``libpfm4``) is loaded by ctypes, and not before the first name that
nothing else knows. ``perfmon`` is the module of performance-features, for a machine where it
brings a library of its own. Taken from either are type, config, config1, config2 and the modes
left out; they go into PACT's own attribute, which the kernel sees.

libpfm4 can be told by its environment (LIBPFM_ENCODE_INACTIVE) to encode the events of processors
that are not there, as raw codes that would count something else here: PACT never sets that, and
refuses an encoding whose PMU libpfm4 does not report as present.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pactmeter.kernel import perf

if TYPE_CHECKING:
    from collections.abc import Iterator

Source = Literal["libpfm", "perfmon"]

LIBRARY = "libpfm.so.4"
PLM_KERNEL, PLM_USER = 1, 8
"""Privilege levels PFM_PLM0 and PFM_PLM3."""

_OS_PERF_EVENT = 1
_PMU_TYPE_CORE = 1
_ATTR_UMASK = 1
_NOT_FOUND = -4
_PMUS = 2048
"""How many PMU numbers are tried: 4.13 has 517 and knows no call that tells."""

_NAME = re.compile(r"[A-Za-z0-9_.:=-]{1,250}")
_GUESTS = re.compile(r"[:.](mg|mh|h)(?=[:.=]|$)", re.IGNORECASE)
"""Modifiers of libpfm4 (guest, host, hypervisor) that PACT's attribute does not take over."""


class RefusedError(Exception):
    """The name is known, yet not to be counted as it stands.

    Attributes:
        reason: Why.
        fix: What to write instead, where that is known.
    """

    def __init__(self, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a name comes to.

    Attributes:
        type: PMU number of ``perf_event_attr``; `config`, `config1` and `config2` as there.
        exclude_user: Whether the name leaves user mode out; `exclude_kernel` alike.
        pmu: The PMU as libpfm4 names it.
        full_name: The name with all that libpfm4 added; as typed where perfmon encoded it.
        encoded_by: Who encoded it.
    """

    type: int
    config: int
    config1: int
    config2: int
    exclude_user: bool
    exclude_kernel: bool
    pmu: str
    full_name: str
    encoded_by: Source


class _Argument(ctypes.Structure):
    """``pfm_perf_encode_arg_t``."""

    _fields_ = (
        ("attr", ctypes.c_void_p),
        ("fstr", ctypes.POINTER(ctypes.c_void_p)),
        ("size", ctypes.c_size_t),
        ("idx", ctypes.c_int),
        ("cpu", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("pad0", ctypes.c_int),
    )


class _PmuInfo(ctypes.Structure):
    """``pfm_pmu_info_t``; bit 0 of the flags says that the PMU is present."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("desc", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("pmu", ctypes.c_int),
        ("type", ctypes.c_int),
        ("nevents", ctypes.c_int),
        ("first_event", ctypes.c_int),
        ("max_encoding", ctypes.c_int),
        ("num_cntrs", ctypes.c_int),
        ("num_fixed_cntrs", ctypes.c_int),
        ("flags", ctypes.c_uint),
    )


class _EventInfo(ctypes.Structure):
    """``pfm_event_info_t``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("desc", ctypes.c_char_p),
        ("equiv", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("code", ctypes.c_uint64),
        ("pmu", ctypes.c_int),
        ("dtype", ctypes.c_int),
        ("idx", ctypes.c_int),
        ("nattrs", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("flags", ctypes.c_uint),
    )


class _AttrInfo(ctypes.Structure):
    """``pfm_event_attr_info_t``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("desc", ctypes.c_char_p),
        ("equiv", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("code", ctypes.c_uint64),
        ("type", ctypes.c_int),
        ("idx", ctypes.c_int),
        ("ctrl", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("default", ctypes.c_uint64),
    )


class _Library:
    """The loaded library; its state is the process's own, so there is one of it."""

    def __init__(self) -> None:
        """Load and initialise it (some ms).

        Raises:
            OSError: It is not installed, or does not start.
        """
        self._call = ctypes.CDLL(LIBRARY)
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = (ctypes.c_void_p,)
        self._free.restype = None
        self._call.pfm_strerror.restype = ctypes.c_char_p
        code = self._call.pfm_initialize()
        if code != 0:
            raise OSError(f"{LIBRARY}: {self._text(code)}")
        infos = (self._pmu(number) for number in range(_PMUS))
        self.pmus = {_string(info.name): info for info in infos if info}
        self.present = [name for name, info in self.pmus.items() if info.flags & 1]
        self.knows_processor = any(self.pmus[name].type == _PMU_TYPE_CORE for name in self.present)

    def encode(self, text: str, levels: int) -> Encoded | None:
        """Return the encoding of a name, or None where it is not known here.

        Raises:
            RefusedError: See `encode`.
        """
        wanted = text.partition("::")[0].casefold() if "::" in text else None
        for name, info in self.pmus.items():
            if name.casefold() == wanted and not info.flags & 1:
                raise self._absent(f"this machine has no PMU {name!r} ({_string(info.desc)})")
        attr, full = perf.Attr(size=ctypes.sizeof(perf.Attr)), ctypes.c_void_p()
        argument = _Argument(
            ctypes.addressof(attr), ctypes.pointer(full), ctypes.sizeof(_Argument), 0, -1
        )
        code = self._call.pfm_get_os_event_encoding(
            text.encode("ascii"), levels, _OS_PERF_EVENT, ctypes.byref(argument)
        )
        full_name = self._taken(full)
        if code == _NOT_FOUND:
            return None
        if code != 0:
            masks = ", ".join(self._masked(text))
            raise RefusedError(
                f"libpfm4 says: {self._text(code)}", f"one of: {masks}" if masks else None
            )
        event = self._event(argument.idx)
        unit = self._pmu(event.pmu) if event else None
        if unit is None or not unit.flags & 1:
            raise self._absent("its encoding is that of a PMU that this machine does not have")
        return Encoded(
            type=attr.type,
            config=attr.config,
            config1=attr.config1,
            config2=attr.config2,
            exclude_user=bool(attr.flags & perf.FLAG_EXCLUDE_USER),
            exclude_kernel=bool(attr.flags & perf.FLAG_EXCLUDE_KERNEL),
            pmu=_string(unit.name),
            full_name=full_name,
            encoded_by="libpfm",
        )

    def names(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield ``pmu::EVENT`` and its unit masks, for every PMU present."""
        for pmu in self.present:
            index = self.pmus[pmu].first_event
            while index >= 0:
                event = self._event(index)
                if event:
                    yield f"{pmu}::{_string(event.name)}", tuple(self._masks(index, event))
                index = self._call.pfm_get_event_next(index)

    def _absent(self, reason: str) -> RefusedError:
        found = ", ".join(self.present) or "none"
        return RefusedError(reason, f"name an event of a PMU that libpfm4 finds here: {found}")

    def _masked(self, text: str) -> tuple[str, ...]:
        """Return the event of a name with each of its unit masks."""
        head = re.match(r"(\w+::)?\w+", text)
        index = self._call.pfm_find_event(head[0].encode("ascii")) if head else -1
        event = self._event(index) if index >= 0 else None
        if head is None or event is None:
            return ()
        return tuple(f"{head[0]}:{mask}" for mask in self._masks(index, event))

    def _masks(self, index: int, event: _EventInfo) -> Iterator[str]:
        for number in range(event.nattrs):
            info = _AttrInfo(size=ctypes.sizeof(_AttrInfo))
            code = self._call.pfm_get_event_attr_info(
                index, number, _OS_PERF_EVENT, ctypes.byref(info)
            )
            if code == 0 and info.type == _ATTR_UMASK:
                yield _string(info.name)

    def _pmu(self, number: int) -> _PmuInfo | None:
        info = _PmuInfo(size=ctypes.sizeof(_PmuInfo))
        return info if self._call.pfm_get_pmu_info(number, ctypes.byref(info)) == 0 else None

    def _event(self, index: int) -> _EventInfo | None:
        info = _EventInfo(size=ctypes.sizeof(_EventInfo))
        code = self._call.pfm_get_event_info(index, _OS_PERF_EVENT, ctypes.byref(info))
        return info if code == 0 else None

    def _taken(self, text: ctypes.c_void_p) -> str:
        """Return a string of the library, which is the caller's to free."""
        if not text.value:
            return ""
        try:
            return _string(ctypes.string_at(text.value))
        finally:
            self._free(text)

    def _text(self, code: int) -> str:
        return _string(self._call.pfm_strerror(code))


def encode(text: str, levels: int = PLM_KERNEL | PLM_USER) -> Encoded | None:
    """Return what libpfm4 or perfmon makes of a name; None where neither is there or knows it.

    Args:
        text: ``EVENT[:MASK...]`` or ``pmu::EVENT[:MASK...]``, with libpfm4's own modifiers.
        levels: The modes to count where the name says none.

    Raises:
        RefusedError: The event lacks a part or has a wrong one, or this machine lacks its PMU.
    """
    if not _NAME.fullmatch(text):
        return None
    guest = _GUESTS.search(text)
    if guest:
        raise RefusedError(f"libpfm4's modifier ':{guest[1]}' is not supported")
    library = _library()
    found = library.encode(text, levels) if library else None
    return found or _by_perfmon(text, levels)


def installed() -> bool:
    """Return whether libpfm4 is there; loads it."""
    return _library() is not None


def knows_processor() -> bool:
    """Return whether libpfm4 is there and has a table for this machine's processor."""
    library = _library()
    return library is not None and library.knows_processor


def names() -> list[tuple[str, tuple[str, ...]]]:
    """Return ``pmu::EVENT`` and its unit masks, for every PMU that libpfm4 finds here."""
    library = _library()
    return list(library.names()) if library else []


@functools.cache
def _library() -> _Library | None:
    try:
        return _Library()
    except (OSError, AttributeError):  # not installed; or something else under its name
        return None


def _by_perfmon(text: str, levels: int) -> Encoded | None:
    try:
        perfmon = importlib.import_module("perfmon")
        attr = perfmon.pfm_get_perf_event_encoding(text, levels, None, None)[1]
        pmu, sign, _ = text.partition("::")
        if sign and not _present(perfmon, pmu):
            raise RefusedError(f"this machine has no PMU {pmu!r}, as perfmon sees it")
        return Encoded(
            type=int(attr.type),
            config=int(attr.config),
            config1=int(attr.bpa.config1),
            config2=int(attr.bpb.config2),
            exclude_user=bool(attr.exclude_user),
            exclude_kernel=bool(attr.exclude_kernel),
            pmu=pmu if sign else "",
            full_name=text,
            encoded_by="perfmon",
        )
    except RefusedError:
        raise
    # its errors derive from Exception, and a module of that name may be anything
    except Exception:  # noqa: BLE001
        return None


def _present(perfmon: Any, name: str) -> bool:
    """Return whether perfmon reports a PMU as present.

    Without a PMU's name libpfm4 looks among those that are present alone.
    """
    for number in range(perfmon.PFM_PMU_MAX):
        try:
            info = perfmon.pfm_get_pmu_info(number)[1]
        except Exception:  # noqa: BLE001, S112  # a number of another architecture
            continue
        if str(info.name).casefold() == name.casefold():
            return bool(info.flags.is_present)
    return False


def _string(text: bytes | None) -> str:
    return (text or b"").decode("ascii", errors="replace")
