"""Times and lengths as people read them, in answers of the server and in the terminal alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Final

from stepwell.clock import to_datetime, to_ms
from stepwell.limits import MOMENT_MS_MAX

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_KIB: Final = 1024
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def span(ms: int) -> str:
    """A length of time in about three digits: ``8 ms``, ``1.24 s``, ``2m 05s``, ``3h 12m``, ``4d 3h``."""
    if ms < _SECOND:
        return f"{max(ms, 0)} ms"
    if ms < 10 * _SECOND:
        return f"{ms / _SECOND:.2f} s"
    if ms < _MINUTE:
        return f"{ms / _SECOND:.1f} s"
    if ms < _HOUR:
        return f"{ms // _MINUTE}m {ms % _MINUTE // _SECOND:02d}s"
    if ms < _DAY:
        return f"{ms // _HOUR}h {ms % _HOUR // _MINUTE:02d}m"
    return f"{ms // _DAY}d {ms % _DAY // _HOUR}h"


def relative(ms: int, now: int) -> str:
    """A moment as seen from now, no finer than it matters: ``in 3h 12m``, ``5 s ago``, ``340 ms ago``."""
    apart = abs(ms - now)
    length = f"{apart // _SECOND} s" if _SECOND <= apart < _MINUTE else span(apart)
    return f"in {length}" if ms > now else f"{length} ago"


def clock_time(ms: int, now: int, zone: tzinfo | None = UTC) -> str:
    """A moment on the clock of a zone (``None``: the machine's), with the date if it is not today's."""
    moment, today = to_datetime(ms).astimezone(zone), to_datetime(now).astimezone(zone)
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def at(ms: int, now: int, zone: tzinfo | None = UTC) -> str:
    """A moment absolute and relative: ``14:03:05 UTC (in 3h 12m)``. The machine's own zone is not named."""
    name = f" {to_datetime(ms).astimezone(zone):%Z}" if zone is not None else ""
    return f"{clock_time(ms, now, zone)}{name} ({relative(ms, now)})"


def parse_moment(text: str) -> int:
    """The milliseconds of RFC 3339 text. Raises ``ValueError``, also before 1970 and after 9999 in UTC: such a moment
    could be kept, and never be shown again."""
    ms = to_ms(datetime.fromisoformat(text))
    if not 0 <= ms <= MOMENT_MS_MAX:
        raise ValueError(f"{text[:40]!r} is not between the years 1970 and 9999")
    return ms


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 run``, ``2 runs``, ``1,234 runs``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """A number of bytes in about three digits: ``812 bytes``, ``12.3 KiB``, ``2.0 MiB``."""
    if number < _KIB:
        return count(number, "byte")
    return f"{number / _KIB:.1f} KiB" if number < _KIB * _KIB else f"{number / _KIB / _KIB:.1f} MiB"


def nth_attempt(attempt: int, most: int | None) -> str:
    """``attempt 2 of 5`` for the attempt 1, as people count. Without ``of 5`` if that is unknown, or was changed to be
    too few."""
    return f"attempt {attempt + 1}" + (f" of {most}" if most is not None and most > attempt else "")


def printable(text: str) -> str:
    """Text of strangers without what a terminal would take for orders."""
    return _CONTROL.sub("", text)
