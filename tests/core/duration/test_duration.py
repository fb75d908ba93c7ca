"""Lengths of time as people and the wire write them (protocol §4.6)."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.errors import ConfigurationError, InvalidDuration
from stepwell.model.duration import MS_MAX, format_duration, parse_duration, to_ms

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30s", 30 * SECOND),
        ("90s", 90 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1h30m", 90 * MINUTE),
        ("1d2h", 26 * HOUR),
        ("1d2h30m10s", 26 * HOUR + 30 * MINUTE + 10 * SECOND),
        ("1w", 7 * DAY),
        ("1.5h", 90 * MINUTE),
        ("0.5d", 12 * HOUR),
        ("250ms", 250),
        ("1s500ms", 1_500),
        ("30m1h", 90 * MINUTE),
        ("1m1m", 2 * MINUTE),
        ("0s", 0),
        ("2000us", 2),
        ("2000µs", 2),
        ("2000μs", 2),
        ("3000000ns", 3),
        ("007s", 7 * SECOND),
    ],
)
def test_numbers_with_units_add_up(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(("text", "ms"), [("1ns", 1), ("1us", 1), ("1.2ms", 2), ("1.0005s", 1_001), ("999us1us", 1)])
def test_a_part_of_a_millisecond_counts_as_a_whole_one(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "s",
        "1x",
        "1S",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1s ",
        "1s\n",
        "1.s",
        ".5s",
        "1..5s",
        "1e3s",
        "1,5s",
        "1y",
    ],
)
def test_anything_but_numbers_with_units_is_refused_with_what_why_and_fix(text: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)

    assert caught.value.what
    assert caught.value.why
    assert '"1h30m"' in caught.value.fix


@pytest.mark.parametrize(
    "text", ["1h30", "P1D", "PT1H", "two days", "١s", "1s\x00", "∞s", "1ms2", "nan", "1_000s", "1\ud800"]
)
def test_notations_of_others_are_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(text)


def test_the_error_is_a_configuration_error_that_shows_the_wrong_part() -> None:
    with pytest.raises(ConfigurationError, match="'5x' is not a number with a unit"):
        parse_duration("1h5x")


def test_an_empty_text_is_zero_only_on_request() -> None:
    assert parse_duration("", empty_is_zero=True) == 0
    with pytest.raises(InvalidDuration):
        to_ms("")


@pytest.mark.parametrize(
    "text", ["9" * 60 + "w", "1s" * 32, "0." + "9" * 60 + "s", "9" * 1_000_000, "1s" * 500_000 + "x"]
)
def test_the_work_on_hostile_text_is_bounded(text: str) -> None:
    began = time.perf_counter()

    try:
        parse_duration(text)
    except InvalidDuration as error:
        assert len(str(error)) < 500

    assert time.perf_counter() - began < 0.05


def test_the_longest_length_is_the_one_other_sdks_can_hold() -> None:
    assert parse_duration(f"{MS_MAX}ms") == MS_MAX
    with pytest.raises(InvalidDuration, match="292 years"):
        parse_duration(f"{MS_MAX + 1}ms")


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("1h", HOUR),
        (timedelta(hours=1), HOUR),
        (3_600_000, HOUR),
        (0, 0),
        (timedelta(), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=1, microseconds=1), 2),
        (timedelta(seconds=-1), -1_000),
        (-5, -5),
    ],
)
def test_users_may_give_text_a_timedelta_or_milliseconds(value: str | timedelta | int, ms: int) -> None:
    assert to_ms(value) == ms


@pytest.mark.parametrize("value", [1.5, True, None, b"1s"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(InvalidDuration, match=f"of type {type(value).__name__}"):
        to_ms(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (1, "1ms"), (90 * MINUTE, "1h30m"), (7 * DAY, "1w"), (DAY + 1_001, "1d1s1ms")]
)
def test_a_length_is_written_with_descending_units(ms: int, text: str) -> None:
    assert format_duration(ms) == text


def test_a_negative_length_cannot_be_written() -> None:
    with pytest.raises(InvalidDuration, match="negative"):
        format_duration(-1)


@settings(max_examples=200)
@given(st.integers(0, MS_MAX))
def test_what_is_written_reads_back_the_same(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@settings(max_examples=200)
@given(st.text(alphabet="0123456789.wdhmsunµ +-e", max_size=70))
def test_any_text_gives_a_length_or_the_one_error(text: str) -> None:
    with contextlib.suppress(InvalidDuration):
        assert 0 <= parse_duration(text) <= MS_MAX
