"""``@PACT``: measure every call of a function."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from pactmeter.errors import ConfigError
from pactmeter.session.run import warn
from pactmeter.session.session import Session
from pactmeter.session.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


@overload
def PACT(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def PACT(**arguments: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def PACT(function: Any = None, /, **arguments: Any) -> Any:  # noqa: N802  the documented name
    """Measure power and performance counters while a function runs.

    Works with and without brackets, on functions, methods, generators and their async kin. The
    function's value and its exceptions pass through unchanged.

    Args:
        function: The function, where no brackets are used.
        **arguments: All by keyword:

            - ``measure_period`` (1): seconds a row of power covers.
            - ``perf_measure_period`` (0.01): seconds a row of counters covers.
            - ``events_groups`` (``[['MIGRATIONS'], ['FAULTS'], ['CACHE-MISSES'], ['CYCLES']]``):
              groups of event names; a group is counted together.
            - ``tracker_file_name`` (``"PACT.csv"``): the power file; its sidecars stand beside it.
            - ``PSU`` (``"auto"``): all supported power supplies found; None for none; or a name
              as ``"Corsair_1500i"``, a model or ``vid:pid[:serial]``, or a list of those.
            - ``meters`` (``()``): wall meters, as ``["shelly://192.168.1.20"]``.
            - ``on_error`` (``"raise"``): before the function starts; or ``"warn"``.
            - ``scope`` (``"tree"``): count the events of this process and its children; or
              ``"system"``.
            - ``sync`` (True): wait for CUDA at the edges of a call, where torch has it up.
            - ``realtime`` (False): ask for SCHED_FIFO for the sampler.
            - ``rails`` (False): record the rails of the power supply too.
            - ``estimate_cpu`` (False): record an estimate of the CPU even where it is measured.
            - ``counter_backend`` (``"auto"``): ``"ring"`` (the kernel samples events), ``"poll"``
              (the sampler reads them) or ``"proc"`` (from /proc); by itself the first that opens.
            - ``marks`` (None): what a reader must know of what is measured, as
              ``{"data": "made up"}``; it stands in the manifest and in every report.

    Returns:
        The function, measured; with brackets, a decorator.

    Raises:
        ConfigError: An argument is wrong.
    """
    session = Session(**arguments)  # wrong arguments are told here, before any call
    if function is not None:
        return _measured(function, session)
    return functools.partial(_measured, session=session)


def _measured(function: Any, session: Session) -> Any:
    if not callable(getattr(function, "__func__", function)):  # of a static or class method
        raise ConfigError(
            f"PACT was applied to {function!r}, which is no function",
            "name its arguments, as @PACT(measure_period=1)",
        )
    return wrapped(function, session.call, _look)


def _look(function: Any, result: Any) -> None:
    """Warn where a function that was measured has handed out what it has yet to do."""
    if inspect.iscoroutine(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        kind = type(result).__name__
        warn(f"PACT: {function!r} returned a {kind}; what that does later is not measured")
