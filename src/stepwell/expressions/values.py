"""The values of an expression: what is equal, what comes first, what counts as true, what a value is as text."""

# JSON can be anything, so the types found in it are unknown by nature.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from stepwell.expressions.moments import FIRST_MOMENT, duration_text, moment_text
from stepwell.limits import EXPRESSION_STEPS_MAX

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_UINT_MAX = 2**64 - 1

# No float reaches 2**1024, so a longer whole number needs no decimal form to stay equal to its float twin; and
# turning very long numbers to decimal text takes quadratic time.
DECIMAL_BITS_MAX = 1024

# Text longer than this is not worth an index entry.
_PROBE_CHARS_MAX = 512


class EvaluationError(Exception):
    """An expression has no result for these values. ``message`` is for people, and names types rather than values."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class Missing:
    """What a path that does not exist gives. There is one: ``MISSING``."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # copies and pickles are the same object, so `is MISSING` keeps working


MISSING: Final = Missing()


class UInt(int):
    """A whole number that was written ``1u`` or made by ``uint()``. Equal to the same ``int``."""

    __slots__ = ()


class Type:
    """A type as a value, for ``type(x) == string``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


TYPES: Final = {
    name: Type(name)
    for name in (
        "bool",
        "bytes",
        "double",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "int",
        "list",
        "map",
        "null_type",
        "string",
        "type",
        "uint",
    )
}

_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    bytes: "bytes",
    datetime: "google.protobuf.Timestamp",
    dict: "map",
    float: "double",
    int: "int",
    list: "list",
    str: "string",
    timedelta: "google.protobuf.Duration",
    type(None): "null_type",
    Type: "type",
    UInt: "uint",
}

_NUMBERS: Final = frozenset({int, float, UInt})
_JOINED: Final = frozenset({str, bool, *_NUMBERS})
_CONTAINERS: Final = frozenset({list, dict})
_ZEROS: Final[dict[type, Any]] = {
    bool: False,
    bytes: b"",
    datetime: FIRST_MOMENT,
    float: 0.0,
    int: 0,
    str: "",
    timedelta: timedelta(0),
    UInt: 0,
}


class Frame:
    """One evaluation: what it reads, and how much work it may still do."""

    __slots__ = ("env", "locals", "now_ms", "steps")

    def __init__(self, env: Mapping[str, Any], now_ms: int) -> None:
        self.env = env
        self.now_ms = now_ms
        self.steps = EXPRESSION_STEPS_MAX
        self.locals: dict[int, Any] = {}  # loop variables, by the slot the compiler gave them

    def spend(self, steps: int) -> None:
        """Account for work whose amount the data decides. A step is about as much as one comparison."""
        self.steps -= steps
        if self.steps < 0:
            raise EvaluationError(f"too much work: the limit is {EXPRESSION_STEPS_MAX:,} steps")


def weight(value: Any) -> int:
    """The steps it takes to read through a value."""
    return len(value) >> 4 if type(value) in (str, bytes) else 0


def type_name(value: Any) -> str:
    """The CEL name of a value's type."""
    return _TYPE_NAMES[type(value)]


def truthy(value: Any) -> bool:
    """Whether a value counts as true: not ``false``, ``0``, ``""``, ``null``, missing or empty (semantics §3.3)."""
    if type(value) is float:
        return value == value and value != 0  # NaN, which does not equal itself, is falsy
    return bool(value)


def equal(left: Any, right: Any, frame: Frame) -> bool:
    """``==``. Numbers compare by value; other mixed types are unequal; missing equals only null."""
    if left is MISSING:
        return right is None
    if right is MISSING:
        return left is None
    kind = type(left)
    if kind is type(right):
        return _equal_containers(left, right, frame) if kind in _CONTAINERS else bool(left == right)
    # By type, not isinstance: Python thinks that True == 1.
    return kind in _NUMBERS and type(right) in _NUMBERS and bool(left == right)


def _equal_containers(left: Any, right: Any, frame: Frame) -> bool:
    if len(left) != len(right):
        return False
    frame.spend(len(left))
    if type(left) is list:
        items: list[Any] = left
        return all(equal(a, b, frame) for a, b in zip(items, right, strict=True))
    entries: dict[Any, Any] = left
    return all(key in right and equal(value, right[key], frame) for key, value in entries.items())


def order(compare: Callable[[Any, Any], bool], left: Any, right: Any, _frame: Frame) -> bool:
    """``<``, ``<=``, ``>`` or ``>=``. Missing comes before everything, null counts as the other side's zero."""
    kind, other = type(left), type(right)
    if kind is other and kind in _ZEROS:
        return compare(left, right)
    if kind in _NUMBERS and other in _NUMBERS:
        return compare(left, right)
    if left is MISSING:
        return compare is operator.lt or compare is operator.le
    if right is MISSING:
        return compare is operator.gt or compare is operator.ge
    if left is None and (right is None or other in _ZEROS):
        return compare(_ZEROS.get(other, 0), 0 if right is None else right)
    if right is None and kind in _ZEROS:
        return compare(left, _ZEROS[kind])
    raise EvaluationError(f"{type_name(left)} and {type_name(right)} have no order")


def member(value: Any, container: Any, frame: Frame) -> bool:
    """``value in container``: an element of a list, or a key of a map."""
    if value is MISSING or container is MISSING:
        return False
    if type(container) is dict:
        key = map_key(value)
        return key is not MISSING and key in container
    if type(container) is not list:
        raise EvaluationError(f"`in` needs a list or a map, not {type_name(container)}")
    items: list[Any] = container
    frame.spend(len(items))
    return any(equal(item, value, frame) for item in items)


def index(target: Any, key: Any) -> Any:
    """``target[key]``, or ``MISSING`` where there is nothing."""
    key = map_key(key)
    if key is MISSING:
        return MISSING
    if type(target) is dict:
        entries: dict[Any, Any] = target
        return entries.get(key, MISSING)
    if type(target) is list and type(key) is not str:
        items: list[Any] = target
        return items[key] if 0 <= key < len(items) else MISSING
    return MISSING


def map_key(value: Any) -> Any:
    """The value as a key of a map or list, or ``MISSING`` if it cannot be one. ``1.0`` is the key ``1``."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is UInt or (kind is float and value.is_integer()):
        return int(value)
    return MISSING


# --- arithmetic: what is missing stays missing, except that it adds nothing


_TIME_SUMS = ((timedelta, timedelta), (datetime, timedelta), (timedelta, datetime))


def add(left: Any, right: Any, frame: Frame) -> Any:
    """``+``: numbers, text, bytes, lists and time. Text takes numbers and booleans along; missing adds nothing."""
    if left is MISSING:
        return right
    if right is MISSING:
        return left
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        return _number(left + right, kind, other)
    if str in (kind, other):
        result: Any = _join_text(left, right)
    elif kind is other and kind in (bytes, list):
        result = left + right
    elif (kind, other) in _TIME_SUMS:
        return left + right
    else:
        raise _refuse("+", left, right)
    frame.spend(len(result) >> 4)
    return result


def _join_text(left: Any, right: Any) -> str:
    if not {type(left), type(right)} <= _JOINED:
        raise _refuse("+", left, right)
    return "".join(value if type(value) is str else canonical(value) for value in (left, right))


def subtract(left: Any, right: Any, _frame: Frame) -> Any:
    """``-``: numbers and time."""
    if left is MISSING or right is MISSING:
        return MISSING
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        return _number(left - right, kind, other)
    if kind in (datetime, timedelta) and other in (kind, timedelta):
        return left - right
    raise _refuse("-", left, right)


def multiply(left: Any, right: Any, _frame: Frame) -> Any:
    """``*`` of numbers."""
    if left is MISSING or right is MISSING:
        return MISSING
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return _number(left * right, type(left), type(right))
    raise _refuse("*", left, right)


def divide(left: Any, right: Any, _frame: Frame) -> Any:
    """``/`` of numbers. Between whole numbers it rounds towards zero."""
    if left is MISSING or right is MISSING:
        return MISSING
    kind, other = type(left), type(right)
    if kind not in _NUMBERS or other not in _NUMBERS:
        raise _refuse("/", left, right)
    if kind is float or other is float:
        return _divide_floats(float(left), float(right))
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return _number(quotient if (left < 0) == (right < 0) else -quotient, kind, other)


def _divide_floats(left: float, right: float) -> float:
    if right != 0:
        return left / right
    # IEEE 754, as in CEL; Python raises instead.
    if left == 0 or left != left:
        return float("nan")
    return float("inf") if (left > 0) == (str(right)[0] != "-") else float("-inf")


def remainder(left: Any, right: Any, frame: Frame) -> Any:
    """``%`` of whole numbers, with the sign of the left one."""
    if left is MISSING or right is MISSING:
        return MISSING
    kind, other = type(left), type(right)
    if kind not in (int, UInt) or other not in (int, UInt):
        raise _refuse("%", left, right)
    divide(left, right, frame)  # where the quotient overflows, CEL has no remainder either
    rest = abs(left) % abs(right)
    return _number(-rest if left < 0 else rest, kind, other)


def negate(value: Any) -> Any:
    """Unary ``-`` of a number or duration."""
    if value is MISSING:
        return MISSING
    if type(value) in (int, float):
        return _number(-value, type(value), type(value))
    if type(value) is timedelta:
        return -value
    raise EvaluationError(f"`-` cannot be used on {type_name(value)}")


def _number(result: Any, left: type, right: type) -> Any:
    if left is float or right is float:
        return float(result)
    if left is UInt and right is UInt:
        if not 0 <= result <= _UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(result)
    if not _INT_MIN <= result <= _INT_MAX:
        raise EvaluationError("integer overflow")
    return int(result)


def _refuse(operation: str, left: Any, right: Any) -> EvaluationError:
    return EvaluationError(f"`{operation}` cannot be used on {type_name(left)} and {type_name(right)}")


def _unequal(left: Any, right: Any, frame: Frame) -> bool:
    return not equal(left, right, frame)


OPERATIONS: Final[dict[str, Callable[[Any, Any, Frame], Any]]] = {
    "==": equal,
    "!=": _unequal,
    "<": partial(order, operator.lt),
    "<=": partial(order, operator.le),
    ">": partial(order, operator.gt),
    ">=": partial(order, operator.ge),
    "in": member,
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
}


# --- text


def number_text(value: float) -> str:
    """A number as text, the same for equal numbers: ``1`` and ``1.0`` are both ``1``."""
    if type(value) is float:
        if not value.is_integer():  # also for the infinities and NaN
            return repr(value)
        value = int(value)
    whole = int(value)
    return str(whole) if whole.bit_length() <= DECIMAL_BITS_MAX else hex(whole)


def quoted(text: str) -> str:
    """Text in double quotes, as an expression would write it, with nothing invisible left in it."""
    body = json.dumps(text, ensure_ascii=False)
    return body if body.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in body)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _quoted_bytes(value: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in value)


def canonical(value: Any) -> str:
    """A value as text for people, such that two values have the same text just if they are equal."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() | float():
            return number_text(value)
        case bytes():
            return f'b"{_quoted_bytes(value)}"'
        case datetime():
            return f"timestamp({quoted(moment_text(value))})"
        case timedelta():
            return f"duration({quoted(duration_text(value))})"
        case list():
            items: list[Any] = value
            return "[" + ",".join(map(canonical, items)) + "]"
        case dict():
            entries: dict[Any, Any] = value
            return "{" + ",".join(sorted(f"{canonical(key)}:{canonical(item)}" for key, item in entries.items())) + "}"
        case Type():
            return f"type({value.name})"
        case _:
            return "missing"


# Text that would look like a value of another type, or like nothing; as a key it is written in quotes.
_LITERAL_STARTS = ('"', "[", "{", 'b"', "timestamp(", "duration(", "type(")
_LITERAL_WORDS = frozenset({"null", "true", "false", "missing", "error", "nan", "inf", "-inf"})
_NUMBER_STARTS = tuple("-0123456789")
_NUMBER_CHARS = frozenset("0123456789abcdefx+-.")


def key_text(value: Any) -> str:
    """The text of a key (semantics §3.4). Text stands for itself unless it could be taken for another type."""
    if type(value) is not str:
        return canonical(value)
    number_like = value.startswith(_NUMBER_STARTS) and _NUMBER_CHARS.issuperset(value)
    ambiguous = not value or number_like or value in _LITERAL_WORDS or value.startswith(_LITERAL_STARTS)
    return quoted(value) if ambiguous else value


def probe_text(value: Any) -> str | None:
    """The text of a value in an index: equal for values that are equal. None where there is no such text."""
    kind = type(value)
    if kind is str:
        # Not every database stores every character that JSON can hold.
        return "s:" + value if len(value) <= _PROBE_CHARS_MAX and value.isprintable() else None
    if kind is bool:
        return "b:true" if value else "b:false"
    if kind not in _NUMBERS or value != value:
        return None
    return "n:" + number_text(value)
