"""What pyright must complain of: each ignored line is an error, for pyright also tells of ignores not needed."""

# mypy: ignore-errors
# ruff: noqa: F841
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# What follows from an error is not asked for again:
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnusedVariable=false

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
    print(order.amont)  # pyright: ignore[reportAttributeAccessIssue]
    await step.run("missing", charge, order.order_id)  # pyright: ignore[reportCallIssue]
    await step.run("wrong-type", charge, 7, amount=1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.run("unknown-keyword", charge, "a", amont=1)  # pyright: ignore[reportCallIssue]
    await step.run("too-many", pack, "a", 1, 2)  # pyright: ignore[reportCallIssue]
    await step.run("sync-type", pack, "a", parcels="two")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.run("lambda", lambda: 1, 2)  # pyright: ignore[reportCallIssue]
    await step.run("partial", partial(pack, 1))  # pyright: ignore[reportArgumentType]
    await step.run("called", charge("a", amount=1))  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.run(7, pack, "a")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.options("options", retries=1).run(charge, "a")  # pyright: ignore[reportCallIssue]
    await step.options("options", retries="many").run(pack, "a")  # pyright: ignore[reportArgumentType]
    receipt: str = await step.run("result", charge, "a", amount=1)  # pyright: ignore[reportAssignmentType]
    step.run("forgotten", pack, "a")  # pyright: ignore[reportUnusedCoroutine]
    await step.sleep("sleep", 1.5)  # pyright: ignore[reportArgumentType]
    await step.sleep_until("until", "tomorrow")  # pyright: ignore[reportArgumentType]
    await step.wait_for_event("no-timeout", Paid)  # pyright: ignore[reportCallIssue]
    paid = await step.wait_for_event("paid", Paid, timeout="1h")
    print(paid.data)  # pyright: ignore[reportOptionalMemberAccess]
    await step.invoke("wrong-data", report, data=Paid("1"))  # pyright: ignore[reportArgumentType]
    await step.invoke("not-a-function", charge)  # pyright: ignore[reportArgumentType]
    text: str = await step.invoke("wrong-result", report)  # pyright: ignore[reportAssignmentType]
    await ctx.group.parallel([step.run("p", pack, "p")], parallel_mode="soon")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.group.parallel([1, 2])  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.waitForEvent("name", Paid)  # pyright: ignore[reportAttributeAccessIssue]
    print(ctx.runId)  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(await step.run("types", pack, "a"), Receipt)  # pyright: ignore[reportAssertTypeFailure]


@app.create_function(id="sync", trigger=Ordered)
def sync(ctx: Context[Ordered, Sync]) -> None:
    ctx.step.run("missing", charge, "a")  # pyright: ignore[reportCallIssue]
    ctx.step.run("wrong-type", pack, 7)  # pyright: ignore[reportArgumentType, reportCallIssue]
    number: int = ctx.step.run("result", pack, "a")  # pyright: ignore[reportAssignmentType]


@app.create_function(id="wrong-event", trigger=Ordered)  # pyright: ignore[reportArgumentType, reportCallIssue]
async def wrong_event(ctx: Context[Paid]) -> None: ...


@app.create_function(id="not-all-events", trigger="shop/x")  # pyright: ignore[reportArgumentType, reportCallIssue]
async def not_a_class(ctx: Context[Paid]) -> None: ...


@app.create_function(id="wrong-colour", trigger=Ordered)  # pyright: ignore[reportArgumentType, reportCallIssue]
def wrong_colour(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="unknown", trigger=Ordered, retrys=3)  # pyright: ignore[reportCallIssue]
async def unknown_option(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="wrong-option", trigger=Ordered, retries="3")  # pyright: ignore[reportArgumentType, reportCallIssue]
async def wrong_option(ctx: Context[Ordered]) -> None: ...


async def for_orders(ctx: Context[Ordered]) -> None: ...


@app.create_function(id="wrong-handler", trigger=Ordered, on_failure=for_orders)  # pyright: ignore[reportArgumentType, reportCallIssue]
async def wrong_handler(ctx: Context[Ordered]) -> None: ...


@app.create_defer(id="later")
async def later(ctx: Context[Ordered]) -> None:
    ctx.defer("plain", function=report, data=None)  # pyright: ignore[reportArgumentType]
    ctx.defer("data", function=later, data=7)  # pyright: ignore[reportArgumentType]


wrong: Function[Paid, Report] = report  # pyright: ignore[reportAssignmentType]
Event(Ordered, Paid("1"), id=7)  # pyright: ignore[reportArgumentType]
Timeouts(begin="1h")  # pyright: ignore[reportCallIssue]
Cancel(Ordered, "data.order_id")  # pyright: ignore[reportCallIssue]
TriggerCron("0 9 * * *", missed="never")  # pyright: ignore[reportArgumentType]
RunFailed(function_id="x")  # pyright: ignore[reportCallIssue]
with harness(app) as t:
    t.advance(1.5)  # pyright: ignore[reportArgumentType]
    print(t.run(report).output_of)  # pyright: ignore[reportAttributeAccessIssue]


@app.create_function(id="publishes", trigger=Ordered)
async def publishes(ctx: Context[Ordered]) -> None:
    topic = Topic("reports", Report)
    await ctx.step.realtime.publish("wrong-type", "c", topic, 7)  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.realtime.publish("c", topic, {"lines": []})  # pyright: ignore[reportCallIssue, reportArgumentType]
    await app.realtime.publish("c", topic, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
