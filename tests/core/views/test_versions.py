"""What a configuration has changed, in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell.model.function import FunctionVersion
from stepwell.model.questions import FunctionVersions, ListFunctions, StoredFunction
from stepwell.views.versions import changes, said, version_views


def of(before: Any, after: Any) -> list[str]:
    return changes(msgspec.json.encode(before), msgspec.json.encode(after))


def retrying(attempts: Any, url: str | None = None) -> dict[str, Any]:
    return {"steps": {"step": {"retries": {"attempts": attempts}, "runtime": {"url": url}}}}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (retrying(3), retrying(5), ["retries 3 → 5"]),
        ({}, retrying(5), ["retries 4 → 5"]),
        (retrying(4, "http://a"), retrying(4, "http://b"), ["address http://a → http://b"]),
        (
            {"steps": {"step": {"runtime": {"type": "http", "url": "http://a"}}}},
            {"steps": {"step": {"runtime": {"type": "ws", "url": "ws://b"}}}},
            ["address http://a → ws://b", "runtime type http → ws"],
        ),
        ({"name": "Bill"}, {"name": "Billing"}, ["name Bill → Billing"]),
        (
            {"triggers": [{"event": "a"}, {"cron": "0 3 * * *"}]},
            {"triggers": [{"event": "b"}, {"cron": "0 3 * * *", "jitter": "5s"}]},
            ["trigger b added", "trigger 0 3 * * * jitter added (5s)", "trigger a removed"],
        ),
        (
            {"triggers": [{"event": "a", "expression": "event.data.n > 1"}]},
            {"triggers": [{"event": "a", "expression": "event.data.n > 2"}]},
            ["trigger a condition event.data.n > 1 → event.data.n > 2"],
        ),
        (
            {"triggers": [{"event": "a", "expression": "x"}]},
            {"triggers": [{"event": "a", "expression": "x"}, {"event": "a", "expression": "y"}]},
            ["trigger a condition y added"],
        ),
        ({"cancel": [{"event": "no", "if": "x"}]}, {}, ["cancellation by no removed"]),
        ({}, {"cancel": [{"event": "no", "if": "x"}]}, ["cancellation by no added (condition x)"]),
        (
            {"cancel": [{"event": "no", "if": "x"}]},
            {"cancel": [{"event": "no"}]},
            ["cancellation by no condition removed"],
        ),
        ({}, {"throttle": {"limit": 2, "period": "1m"}}, ["throttle added (limit 2, period 1m)"]),
        ({"rateLimit": {"limit": 2}}, {"rateLimit": {"limit": 2, "key": "k"}}, ["rate limit key added (k)"]),
        ({"rateLimit": {"limit": 2, "key": "k"}}, {"rateLimit": {"limit": 2}}, ["rate limit key removed"]),
        ({"batchEvents": {"maxSize": 2}}, {"batchEvents": {"maxSize": 9}}, ["batch size 2 → 9"]),
        ({"idempotency": "a"}, {"idempotency": "b"}, ["idempotency a → b"]),
        ({"concurrency": 1}, {"concurrency": [{"limit": 5}]}, ["concurrency limit 1 → 5"]),
        (
            {"concurrency": {"limit": 1, "key": "a"}},
            {"concurrency": [{"limit": 1, "key": "b"}]},
            ["concurrency key a → b"],
        ),
        (
            {"concurrency": [{"limit": 1, "key": "a"}]},
            {"concurrency": [{"limit": 2, "key": "a"}, {"limit": 9, "key": "b", "scope": "env"}]},
            ["concurrency key a limit 1 → 2", "concurrency scope env key b added (limit 9)"],
        ),
        (
            {"concurrency": {"step": 3}},
            {"concurrency": {"fn": [{"limit": 1}], "step": 3}},
            ["concurrency of runs added (limit 1)"],
        ),
        ({"backoff": {"delays_ms": [1, 2]}}, {"backoff": {"delays_ms": [1]}}, ["backoff delays in ms [1,2] → [1]"]),
        ({"later": {"on": True}}, {"later": {"on": False}}, ["later on true → false"]),
    ],
)
def test_a_change_is_said_in_words(before: Any, after: Any, said: list[str]) -> None:
    assert of(before, after) == said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"name": "a", "throttle": None}, {"name": "a"}),
        ({}, retrying(4)),
        ({"concurrency": 5}, {"concurrency": {"step": [{"limit": 5}]}}),
        ({"triggers": [{"event": "a"}, {"event": "b"}]}, {"triggers": [{"event": "b"}, {"event": "a"}]}),
    ],
)
def test_what_means_the_same_is_no_change(before: Any, after: Any) -> None:
    assert of(before, after) == []


def test_limits_that_nothing_tells_apart_are_told_by_their_place() -> None:
    assert of({"concurrency": [{"limit": 9}, {"limit": 5}]}, {"concurrency": [{"limit": 9}, {"limit": 6}]}) == [
        "concurrency (2) limit 5 → 6"
    ]


def test_a_value_that_is_too_long_to_be_said_is_cut_and_never_hides_a_change() -> None:
    long = "event.data.n > 1 && " * 10

    assert of({"idempotency": "a"}, {"idempotency": long}) == [f"idempotency a → {long[:60]}…"]
    assert of({"idempotency": f"{long}a"}, {"idempotency": f"{long}b"}) == ["idempotency changed"]


def test_what_is_no_configuration_is_left_to_its_text() -> None:
    assert changes(b"[1]", b'{"name":"x"}') == ["name added (x)"]


class Store:
    """Has this function, and has kept these versions of it."""

    def __init__(self, function: StoredFunction, *versions: int) -> None:
        self._registered = [msgspec.structs.replace(function, id="other"), function]
        self._kept = [FunctionVersion(function_id="f", version=v, config=_config(v), registered_at=v) for v in versions]

    async def read(self, question: Any) -> Any:
        if isinstance(question, ListFunctions):
            return self._registered
        assert isinstance(question, FunctionVersions)
        return sorted(self._kept, key=lambda each: -each.version)[: question.limit]


def _config(version: int) -> bytes:
    return b'{"name":"%d"}' % version


async def _views(*kept: int, present: int) -> list[tuple[int, str, list[str]]]:
    function = StoredFunction(id="f", app_id="a", config=_config(present), version=present, updated_at=9_000)
    found = await version_views(Store(function, *kept), function)
    assert [bytes(each.configuration) for each in found] == [_config(each.version) for each in found]
    return [(each.version, each.registered_at[17:], said(each.version, each.changes)) for each in found]


async def test_versions_say_what_they_have_changed() -> None:
    assert await _views(1, 2, present=2) == [(2, "00.002Z", ["name 1 → 2"]), (1, "00.001Z", ["registered"])]


async def test_of_a_function_from_before_configurations_were_kept_the_one_it_has_is_known() -> None:
    assert await _views(present=3) == [(3, "09.000Z", ["version 2 is not kept"])]


async def test_a_version_after_one_that_is_not_kept_says_so() -> None:
    assert await _views(2, 4, present=4) == [
        (4, "00.004Z", ["version 3 is not kept"]),
        (2, "00.002Z", ["version 1 is not kept"]),
    ]
