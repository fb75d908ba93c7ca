"""``async def`` functions: what the user writes, and the types that come of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, assert_type
from uuid import UUID

from stepwell import (
    Backoff,
    Cancel,
    Concurrency,
    Context,
    DeferredFunction,
    Event,
    Function,
    NonRetriableError,
    ReceivedEvent,
    RunFailed,
    StepError,
    Stepwell,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)
from tests.typing.classes import Ordered, Paid, Receipt, Report, Returned, Shipped, charge, pack

app = Stepwell("shop")


# Events: each kind of class ------------------------------------------------------------------------------------------


@app.create_function(id="pydantic", trigger=Ordered)
async def by_pydantic(ctx: Context[Ordered]) -> int:
    assert_type(ctx.event, ReceivedEvent[Ordered])
    assert_type(ctx.event.data, Ordered)
    assert_type(ctx.events[0].data, Ordered)
    return assert_type(ctx.event.data.amount, int)


@app.create_function(id="msgspec", trigger=Paid)
async def by_msgspec(ctx: Context[Paid]) -> str:
    assert_type(ctx.event.data, Paid)
    return assert_type(ctx.event.data.order_id, str)


@app.create_function(id="dataclass", trigger=Shipped)
async def by_dataclass(ctx: Context[Shipped]) -> int:
    assert_type(ctx.event.data, Shipped)
    return assert_type(ctx.event.data.parcels, int)


@app.create_function(id="typed-dict", trigger=Returned)
async def by_typed_dict(ctx: Context[Returned]) -> str:
    assert_type(ctx.event.data, Returned)
    return assert_type(ctx.event.data["reason"], str)


@app.create_function(id="by-name", trigger="shop/anything")
async def by_name(ctx: Context) -> None:
    assert_type(ctx.event.data, dict[str, Any])
    assert_type(ctx.event.name, str)
    assert_type(ctx.event.id, str)
    assert_type(ctx.event.ts, int)


@app.create_function(id="by-trigger", trigger=TriggerEvent(Ordered, if_="event.data.amount > 100"))
async def by_trigger(ctx: Context[Ordered]) -> None:
    assert_type(ctx.event.data, Ordered)


@app.create_function(id="by-pattern", trigger=TriggerEvent("shop/*"))
async def by_pattern(ctx: Context) -> None:
    assert_type(ctx.event.data, dict[str, Any])


@app.create_function(id="by-cron", trigger=TriggerCron("0 9 * * *", tz="Europe/Paris", jitter="30s", missed="skip"))
async def by_cron(ctx: Context) -> None:
    assert_type(ctx.event.data, dict[str, Any])


@app.create_function(id="by-many", trigger=[Ordered, "shop/anything", TriggerEvent(Paid), TriggerCron("0 9 * * 1")])
async def by_many(ctx: Context[Ordered | Paid]) -> None:
    assert_type(ctx.event.data, Ordered | Paid)


@app.create_function(id="by-classes", trigger=[Ordered, Paid])
async def by_classes(ctx: Context[Ordered | Paid]) -> None:
    assert_type(ctx.event.data, Ordered | Paid)


@app.create_function(id="by-nothing")
async def by_nothing(ctx: Context[Ordered]) -> Receipt:
    return await ctx.step.run("charge", charge, ctx.event.data.order_id, amount=1)


assert_type(by_pydantic, Function[Ordered, int])
assert_type(by_typed_dict, Function[Returned, str])
assert_type(by_name, Function[dict[str, Any], None])
assert_type(by_trigger, Function[Ordered, None])
assert_type(by_many, Function[Ordered | Paid, None])
assert_type(by_nothing, Function[Ordered, Receipt])
assert_type(by_pydantic.id, str)
assert_type(by_pydantic.name, str)


# Steps ---------------------------------------------------------------------------------------------------------------


class Shop:
    async def open(self) -> bool:
        return True

    def price(self, name: str) -> float:
        return float(len(name))


@app.create_function(id="bodies", trigger=Ordered)
async def bodies(ctx: Context[Ordered]) -> Report:
    order = ctx.event.data
    shop = Shop()
    assert_type(await ctx.step.run("charge", charge, order.order_id, amount=order.amount), Receipt)
    assert_type(await ctx.step.run("pack", pack, order.order_id), list[str])
    assert_type(await ctx.step.run("pack-two", pack, order.order_id, parcels=2), list[str])
    assert_type(await ctx.step.run("lambda", lambda: order.amount), int)
    assert_type(await ctx.step.run("lambda-async", lambda: charge("a", amount=1)), Receipt)
    assert_type(await ctx.step.run("partial", partial(pack, "a")), list[str])
    assert_type(await ctx.step.run("partial-async", partial(charge, "a", amount=1)), Receipt)
    assert_type(await ctx.step.run("method", shop.price, "tea"), float)
    assert_type(await ctx.step.run("method-async", shop.open), bool)
    assert_type(await ctx.step.run("builtin", len, "abc"), int)
    assert_type(await ctx.step.run("nothing", nothing), None)
    with_options = ctx.step.options("options", retries=10, timeout="30s", backoff=Backoff.fixed("1s"))
    assert_type(await with_options.run(charge, order.order_id, amount=1), Receipt)
    assert_type(await ctx.step.options("options-sync", timeout=timedelta(seconds=1)).run(pack, "a", 2), list[str])
    assert_type(await ctx.step.options("options-lambda", retries=0).run(lambda: "x"), str)
    return Report(lines=["done"])


def nothing() -> None: ...


@app.create_function(id="rests", trigger=Ordered)
async def rests(ctx: Context[Ordered]) -> None:
    await ctx.step.sleep("text", "1h30m")
    await ctx.step.sleep("delta", timedelta(days=1))
    await ctx.step.sleep("ms", 250)
    await ctx.step.sleep_until("moment", datetime(2030, 1, 1, tzinfo=UTC))
    paid = await ctx.step.wait_for_event("paid", Paid, match="data.order_id", timeout="3d")
    assert_type(paid, ReceivedEvent[Paid] | None)
    if paid is None:
        raise NonRetriableError("nobody paid")
    assert_type(paid.data.order_id, str)
    returned = await ctx.step.wait_for_event("returned", Returned, timeout=timedelta(days=1), lookback="run")
    assert_type(returned, ReceivedEvent[Returned] | None)
    named = await ctx.step.wait_for_event("named", "shop/x", if_="async.data.n > 1", timeout=datetime.now(UTC))
    assert_type(named, ReceivedEvent[dict[str, Any]] | None)
    if named is not None:
        assert_type(named.data["n"], Any)


@app.create_function(id="calls", trigger=Ordered)
async def calls(ctx: Context[Ordered]) -> None:
    assert_type(await ctx.step.invoke("bodies", bodies, data=ctx.event.data), Report)
    assert_type(await ctx.step.invoke("typed-dict", by_typed_dict, data=Returned(order_id="1", reason="late")), str)
    assert_type(await ctx.step.invoke("named", by_name, data={"any": "thing"}, timeout="1h", cancel_child=True), None)
    assert_type(await ctx.step.invoke("without", by_nothing), Receipt)
    assert_type(await ctx.step.invoke_by_id("other", "monthly", app_id="reports", data={"n": 1}), Any)
    assert_type(await ctx.step.invoke("by keyword", function=bodies, data=ctx.event.data), Report)
    assert_type(await ctx.step.wait_for_event("by keyword", event=Paid, timeout="3d"), ReceivedEvent[Paid] | None)
    assert_type(await ctx.step.send_event("one", Paid(order_id="1")), list[str])
    assert_type(await ctx.step.send_event("many", [Paid(order_id="1"), Event("shop/x", {"n": 1})]), list[str])
    try:
        await ctx.step.run("may-fail", nothing)
    except StepError as error:
        assert_type(error.name, str)
        assert_type(error.stack, str | None)


# Branches ------------------------------------------------------------------------------------------------------------


@app.create_function(id="branches", trigger=Ordered)
async def branches(ctx: Context[Ordered]) -> None:
    step = ctx.step
    two = await ctx.group.parallel((step.run("a", charge, "a", amount=1), step.run("b", pack, "b")))
    assert_type(two, tuple[Receipt, list[str]])
    three = await ctx.group.parallel(
        (step.run("c", pack, "c"), step.sleep("d", "1s"), step.wait_for_event("e", Paid, timeout="1s"))
    )
    assert_type(three, tuple[list[str], None, ReceivedEvent[Paid] | None])
    four = await ctx.group.parallel(
        (step.run("f", len, "f"), step.run("g", pack, "g"), step.sleep("h", 1), step.invoke("i", bodies))
    )
    assert_type(four, tuple[int, list[str], None, Report])
    many = await ctx.group.parallel(step.run(f"pack-{name}", pack, name) for name in ("x", "y"))
    assert_type(many, tuple[list[str], ...])
    hasty = await ctx.group.parallel((step.run("v", len, "v"), step.run("w", pack, "w")), parallel_mode="race")
    assert_type(hasty, tuple[int, list[str]])
    several = await ctx.group.parallel([step.run("y", len, "y"), step.run("z", len, "z")], parallel_mode="wait")
    assert_type(several, tuple[int, ...])

    async def branch() -> int:
        await step.sleep("in-branch", 1)
        return await step.run("count", len, "abc")

    mixed: tuple[int, Receipt] = await ctx.group.parallel((branch, step.run("k", charge, "k", amount=1)))
    assert_type(mixed, tuple[int, Receipt])
    nested = await ctx.group.parallel(
        (ctx.group.parallel((step.sleep("s", 1), step.run("t", len, "t"))), step.send_event("u", Paid(order_id="1")))
    )
    assert_type(nested, tuple[tuple[None, int], list[str]])
    assert_type(await ctx.group.race([step.run("l", len, "l"), step.run("m", len, "m")]), int)
    assert_type(await ctx.group.race([branch, branch]), int)
    assert_type(await asyncio.gather(step.run("n", len, "n"), step.run("o", pack, "o")), tuple[int, list[str]])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(step.run("p", charge, "p", amount=1))
    assert_type(task.result(), Receipt)
    async with asyncio.timeout(5):
        assert_type(await step.run("q", len, "q"), int)


# Services, options, failure ------------------------------------------------------------------------------------------


async def on_failure(ctx: Context[RunFailed]) -> None:
    assert_type(ctx.event.data, RunFailed)
    assert_type(ctx.event.data.run_id, str)
    assert_type(ctx.event.data.error.message, str)
    assert_type(ctx.event.data.event, dict[str, Any])
    await ctx.step.run("note", pack, ctx.event.data.function_id)


@app.create_function(
    id="everything",
    trigger=Ordered,
    name="Everything",
    retries=2,
    backoff=Backoff.exponential("1s", factor=3, longest="10m", jitter="1s"),
    concurrency=[Concurrency(10), Concurrency(1, key="event.data.order_id")],
    idempotency="event.data.order_id",
    cancel=[Cancel(Returned, match="data.order_id", timeout="7d"), Cancel("shop/closed")],
    timeouts=Timeouts(start="1h", finish=timedelta(days=2)),
    strict=True,
    on_failure=on_failure,
)
async def everything(ctx: Context[Ordered]) -> None:
    assert_type(ctx.run_id, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.max_attempts, int)
    assert_type(ctx.now(), datetime)
    assert_type(ctx.random, Random)
    assert_type(ctx.uuid4(), UUID)
    assert_type(ctx.step.idempotency_key, str)
    logger: logging.LoggerAdapter[logging.Logger] = ctx.logger
    logger.info("hello %s", ctx.run_id)


@app.create_function(id="one-limit", trigger=Ordered, concurrency=5, cancel=Cancel(Returned))
async def one_limit(ctx: Context[Ordered]) -> None: ...


def helper(ctx: Context[Ordered]) -> str:
    """Code shared by functions takes the context as an argument."""
    return ctx.event.data.order_id


async def generic_helper(ctx: Context[Any], body: Callable[[], int]) -> int:
    return await ctx.step.run("helper", body)


@app.create_defer(id="after-order", retries=1)
async def after_order(ctx: Context[Ordered]) -> str:
    assert_type(ctx.event.data, Ordered)
    await ctx.step.metadata("said", {"n": 1}, kind="progress")
    await ctx.step.score("judge", "accuracy", 0.5)
    return ctx.event.data.order_id


assert_type(after_order, DeferredFunction[Ordered, str])


@app.create_function(id="puts-off", trigger=Ordered)
async def puts_off(ctx: Context[Ordered]) -> None:
    ctx.defer("later", function=after_order, data=ctx.event.data).abort()


# Sending, running ----------------------------------------------------------------------------------------------------


async def main() -> None:
    assert_type(await app.send(Ordered(order_id="1", amount=1)), list[str])
    assert_type(await app.send([Event(Returned, Returned(order_id="1", reason="late")), Paid("2")]), list[str])
    assert_type(Event(Returned, Returned(order_id="1", reason="late")), Event[Returned])
    async with app.embedded("shop.db", durability="normal", retention="7d", concurrency=10) as engine:
        assert_type(engine.leads, bool)
        ids = await app.send(Event("shop/x", {"n": 1}, id="1", ts=datetime.now(UTC)))
        run = await engine.run(ids[0])
        assert_type(run.ended, bool)
        assert_type(await engine.cancel(run.id), bool)
        await engine.wait(run.id)
