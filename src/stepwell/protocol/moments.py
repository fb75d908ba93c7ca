"""Moments as the wire writes them: ISO 8601 text. Inside they are milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stepwell.limits import MOMENT_MS_MAX


def write_moment(ms: int) -> str:
    """``2026-01-02T03:04:05.678Z``."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_moment(text: str) -> int | None:
    """The moment of an ISO 8601 text, in UTC unless it says otherwise; ``None`` if it is none (protocol §6.3).

    One before 1970 counts as that, one after 9999 as its end: both mean at once, or never, and have no text.
    """
    if len(text) < 10:
        return None
    try:
        return _to_ms(datetime.fromisoformat(text))
    except ValueError:
        return None


def read_retry_after(text: str, now: int) -> int | None:
    """The moment that a ``Retry-After`` header names: up to 7 digits are seconds from ``now``, the rest is a date.

    ``None`` if it is neither (protocol §5.5).
    """
    if len(text) <= 7 and text.isascii() and text.isdigit():
        return now + int(text) * 1000
    moment = read_moment(text)
    if moment is not None:
        return moment
    try:
        return _to_ms(parsedate_to_datetime(text))
    except (ValueError, TypeError):
        return None


def bounded(ms: int) -> int:
    """The nearest moment that can be written as text."""
    return min(max(ms, 0), MOMENT_MS_MAX)


def _to_ms(moment: datetime) -> int:
    return bounded(round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
