"""Functions of every kind, run inside a context of their own."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    Opened = Callable[[], AbstractContextManager[Any]]
    Look = Callable[[Any, Any], None]


def wrapped(function: Any, opened: Opened, look: Look | None = None) -> Any:
    """Return the function with each call inside a context that ``opened`` makes.

    A generator is inside from the first value asked for to its end, a coroutine while awaited;
    values, exceptions and what is sent in pass through. ``look`` is shown what a plain function has
    returned, once its context is left.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrapped(function.__func__, opened, look))
    if inspect.isasyncgenfunction(function):
        wrapper: Callable[..., Any] = _async_generator(function, opened)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, opened)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, opened)
    else:
        wrapper = _plain(function, opened, look)
    return functools.wraps(function)(wrapper)


def _plain(function: Callable[..., Any], opened: Opened, look: Look | None) -> Callable[..., Any]:
    def inside(*args: Any, **kwargs: Any) -> Any:
        with opened():
            result = function(*args, **kwargs)
        if look is not None:
            look(function, result)
        return result

    return inside


def _coroutine(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    async def inside(*args: Any, **kwargs: Any) -> Any:
        with opened():
            return await function(*args, **kwargs)

    return inside


def _generator(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    def inside(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with opened():
            return (yield from function(*args, **kwargs))

    return inside


def _async_generator(function: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    async def inside(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with opened():
            inner = function(*args, **kwargs)
            try:
                step = inner.__anext__()
                while True:
                    try:
                        value = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield value
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001  thrown in: for the inner one
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)
            finally:
                await inner.aclose()

    return inside
