"""Lengths of time as people and the wire write them: ``"1h30m"`` (protocol §4.6). Everything is milliseconds."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Final

from stepwell.errors import InvalidDuration

CHARS_MAX: Final = 64  # bounds the work on text from strangers (invariants S33); the longest useful one has about 30
MS_MAX: Final = 9_223_372_036_854  # 2**63 ns, about 292 years: what other SDKs can hold

_MS: Final = {
    "w": Fraction(604_800_000),
    "d": Fraction(86_400_000),
    "h": Fraction(3_600_000),
    "m": Fraction(60_000),
    "s": Fraction(1_000),
    "ms": Fraction(1),
    "us": Fraction(1, 1_000),
    "µs": Fraction(1, 1_000),
    "μs": Fraction(1, 1_000),  # the Greek letter: keyboards and fonts differ
    "ns": Fraction(1, 1_000_000),
}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|μs|ns|[wdhms])")
_DESCENDING: Final = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_MICROSECOND: Final = timedelta(microseconds=1)


def parse_duration(text: str, *, empty_is_zero: bool = False) -> int:
    """The milliseconds of ``"1h30m"``, ``"1.5d"``, ``"250ms"``: one or more numbers, each with its unit.

    A part of a millisecond counts as a whole one, so that nothing set to a length of time happens too early.
    ``empty_is_zero`` is for messages of other SDKs, which write ``""`` for less than a second. Raises
    ``InvalidDuration``. The grammar is that of protocol §4.6.
    """
    if not text and empty_is_zero:
        return 0
    if len(text) > CHARS_MAX:
        raise _invalid(text[:20] + "…", f"it is longer than {CHARS_MAX} characters")
    total, position = Fraction(0), 0
    while match := _PART.match(text, position):
        total += Fraction(match[1]) * _MS[match[2]]
        position = match.end()
    if position < len(text) or not text:
        raise _invalid(text, f"{text[position:]!r} is not a number with a unit" if text else "it is empty")
    ms = -(-total.numerator // total.denominator)
    if ms > MS_MAX:
        raise _invalid(text, "it is longer than 292 years")
    return ms


def to_ms(value: str | timedelta | int) -> int:
    """The milliseconds of any form in which users give a length of time; an ``int`` is milliseconds already.

    Negative lengths pass, because a sleep of less than nothing is legal (semantics §5.2): who cannot use them refuses
    them. Raises ``InvalidDuration``.
    """
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return -(-(value // _MICROSECOND) // 1_000)
    if isinstance(value, bool) or not isinstance(value, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid(value, f"it is of type {type(value).__name__}")
    return value


def format_duration(ms: int) -> str:
    """The shortest text that ``parse_duration`` reads back: ``"1h30m"``; nothing is ``"0s"``.

    Raises ``InvalidDuration`` for a negative length, which the grammar cannot write.
    """
    if ms < 0:
        raise _invalid(f"{ms} ms", "a length of time cannot be negative here")
    parts: list[str] = []
    for unit, size in _DESCENDING:
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _invalid(value: object, why: str) -> InvalidDuration:
    return InvalidDuration(
        what=f"{value!r} is not a length of time" if value != "" else "an empty text is not a length of time",
        why=why,
        fix='write numbers with units (w, d, h, m, s, ms, us, ns), such as "90s", "1h30m" or "7d", or pass a timedelta',
    )
