"""The rules of functions with what is in use of them, what can be forgotten, and events that are held back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import (
    Concurrency,
    Debounce,
    Event,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
)
from stepwell.cli.waiting import limits as drawn
from stepwell.clock import to_ms
from stepwell.testing import Harness, harness
from stepwell.views.queues.controls import limits
from stepwell.views.queues.shapes import LimitKeyView, LimitsView, LimitView
from stepwell.views.why import Situation
from tests.edge.conftest import Dev
from tests.edge.test_why import Asking, at_once


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def limits_of(t: Harness, **which: Any) -> LimitsView:
    function = t.engine.registry.get("shop-work")
    assert function is not None
    which.setdefault("limit", 20)
    found: LimitsView = at_once(limits(Asking(t), function, Situation(now=to_ms(t.now)), **which))
    return found


def rule(t: Harness, control: str, **which: Any) -> LimitView:
    (found,) = limits_of(t, control=control, **which).limits
    return found


def sleeper(app: Stepwell, **options: Any) -> None:
    @app.create_function(id="work", trigger="go", **options)
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "1h")


def send(t: Harness, *who: str) -> None:
    t.send([Event("go", {"who": each}) for each in who])


def text(t: Harness) -> str:
    from rich.console import Console

    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(drawn([limits_of(t)], to_ms(t.now)))
    return captured.get()


def test_places_of_runs_and_singletons_say_who_holds_them(app: Stepwell) -> None:
    sleeper(app, run_concurrency=RunConcurrency(2), singleton=Singleton("skip", key="event.data.who"))

    with harness(app) as t:
        send(t, "ann", "bob", "ann", "cas")
        ann, bob, cas = t.runs("work")

        places = rule(t, "run-concurrency")
        assert [(key.value, key.used) for key in places.keys] == [(None, 2)]
        assert {holder.run_id for holder in places.keys[0].held_by} == {ann.id, bob.id}
        alone = rule(t, "singleton")
        assert [(key.value, key.held_by[0].run_id) for key in alone.keys] == [
            ("ann", ann.id),
            ("bob", bob.id),
            ("cas", cas.id),
        ]
        assert f"'ann': 1 in use by {ann.id}" in text(t)


def test_a_throttle_says_how_many_may_start_and_when_the_next_does(app: Stepwell) -> None:
    sleeper(app, throttle=Throttle(1, "1m", burst=1, key="event.data.who"))

    with harness(app) as t:
        send(t, "ann", "bob", "bob")
        found = rule(t, "throttle")

        assert found.expression == "event.data.who"
        assert [(key.value, key.free, key.next_at) for key in found.keys] == [
            ("ann", 1, "2026-01-01T00:01:00.000Z"),
            ("bob", 0, "2026-01-01T00:01:00.000Z"),
        ]
        t.advance("3m")
        assert rule(t, "throttle").keys == [], "what is as if it had never been used is not in use"


def test_a_rate_limit_says_when_it_admits_again_and_who_started_last(app: Stepwell) -> None:
    sleeper(app, rate_limit=RateLimit(1, "1h"))

    with harness(app) as t:
        send(t, "ann", "bob")

        (key,) = rule(t, "rate-limit").keys
        assert (key.value, key.free, key.next_at, key.run_id) == (
            None,
            0,
            "2026-01-01T01:00:00.000Z",
            t.run("work").id,
        )


def test_an_idempotency_key_says_which_run_and_until_when(app: Stepwell) -> None:
    sleeper(app, idempotency="event.data.who")

    with harness(app) as t:
        send(t, "ann")

        assert rule(t, "idempotency").keys == [
            LimitKeyView(value="ann", free=0, next_at="2026-01-02T00:00:00.000Z", run_id=t.run("work").id)
        ]


def test_open_windows_and_priorities_are_among_the_rules(app: Stepwell) -> None:
    sleeper(app, debounce=Debounce("1m", key="event.data.who"), priority=Priority(run="event.data.rank"))

    with harness(app) as t:
        send(t, "ann", "ann")
        found = {each.control: each for each in limits_of(t).limits}

        assert found["debounce"].keys[0].used == 2
        assert found["priority"].expression == "event.data.rank"
        assert "'ann': 2 events came, run " in text(t)


def test_keys_come_in_pages_and_can_be_asked_for_one_by_one(app: Stepwell) -> None:
    sleeper(app, idempotency="event.data.who")

    with harness(app) as t:
        send(t, *"edcba")

        first = rule(t, "idempotency", limit=2)
        assert ([key.value for key in first.keys], first.more, first.after) == (["a", "b"], True, "b")
        last = rule(t, "idempotency", limit=3, after="b")
        assert ([key.value for key in last.keys], last.more, last.after) == (["c", "d", "e"], False, None)
        assert [key.value for key in rule(t, "idempotency", value="d").keys] == ["d"]
        assert rule(t, "idempotency", value="none").keys == []


def test_slots_of_steps_are_those_of_calls_in_flight(app: Stepwell) -> None:
    sleeper(app, concurrency=[Concurrency(1), Concurrency(2, key="'bank'", scope="env")])

    with harness(app) as t:
        send(t, "ann", "bob")

        assert [(each.control, each.keys) for each in limits_of(t).limits] == [("concurrency", [])] * 2, "they sleep"


# A server and the commands --------------------------------------------------------------------------------------------

APP = """
from stepwell import BatchEvents, Context, Debounce, RateLimit, Stepwell, Throttle

app = Stepwell("shop")


@app.create_function(id="rate", trigger="shop/go", rate_limit=RateLimit(1, "1h", key="event.data.who"))
async def rate(ctx: Context[dict]) -> str:
    return "done"


@app.create_function(id="once", trigger="shop/go", idempotency="event.data.who", throttle=Throttle(1, "1h", burst=0))
async def once(ctx: Context[dict]) -> str:
    return "done"


@app.create_function(id="calm", trigger="shop/edited", debounce=Debounce("1h", timeout="1d", key="event.data.who"))
async def calm(ctx: Context[dict]) -> dict:
    return ctx.event.data


@app.create_function(id="many", trigger="shop/edited", batch_events=BatchEvents(50, timeout="1h"))
async def many(ctx: Context[dict]) -> int:
    return len(ctx.events)
"""


@pytest.fixture
def shop(start_dev: Callable[..., Dev]) -> Dev:
    dev = start_dev(app=APP)
    assert dev.http("GET", "/health").status == 200
    return dev


def became(dev: Dev, event_id: str) -> dict[str, str]:
    found = dev.get(f"/v2/events/{event_id}/runs")
    return {run["functionId"]: "run" for run in found["runs"]} | {
        outcome["functionId"]: outcome["kind"] for outcome in found["outcomes"]
    }


def started(dev: Dev, function_id: str, **data: str) -> str:
    """The run of this function that an event starts."""
    runs = dev.get(f"/v2/events/{dev.send('shop/go', **data)}/runs")["runs"]
    return next(str(run["id"]) for run in runs if run["functionId"] == function_id)


@pytest.mark.slow
def test_what_was_used_up_can_be_forgotten_and_that_is_on_record(shop: Dev) -> None:
    first, second = (shop.send("shop/go", who="ann") for _ in range(2))
    assert became(shop, first) == {"shop-rate": "run", "shop-once": "run"}
    assert became(shop, second) == {"shop-rate": "rate-limited", "shop-once": "idempotent"}

    planned = shop.cli("limits", "reset", "rate", "ann", "--dry-run")
    assert planned.out == "shop-rate: rate-limit 'ann' would be forgotten.\n"
    assert became(shop, shop.send("shop/go", who="ann"))["shop-rate"] == "rate-limited"
    assert (
        shop.cli("limits", "reset", "rate", "--key", "ann", "--reason", "new card").out
        == "shop-rate: rate-limit 'ann' is forgotten.\n"
    )
    done = shop.cli("limits", "reset", "once", "ann", "--json").json
    assert [(each["control"], each["value"]) for each in done["forgotten"]] == [("idempotency", "ann")]

    third = shop.send("shop/go", who="ann")
    assert became(shop, third) == {"shop-rate": "run", "shop-once": "run"}
    shown = shop.get("/v2/functions/rate/limits")
    assert [(each["control"], each["value"]) for each in shown["resets"]] == [("rate-limit", "ann")]
    assert shown["resets"][0]["reason"] == "new card"
    assert re.search("rate-limit 'ann' was reset by a person .*: new card", shop.cli("limits", "rate").out)
    assert shop.cli("limits", "rate", "--json").json == shown
    assert [each["functionId"] for each in shop.cli("limits", "--json").json] == [
        f"shop-{id}" for id in ("calm", "many", "once", "rate")
    ]


@pytest.mark.slow
def test_whoever_waits_for_a_turn_that_is_given_back_starts(shop: Dev) -> None:
    first, waiting = (started(shop, "shop-once", who=who) for who in ("ann", "bob"))
    assert shop.ended(first)["status"] == "COMPLETED"
    assert shop.why(waiting, "throttled")["position"] == 1

    assert shop.cli("limits", "reset", "once", "--control", "throttle").code == 0

    assert shop.ended(waiting)["status"] == "COMPLETED"


@pytest.mark.slow
def test_windows_are_listed_and_started_before_their_time(shop: Dev) -> None:
    old, new = (shop.send("shop/edited", who="ann", n=n) for n in range(2))
    other = shop.send("shop/edited", who="bob")

    sent = shop.cli("send", "shop/edited", "--data", '{"who": "eve"}').out
    assert "held back for shop-calm by debounce, with 1 event: run " in sent
    assert "held back for shop-many by batch_events, with 4 events: run " in sent
    assert "0 functions started" not in sent
    assert shop.cli("debounce", "delete", "calm", "--key", "eve").code == 0

    ann, bob = shop.cli("debounce", "calm", "--json").json
    assert (ann["value"], ann["count"], ann["held"], bob["held"]) == ("ann", 2, [new], [other])
    assert ann["latestAt"] > ann["firesAt"] > ann["openedAt"]
    (batch,) = shop.cli("batch", "--json").json
    assert (batch["functionId"], batch["held"][:3], batch["sizeMax"]) == ("shop-many", [old, new, other], 50)
    assert (batch["count"], batch["value"]) == (4, None)
    assert "event.data.who = 'ann'" in shop.cli("debounce").out
    assert "4 of 50" in shop.cli("batch").out
    assert shop.cli("debounce", "run", "calm", "--dry-run").out == "2 windows of shop-calm would be started.\n"

    said = shop.cli("debounce", "run", "calm", "--key", "ann").out
    assert said == f"1 window of shop-calm closed.\n  started  {ann['runId']}\n"
    assert shop.ended(ann["runId"])["output"] == {"who": "ann", "n": 1}
    assert "a person closed its window of events before its time" in shop.cli("run", ann["runId"]).out
    assert shop.cli("batch", "run", "many", "--json").json["runIds"] == [batch["runId"]]
    assert shop.ended(batch["runId"])["output"] == 4
    assert [each["value"] for each in shop.cli("debounce", "--json").json] == ["bob"]


@pytest.mark.slow
def test_events_of_a_window_that_is_deleted_say_so(shop: Dev) -> None:
    first, second = (shop.send("shop/edited", who="ann") for _ in range(2))

    assert shop.cli("batch", "delete", "many").out == "1 window of shop-many deleted.\n"
    assert shop.cli("debounce", "delete", "calm", "--key", "ann").out == "1 window of shop-calm deleted.\n"

    assert became(shop, first) == {"shop-calm": "debounced", "shop-many": "discarded"}
    assert became(shop, second) == {"shop-calm": "discarded", "shop-many": "discarded"}
    assert "discarded: a person deleted the window in which it was held back" in shop.cli("why", second).out
    assert (shop.cli("debounce").out, shop.cli("batch", "--json").json) == ("No events are held back.\n", [])
    again = shop.send("shop/edited", who="ann")
    assert shop.cli("debounce", "--json").json[0]["held"] == [again], "the next event opens a window of its own"


@pytest.mark.slow
def test_what_is_not_there_is_refused(shop: Dev) -> None:
    for command, word in (
        (("limits", "reset", "rate", "ann"), "nothing is remembered of the key 'ann' of shop-rate"),
        (("limits", "reset", "calm", "ann"), "it has no such rule"),
        (("limits", "reset", "rate", "ann", "--reason", "x" * 1_001), "reason"),
        (("debounce", "run", "calm", "--key", "ann"), "no events of shop-calm are held back under the key 'ann'"),
        (("debounce", "delete", "calm", "--key", "ann", "--dry-run"), "its window has closed, or there was none"),
        (("batch", "run", "none"), "there is no function 'none'"),
        (("limits", "none"), "there is no function 'none'"),
    ):
        done = shop.cli(*command)
        assert (done.code, word in done.err) == (1, True), done
    assert shop.cli("debounce", "run", "calm").out == "0 windows of shop-calm closed.\n"
    for path in ("/v2/functions/rate/limits?control=none", "/v2/windows?control=none", "/v2/windows?limit=x"):
        assert shop.http("GET", path).status == 400, path
    assert shop.http("POST", "/v2/functions/calm/windows/run", {}).status == 400


@pytest.mark.slow
def test_windows_come_in_pages(shop: Dev) -> None:
    for who in "abc":
        shop.send("shop/edited", who=who)

    seen, cursor = list[Any](), ""
    while True:
        reply = shop.http("GET", f"/v2/windows?limit=1{cursor}").json
        seen += [(each["control"], each["value"]) for each in reply["data"]]
        if not reply["page"]["hasMore"]:
            break
        cursor = f"&cursor={reply['page']['cursor']}"
    assert seen == [("batch", None), ("debounce", "a"), ("debounce", "b"), ("debounce", "c")]


@pytest.mark.slow
def test_an_event_is_shown_with_what_became_of_it(shop: Dev) -> None:
    first, second = (shop.send("shop/go", who="ann") for _ in range(2))
    held = shop.send("shop/edited", who="bob")

    by_json = shop.cli("events", "show", second, "--json").json
    assert by_json == shop.get(f"/v2/events/{second}")
    assert (by_json["runs"], by_json["held"], by_json["unstarted"]) == ([], [], [])
    by_function = {each["functionId"]: each for each in by_json["outcomes"]}
    runs = {run["functionId"]: run["id"] for run in shop.get(f"/v2/events/{first}")["runs"]}
    assert {id: (each["kind"], each["runId"]) for id, each in by_function.items()} == {
        "shop-rate": ("rate-limited", runs["shop-rate"]),
        "shop-once": ("idempotent", runs["shop-once"]),
    }
    v1 = shop.get(f"/v1/events/{second}")
    assert v1["data"] == {"who": "ann"}
    assert [(each["function_id"], each["kind"]) for each in v1["outcomes"]] == [
        ("shop-once", "idempotent"),
        ("shop-rate", "rate-limited"),
    ]
    said = shop.cli("events", "show", held.lower()).out
    assert said.startswith(f"shop/edited  {held}\n")
    assert '"who": "bob"' in said
    assert "It is held back for shop-calm" in said
    assert "It is held back for shop-many" in said
    assert {each["by"] for each in shop.get(f"/v2/events/{held}")["held"]} == {"debounce", "batch_events"}
    assert shop.cli("events", "--limit", "1").code == 0
    assert "there is no event" in shop.cli("events", "show", "01HF7YAT00000000000000000A").err
