"""`region`: name a stretch of the program on the time line of the run that measures it.

Marks go to the run whose call was opened last in this process, else to the one that
``PACTMETER_RUN`` names: that of a parent's call, or of ``pactmeter run``. A run sets the variable
while it lasts, so that the processes started meanwhile find it.
"""

from __future__ import annotations

import operator
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pactmeter.errors import ConfigError
from pactmeter.session.marks import Spool
from pactmeter.session.wrapping import wrapped
from pactmeter.store.spool import NO_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

VARIABLE = "PACTMETER_RUN"
CALL = "call"
"""The name of calls among the regions."""

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")
_now_ns = time.monotonic_ns
_modules = sys.modules


class region:  # noqa: N801  used as a word of the language: with region("epoch", 3)
    """A named stretch of time, as a ``with`` block or as a decorator of any kind of function.

    Regions may nest and overlap, in threads, forked children and started programs; one that lasts
    over an ``await`` holds whatever else runs meanwhile. Without a run nothing is recorded. What is
    raised inside passes through.

    Args:
        name: What it is; the first 200 characters are kept, and what cannot be printed in one line
            becomes a space. ``call`` is taken.
        index: Which one, as the number of an epoch; None: no number.
        sync: Wait at both edges for CUDA, where torch has it up and the run's ``sync`` allows it.

    Raises:
        ConfigError: An argument is wrong.
    """

    __slots__ = ("_index", "_name", "_starts", "_sync")

    def __init__(self, name: str, index: int | None = None, *, sync: bool = True) -> None:
        if type(name) is not str or not name or name == CALL:
            name = _checked_name(name)
        if index is None:
            self._index = NO_INDEX
        elif type(index) is int and -1 << 31 <= index < 1 << 31:
            self._index = index
        else:
            self._index = _checked_index(index)
        self._name = name
        self._sync = sync
        self._starts: list[int] = []

    def __enter__(self) -> region:
        if "torch" in _modules and self._sync and _current is not None:
            _current.synchronize()
        self._starts.append(_now_ns())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        spool = _current
        if spool is None:
            self._starts.pop()
            return
        try:
            if "torch" in _modules and self._sync:
                spool.synchronize()
        finally:  # also where Ctrl-C ends the wait for the GPU
            spool.mark(self._name, self._index, self._starts.pop(), _now_ns())

    def __call__(self, function: F) -> F:
        """Mark every call of a function."""
        if not callable(function) and not isinstance(function, staticmethod | classmethod):
            raise ConfigError(
                f"region was applied to {function!r}, which is no function",
                'with region("step"): ... or @region("step")',
            )
        index = None if self._index == NO_INDEX else self._index
        marked: F = wrapped(function, lambda: region(self._name, index, sync=self._sync))
        return marked

    @staticmethod
    def over(name: str, items: Iterable[T], *, sync: bool = True) -> Over[T]:
        """Return the items for a ``for`` loop, whose body is a region with index 0, 1, ...

        Getting an item is not part of it. Can be looped over as often as ``items``, from 0 each
        time.

        Raises:
            ConfigError: An argument is wrong.
        """
        return Over(name, items, sync=sync)


class Over(Generic[T]):
    """Items, each handed out inside a region."""

    def __init__(self, name: str, items: Iterable[T], *, sync: bool = True) -> None:
        self._name = _checked_name(name)
        if not hasattr(items, "__iter__") and not hasattr(items, "__getitem__"):
            raise ConfigError(
                f"region.over was given {items!r}, which cannot be looped over",
                'for batch in region.over("step", loader): ...',
            )
        self._items = items
        self._sync = sync

    def __iter__(self) -> Iterator[T]:
        for index, item in enumerate(self._items):
            with region(self._name, index, sync=self._sync):
                yield item

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]  # as they have it


def _checked_name(name: object) -> str:
    fix = 'name it, as with region("epoch", 3): ... or @region("step")'
    if not isinstance(name, str):
        raise ConfigError(f"the name of a region is {name!r}, not a text", fix)
    if not name:
        raise ConfigError("the name of a region is empty", fix)
    if name == CALL:
        raise ConfigError(f"a region cannot be named {CALL!r}: calls are", "name it otherwise")
    return str(name)


def _checked_index(index: Any) -> int:
    fix = "pass a whole number, as the number of the epoch, or leave it out"
    if isinstance(index, bool):
        raise ConfigError(f"the index of a region is {index!r}, not a whole number", fix)
    try:
        number = operator.index(index)  # whole numbers of numpy too
    except TypeError:
        raise ConfigError(f"the index of a region is {index!r}, not a whole number", fix) from None
    if not -(1 << 63) < number < 1 << 63:
        raise ConfigError("the index of a region does not fit in 64 bits", fix)
    return number


# --- where the marks of this process go ----------------------------------------------------------

_inherited: str | None = os.environ.get(VARIABLE) or None
_own: list[str] = []
"""Power files of this process' runs; marks go to the last."""
_inside: set[str] = set()
"""Those with an open call."""
_spools: dict[str, Spool] = {}
_outer: Spool | None = Spool(_inherited) if _inherited else None
_current = _outer


def inherited() -> str | None:
    """Return the run that measures this process from outside, by its power file."""
    return _inherited


def call_opened(power: str) -> None:
    """Let marks go to this run, of which a call begins while none was open."""
    _inside.add(power)
    if _own[-1:] != [power]:
        if power in _own:
            _own.remove(power)
        _own.append(power)
        _aim()


def call_closed(power: str) -> None:
    """Let marks go to the run around this one, if there is one, whose last open call has ended."""
    _inside.discard(power)
    if _inside and power in _own:
        _own.remove(power)
        _own.insert(0, power)
        _aim()


def run_closed(power: str) -> None:
    """Let no more marks go to this run."""
    _inside.discard(power)
    _spools.pop(power, None)
    if power in _own:
        _own.remove(power)
        _aim()


def _aim() -> None:
    """Take the run that marks go to now, and tell it to the processes started from here."""
    global _current  # noqa: PLW0603
    if _own:
        power = _own[-1]
        _current = _spools.get(power)
        if _current is None:
            _current = _spools[power] = Spool(power)
        os.environ[VARIABLE] = power
        return
    _current = _outer
    if _inherited:
        os.environ[VARIABLE] = _inherited
    else:
        os.environ.pop(VARIABLE, None)


def _forked() -> None:
    """In a forked child: its parent's run measures it, and it has chunks of its own."""
    global _current, _inherited, _outer  # noqa: PLW0603
    if _current is not None:
        _inherited = _current.power
        _current = _outer = Spool(_inherited, born_ns=_now_ns())
    _own.clear()
    _inside.clear()
    _spools.clear()


os.register_at_fork(after_in_child=_forked)
