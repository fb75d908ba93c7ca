"""What mypy must complain of: each ignored line is an error, for mypy also tells of ignores that are not needed."""

# pyright: basic
# ruff: noqa: F841

from __future__ import annotations

from functools import partial
from typing import assert_type

from stepwell import Cancel, Context, Event, Function, RunFailed, Stepwell, Sync, Timeouts, Topic, TriggerCron
from stepwell.testing import harness
from tests.typing.classes import Ordered, Paid, Receipt, Report, charge, pack

app = Stepwell("shop")


@app.create_function(id="report", trigger=Ordered)
async def report(ctx: Context[Ordered]) -> Report:
    return Report(lines=[])


@app.create_function(id="steps", trigger=Ordered)
async def steps(ctx: Context[Ordered]) -> None:
    order = ctx.event.data
    step = ctx.step
    print(order.amont)  # type: ignore[attr-defined]
    await step.run("missing", charge, order.order_id)  # type: ignore[call-overload]
    await step.run("wrong-type", charge, 7, amount=1)  # type: ignore[arg-type]
    await step.run("unknown-keyword", charge, "a", amont=1)  # type: ignore[call-arg]
    await step.run("too-many", pack, "a", 1, 2)  # type: ignore[call-overload]
    await step.run("sync-type", pack, "a", parcels="two")  # type: ignore[arg-type]
    await step.run("lambda", lambda: 1, 2)  # type: ignore[call-overload]
    await step.run("partial", partial(pack, 1))  # type: ignore[arg-type, call-overload]
    await step.run("called", charge("a", amount=1))  # type: ignore[call-overload]
    await step.run(7, pack, "a")  # type: ignore[call-overload]
    await step.options("options", retries=1).run(charge, "a")  # type: ignore[call-overload]
    await step.options("options", retries="many").run(pack, "a")  # type: ignore[arg-type]
    receipt: str = await step.run("result", charge, "a", amount=1)  # type: ignore[arg-type]
    step.run("forgotten", pack, "a")  # type: ignore[unused-coroutine]
    await step.sleep("sleep", 1.5)  # type: ignore[arg-type]
    await step.sleep_until("until", "tomorrow")  # type: ignore[arg-type]
    await step.wait_for_event("no-timeout", Paid)  # type: ignore[call-overload]
    paid = await step.wait_for_event("paid", Paid, timeout="1h")
    print(paid.data)  # type: ignore[union-attr]
    await step.invoke("wrong-data", report, data=Paid("1"))  # type: ignore[misc]
    await step.invoke("not-a-function", charge)  # type: ignore[arg-type]
    text: str = await step.invoke("wrong-result", report)  # type: ignore[arg-type]
    await ctx.group.parallel([step.run("p", pack, "p")], parallel_mode="soon")  # type: ignore[call-overload]
    await ctx.group.parallel([1, 2])  # type: ignore[arg-type]
    await step.waitForEvent("name", Paid)  # type: ignore[attr-defined]
    print(ctx.runId)  # type: ignore[attr-defined]
    assert_type(await step.run("types", pack, "a"), Receipt)  # type: ignore[assert-type]


@app.create_function(id="sync", trigger=Ordered)
def sync(ctx: Context[Ordered, Sync]) -> None:
    ctx.step.run("missing", charge, "a")  # type: ignore[call-overload]
    ctx.step.run("wrong-type", pack, 7)  # type: ignore[call-overload]
    number: int = ctx.step.run("result", pack, "a")  # type: ignore[assignment]


@app.create_function(id="wrong-event", trigger=Ordered)  # type: ignore[arg-type]
async def wrong_event(ctx: Context[Paid]) -> None: ...


@app.create_function(id="not-all-events", trigger="shop/x")  # type: ignore[arg-type]
async def not_a_class(ctx: Context[Paid]) -> None: ...


@app.create_function(id="wrong-colour", trigger=Ordered)  # type: ignore[arg-type]
def wrong_colour(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="unknown", trigger=Ordered, retrys=3)  # type: ignore[call-overload]
async def unknown_option(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="wrong-option", trigger=Ordered, retries="3")  # type: ignore[call-overload]
async def wrong_option(ctx: Context[Ordered]) -> None: ...


async def for_orders(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="wrong-handler", trigger=Ordered, on_failure=for_orders)  # type: ignore[arg-type]
async def wrong_handler(ctx: Context[Ordered]) -> None: ...


@app.create_defer(id="later")
async def later(ctx: Context[Ordered]) -> None:
    ctx.defer("plain", function=report, data=None)  # type: ignore[arg-type]
    ctx.defer("data", function=later, data=7)  # type: ignore[misc]


wrong: Function[Paid, Report] = report  # type: ignore[assignment]
Event(Ordered, Paid("1"), id=7)  # type: ignore[arg-type]
Timeouts(begin="1h")  # type: ignore[call-arg]
Cancel(Ordered, "data.order_id")  # type: ignore[call-arg]
TriggerCron("0 9 * * *", missed="never")  # type: ignore[arg-type]
RunFailed(function_id="x")  # type: ignore[call-arg]
with harness(app) as t:
    t.advance(1.5)  # type: ignore[arg-type]
    print(t.run(report).output_of)  # type: ignore[attr-defined]


@app.create_function(id="publishes", trigger=Ordered)
async def publishes(ctx: Context[Ordered]) -> None:
    topic = Topic("reports", Report)
    await ctx.step.realtime.publish("wrong-type", "c", topic, 7)  # type: ignore[misc]
    await ctx.realtime.publish("c", topic, {"lines": []})  # type: ignore[misc]
    await app.realtime.publish("c", topic, None)  # type: ignore[misc]
