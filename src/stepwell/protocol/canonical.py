"""JSON in the one form that both sides of a signature agree on: RFC 8785 (protocol §3.2)."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Final, cast

import msgspec

from stepwell.errors import InvalidOutput

_EXACT_MAX: Final = 2**53  # larger integers are read as doubles by half of the SDKs

_decode: Final = msgspec.json.Decoder().decode


def canonical(text: bytes) -> bytes:
    """The same JSON with sorted keys, without spaces, its numbers as JavaScript writes them.

    Raises ``InvalidOutput`` for a document that has no such form: numbers out of range, or nested too deeply to write.
    """
    parts: list[str] = []
    try:
        _write(_decode(text), parts)
        return "".join(parts).encode()
    except (OverflowError, RecursionError) as error:
        raise InvalidOutput(
            what="a message cannot be signed",
            why="numbers out of the range of a double"
            if isinstance(error, OverflowError)
            else "it is nested too deeply",
            fix="store such data as text",
        ) from None


def _write(value: object, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(encode_basestring(value))
    elif isinstance(value, dict):
        # By UTF-16 code units, which is not the order of code points beyond U+FFFF.
        pairs = sorted(cast("dict[str, object]", value).items(), key=lambda pair: pair[0].encode("utf-16-be"))
        for index, (key, member) in enumerate(pairs):
            parts.append(("," if index else "{") + encode_basestring(key) + ":")
            _write(member, parts)
        parts.append("}" if pairs else "{}")
    elif isinstance(value, list):
        for index, member in enumerate(cast("list[object]", value)):
            parts.append("," if index else "[")
            _write(member, parts)
        parts.append("]" if value else "[]")
    elif value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    else:
        parts.append(_number(cast("int | float", value)))


def _number(value: int | float) -> str:
    """As ECMAScript's Number.prototype.toString: the shortest digits that read back the same."""
    if isinstance(value, int) and abs(value) <= _EXACT_MAX:
        return str(value)
    value = float(value)
    if value == 0:
        return "0"
    sign, text = ("-", repr(-value)) if value < 0 else ("", repr(value))
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))  # where the decimal point stands
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        if len(digits) <= point:
            return sign + digits + "0" * (point - len(digits))
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
