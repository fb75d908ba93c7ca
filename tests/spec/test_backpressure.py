"""What a function calls wants to be left alone for a while: all that shares its queue waits (ADR 0030)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import BackpressureError, Concurrency, Event, RetryAfterError, StepError, Stepwell, Throttle
from stepwell.model.changes import Decision, PutCell, Release
from stepwell.model.history import Cell
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlog, FunctionItems, ShardsWithCell
from stepwell.testing import Harness, harness


class Api:
    """What functions call: it says no to those who are named, until a moment, and notes when it was called."""

    def __init__(self, t: Harness) -> None:
        self.t, self.start = t, t.now
        self.calls: list[tuple[str, int]] = []
        self.refuses: dict[str, str] = {}

    def second(self) -> int:
        return int((self.t.now - self.start).total_seconds())

    async def call(self, who: str) -> str:
        self.calls.append((who, self.second()))
        after = self.refuses.pop(who, None)
        if after is not None:
            raise BackpressureError("the API says 429", after)
        return who


@pytest.fixture
def calls() -> list[Api]:
    return []


def declare(app: Stepwell, box: list[Api], **options: Any) -> Any:
    @app.create_function(id="sync", trigger="go", **options)
    async def sync(ctx):
        who = ctx.event.data["who"]
        await ctx.step.run("first", box[0].call, who)
        await ctx.step.sleep("rest", "5s")
        await ctx.step.run("second", box[0].call, f"{who}2")

    return sync


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


KEYED: dict[str, Any] = {"concurrency": Concurrency(5, key="event.data.user")}
THROTTLED: dict[str, Any] = {"throttle": Throttle(100, "1m", burst=100, key="event.data.user")}


def test_without_a_key_the_whole_function_waits(app, calls) -> None:
    sync = declare(app, calls)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        t.send("go", {"who": "a"})
        t.advance("2s")
        api.refuses["b"] = "30s"
        t.send("go", {"who": "b"})
        t.send("go", {"who": "c"})  # it comes while nothing is to begin
        t.advance("1m")

        # a would have gone on at second 5
        assert api.calls == [("a", 0), ("b", 2), *sorted(api.calls[2:], key=lambda call: call[1])]
        assert dict(api.calls[2:5]) == {"a2": 32, "b": 32, "c": 32}
        assert statuses(t, sync) == ["COMPLETED"] * 3


@pytest.mark.parametrize("options", [KEYED, THROTTLED], ids=["concurrency", "throttle"])
def test_with_a_key_only_those_who_have_the_same(app, calls, options) -> None:
    sync = declare(app, calls, **options)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "30s"
        t.send("go", {"who": "a", "user": 1})
        t.send("go", {"who": "b", "user": 1})
        t.send("go", {"who": "c", "user": 2})
        t.advance("1m")

        at = dict(reversed(api.calls))
        assert (at["b"], at["c"], at["c2"]) == (30, 0, 5)
        assert [second for who, second in api.calls if who == "a"] == [0, 30]
        assert statuses(t, sync) == ["COMPLETED"] * 3


def test_functions_that_share_a_key_wait_together(app, calls) -> None:
    shared = Concurrency(5, key="'crm'", scope="env")
    declare(app, calls, concurrency=shared)

    @app.create_function(id="other", trigger="other", concurrency=shared)
    async def other(ctx):
        await ctx.step.run("call", calls[0].call, "other")

    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "30s"
        t.send("go", {"who": "a"})
        t.send("other")
        t.advance("1m")

        assert ("other", 30) in api.calls


def test_branches_of_the_same_run_begin_no_further_step(app, calls) -> None:
    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        await ctx.step.run("first", asyncio.sleep, 3)
        await ctx.step.run("second", calls[0].call, "second")

    @app.create_function(id="branches", trigger="both")
    async def branches(ctx):
        async def long():
            await ctx.step.run("long", asyncio.sleep, 10)
            return await ctx.step.run("after", calls[0].call, "after")

        async def refused():
            return await ctx.step.run("refused", calls[0].call, "refused")

        await asyncio.gather(long(), refused())

    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        t.send("go")
        api.refuses["refused"] = "30s"
        t.send("both")
        t.advance("1m")

        assert [call for call in api.calls if call[0] != "second"] == [("refused", 0), ("refused", 30), ("after", 30)]
        assert ("second", 3) in api.calls  # another function
        assert statuses(t, branches) == ["COMPLETED"]


def test_a_call_of_another_run_that_is_under_way_rests_before_its_next_step(app, calls) -> None:
    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        if ctx.event.data["n"] == 1:
            await ctx.step.run("long", asyncio.sleep, 3)
        await ctx.step.run("call", calls[0].call, str(ctx.event.data["n"]))

    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["2"] = "30s"
        t.send([Event("go", {"n": 1}), Event("go", {"n": 2})])
        t.advance("1m")

        assert sorted(api.calls) == [("1", 30), ("2", 0), ("2", 30)]
        assert statuses(t, sync) == ["COMPLETED"] * 2
        assert [len(run.steps) for run in t.runs(sync)] == [2, 1]


def test_the_functions_own_code_can_say_so(app) -> None:
    begun: list[int] = []

    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        begun.append(ctx.event.data["n"])
        if ctx.attempt == 0 and ctx.event.data["n"] == 1:
            raise BackpressureError("busy", "30s")

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.send("go", {"n": 2})
        assert begun == [1]
        t.advance("31s")

        assert sorted(begun) == [1, 1, 2]


def test_a_later_moment_counts_and_an_earlier_one_does_not(app, calls) -> None:
    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        await ctx.step.run("call", calls[0].call, ctx.event.data["who"])

    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses |= {"a": "60s", "b": "10s"}
        t.send([Event("go", {"who": "a"}), Event("go", {"who": "b"})])
        t.send("go", {"who": "c"})
        t.advance("2m")

        assert dict(api.calls)["c"] == 60
        assert api.calls.count(("b", 0)) + api.calls.count(("b", 60)) == 2


def test_the_last_attempt_still_asks_for_it(app, calls) -> None:
    @app.create_function(id="sync", trigger="go", retries=0)
    async def sync(ctx):
        try:
            await ctx.step.run("call", calls[0].call, ctx.event.data["who"])
        except StepError as error:
            return error.name

    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "30s"
        t.send("go", {"who": "a"})
        t.send("go", {"who": "b"})
        t.advance("1m")

        assert t.runs(sync)[0].output == "BackpressureError"
        assert dict(api.calls)["b"] == 30


def test_what_waits_costs_its_row_and_one_timer_brings_it_back(app, calls) -> None:
    sync = declare(app, calls, concurrency=2)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["0"] = "1h"
        t.send("go", {"who": "0"})
        t.send([Event("go", {"who": str(n)}) for n in range(1, 20)])
        t.advance("10m")

        waiting = t.ask(Backlog("pressure/function/shop-sync", 100, EVERYWHERE))
        assert len(waiting) + len(t.ask(Backlog("fn/shop-sync", 100, EVERYWHERE))) == 19
        assert [item.id for item in t.ask(FunctionItems("shop-sync"))] == ["pressure/function/shop-sync"]
        assert len(api.calls) == 1

        t.advance("2h")
        assert statuses(t, sync) == ["COMPLETED"] * 20
        assert t.ask(FunctionItems("shop-sync")) == []


def test_a_limit_with_a_backlog_goes_on_when_it_is_over(app, calls) -> None:
    sync = declare(app, calls, concurrency=Concurrency(1, key="event.data.user"))
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["0"] = "30s"
        t.send([Event("go", {"who": str(n), "user": 7}) for n in range(6)])
        t.advance("29s")
        assert len(api.calls) == 1

        t.advance("2m")
        assert statuses(t, sync) == ["COMPLETED"] * 6


def test_a_run_that_waits_can_be_cancelled(app, calls) -> None:
    sync = declare(app, calls)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "30s"
        t.send("go", {"who": "a"})
        t.send("go", {"who": "b"})
        t.cancel(t.runs(sync)[1])
        t.advance("1m")

        assert statuses(t, sync) == ["COMPLETED", "CANCELLED"]


def test_an_ordinary_retry_holds_nobody_else(app) -> None:
    tries: list[int] = []

    @app.create_function(id="sync", trigger="go")
    async def sync(ctx):
        tries.append(ctx.event.data["n"])
        if len(tries) == 1:
            raise RetryAfterError("later", "30s")

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.send("go", {"n": 2})

        assert tries == [1, 2]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", [PutCell, Release])
def test_it_holds_and_ends_though_the_process_dies_in_it(app, calls, before, change) -> None:
    sync = declare(app, calls)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "30s"
        deaths = iter([True])
        t.die_when(
            lambda at, work: (
                at is before
                and any(isinstance(each, change) and "pressure/" in str(each) for each in getattr(work, "changes", ()))
                and next(deaths, False)
            )
        )
        t.send("go", {"who": "a"})
        t.send("go", {"who": "b"})
        if change is PutCell and before:
            api.refuses["a"] = "30s"  # nobody was told
        t.advance("10s")
        assert all(who == "a" for who, _ in api.calls)

        t.advance("5m")
        assert statuses(t, sync) == ["COMPLETED"] * 2


def test_a_process_that_takes_over_knows_of_it(app, calls) -> None:
    sync = declare(app, calls)
    with harness(app) as t:
        api = Api(t)
        calls.append(api)
        api.refuses["a"] = "1h"
        t.send("go", {"who": "a"})
        t.crash(down="1m")
        t.send("go", {"who": "b"})
        t.advance("10m")
        assert len(api.calls) == 1

        t.advance("1h")
        assert statuses(t, sync) == ["COMPLETED"] * 2


def test_what_is_decided_while_a_process_looks_for_what_others_wrote_is_not_forgotten(app, calls, monkeypatch) -> None:
    declare(app, calls)
    with harness(app) as t:
        engine, read = t.engine, t.engine.store.read

        async def read_meanwhile(question: Any) -> Any:
            found = await read(question)
            if isinstance(question, ShardsWithCell):
                assert found == []
                engine.decisions.pressing.arise()  # an error asked for it after this was read
            return found

        known: list[bool] = []
        monkeypatch.setattr(engine.store, "read", read_meanwhile)
        monkeypatch.setattr(engine._dispatcher, "wake", lambda *_: known.append(0 in engine.decisions.pressing))
        engine._others = True
        t._do(lambda: engine._look_for_others(engine.clock.now_ms()))

        assert known == [True], "so the next claim looks"


@pytest.mark.sqlite("plays what goes on at the same moment in a store that answers at once")
def test_what_another_process_has_written_counts_more_than_a_claim_from_before_it(app, calls, monkeypatch) -> None:
    declare(app, calls)
    with harness(app) as t:
        engine = t.engine
        calls.append(Api(t))
        commit = engine.store.commit
        late: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] = []

        def slow(work: Any) -> asyncio.Future[Any]:
            """It is written, and heard of later."""
            late.append((asyncio.get_running_loop().create_future(), commit(work)))
            return late[-1][0]

        async def meanwhile() -> None:
            engine.decisions.pressing.arise()
            monkeypatch.setattr(engine.store, "commit", slow)
            claiming = asyncio.ensure_future(engine._dispatcher._tick(0))
            await asyncio.sleep(0)
            monkeypatch.setattr(engine.store, "commit", commit)
            until = engine.clock.now_ms() + 60_000
            cell = Cell(key="pressure/function/shop-sync", value="{}", expires_at=until)
            everywhere = tuple(PutCell(cell, place) for place in range(t.store.shards))
            await commit(Decision(changes=everywhere))  # as another process does
            engine._others = True
            await engine._look_for_others(engine.clock.now_ms())
            for answer, verdict in late:
                answer.set_result(await verdict)
            await claiming

        t._do(meanwhile)
        assert len(late) == 1
        t.send("go", {"who": "a"})

        assert calls[0].calls == []
