"""What is to be known of a callable before it is run as a step: is it async, and what does it return?"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from stepwell.errors import ConfigurationError
from stepwell.sdk.codec import Decode, decode_any, decoder


class Body(NamedTuple):
    """``decode`` reads a remembered result back into the type of the return annotation."""

    is_async: bool
    decode: Decode


# By the function's id, with a weak reference that proves it is still that function and tells when it is not. A
# WeakKeyDictionary would do the same, three times slower.
_KEPT: Final[dict[int, tuple[weakref.ref[Callable[..., Any]], Body]]] = {}


def body(fn: Callable[..., Any]) -> Body:
    """Look at a callable. Raises ``ConfigurationError`` if what it returns cannot be read back from JSON.

    Annotations are evaluated once per function. A lambda, which has none and is made anew for each call, is not kept.
    """
    key = id(fn)
    kept = _KEPT.get(key)
    if kept is not None and kept[0]() is fn:
        return kept[1]
    if type(fn) is not types.FunctionType:
        return _look(fn)
    if fn.__name__ == "<lambda>":
        return _UNTYPED
    about = _look(fn)
    _KEPT[key] = weakref.ref(fn, lambda _: _KEPT.pop(key, None)), about
    return about


_UNTYPED: Final = Body(False, decode_any)


def _look(fn: Callable[..., Any]) -> Body:
    if not callable(fn):
        raise _not_callable(fn)
    target: Any = fn
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__  # an object that can be called
    annotation = target if inspect.isclass(target) else _returns(target)
    return Body(is_async(target), decoder(annotation))


def is_async(fn: Callable[..., Any]) -> bool:
    """Does calling it give a coroutine?"""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def hints(fn: Any) -> dict[str, Any]:
    """The annotations of a function, evaluated; none if one of them is known to type checkers only."""
    try:
        return typing.get_type_hints(inspect.unwrap(fn), include_extras=True)
    except Exception:  # evaluating may raise anything
        return {}


def _returns(fn: Any) -> object:
    origin = inspect.unwrap(fn)
    annotation = getattr(origin, "__annotations__", {}).get("return")
    if not isinstance(annotation, str):
        return annotation
    found = hints(origin)
    return found["return"] if "return" in found else _evaluated(annotation, origin)


def _evaluated(annotation: str, fn: Any) -> object:
    module = sys.modules.get(getattr(fn, "__module__", ""))
    closed: Mapping[str, Any] = _closed_over(fn)
    try:
        return eval(annotation, dict(vars(module)) if module else {}, dict(closed))
    except Exception:
        return None  # known to type checkers only: plain JSON values are all we can give


def _not_callable(given: object) -> ConfigurationError:
    if inspect.iscoroutine(given):
        given.close()  # nobody is going to await it
        name = given.__name__
        return ConfigurationError(
            what=f"{name}(…) was called where the step should call it",
            why="a remembered step must be able not to call it at all",
            fix=f'give the function and its arguments apart, as in ctx.step.run("{name}", {name}, …)',
        )
    return ConfigurationError(
        what=f"{given!r:.80} cannot be the body of a step",
        why="a step calls its body, and this cannot be called",
        fix='give a function and its arguments, as in ctx.step.run("charge", charge, order_id)',
    )


def _closed_over(fn: object) -> dict[str, Any]:
    """The names of the functions around it, but for those that have no value yet: they are defined further down."""
    if not inspect.isfunction(fn):
        return {}
    found: dict[str, Any] = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found
