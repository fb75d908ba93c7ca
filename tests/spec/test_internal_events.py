"""The events the engine itself sends, and the names that are theirs (semantics §1.6, protocol §9.5; F7)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stepwell import Cancel, Event, InvalidEvent, Timeouts, TriggerCron, TriggerEvent
from stepwell.protocol.events import Incoming
from stepwell.testing import Harness, harness
from tests.spec.looking import events

FINISHED, FAILED, CANCELLED = (f"inngest/function.{what}" for what in ("finished", "failed", "cancelled"))


def data(t: Harness, name: str) -> list[dict[str, Any]]:
    return [json.loads(found.data) for found in events(t, name)]


@pytest.mark.parametrize("name", ["inngest/thing", "Inngest/thing", "INNGEST/function.finished", "inngest/"])
def test_reserved_names_cannot_be_sent(app, name: str) -> None:
    with harness(app) as t:
        with pytest.raises(InvalidEvent) as refused:
            t.send([Event("fine"), Event(name)])

        assert "reserved" in refused.value.why
        assert refused.value.fix
        assert events(t) == []


def test_names_that_only_look_reserved_can_be_sent(app) -> None:
    with harness(app) as t:
        t.send([Event("inngest"), Event("inngest.thing"), Event("my/inngest/thing")])

        assert len(events(t)) == 3


def watcher(app, name: str) -> Any:
    @app.create_function(id="watch", trigger=name)
    async def watch(ctx):
        return ctx.event.data

    return watch


def test_a_run_that_completes_sends_finished_with_its_result(app) -> None:
    watch = watcher(app, FINISHED)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        return {"receipt": 7}

    with harness(app) as t:
        (id,) = t.send("paid", {"order": 1})

        found = t.run(watch).output
        assert (found["function_id"], found["run_id"]) == ("shop-bill", t.run(bill).id)
        assert found["result"] == {"receipt": 7}
        assert "error" not in found
        assert (found["event"]["id"], found["event"]["data"]) == (id, {"order": 1})
        assert found["events"] == [found["event"]]


def test_a_run_that_fails_sends_failed_and_finished_with_its_error(app) -> None:
    on_failed = watcher(app, FAILED)

    @app.create_function(id="also", trigger=FINISHED)
    async def also(ctx):
        return ctx.event.data

    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx):
        raise ValueError("no money")

    with harness(app) as t:
        t.send("paid")

        for found in (t.run(on_failed).output, t.run(also).output):
            assert found["run_id"] == t.run(bill).id
            assert (found["error"]["name"], found["error"]["message"]) == ("ValueError", "no money")
            assert "result" not in found


def test_a_run_that_is_cancelled_sends_cancelled_and_finished_without_a_result(app) -> None:
    on_cancelled = watcher(app, CANCELLED)

    @app.create_function(id="also", trigger=FINISHED)
    async def also(ctx):
        return ctx.event.data

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        t.cancel(t.run(bill))

        of_bill = [run.output for run in t.runs(also) if run.output["function_id"] == "shop-bill"]
        for found in [t.run(on_cancelled).output, *of_bill]:
            assert found["run_id"] == t.run(bill).id
            assert not {"result", "error"} & found.keys()
        assert len(of_bill) == 1


def test_K08_a_run_sends_its_end_once(app) -> None:
    """I9, K08, K09: not again after a crash or a second cancel."""
    watch = watcher(app, CANCELLED)

    @app.create_function(id="bill", trigger="paid", cancel=Cancel("stopped"))
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        t.send([Event("stopped"), Event("stopped")])
        t.crash()
        t.cancel(t.run(bill))
        t.send("stopped")
        t.advance("2d")

        assert len(t.runs(watch)) == 1
        assert len(events(t, CANCELLED)) == 1


def test_failed_and_cancelled_carry_the_run_as_their_id(app) -> None:
    watch = watcher(app, CANCELLED)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        t.cancel(t.run(bill))

        assert t.run(watch).event["id"] == t.run(bill).id


def test_ends_can_be_filtered_by_function(app) -> None:
    seen: list[str] = []

    @app.create_function(id="cleanup", trigger=TriggerEvent(CANCELLED, if_="event.data.function_id == 'shop-bill'"))
    async def cleanup(ctx):
        seen.append(ctx.event.data["function_id"])

    for name in ("bill", "ship"):

        @app.create_function(id=name, trigger="paid")
        async def function(ctx):
            await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        for name in ("bill", "ship"):
            t.cancel(t.run(name))

        assert seen == ["shop-bill"]


@pytest.mark.parametrize("name", [FINISHED, FAILED])
def test_a_function_that_watches_ends_is_not_started_by_its_own(app, name: str) -> None:
    """No loops: whether it completes or fails."""

    @app.create_function(id="watch", trigger=name, retries=0)
    async def watch(ctx):
        raise RuntimeError("no")

    @app.create_function(id="bill", trigger="paid", retries=0)
    async def bill(ctx):
        raise RuntimeError("no")

    with harness(app) as t:
        t.send("paid")
        t.advance("1d")

        assert len(t.runs(watch)) == 1


def test_a_function_that_cleans_up_and_is_cancelled_is_not_started_by_its_own_end(app) -> None:
    """No loops either: a clean-up that is itself stopped by its timeout would otherwise start itself for ever."""

    @app.create_function(id="cleanup", trigger=CANCELLED, timeouts=Timeouts(finish="1h"))
    async def cleanup(ctx):
        await ctx.step.sleep("too long", "1d")

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        t.cancel(t.run(bill))
        t.advance("10h")

        t.assert_cancelled(t.run(cleanup))


def test_the_end_of_a_clean_up_that_completes_can_be_watched(app) -> None:
    watch = watcher(app, FINISHED)

    @app.create_function(id="cleanup", trigger=CANCELLED)
    async def cleanup(ctx): ...

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid")
        t.cancel(t.run(bill))

        assert {run.output["function_id"] for run in t.runs(watch)} == {"shop-bill", "shop-cleanup"}


def test_the_end_of_an_invoked_run_says_who_invoked_it(app) -> None:
    watch = watcher(app, FINISHED)

    @app.create_function(id="child")
    async def child(ctx):
        return ctx.event.name

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("call", child, data={})

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.run(parent), "inngest/function.invoked")
        ends = {run.output["function_id"]: run.output for run in t.runs(watch)}
        assert ends["shop-child"]["correlation_id"].startswith(t.run(parent).id + ".")
        assert "correlation_id" not in ends["shop-parent"]


def test_a_wait_may_be_for_the_end_of_another_run(app) -> None:
    @app.create_function(id="waiter", trigger="wait")
    async def waiter(ctx):
        found = await ctx.step.wait_for_event("end", FINISHED, timeout="1d")
        return found.data["result"]

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx):
        return "done"

    with harness(app) as t:
        t.send("wait")
        t.send("paid")

        t.assert_completed(t.run(waiter), "done")


def test_a_start_that_was_refused_sends_nothing(app) -> None:
    watch = watcher(app, FINISHED)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t.send("paid", id="1")
        t.send("paid", id="1")

        assert len(t.runs(watch)) == 1


INVOKED, TIMER = "inngest/function.invoked", "inngest/scheduled.timer"


def test_an_invoke_can_start_others_beside_the_function_it_is_for(app) -> None:
    watch = watcher(app, INVOKED)

    @app.create_function(id="child", trigger=INVOKED)
    async def child(ctx):
        return ctx.event.data["n"]

    @app.create_function(id="parent", trigger="paid")
    async def parent(ctx):
        return await ctx.step.invoke("child", child, data={"n": 7})

    with harness(app) as t:
        t.send("paid", {})

        t.assert_completed(t.run(parent), 7)
        assert [run.output for run in t.runs(watch)] == [{"n": 7}]
        assert len(t.runs(child)) == 1


def test_99_a_tick_can_start_resume_and_cancel_others(app) -> None:
    watch = watcher(app, TIMER)

    @app.create_function(id="report", trigger=TriggerCron("0 * * * *"))
    async def report(ctx): ...

    @app.create_function(id="patient", trigger="paid")
    async def patient(ctx):
        return (await ctx.step.wait_for_event("tick", TIMER, timeout="2h")).data["cron"]

    @app.create_function(id="fleeting", trigger="paid", cancel=Cancel(TIMER))
    async def fleeting(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("paid", {})
        t.advance("61m")

        t.assert_completed(t.run(patient), "0 * * * *")
        t.assert_cancelled(t.run(fleeting))
        assert [run.output["cron"] for run in t.runs(watch)] == ["0 * * * *"]
        assert len(t.runs(report)) == 1


def test_the_end_of_a_run_carries_the_meta_of_its_event(app) -> None:
    watcher(app, FINISHED)

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx): ...

    with harness(app) as t:
        t._do(lambda: t.engine.send([Incoming(name="paid", meta=b'{"sessions":{"user":"u-1"}}')]))

        (ended,) = events(t, FINISHED)
        assert ended.meta == b'{"sessions":{"user":"u-1"}}'


def test_ticks_of_several_schedules_at_one_moment_are_several_events(app) -> None:
    """They have the same id, their moment (protocol §9.5), and are not taken for one sent twice."""
    for name, cron in (("first", "0 * * * *"), ("second", "0 */1 * * *")):

        @app.create_function(id=name, trigger=TriggerCron(cron))
        async def report(ctx): ...

    @app.create_function(id="watch", trigger="inngest/scheduled.timer")
    async def watch(ctx): ...

    with harness(app) as t:
        t.advance("61m")

        assert len(t.runs(watch)) == 2


def test_a_function_that_watches_invokes_does_not_watch_its_own(app) -> None:
    """S41: it would start itself for ever."""

    @app.create_function(id="child", trigger=[TriggerEvent("never")])
    async def child(ctx): ...

    @app.create_function(id="audit", trigger="inngest/function.invoked")
    async def audit(ctx):
        await ctx.step.invoke("child", child)

    @app.create_function(id="order", trigger="ordered")
    async def order(ctx):
        await ctx.step.invoke("child", child)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(audit))
        assert len(t.runs(child)) == 2


@pytest.mark.parametrize("beside", [False, True])
def test_a_run_that_is_cancelled_by_its_own_invoke_starts_nothing(app, beside: bool) -> None:
    @app.create_function(id="child", trigger=[TriggerEvent("never")])
    async def child(ctx): ...

    @app.create_function(id="order", trigger="ordered", cancel=Cancel("inngest/function.invoked"))
    async def order(ctx):
        others = [ctx.step.run("other", asyncio.sleep, 5)] if beside else []
        await asyncio.gather(ctx.step.invoke("child", child), *others)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")

        run = t.run(order)
        t.assert_cancelled(run)
        assert t.runs(child) == []
        assert "child" not in run.steps
