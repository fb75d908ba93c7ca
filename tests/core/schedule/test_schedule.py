"""When a cron expression is due, on ordinary days and when clocks change (semantics §2.2)."""

from __future__ import annotations

import calendar
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stepwell.errors import InvalidCron
from stepwell.model.schedule import Schedule

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def ms(text: str) -> int:
    """The moment of ``"2026-03-29 01:00"``, in UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def told(ticks: list[int] | None, zone: str = "UTC") -> list[str]:
    return [datetime.fromtimestamp(tick / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for tick in ticks or []]


def ticks(text: str, after: str, until: str) -> list[int]:
    return list(Schedule.parse(text).between(ms(after), ms(until)))


# Reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0 9 * * 1",
        "  0   9 * *\t1 ",
        "*/15 0-6,22,23 1-7 JAN-MAR,dec Mon",
        "5/20 * L * *",
        "0 0 * * 5L",
        "0 0 * * 1#2",
        "TZ=Europe/Paris 0 9 * * 1",
        "CRON_TZ=America/New_York 0 9 * * 1",
        "TZ=UTC 0 9 * * 7",
        "TZ=Etc/GMT+5 0 9 * * 0",
    ],
)
def test_five_fields_and_a_zone_are_understood(text: str) -> None:
    assert Schedule.parse(text).next_after(ms("2026-01-01")) is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "seconds and years"),
        ("0 0 1 1 * 2026", "seconds and years"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * 32 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day-of-week"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("a * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("* * * FOO *", "month"),
        ("* * * * L", "day-of-week"),
        ("٣ * * * *", "minute"),
        ("\x00 * * * *", "minute"),
        ("@hourly", "not read the same"),
        ("@every 5m", "not read the same"),
        ("TZ=Europe/Paris @daily", "not read the same"),
        ("TZ=Europe/Atlantis 0 9 * * 1", "no time zone 'Europe/Atlantis'"),
        ("TZ= 0 9 * * 1", "no time zone ''"),
        ("TZ=../../etc/passwd 0 9 * * 1", "no time zone"),
        ("TZ=/etc/localtime 0 9 * * 1", "no time zone"),
        ("TZ=Europe 0 9 * * 1", "no time zone"),
        ("TZ=Europe/Paris\x00 0 9 * * 1", "no time zone"),
        ("TZ=Europe/Paris", "0 fields"),
        ("0 9 * * 1 TZ=Europe/Paris", "6 fields"),
        ("0 0 * * " + "1," * 130 + "1", "255 characters"),
    ],
)
def test_anything_else_is_refused_with_what_why_and_fix(text: str, why: str) -> None:
    with pytest.raises(InvalidCron, match=why) as caught:
        Schedule.parse(text)

    assert caught.value.what
    assert caught.value.fix


def test_a_name_such_as_hourly_is_answered_with_the_five_fields() -> None:
    with pytest.raises(InvalidCron, match=r"write '0 0 \* \* 0'"):
        Schedule.parse("@weekly")


@given(st.text(alphabet="0123456789*,-/#LWMONSUJA@= ", max_size=30))
def test_any_text_is_a_schedule_or_the_one_error(text: str) -> None:
    try:
        schedule = Schedule.parse(text)
    except InvalidCron:
        return

    tick = schedule.next_after(0)
    assert tick is None or tick > 0


# Ordinary days -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "after", "next"),
    [
        ("0 * * * *", "2026-01-01 00:00", "2026-01-01 01:00"),
        ("0 * * * *", "2026-01-01 00:59:59.999", "2026-01-01 01:00"),
        ("* * * * *", "2026-01-01 00:00:30", "2026-01-01 00:01"),
        ("0 9 * * 1", "2026-01-01", "2026-01-05 09:00"),
        ("TZ=Europe/Paris 0 9 * * 1", "2026-01-01", "2026-01-05 08:00"),
        ("TZ=Europe/Paris 0 9 * * 1", "2026-07-01", "2026-07-06 07:00"),
        ("TZ=Asia/Kathmandu 0 0 * * *", "2026-01-01", "2026-01-01 18:15"),
        ("59 23 31 12 *", "2026-01-01", "2026-12-31 23:59"),
        ("0 0 29 2 *", "2026-01-01", "2028-02-29"),
        ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
        ("0 0 L * *", "2026-02-01", "2026-02-28"),
        ("0 0 13 * FRI", "2026-02-01", "2026-02-06"),  # either day is enough
        ("0 0 */2 * FRI", "2026-02-01", "2026-02-13"),  # both are needed, as one begins with *
        ("0 0 31 4,5 *", "2026-01-01", "2026-05-31"),
    ],
)
def test_the_next_tick_is_the_first_after_the_moment(text: str, after: str, next: str) -> None:
    assert Schedule.parse(text).next_after(ms(after)) == ms(next)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "TZ=Europe/Paris 0 0 31 11 *"])
def test_a_day_that_never_comes_has_no_tick(text: str) -> None:
    schedule = Schedule.parse(text)

    assert schedule.next_after(ms("2026-01-01")) is None
    assert schedule.latest_at_or_before(ms("2030-01-01"), ms("2026-01-01")) is None
    assert list(schedule.between(ms("2026-01-01"), ms("2030-01-01"))) == []


def test_the_end_of_the_calendar_is_the_end_of_the_ticks() -> None:
    assert Schedule.parse("TZ=Europe/Paris 0 0 1 1 *").next_after(ms("9987-06-01")) is None


@given(
    st.sampled_from(["0 * * * *", "*/7 3-9 * * *", "0 9 * * 1-5", "30 4 1,15 * 5", "0 0 L * *", "5 4 * 2 SUN#1"]),
    st.integers(ms("2020-01-01"), ms("2040-01-01")),
)
def test_in_utc_the_ticks_are_those_of_cronsim(text: str, after: int) -> None:
    theirs = CronSim(text, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=after))

    tick = after
    for _ in range(20):
        tick = Schedule.parse(text).next_after(tick) or 0
        assert tick == round(next(theirs).timestamp() * 1000)


# Clocks change -------------------------------------------------------------------------------------------------------

# Europe/Paris: 2026-03-29 02:00 +0100 becomes 03:00 +0200; 2026-10-25 03:00 +0200 becomes 02:00 +0100.
SPRING = ("2026-03-28 22:59", "2026-03-29 03:59")
AUTUMN = ("2026-10-24 22:59", "2026-10-25 03:59")


@pytest.mark.parametrize("text", ["30 2 * * *", "*/10 2 * * *", "0,59 2 29 3 *"])
def test_a_skipped_local_time_does_not_fire(text: str) -> None:
    assert ticks(f"TZ=Europe/Paris {text}", *SPRING) == []


def test_a_fixed_time_after_the_gap_fires_once() -> None:
    found = ticks("TZ=Europe/Paris 0 3 * * *", *SPRING)

    assert told(found, "Europe/Paris") == ["03-29 03:00 +0200"]


def test_every_hour_means_every_real_hour_when_one_is_skipped() -> None:
    found = ticks("TZ=Europe/Paris 0 * * * *", *SPRING)

    assert told(found, "Europe/Paris") == [
        "03-29 00:00 +0100",
        "03-29 01:00 +0100",
        "03-29 03:00 +0200",
        "03-29 04:00 +0200",
        "03-29 05:00 +0200",
    ]


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ("30 2 * * *", ["02:30 +0200"]),
        ("0 3 * * *", ["03:00 +0100"]),
        ("*/30 2 * * *", ["02:00 +0200", "02:30 +0200"]),
        ("30 1,2,3 * * *", ["01:30 +0200", "02:30 +0200", "03:30 +0100"]),
        ("30 1-3 * * *", ["01:30 +0200", "02:30 +0200", "03:30 +0100"]),
    ],
)
def test_a_repeated_local_time_fires_once_for_fixed_hours(fields: str, times: list[str]) -> None:
    found = ticks(f"TZ=Europe/Paris {fields}", *AUTUMN)

    assert told(found, "Europe/Paris") == [f"10-25 {time}" for time in times]


@pytest.mark.parametrize("hours", ["*", "0-23", "0-23/1", "*/1"])
def test_a_repeated_local_time_fires_at_each_real_hour_for_every_hour(hours: str) -> None:
    found = ticks(f"TZ=Europe/Paris 30 {hours} 25 10 *", *AUTUMN)

    assert told(found, "Europe/Paris") == [
        "10-25 01:30 +0200",
        "10-25 02:30 +0200",
        "10-25 02:30 +0100",
        "10-25 03:30 +0100",
        "10-25 04:30 +0100",
    ]


def test_step_hours_fire_in_both_of_the_repeated_hours() -> None:
    found = ticks("TZ=Europe/Paris 0 */2 * * *", *AUTUMN)

    assert told(found, "Europe/Paris") == ["10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 04:00 +0100"]


def test_asking_from_within_the_repeated_hour_gives_the_same_ticks() -> None:
    schedule = Schedule.parse("TZ=Europe/Paris 30 2 * * *")
    second_half_past_two = ms("2026-10-25 02:30+01:00")

    assert told([schedule.next_after(second_half_past_two - 1) or 0], "Europe/Paris") == ["10-26 02:30 +0100"]


# Changes of all kinds: an hour, half an hour, two hours, at midnight, just after midnight, a day that never was.
CHANGES = [
    ("Europe/Paris", "2026-03-28"),
    ("Europe/Paris", "2026-10-24"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Antarctica/Troll", "2026-03-28"),
    ("Antarctica/Troll", "2026-10-24"),
    ("America/Sao_Paulo", "2018-02-17"),
    ("America/Sao_Paulo", "2018-11-03"),
    ("America/St_Johns", "2006-04-01"),
    ("America/St_Johns", "2006-10-28"),
    ("America/Havana", "2026-10-31"),
    ("Africa/Casablanca", "2026-02-14"),
    ("Asia/Gaza", "2026-10-23"),
    ("America/Caracas", "2016-04-30"),
    ("Pacific/Apia", "2011-12-29"),
    ("Pacific/Kwajalein", "1993-08-20"),
    ("UTC", "2026-06-01"),
]


@cache
def minutes(zone: str, day: str) -> list[tuple[int, datetime]]:
    """All real minutes of three days, as the clocks of the zone show them."""
    moments = (ms(day) + minute * MINUTE for minute in range(-12 * 60, 60 * 60))
    return [(at, datetime.fromtimestamp(at // 1000, ZoneInfo(zone))) for at in moments]


def numbers(low: int, high: int) -> st.SearchStrategy[tuple[str, set[int]]]:
    """A field of one of the usual forms, and the numbers it stands for."""
    everything = set(range(low, high + 1))
    one = st.integers(low, high)
    return st.one_of(
        st.just(("*", everything)),
        st.integers(1, 15).map(lambda step: (f"*/{step}", set(range(low, high + 1, step)))),
        st.sets(one, min_size=1, max_size=4).map(lambda found: (",".join(map(str, sorted(found))), found)),
        st.tuples(one, one)
        .filter(lambda ends: ends[0] <= ends[1])
        .map(lambda ends: (f"{ends[0]}-{ends[1]}", set(range(ends[0], ends[1] + 1)))),
    )


@settings(max_examples=150)
@given(
    change=st.sampled_from(CHANGES),
    minute=numbers(0, 59),
    hour=numbers(0, 23),
    day=st.just(("*", set(range(1, 32)))) | numbers(1, 31),
    weekday=st.just(("*", set(range(7)))) | numbers(0, 6),
)
def test_a_calendar_walked_minute_by_minute_agrees(
    change: tuple[str, str],
    minute: tuple[str, set[int]],
    hour: tuple[str, set[int]],
    day: tuple[str, set[int]],
    weekday: tuple[str, set[int]],
) -> None:
    every_hour = "*" in hour[0] or len(hour[1]) == 24
    both = day[0].startswith("*") or weekday[0].startswith("*")
    walk = minutes(*change)
    expected = [
        at
        for at, local in walk[1:]
        if local.minute in minute[1]
        and local.hour in hour[1]
        and ((all if both else any)((local.day in day[1], local.isoweekday() % 7 in weekday[1])))
        and (every_hour or local.fold == 0)
    ]

    schedule = Schedule.parse(f"TZ={change[0]} {minute[0]} {hour[0]} {day[0]} * {weekday[0]}")

    assert list(schedule.between(walk[0][0], walk[-1][0])) == expected


@cache
def changes_of(zone: str, year: int) -> list[str]:
    """The days of a year on which the clocks of a zone are changed, or on the eve of which."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(366)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [f"{days[n]:%Y-%m-%d}" for n in range(365) if offsets[n] != offsets[n + 1]]


@settings(max_examples=100)
@given(
    zone=st.sampled_from(sorted(available_timezones() - {"localtime"})),
    year=st.integers(1971, 2036),
    pick=st.integers(0, 365),
    minute=numbers(0, 59),
    hour=numbers(0, 23),
    month=numbers(1, 12),
)
def test_it_agrees_in_every_zone_whenever_its_clocks_were_changed(
    zone: str,
    year: int,
    pick: int,
    minute: tuple[str, set[int]],
    hour: tuple[str, set[int]],
    month: tuple[str, set[int]],
) -> None:
    found = changes_of(zone, year) or [f"{datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=pick):%Y-%m-%d}"]
    walk = minutes(zone, found[pick % len(found)])
    assume(all(local.second == 0 for _, local in walk))  # else no local minute begins with a real one
    expected = [
        at
        for at, local in walk[1:]
        if (local.minute in minute[1] and local.hour in hour[1] and local.month in month[1])
        and ("*" in hour[0] or len(hour[1]) == 24 or local.fold == 0)
    ]

    schedule = Schedule.parse(f"TZ={zone} {minute[0]} {hour[0]} * {month[0]} *")

    assert list(schedule.between(walk[0][0], walk[-1][0])) == expected


# After downtime ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "latest"),
    [
        ("* * * * *", "2026-10-25 02:17"),
        ("TZ=Europe/Paris 0 9 * * *", "2026-10-24 07:00"),
        ("0 0 1 1 *", "2026-01-01"),
        ("* * * 1 *", "2026-01-31 23:59"),
        ("0 0 29 2 *", "2024-02-29"),
    ],
)
def test_the_latest_missed_tick_is_found(text: str, latest: str) -> None:
    assert Schedule.parse(text).latest_at_or_before(ms("2026-10-25 02:17:59"), ms("2020-01-01")) == ms(latest)


def test_both_ends_of_the_search_for_the_latest_are_included() -> None:
    schedule, noon = Schedule.parse("0 12 * * *"), ms("2026-01-01 12:00")

    assert schedule.latest_at_or_before(noon, noon) == noon
    assert schedule.latest_at_or_before(noon - 1, noon - 1) is None
    assert schedule.latest_at_or_before(noon + DAY - 1, noon + 1) is None
    assert schedule.latest_at_or_before(noon - 1, noon) is None


@settings(max_examples=50)
@given(
    st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 */3 * * 1", "0 0 1 * *"]),
    st.integers(ms("2026-01-01"), ms("2026-12-01")),
    st.integers(0, 40 * DAY),
)
def test_the_latest_tick_is_the_last_of_all_ticks(text: str, start: int, length: int) -> None:
    schedule = Schedule.parse(f"TZ=Europe/Paris {text}")

    every = list(schedule.between(start - 1, start + length))

    assert schedule.latest_at_or_before(start + length, start) == (every[-1] if every else None)


# Jitter --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 4 * 10**12), st.text(max_size=20), st.integers(1_001, 300_000))
def test_jitter_is_at_least_a_second_less_than_the_limit_and_always_the_same(tick: int, seed: str, limit: int) -> None:
    offset = Schedule.jitter(tick, seed, limit)

    assert 1_000 <= offset < limit
    assert offset == Schedule.jitter(tick, seed, limit)


def test_no_jitter_is_no_delay_and_the_least_jitter_is_a_second() -> None:
    assert Schedule.jitter(0, "app-fn", 0) == 0
    assert Schedule.jitter(0, "app-fn", 1_000) == 1_000


def test_jitter_spreads_functions_and_ticks() -> None:
    offsets = {Schedule.jitter(tick * HOUR, f"app-fn{fn}", 300_000) for tick in range(20) for fn in range(20)}

    assert len(offsets) > 350
    assert Schedule.jitter(1_700_000_000_000, "app-fn", 30_000) == 20_570  # stable over processes and releases


# Work ----------------------------------------------------------------------------------------------------------------


def test_a_year_of_hourly_ticks_takes_a_fraction_of_a_second() -> None:
    schedule = Schedule.parse("TZ=Europe/Paris 0 * * * *")
    began = time.perf_counter()

    found = list(schedule.between(ms("2026-01-01") - 1, ms("2026-12-31 23:59")))

    assert len(found) == 365 * 24
    assert time.perf_counter() - began < 0.25


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 29 2 1", "* * 29 2 1#5", "0 0 L 2 1#5"])
def test_the_search_for_rare_days_is_bounded(text: str) -> None:
    began = time.perf_counter()

    Schedule.parse("TZ=America/New_York " + text).next_after(ms("2026-01-01"))

    assert time.perf_counter() - began < 0.1


def test_every_february_of_the_calendar_agrees_with_the_standard_library() -> None:
    leap_days = Schedule.parse("0 0 29 2 *").between(ms("1970-01-01"), ms("2150-01-01"))

    assert [datetime.fromtimestamp(at / 1000, UTC).year for at in leap_days] == [
        year for year in range(1970, 2150) if calendar.isleap(year)
    ]
