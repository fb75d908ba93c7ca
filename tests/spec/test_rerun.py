"""Starting a run again (semantics §9.1; F88)."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import (
    BatchEvents,
    Cancel,
    Concurrency,
    Debounce,
    LimitExceeded,
    NotFound,
    RateLimit,
    Singleton,
    Stepwell,
    Timeouts,
    TriggerCron,
)
from stepwell.model.questions import Reruns
from stepwell.runtime.operator import rerun
from stepwell.testing import harness
from tests.spec.looking import outcomes

GONE = "01HF7YAT00000000000000000A"


def test_a_run_is_started_again_with_its_event_and_finds_its_way_anew(app: Stepwell) -> None:
    tried: list[int] = []

    @app.create_function(id="bill", trigger="go", retries=0)
    async def bill(ctx):
        await ctx.step.run("charge", lambda: tried.append(ctx.event.data["n"]))
        if len(tried) == 1:
            raise ValueError("declined")
        return ctx.event.id

    with harness(app) as t:
        (event_id,) = t.send("go", {"n": 7})
        first = t.run(bill)
        t.assert_failed(first, "declined")

        second = t.rerun(first)

        t.assert_completed(second, event_id)
        t.assert_failed(first, "declined")
        assert tried == [7, 7]
        assert second.id != first.id


def test_a_run_and_its_reruns_know_each_other(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go")
        first = t.run(bill)
        again = [t.rerun(first) for _ in range(2)]
        of_a_rerun = t.rerun(again[0])

        assert [run.record.original for run in (first, *again, of_a_rerun)] == [None, first.id, first.id, again[0].id]
        assert t.ask(Reruns(first.id)) == [run.id for run in again]


def test_neither_the_id_of_the_event_nor_an_idempotency_key_keeps_a_run_from_being_started_again(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go", idempotency="event.data.order")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go", {"order": 1}, id="once")
        t.rerun(t.run(bill))
        t.send("go", {"order": 1}, id="once")

        assert [run.status for run in t.runs(bill)] == ["COMPLETED", "COMPLETED"]


def test_the_same_request_for_a_rerun_starts_one(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go")
        first = t.run(bill)

        ids = [t._do(lambda: rerun(t.engine, first.id, key="k")).id for _ in range(2)]
        other = t._do(lambda: rerun(t.engine, first.id, key="l")).id
        t.advance("25h")
        later = t._do(lambda: rerun(t.engine, first.id, key="k")).id

        assert ids[0] == ids[1]
        assert len({first.id, ids[0], other, later}) == len(t.runs(bill)) == 4


def test_a_run_that_goes_on_can_be_started_again_beside_itself(app: Stepwell) -> None:
    @app.create_function(id="wait", trigger="go", cancel=Cancel("stop", match="data.n"), timeouts=Timeouts(finish="2h"))
    async def wait(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.advance("30m")
        t.rerun(t.run(wait))
        t.advance("30m")
        assert [run.status for run in t.runs(wait)] == ["COMPLETED", "RUNNING"]

        t.send("stop", {"n": 1})
        assert [run.status for run in t.runs(wait)] == ["COMPLETED", "CANCELLED"]


def test_a_rerun_keeps_to_the_limits_as_they_are_now(app: Stepwell) -> None:
    most = 0
    busy = 0

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1))
    async def work(ctx):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(1)
        busy -= 1

    with harness(app) as t:
        t.send("go")
        for _ in range(3):
            t.rerun(t.runs(work)[0])
        t.advance("10s")

        assert [run.status for run in t.runs(work)] == ["COMPLETED"] * 4
        assert most == 1


def test_a_rerun_of_an_event_from_the_future_starts_now(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go", ts=int(t.now.timestamp() * 1000) + 3_600_000)
        first = t.run(bill)

        t.assert_completed(t.rerun(first))
        assert first.status == "QUEUED"


def test_a_tick_can_be_run_again(app: Stepwell) -> None:
    @app.create_function(id="report", trigger=TriggerCron("0 * * * *"))
    async def report(ctx):
        return ctx.event.data["scheduledAt"]

    with harness(app) as t:
        t.advance("1h")
        first = t.run(report)

        again = t.rerun(first)

        t.assert_completed(again, first.output)


def test_a_rerun_tells_nobody_that_waited_for_the_first(app: Stepwell) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send("go")
        again = t.rerun(t.run(child))

        t.assert_completed(again, "done")
        t.assert_completed(t.run(parent), "done")
        assert again.record.parent is None


def test_what_is_not_there_cannot_be_started_again(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx): ...

    other = Stepwell("shop")

    @other.create_function(id="new", trigger="go")
    async def new(ctx): ...

    with harness(app) as t:
        t.send("go")
        run = t.run(bill)
        with pytest.raises(NotFound, match=f"no run {GONE}"):
            t.rerun(GONE)

        t.crash(app=other)
        with pytest.raises(NotFound, match="cannot be started again") as raised:
            t.rerun(run.id)
        assert "no function 'shop-bill' is registered" in raised.value.why


def test_K20_a_batch_is_run_again_with_all_of_its_events(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go", batch_events=BatchEvents(max_size=2, timeout="1m"))
    async def bill(ctx):
        return [event.data["n"] for event in ctx.events]

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.send("go", {"n": 2})

        again = t.rerun(t.run(bill))

        t.assert_completed(again, [1, 2])


def test_a_rate_limit_does_not_keep_a_run_from_being_started_again(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go", rate_limit=RateLimit(limit=1, period="1h"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.rerun(t.run(bill)))


def test_what_is_held_back_by_a_debounce_is_not_when_it_is_run_again(app: Stepwell) -> None:
    @app.create_function(id="bill", trigger="go", debounce=Debounce(period="1m"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("go")
        t.advance("2m")

        t.assert_completed(t.rerun(t.run(bill)))


def test_a_function_that_runs_alone_is_not_started_again_beside_itself(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", singleton=Singleton(mode="skip"))
    async def work(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        (event_id,) = t.send("go")
        run = t.run(work)
        with pytest.raises(LimitExceeded, match="not started again"):
            t.rerun(run)
        assert outcomes(t, event_id) == {}

        t.advance("1h")
        assert t.rerun(run).status == "RUNNING"
