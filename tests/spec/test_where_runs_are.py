"""Where runs are in a store of many shards, and that rules count all that they are about (design D5, ADR 0036)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from stepwell import (
    Concurrency,
    Debounce,
    Event,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
    TriggerCron,
    TriggerEvent,
)
from stepwell.model.place import place_of
from stepwell.protocol.events import Incoming
from stepwell.testing import Harness, harness
from stepwell.testing.driver import Driver


@pytest.fixture(autouse=True)
def shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "_shards", 16)


class Busy:
    """Counts the bodies that are at work by a name that each gives itself."""

    def __init__(self) -> None:
        self.now, self.most = Counter[str](), Counter[str]()

    async def work(self, name: str) -> None:
        for each in (name, "all"):
            self.now[each] += 1
            self.most[each] = max(self.most[each], self.now[each])
        try:
            await asyncio.sleep(5)
        finally:
            for each in (name, "all"):
                self.now[each] -= 1


def works(app: Stepwell, busy: Busy, id: str = "work", trigger: Any = "go", **rules: Any) -> Any:
    @app.create_function(id=id, trigger=trigger, **rules)
    async def work(ctx):
        await ctx.step.run("work", busy.work, str(ctx.event.data.get("key")))
        await ctx.step.sleep("rest", "10s")

    return work


def send(t: Harness, keys: str, name: str = "go") -> list[str]:
    return t.send([Event(name, {"key": key}) for key in keys])


def places(t: Harness, function: Any) -> dict[str, set[int]]:
    """Where the runs of each key are."""
    found: dict[str, set[int]] = {}
    for run in t.runs(function):
        found.setdefault(run.event["data"]["key"], set()).add(place_of(run.id))
    return found


def test_a_run_that_nothing_limits_is_where_its_event_is_and_so_is_what_it_invokes(app) -> None:
    @app.create_function(id="child", trigger="never")
    async def child(ctx):
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness(app) as t:
        for _ in range(5):
            (event_id,) = t.send("go")
            place = place_of(event_id)
            assert {place_of(run.id) for run in (t.runs(parent)[-1], t.runs(child)[-1])} == {place}

        assert len({place_of(run.id) for run in t.runs(parent)}) > 1


def test_runs_of_one_key_are_together_and_those_of_others_elsewhere(app) -> None:
    function = works(
        app, Busy(), concurrency=Concurrency(2, key="event.data.key"), throttle=Throttle(9, "1m", key="event.data.key")
    )

    with harness(app) as t:
        send(t, "abcdefgh" * 2)
        t.advance("10m")

        found = places(t, function)
        assert all(len(places) == 1 for places in found.values())
        assert len(set.union(*found.values())) > 4


@pytest.mark.parametrize(
    ("rules", "of_a_key", "of_all"),
    [
        ({"concurrency": Concurrency(2, key="event.data.key")}, 2, 12),
        ({"concurrency": Concurrency(2, key="event.data.key", scope="env")}, 2, 12),
        ({"concurrency": [Concurrency(1, key="event.data.key"), Concurrency(3)]}, 1, 3),
        ({"run_concurrency": RunConcurrency(2, key="event.data.key"), "concurrency": Concurrency(2)}, 1, 2),
    ],
    ids=["one key", "shared", "a key and all", "two kinds"],
)
def test_no_limit_is_exceeded_wherever_runs_are_and_all_of_them_end(
    app, rules: dict[str, Any], of_a_key: int, of_all: int
) -> None:
    busy = Busy()
    function = works(app, busy, **rules)

    with harness(app) as t:
        send(t, "abcdef" * 5)
        t.crash()
        send(t, "abcdef")
        t.advance("30m")

        assert (max(busy.most[key] for key in "abcdef"), busy.most["all"]) == (of_a_key, of_all)
        assert Counter(run.status for run in t.runs(function)) == {"COMPLETED": 36}


def test_functions_that_share_a_limit_share_it_though_one_of_them_has_another_besides(app) -> None:
    busy, limit = Busy(), Concurrency(2, key="event.data.key", scope="env")
    one = works(app, busy, "one", "one", concurrency=limit)
    other = works(app, busy, "other", "other", concurrency=limit, throttle=Throttle(600, "1m", burst=60))

    with harness(app) as t:
        for name in ("one", "other"):
            send(t, "abcd" * 4, name)
        t.advance("30m")

        assert max(busy.most[key] for key in "abcd") == 2
        assert Counter(run.status for run in (*t.runs(one), *t.runs(other))) == {"COMPLETED": 32}


def test_what_an_event_was_seen_for_is_known_wherever_the_runs_are(app) -> None:
    limited = works(app, Busy(), "limited", concurrency=Concurrency(1))
    free = works(app, Busy(), "free")

    with harness(app) as t:
        for _ in range(3):
            t.send("go", {"key": "a"}, id="order-7")
        t.advance("1m")

        assert (len(t.runs(limited)), len(t.runs(free))) == (1, 1)


def test_a_rate_is_remembered_although_the_function_gets_another_rule(app) -> None:
    """The new rule has its runs elsewhere, and what was used up stays so."""
    rate = RateLimit(1, "24h", key="event.data.key")
    function = works(app, Busy(), rate_limit=rate)
    later = Stepwell("shop")
    works(later, Busy(), rate_limit=rate, concurrency=Concurrency(5))

    with harness(app) as t:
        send(t, "abcd")
        t.crash(app=later)
        send(t, "abcd")
        t.advance("1m")

        assert len(t.runs(function)) == 4


def test_one_of_a_key_runs_and_the_newest_of_a_burst_starts(app) -> None:
    alone = works(app, Busy(), "alone", singleton=Singleton("skip", key="event.data.key"))
    calm = works(app, Busy(), "calm", debounce=Debounce("5s", key="event.data.key"))

    with harness(app) as t:
        events = {key: send(t, key * 3)[-1] for key in "abcd"}
        t.advance("1m")

        assert Counter(run.event["data"]["key"] for run in t.runs(alone)) == dict.fromkeys("abcd", 1)
        assert {run.event["id"] for run in t.runs(calm)} == set(events.values())


def test_a_child_in_another_shard_tells_its_parent_and_is_cancelled_with_it(app) -> None:
    @app.create_function(id="child", trigger="never", concurrency=Concurrency(1, key="event.data.key"))
    async def child(ctx):
        await ctx.step.sleep("rest", "1m")
        return ctx.event.data["key"]

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child, data={"key": ctx.event.data["key"]}, cancel_child=True)

    with harness(app) as t:
        send(t, "abcdefgh")
        apart = {place_of(run.id) % 16 for run in t.runs(child)} | {place_of(run.id) % 16 for run in t.runs(parent)}
        assert len(apart) > 2
        gone = next(run for run in t.runs(parent) if run.event["data"]["key"] == "c")
        assert t.cancel(gone)
        t.advance("2m")

        for run in t.runs(parent):
            if run.id == gone.id:
                t.assert_cancelled(run)
            else:
                t.assert_completed(run, run.event["data"]["key"])
        cancelled = [run for run in t.runs(child) if run.status == "CANCELLED"]
        assert [run.event["data"]["key"] for run in cancelled] == ["c"]


def test_an_event_resumes_and_cancels_runs_in_every_shard(app) -> None:
    @app.create_function(id="waits", trigger="go")
    async def waits(ctx):
        return (await ctx.step.wait_for_event("paid", "paid", timeout="1h")) is not None

    with harness(app) as t:
        send(t, "abcdefghijkl")
        t.send("paid")

        assert len({place_of(run.id) % 16 for run in t.runs(waits)}) == 1, "one request, one place"
        for _ in range(12):
            t.send("go")
        t.send("paid")
        assert len({place_of(run.id) % 16 for run in t.runs(waits)}) > 4
        assert Counter(run.output for run in t.runs(waits)) == {True: 24}


def test_what_is_sent_within_a_moment_is_together_unless_its_id_says_otherwise(app, monkeypatch) -> None:
    monkeypatch.setattr(Driver, "_nearby_max", 4)

    @app.create_function(id="quick", trigger="go")
    async def quick(ctx):
        return "done"

    with harness(app) as t:
        named = [t.send(Event("go", id=f"order-{number}"))[0] for number in range(8)]
        (first,) = t.send("go")
        called, _ = t._do(lambda: t.engine.invoke("shop-quick", Incoming(name="", data=b"{}")))
        together = [t.send("go")[0], *t.send([Event("go"), Event("go")])]
        (another,) = t.send("go")

        assert {place_of(id) for id in (first, called, *together[:1])} == {place_of(first)}
        assert {place_of(id) for id in together} == {place_of(first)}, "a request is not divided"
        assert place_of(another) != place_of(first)
        assert len({place_of(id) for id in named}) > 4
        assert place_of(t.send(Event("go", id="order-0"))[0]) == place_of(named[0])


@pytest.mark.parametrize(
    "rules", [{"concurrency": Concurrency(2, key="event.data.key")}, {"throttle": Throttle(9, "1s")}]
)
def test_an_event_is_where_its_run_is_counted(app, rules: dict[str, Any]) -> None:
    function = works(app, Busy(), **rules)

    with harness(app) as t:
        send(t, "abcdefgh" * 2)
        t.advance("10m")

        assert [place_of(run.event["id"]) for run in t.runs(function)] == [place_of(run.id) for run in t.runs(function)]


def test_a_function_without_rules_is_not_drawn_to_where_another_is_counted(app) -> None:
    counted = works(app, Busy(), "counted", throttle=Throttle(20, "1s"))
    free = works(app, Busy(), "free")

    with harness(app) as t:
        for key in "abcdefghijklmnop":
            send(t, key)
        t.advance("10m")

        assert len({place_of(run.id) for run in t.runs(counted)}) == 1
        assert len({place_of(run.id) for run in t.runs(free)}) > 4


def test_a_function_whose_condition_does_not_hold_draws_no_event_to_where_it_is_counted(app) -> None:
    never = works(
        app, Busy(), "never", TriggerEvent("go", if_="event.data.key == 'nobody'"), throttle=Throttle(20, "1s")
    )
    keyed = works(app, Busy(), "keyed", concurrency=Concurrency(2, key="event.data.key"))

    with harness(app) as t:
        for key in "abcdefgh":
            send(t, key)
        t.advance("10m")

        assert not t.runs(never)
        assert [place_of(run.event["id"]) for run in t.runs(keyed)] == [place_of(run.id) for run in t.runs(keyed)]
        assert len({place_of(run.id) for run in t.runs(keyed)}) > 4


def test_a_key_may_read_the_id_of_the_event(app) -> None:
    function = works(app, Busy(), concurrency=Concurrency(1, key="event.id"))

    with harness(app) as t:
        for key in "abcdefgh":
            send(t, key)
        t.advance("10m")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 8
        assert len({place_of(run.event["id"]) for run in t.runs(function)}) > 4


def test_a_function_that_was_paused_goes_on_in_every_shard(app) -> None:
    busy = Busy()
    function = works(app, busy)

    with harness(app) as t:
        t.pause(function, events="hold", runs="hold")
        for key in "abcdefghijkl":
            send(t, key)
        t.advance("1m")
        assert {run.status for run in t.runs(function)} == {"QUEUED"}
        t.resume(function)
        t.advance("1m")

        assert Counter(run.status for run in t.runs(function)) == {"COMPLETED": 12}


def test_a_cron_ticks_once_and_a_rerun_finds_its_events(app) -> None:
    ticks = works(app, Busy(), "ticks", TriggerCron("0 * * * *"))
    limited = works(app, Busy(), "limited", concurrency=Concurrency(1, key="event.data.key"))

    with harness(app) as t:
        send(t, "abcd")
        t.advance("3h30m")
        assert len(t.runs(ticks)) == 3
        for run in t.runs(limited):
            t.rerun(run)
        t.advance("1m")

        assert Counter(run.event["data"]["key"] for run in t.runs(limited)) == dict.fromkeys("abcd", 2)
        assert {run.status for run in t.runs(limited)} == {"COMPLETED"}
