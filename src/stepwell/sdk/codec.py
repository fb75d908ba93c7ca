"""Values to JSON and back, guided by the types that users declare.

Whatever msgspec knows is read and written by it; pydantic models are handed to pydantic, which is never imported unless
the user has done so.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar, cast, get_args, get_origin

import msgspec

from stepwell.errors import ConfigurationError, InvalidOutput

Decode = Callable[[bytes], Any]

decode_any: Final[Decode] = msgspec.json.Decoder().decode

_NEVER: Final = (NoReturn, typing.Never)
_UNTYPED: Final = (None, type(None), Any, object, *_NEVER, typing.Self)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
_DEPTH_MAX: Final = 64  # a value nested deeper than this is one that contains itself


def encode(value: object, place: str = "result") -> bytes:
    """The JSON text of a value. Raises ``InvalidOutput``, which names the field that cannot be written.

    ``place`` is what the value itself is called in that message.
    """
    try:
        return _encode(value)
    except Exception as error:  # a hook of the user's model may raise anything
        path, culprit = _culprit(value, place)
        raise InvalidOutput(
            what=f"{path}: {_described(culprit, error)}",
            why="what a step or function returns is remembered as JSON",
            fix="return numbers, text, lists, dicts, dataclasses, msgspec Structs or pydantic models",
        ) from error


def decoder(annotation: object) -> Decode:
    """A function from JSON text to a value of this type; plain JSON values where the type says nothing.

    Raises ``ConfigurationError`` for a type whose values cannot be read back. The function itself raises the
    ``ValidationError`` of msgspec or pydantic, which ``mismatch`` puts into words.
    """
    try:
        return _decoder(annotation)
    except TypeError:  # the type cannot be hashed, so it cannot be kept
        return _build(annotation)


def mismatch(error: Exception, place: str) -> str:
    """What is wrong with a value that has not the declared type: ``data.amount: Expected `int`, got `str```."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        found = cast("list[dict[str, Any]]", errors())
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found[0]["loc"])
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"{place}{path}: {found[0]['msg']}{more}"
    text, found_path, path = str(error).partition(" - at `$")
    return f"{place}{path[:-1] if found_path else ''}: {text}"


def _enc_hook(value: object) -> object:
    dump = getattr(type(value), "model_dump_json", None)
    if dump is not None:  # a pydantic model
        return msgspec.Raw(dump(value, by_alias=True, round_trip=True).encode())
    raise TypeError(f"object of type {type(value).__qualname__}")


_encode: Final = msgspec.json.Encoder(enc_hook=_enc_hook).encode


@lru_cache(maxsize=2048)
def _decoder(annotation: object) -> Decode:
    return _build(annotation)


def _build(annotation: object) -> Decode:
    if annotation in _UNTYPED or isinstance(annotation, TypeVar | str):
        return decode_any
    if get_origin(annotation) in (Coroutine, Awaitable):
        return decoder(get_args(annotation)[-1])
    if _is_pydantic(annotation):
        return _by_pydantic(annotation)
    try:
        return msgspec.json.Decoder(cast("Any", annotation), dec_hook=_dec_hook).decode
    except TypeError as error:
        if "pydantic" in sys.modules:
            return _by_pydantic(annotation)
        raise _unreadable(annotation, error) from None


def _is_pydantic(annotation: object) -> bool:
    """Does the type mention a pydantic model outside of dataclasses and Structs, where the hook finds it?"""
    if hasattr(annotation, "__pydantic_validator__"):
        return True
    return "pydantic" in sys.modules and any(_is_pydantic(part) for part in get_args(annotation))


def _by_pydantic(annotation: object) -> Decode:
    pydantic: Any = sys.modules["pydantic"]
    try:
        return cast("Decode", pydantic.TypeAdapter(annotation).validate_json)
    except Exception as error:  # pydantic's own error classes are not ours to import
        raise _unreadable(annotation, error) from None


def _dec_hook(type_: type, value: object) -> object:
    validate = getattr(type_, "model_validate_json", None)
    if validate is not None:
        return validate(msgspec.json.encode(value))
    if isinstance(value, type_):
        return value
    raise ValueError(f"Expected `{type_.__qualname__}`, got `{type(value).__name__}`")


def _unreadable(annotation: object, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        what=f"values of type {annotation} cannot be read back from JSON",
        why=str(error),
        fix="use a type that JSON can tell apart, or leave the annotation out to get plain JSON values",
    )


def _culprit(value: object, path: str, depth: int = 0) -> tuple[str, object]:
    if depth < _DEPTH_MAX:
        for name, part in _parts(value):
            try:
                _encode(part)
            except Exception:
                return _culprit(part, path + name, depth + 1)
    return path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[object, object]", value).items():
            yield (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"), part
    elif isinstance(value, list | tuple):
        for index, part in enumerate(cast("list[object]", value)):
            yield f"[{index}]", part
    elif isinstance(value, set | frozenset):
        for part in cast("set[object]", value):
            yield "{…}", part
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield f".{name}", getattr(value, name)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f".{field.name}", getattr(value, field.name)
    elif hasattr(type(value), "model_fields"):
        for name, part in vars(value).items():
            yield f".{name}", part


def _described(culprit: object, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it contains itself, or is nested too deeply"
    if isinstance(culprit, str):
        return "text with half of a surrogate pair, which is not Unicode"
    if isinstance(culprit, Mapping):
        keys = {type(key).__qualname__ for key in cast("Mapping[object, object]", culprit)}
        return f"dict with keys of type {', '.join(sorted(keys))}"
    if isinstance(culprit, types.CoroutineType):
        return "coroutine that was not awaited"
    return f"object of type {type(culprit).__qualname__}"
