"""Declarations as the engine is told of them (protocol §4.5), and the names that people try."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import stepwell
from stepwell import (
    Backoff,
    Cancel,
    Concurrency,
    Context,
    RunFailed,
    Stepwell,
    Timeouts,
    TriggerCron,
    TriggerEvent,
    UnknownName,
    event,
)
from stepwell.sdk import names


@event("shop/ordered")
class Ordered(dict[str, Any]): ...


def config(trigger: Any = None, **options: Any) -> dict[str, Any]:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger=trigger, **options)
    async def bill(ctx: Context[Any]) -> None: ...

    return dict(bill.config)


def test_a_function_without_options_says_the_defaults() -> None:
    assert config() == {
        "id": "shop-bill",
        "name": "bill",
        "triggers": [],
        "steps": {"step": {"id": "step", "name": "step", "retries": {"attempts": 4}}},
    }


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ("a/b", [{"event": "a/b"}]),
        (Ordered, [{"event": "shop/ordered"}]),
        (TriggerEvent("a/*", if_="event.data.n > 1"), [{"event": "a/*", "expression": "event.data.n > 1"}]),
        (TriggerCron("0 9 * * *"), [{"cron": "0 9 * * *"}]),
        (
            TriggerCron("0 9 * * *", tz="Europe/Paris", jitter=timedelta(seconds=90), missed="all"),
            [{"cron": "TZ=Europe/Paris 0 9 * * *", "jitter": "1m30s", "missed": "all"}],
        ),
        (
            [Ordered, "a/b", TriggerCron("* * * * *")],
            [{"event": "shop/ordered"}, {"event": "a/b"}, {"cron": "* * * * *"}],
        ),
        (("a/b",), [{"event": "a/b"}]),
    ],
    ids=lambda value: re.sub(" object at 0x[0-9a-f]+", "", repr(value)),
)
def test_triggers_are_told_in_their_order(trigger: Any, told: Any) -> None:
    assert config(trigger)["triggers"] == told


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("name", "Bill", "Bill"),
        ("concurrency", 5, [{"limit": 5}]),
        (
            "concurrency",
            [Concurrency(10), Concurrency(1, key="event.data.id", scope="env")],
            [{"limit": 10}, {"limit": 1, "key": "event.data.id", "scope": "env"}],
        ),
        ("idempotency", "event.data.id", "event.data.id"),
        ("backoff", Backoff.table("1s", "1m", jitter=500), {"delays_ms": [1_000, 60_000], "jitter_ms": 500}),
        ("timeouts", Timeouts(start="90m", finish=timedelta(days=2)), {"start": "1h30m", "finish": "2d"}),
        ("timeouts", Timeouts(), {}),
        ("cancel", Cancel("a/b"), [{"event": "a/b"}]),
        (
            "cancel",
            [Cancel(Ordered, match="data.id", timeout="1d"), Cancel("a/b", if_="async.data.n > 1")],
            [
                {"event": "shop/ordered", "if": "event.data.id == async.data.id", "timeout": "1d"},
                {"event": "a/b", "if": "async.data.n > 1"},
            ],
        ),
        (
            "cancel",
            Cancel("a/b", timeout=datetime(2030, 1, 2, 3, tzinfo=UTC)),
            [{"event": "a/b", "timeout": "2030-01-02T03:00:00.000Z"}],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_are_told_as_the_wire_has_them(option: str, value: Any, told: Any) -> None:
    assert config("a/b", **{option: value})[option] == told


def test_a_handler_of_failures_is_a_function_of_its_own() -> None:
    app = Stepwell("shop")

    async def mourn(ctx: Context[RunFailed]) -> None: ...

    @app.create_function(id="bill", trigger="a/b", on_failure=mourn)
    async def bill(ctx: Context) -> None: ...

    told = app.configs()[1]
    assert told["id"] == "shop-bill-failure"
    assert told["steps"]["step"]["retries"] == {"attempts": 0}
    assert told["triggers"] == [
        {"event": "inngest/function.failed", "expression": "event.data.function_id == 'shop-bill'"}
    ]


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff.fixed("10s"), [10_000]),
        (Backoff.fixed(timedelta(minutes=1)), [60_000]),
        (Backoff.fixed(250), [250]),
        (Backoff.exponential("1s", longest="5s"), [1_000, 2_000, 4_000, 5_000]),
        (Backoff.exponential("1s", factor=10, longest="1m"), [1_000, 10_000, 60_000]),
        (Backoff.exponential("1h", longest="1m"), [60_000]),
        (Backoff.exponential("1s", factor=1), [1_000] * 20),
        (Backoff.table("1s", 2, timedelta(seconds=3)), [1_000, 2, 3_000]),
    ],
    ids=repr,
)
def test_a_back_off_is_a_list_of_pauses(backoff: Backoff, delays: list[int]) -> None:
    assert list(backoff.delays_ms) == delays


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "right"), sorted(names._MODULE.items()))
def test_a_name_of_another_product_is_answered_with_ours(wrong: str, right: str) -> None:
    with pytest.raises(UnknownName) as raised:
        getattr(stepwell, wrong)

    assert raised.value.fix == f"write {right}"


@pytest.mark.parametrize(("wrong", "right"), sorted(names._APP.items()))
def test_so_is_one_of_an_app(wrong: str, right: str) -> None:
    with pytest.raises(UnknownName) as raised:
        getattr(Stepwell("shop"), wrong)

    assert raised.value.fix == f"write {right}"
    assert hasattr(Stepwell, right)


@pytest.mark.parametrize(
    "table", [names._MODULE, names._APP, names._STEP, names._CONTEXT], ids=["module", "app", "step", "ctx"]
)
def test_no_name_that_exists_is_called_wrong(table: dict[str, str]) -> None:
    existing = {
        id(names._MODULE): set(stepwell.__all__),
        id(names._APP): set(dir(Stepwell)),
        id(names._STEP): set(dir(stepwell.sdk.step.Step)),
        id(names._CONTEXT): set(dir(Context)),
    }

    assert table.keys() & existing[id(table)] == set()


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="write NonRetriableError"):
        _ = stepwell.NonRetriableErorr  # type: ignore[attr-defined]


def test_a_name_that_resembles_nothing_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownName) as raised:
        _ = stepwell.qqqqqq  # type: ignore[attr-defined]

    assert raised.value.why.startswith("there are Backoff, BackpressureError, BatchEvents, Cancel, ")
    assert raised.value.fix == "choose one of these"
