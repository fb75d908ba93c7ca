"""What a key without a value means to each control: the table of semantics §3.4, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.flow import (
    BatchEvents,
    Concurrency,
    Debounce,
    Idempotency,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)

KEY = "event.data.key"
FAILS = "event.data.key < 1"  # for a text
KINDS: dict[str, Any] = {
    "rate limit": lambda key: RateLimit(1, "1m", key=key).cell,
    "idempotency": lambda key: Idempotency(key).cell,
    "singleton": lambda key: Singleton("skip", key=key).lock,
    "concurrency": lambda key: Concurrency(1, key=key).slot,
    "run concurrency": lambda key: RunConcurrency(1, key=key).place,
    "throttle": lambda key: Throttle(1, "1m", key=key).queue,
    "debounce": lambda key: Debounce("1m", key=key).window,
    "batch": lambda key: BatchEvents(5, key=key).window,
}
SHARED, EXEMPT, ITS_OWN = "shared", "exempt", "its own"
TABLE = {
    "rate limit": (SHARED, EXEMPT),
    "idempotency": (SHARED, EXEMPT),
    "singleton": (EXEMPT, EXEMPT),
    "concurrency": (SHARED, ITS_OWN),
    "run concurrency": (SHARED, ITS_OWN),
    "throttle": (SHARED, ITS_OWN),
    "debounce": (SHARED, SHARED),
    "batch": (SHARED, SHARED),
}


def place(kind: str, expression: str, data: dict[str, Any]) -> str | None:
    found: str | None = KINDS[kind](expression)("shop-bill", {"event": {"data": data}}, 0)
    return found


def meaning(key: str | None) -> str:
    if key is None:
        return EXEMPT
    return SHARED if key.endswith("/") else ITS_OWN


@pytest.mark.parametrize("kind", TABLE)
def test_a_key_that_is_missing_fails_or_is_false_means_what_the_table_says(kind: str) -> None:
    absent, false = TABLE[kind]

    assert meaning(place(kind, KEY, {})) == absent
    assert meaning(place(kind, FAILS, {"key": "text"})) == absent
    assert meaning(place(kind, KEY, {"key": False})) == false
    assert meaning(place(kind, KEY, {"key": "x"})) == ITS_OWN
    assert place(kind, KEY, {"key": "false"}) != place(kind, KEY, {"key": False}), "a text is another value"
