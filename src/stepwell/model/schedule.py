"""When a cron expression is due: five fields, a time zone, and a rule for nights when clocks change (semantics §2.2).

The calendar of days is cronsim's. The clock is ours, because cronsim moves a skipped time to the end of the gap, and
takes "*/15 2 * * *" for a schedule of every hour; it is also several times faster. Between two changes of a zone's
offset, local and real time differ by a constant, so the next tick is found in local time, and counts if it comes before
the next change. Both rules follow: skipped local times never come up; repeated ones come up twice, and for fixed hours
the second is passed over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from stepwell.errors import InvalidCron
from stepwell.limits import CRON_CHARS_MAX, JITTER_MIN
from stepwell.model.duration import to_ms

_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
_HORIZON: Final = 50 * 366 * _DAY  # a 29 February on a given weekday comes back within 40 years, also around 2100
_LATEST: Final = 253_000_000_000_000  # in the year 9987: datetime ends soon after
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MILLISECOND: Final = timedelta(milliseconds=1)
_JITTER_MIN_MS: Final = to_ms(JITTER_MIN)

# Offsets change by a day at most (a zone that crosses the date line), so a change further away than this has no say.
_REACH: Final = 2 * _DAY

_NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Stretch(NamedTuple):
    """Real time from ``start`` to ``end`` in which the zone's offset is constant; all in milliseconds.

    Until ``fresh`` the clock shows times that it showed before. ``changes``: at the end, or else we only know so far.
    """

    start: int
    end: int
    offset: int
    fresh: int
    changes: bool


class Schedule:
    """A parsed cron expression. Moments are milliseconds since 1970-01-01 UTC and fall on whole local minutes."""

    __slots__ = ("_calendar", "_known", "_known_day", "_months", "_once", "_times", "_zone", "text")

    def __init__(
        self, text: str, zone: ZoneInfo | None, calendar: CronSim, months: frozenset[int], *, once: bool
    ) -> None:
        self.text = text
        self._zone = zone
        self._calendar = calendar
        self._months = months
        self._times = sorted((hour * 60 + minute) * _MINUTE for hour in calendar.hours for minute in calendar.minutes)
        self._once = once
        self._known = _Stretch(-_LATEST, _LATEST, 0, -_LATEST, changes=False) if zone is None else _NOTHING
        self._known_day = (0, False)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read ``"TZ=Europe/Paris 0 9 * * 1"``: five fields, optionally after a time zone; UTC without one.

        Fields may hold ``*``, numbers, ranges, lists, steps, names of months and days, ``L`` and ``n#k``. If neither
        day field begins with ``*``, a day that matches either is enough. Raises ``InvalidCron``. A schedule that never
        comes up, such as 30 February, is accepted.
        """
        if len(text) > CRON_CHARS_MAX:
            raise _invalid(text[:20] + "…", f"it is longer than {CRON_CHARS_MAX} characters", "list fewer values")
        zone, fields = _split(text)
        minute, hour, day, month, weekday = fields
        try:
            # In two parts, because cronsim refuses a day that none of the months has; we accept it (semantics §2.2).
            calendar = CronSim(f"{minute} {hour} {day} * {weekday}", _EPOCH)
            months = CronSim(f"0 0 1 {month} *", _EPOCH).months
        except (CronSimError, AssertionError) as error:
            why = (
                f"{str(error).lower().replace('bad ', 'its field ', 1)} is wrong" if str(error) else "a field is wrong"
            )
            fix = "the fields are: minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7 (0 and 7 are Sunday)"
            raise _invalid(text, why, fix) from None
        every_hour = "*" in hour or "/" in hour or len(calendar.hours) == 24
        return cls(text, zone, calendar, frozenset(months), once=not every_hour)

    def next_after(self, ms: int) -> int | None:
        """The first tick after ``ms``; ``None`` if none comes within 50 years."""
        at, last = ms + 1, min(ms + _HORIZON, _LATEST)
        while at <= last:
            stretch = self._known
            if not stretch.start <= at < stretch.end:
                stretch = self._known = self._stretch(at)
            offset = stretch.offset
            tick = self._next_local(max(at, stretch.fresh) + offset if self._once else at + offset)
            if tick is None:
                return None
            if tick - offset < stretch.end:
                return tick - offset
            # No clock in this zone shows the tick more than a day before we think it does: skip what lies between.
            at = stretch.end if stretch.changes else max(stretch.end, tick - offset - _REACH)
        return None

    def latest_at_or_before(self, ms: int, not_before: int) -> int | None:
        """The last tick in ``not_before`` … ``ms``, both included, found by halving however many there were."""
        tick = self.next_after(not_before - 1)
        if tick is None or tick > ms:
            return None
        latest, beyond = tick, ms + 1
        while latest + 1 < beyond:
            middle = (latest + beyond) // 2
            tick = self.next_after(middle - 1)
            if tick is None or tick > ms:
                beyond = middle
            else:
                latest = tick
        return latest

    def between(self, after: int, until: int) -> Iterator[int]:
        """The ticks after ``after`` up to ``until``, which is included."""
        tick = self.next_after(after)
        while tick is not None and tick <= until:
            yield tick
            tick = self.next_after(tick)

    @staticmethod
    def jitter(tick_ms: int, seed_text: str, jitter_ms: int) -> int:
        """By how much to delay a tick: in [1 s, ``jitter_ms``), the same wherever and whenever it is asked.

        ``seed_text`` names whose tick it is, so that functions with the same schedule spread. Without jitter it is 0.
        """
        if jitter_ms <= 0:
            return 0
        chance = int.from_bytes(sha256(f"{tick_ms}/{seed_text}".encode(errors="surrogatepass")).digest()[:8])
        return _JITTER_MIN_MS + chance % max(1, jitter_ms - _JITTER_MIN_MS)

    def _next_local(self, local: int) -> int | None:
        """The first matching local minute at or after ``local``."""
        day, rest = divmod(local, _DAY)
        if self._matches(day):
            index = bisect_left(self._times, rest)
            if index < len(self._times):
                return day * _DAY + self._times[index]
        last = min(day + _HORIZON // _DAY, _LATEST // _DAY)
        day += 1
        while day <= last:
            if self._matches(day):
                return day * _DAY + self._times[0]
            found = date.fromordinal(day + _EPOCH_DAY)
            if found.month in self._months:
                day += 1
            else:
                day = (found.replace(day=28) + timedelta(days=4)).replace(day=1).toordinal() - _EPOCH_DAY
        return None

    def _matches(self, day: int) -> bool:
        known_day, matches = self._known_day
        if known_day != day:
            found = date.fromordinal(day + _EPOCH_DAY)
            matches = found.month in self._months and self._calendar.match_day(found)
            self._known_day = (day, matches)
        return matches

    def _stretch(self, at: int) -> _Stretch:
        offset = self._offset(at)
        start, fresh = at, at
        before = self._offset(at - _REACH)
        if before != offset:
            start = self._change(at - _REACH, at)
            fresh = start + max(0, self._offset(start - 1) - offset)
        end = at + _REACH
        changes = self._offset(end) != offset
        if changes:
            end = self._change(at, end)
        return _Stretch(start, end, offset, fresh, changes)

    def _change(self, before: int, after: int) -> int:
        """The first moment at which the offset is that of ``after``."""
        offset = self._offset(after)
        while before + 1 < after:
            middle = (before + after) // 2
            if self._offset(middle) == offset:
                after = middle
            else:
                before = middle
        return after

    def _offset(self, ms: int) -> int:
        offset = (_EPOCH + timedelta(milliseconds=ms)).astimezone(self._zone).utcoffset()
        return offset // _MILLISECOND if offset else 0


_NOTHING: Final = _Stretch(0, 0, 0, 0, changes=False)


def _split(text: str) -> tuple[ZoneInfo | None, list[str]]:
    zone = None
    fields = text.split()
    if fields and fields[0].startswith(("TZ=", "CRON_TZ=")):
        zone = _zone(text, fields.pop(0).partition("=")[2])
    if fields and fields[0].startswith("@"):
        known = _NAMES.get(fields[0].lower(), "0 * * * *")
        raise _invalid(text, "names such as @hourly are not read the same everywhere", f"write {known!r} or the like")
    if len(fields) != 5:
        why = f"it has {len(fields)} fields, not 5" + (": seconds and years cannot be given" if len(fields) > 5 else "")
        raise _invalid(text, why, 'write minute hour day month weekday, such as "0 9 * * 1" for Mondays at 9:00')
    return zone, fields


def _zone(text: str, name: str) -> ZoneInfo | None:
    if name == "UTC":
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        why = f"there is no time zone {name!r}"
        fix = 'use a name of the IANA time zone database, such as "TZ=Europe/Paris 0 9 * * 1"'
        raise _invalid(text, why, fix) from None


def _invalid(text: str, why: str, fix: str) -> InvalidCron:
    return InvalidCron(what=f"{text!r} is not a cron schedule", why=why, fix=fix)
