"""The functions of the language: CEL's standard library, and ours for text, JSON and time (semantics §3.2)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from stepwell.expressions.moments import (
    EPOCH,
    duration_text,
    from_epoch,
    moment_text,
    parse_date,
    parse_duration,
    parse_moment,
    parse_zone,
)
from stepwell.expressions.regex import compile_pattern
from stepwell.expressions.values import (
    TYPES,
    EvaluationError,
    Frame,
    Type,
    UInt,
    number_text,
    type_name,
)

Run = Callable[..., Any]  # (frame, *arguments) -> result

_INT_DIGITS = re.compile(r"[+-]?[0-9]{1,20}")


class Function(msgspec.Struct, frozen=True):
    """One function. ``least`` and ``most`` count the arguments, the receiver being one of them."""

    run: Run
    least: int = 1
    most: int = 1
    called: str = "function"  # or "method", or "both"
    boolean: bool = False  # its result can be true
    missing: Any = False  # its result if an argument is missing
    clock: bool = False  # its result depends on the time


def _wrong(name: str, *values: Any) -> EvaluationError:
    return EvaluationError(f"{name}() cannot be used on {', '.join(map(type_name, values))}")


# --- text and containers


def _size(_frame: Frame, value: Any) -> int:
    if value is None:
        return 0
    if type(value) not in (str, bytes, list, dict):
        raise _wrong("size", value)
    return len(value)


def _text_test(name: str, test: Callable[[str, str], bool]) -> Run:
    def run(_frame: Frame, text: Any, part: Any) -> bool:
        if type(text) is not str or type(part) is not str:
            raise _wrong(name, text, part)
        return test(text, part)

    return run


def _matches(frame: Frame, text: Any, pattern: Any) -> bool:
    if type(text) is not str or type(pattern) is not str:
        raise _wrong("matches", text, pattern)
    try:
        compiled = compile_pattern(pattern)
    except ValueError as error:
        raise EvaluationError(f"not a regular expression: {error}") from None
    # The most it can take, not what it does take: what is remembered from before must not change the result.
    frame.spend(compiled.size + (len(text) * compiled.size >> 2))
    return compiled.search(text)


def _text_change(name: str, change: Callable[[str], str]) -> Run:
    def run(_frame: Frame, text: Any) -> str:
        if type(text) is not str:
            raise _wrong(name, text)
        return change(text)

    return run


def _b64decode(_frame: Frame, text: Any) -> str:
    if type(text) is not str:
        raise _wrong("b64decode", text)
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):  # ValueError: not ASCII, or not UTF-8 inside
        return ""


def _json_parse(_frame: Frame, text: Any) -> dict[str, Any]:
    if type(text) is not str:
        raise _wrong("json_parse", text)
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {}


# --- conversions


def _to_int(_frame: Frame, value: Any) -> int:
    match value:
        case bool():
            raise _no_conversion("int", value)
        case float() if not abs(value) < 2**63:
            raise EvaluationError("int() overflow")
        case int() | float():
            result = int(value)
        case str() if _INT_DIGITS.fullmatch(value):
            result = int(value)
        case datetime():
            result = (value - EPOCH) // timedelta(seconds=1)
        case _:
            raise _no_conversion("int", value)
    if not -(2**63) <= result < 2**63:
        raise EvaluationError("int() overflow")
    return result


def _to_uint(_frame: Frame, value: Any) -> UInt:
    match value:
        case bool():
            raise _no_conversion("uint", value)
        case float() if not -1 < value < 2**64:
            raise EvaluationError("uint() overflow")
        case int() | float():
            result = int(value)
        case str() if _INT_DIGITS.fullmatch(value) and value[0] != "-":
            result = int(value)
        case _:
            raise _no_conversion("uint", value)
    if not 0 <= result < 2**64:
        raise EvaluationError("uint() overflow")
    return UInt(result)


def _to_double(_frame: Frame, value: Any) -> float:
    if type(value) in (int, UInt, float):
        return float(value)
    if type(value) is not str or "_" in value:
        raise _no_conversion("double", value)
    try:
        return float(value)
    except ValueError:
        raise _no_conversion("double", value) from None


def _to_string(_frame: Frame, value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case datetime():
            return moment_text(value)
        case timedelta():
            return duration_text(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvaluationError("string() cannot be used on bytes that are not UTF-8") from None
        case _:
            raise _no_conversion("string", value)


def _to_bytes(_frame: Frame, value: Any) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogatepass")
        case _:
            raise _no_conversion("bytes", value)


def _to_bool(_frame: Frame, value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and value in ("1", "t", "true", "TRUE", "True"):
        return True
    if type(value) is str and value in ("0", "f", "false", "FALSE", "False"):
        return False
    raise _no_conversion("bool", value)


def _to_type(_frame: Frame, value: Any) -> Type:
    return TYPES[type_name(value)]


def _same(_frame: Frame, value: Any) -> Any:
    return value


def _no_conversion(name: str, value: Any) -> EvaluationError:
    return EvaluationError(f"{name}() cannot read this {type_name(value)}")


# --- time


def _to_timestamp(_frame: Frame, value: Any) -> datetime:
    match value:
        case datetime():
            return value
        case int() if type(value) is int:
            return EPOCH + timedelta(seconds=value)
        case str():
            try:
                return parse_moment(value)
            except ValueError:
                raise _no_conversion("timestamp", value) from None
        case _:
            raise _no_conversion("timestamp", value)


def _to_duration(_frame: Frame, value: Any) -> timedelta:
    if type(value) is timedelta:
        return value
    if type(value) is str:
        try:
            return parse_duration(value)
        except ValueError:
            pass
    raise _no_conversion("duration", value)


def _date(_frame: Frame, value: Any) -> datetime:
    if type(value) is datetime:
        return value
    try:
        if type(value) is str:
            return parse_date(value)
        if type(value) in (int, float, UInt):
            return from_epoch(value)
    except ValueError:
        pass
    raise _no_conversion("date", value)


def _now(frame: Frame) -> datetime:
    return EPOCH + timedelta(milliseconds=frame.now_ms)


def _now_plus(frame: Frame, value: Any) -> datetime:
    return _now(frame) + _to_duration(frame, value)


def _now_minus(frame: Frame, value: Any) -> datetime:
    return _now(frame) - _to_duration(frame, value)


def _part(
    name: str, of_moment: Callable[[datetime], int], of_length: Callable[[timedelta], int] | None = None
) -> Function:
    def run(_frame: Frame, value: Any, zone: Any = "Z") -> int:
        if type(value) is datetime and type(zone) is str:
            try:
                return of_moment(value.astimezone(parse_zone(zone)))
            except ValueError:
                raise EvaluationError(f"{name}() does not know this time zone") from None
        if type(value) is timedelta and of_length is not None:
            return of_length(value)
        raise _wrong(name, value)

    return Function(run, most=2, called="method")


def _whole(unit: timedelta) -> Callable[[timedelta], int]:
    def count(length: timedelta) -> int:
        return length // unit if length >= timedelta(0) else -(-length // unit)

    return count


def _milliseconds(length: timedelta) -> int:
    return _whole(timedelta(milliseconds=1))(length) % (1_000 if length >= timedelta(0) else -1_000)


FUNCTIONS: Final[dict[str, Function]] = {
    "size": Function(_size, called="both", missing=0),
    "contains": Function(
        _text_test("contains", lambda text, part: part in text), least=2, most=2, called="method", boolean=True
    ),
    "startsWith": Function(_text_test("startsWith", str.startswith), least=2, most=2, called="method", boolean=True),
    "endsWith": Function(_text_test("endsWith", str.endswith), least=2, most=2, called="method", boolean=True),
    "matches": Function(_matches, least=2, most=2, called="both", boolean=True),
    "lowercase": Function(_text_change("lowercase", str.lower)),
    "uppercase": Function(_text_change("uppercase", str.upper)),
    "b64decode": Function(_b64decode),
    "json_parse": Function(_json_parse),
    "int": Function(_to_int),
    "uint": Function(_to_uint),
    "double": Function(_to_double),
    "string": Function(_to_string),
    "bytes": Function(_to_bytes),
    "bool": Function(_to_bool, boolean=True),
    "dyn": Function(_same, boolean=True),
    "type": Function(_to_type),
    "timestamp": Function(_to_timestamp),
    "duration": Function(_to_duration),
    "date": Function(_date),
    "now": Function(_now, least=0, most=0, clock=True),
    "now_plus": Function(_now_plus, clock=True),
    "now_minus": Function(_now_minus, clock=True),
    "getFullYear": _part("getFullYear", lambda moment: moment.year),
    "getMonth": _part("getMonth", lambda moment: moment.month - 1),
    "getDate": _part("getDate", lambda moment: moment.day),
    "getDayOfMonth": _part("getDayOfMonth", lambda moment: moment.day - 1),
    "getDayOfWeek": _part("getDayOfWeek", lambda moment: moment.isoweekday() % 7),
    "getDayOfYear": _part("getDayOfYear", lambda moment: moment.timetuple().tm_yday - 1),
    "getHours": _part("getHours", lambda moment: moment.hour, _whole(timedelta(hours=1))),
    "getMinutes": _part("getMinutes", lambda moment: moment.minute, _whole(timedelta(minutes=1))),
    "getSeconds": _part("getSeconds", lambda moment: moment.second, _whole(timedelta(seconds=1))),
    "getMilliseconds": _part("getMilliseconds", lambda moment: moment.microsecond // 1_000, _milliseconds),
}

# The functions allowed where only conditions are (semantics §3.2).
RESTRICTED: Final = frozenset({"int", "uint", "double"})
