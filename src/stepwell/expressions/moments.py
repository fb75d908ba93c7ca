"""Moments and durations: how expressions read them and write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)

# No date or duration is longer; a longer text is not worth reading.
_CHARS_MAX = 64

# Numbers from here on are milliseconds: as seconds they would be the year 5138 and later, and as milliseconds
# smaller numbers would be before March 1973.
_MILLISECONDS_FROM = 10**11

_NANOSECONDS = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ns": 1,
}

_DURATION_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ms|us|µs|μs|ns|w|d|h|m|s)")

_ZONE = r"(?:\s*(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
_TIME = (
    r"(?:[T t,]\s*(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?:\s*(?P<half>[AaPp][Mm]))?" + _ZONE + r")?"
)
_WEEKDAY = r"(?:[A-Za-z]{3,9},?\s+)?"

_RFC3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATES = tuple(
    re.compile(pattern + _TIME)
    for pattern in (
        r"(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})",
        r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
        r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})",
        _WEEKDAY + r"(?P<day>[0-9]{1,2})[ -](?P<name>[A-Za-z]{3,9})\.?,?[ -](?P<year>[0-9]{4})",
        _WEEKDAY + r"(?P<name>[A-Za-z]{3,9})\.? (?P<day>[0-9]{1,2})(?:st|nd|rd|th)?,? (?P<year>[0-9]{4})",
    )
)
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)


def parse_moment(text: str) -> datetime:
    """A moment in RFC 3339, to the microsecond; raises ``ValueError``."""
    found = _RFC3339.fullmatch(text) if len(text) <= _CHARS_MAX else None
    if found is None:
        raise ValueError("not a moment such as 2030-01-31T12:00:00Z")
    return _moment(found)


def parse_date(text: str) -> datetime:
    """A date, with or without time and zone, in one of the usual spellings; raises ``ValueError``.

    Without a zone it is UTC. A date of three numbers divided by slashes is month/day/year. Digits alone are an epoch.
    """
    text = text.strip()
    if len(text) > _CHARS_MAX:
        raise ValueError("too long for a date")
    for pattern in _DATES:
        found = pattern.fullmatch(text)
        if found is not None:
            return _moment(found)
    if re.fullmatch(r"-?[0-9]{9,15}", text):
        return from_epoch(int(text))
    raise ValueError("not a date that we can read")


def from_epoch(number: float) -> datetime:
    """The moment a number of seconds or milliseconds since 1970 stands for; raises ``OverflowError``."""
    if abs(number) >= _MILLISECONDS_FROM:
        return EPOCH + timedelta(milliseconds=number)
    return EPOCH + timedelta(seconds=number)


def _moment(found: re.Match[str]) -> datetime:
    parts = found.groupdict()
    hour = int(parts["hour"] or 0)
    if parts.get("half"):
        if not 1 <= hour <= 12:
            raise ValueError("not an hour of the 12-hour clock")
        hour = hour % 12 + (12 if parts["half"].lower() == "pm" else 0)
    return datetime(
        int(parts["year"]),
        int(parts["month"]) if parts.get("month") else _month(parts["name"]),
        int(parts["day"]),
        hour,
        int(parts["minute"] or 0),
        int(parts["second"] or 0),
        int((parts["fraction"] or "0")[:6].ljust(6, "0")),
        tzinfo=parse_zone(parts["zone"] or "Z"),
    ).astimezone(UTC)


def _month(name: str) -> int:
    for number, month in enumerate(_MONTHS, start=1):
        if month.startswith(name.lower()):
            return number
    raise ValueError("not a month")


def parse_zone(text: str) -> tzinfo:
    """A time zone: ``Z``, ``+05:30`` or a name such as ``Europe/Paris``; raises ``ValueError``."""
    if text in ("Z", "z", "UTC", "GMT"):
        return UTC
    offset = re.fullmatch(r"([+-]?)([0-9]{2}):?([0-9]{2})", text)
    if offset is not None:
        length = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-length if offset[1] == "-" else length)
    try:
        return ZoneInfo(text)
    except (KeyError, OSError) as error:
        raise ValueError("not a time zone") from error


def parse_duration(text: str) -> timedelta:
    """A length of time such as ``1h30m`` or ``-1.5s``, to the microsecond; raises ``ValueError``."""
    body = text.removeprefix("-") if text[:1] == "-" else text.removeprefix("+")
    at, nanoseconds = 0, 0
    while at < len(body) <= _CHARS_MAX:
        part = _DURATION_PART.match(body, at)
        if part is None:
            break
        unit = _NANOSECONDS[part[3]]
        nanoseconds += int(part[1]) * unit
        if part[2]:
            nanoseconds += int(part[2]) * unit // 10 ** len(part[2])
        at = part.end()
    if body != "0" and (at == 0 or at != len(body)):
        raise ValueError("not a length of time such as 1h30m")
    length = timedelta(microseconds=nanoseconds // 1_000)
    return -length if text[:1] == "-" else length


def moment_text(moment: datetime) -> str:
    """A moment in RFC 3339."""
    body = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (body.rstrip("0") if "." in body else body) + "Z"


def duration_text(length: timedelta) -> str:
    """A length of time in seconds, as CEL writes it: ``90s``, ``-0.25s``."""
    microseconds = length // timedelta(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}{seconds}{fraction}s"
