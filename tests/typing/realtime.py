"""Channels and topics: what the user writes, and the types that come of it."""

from __future__ import annotations

from typing import Any, assert_type

from stepwell import Channel, Context, RealtimeMessage, Stepwell, SubscriptionToken, Sync, Topic
from stepwell.testing import harness
from tests.typing.classes import Ordered, Report

app = Stepwell("shop")
orders = Channel("orders:{id}")
reports = orders.topic("reports", Report)
lines = Topic("lines", list[str])


@app.create_function(id="asynchronous", trigger=Ordered)
async def asynchronous(ctx: Context[Ordered]) -> None:
    channel = assert_type(orders(id=ctx.event.data.order_id), str)
    assert_type(await ctx.step.realtime.publish("a", channel, reports, Report(lines=[])), None)
    await ctx.step.realtime.publish("b", channel=channel, topic=lines, data=["one"])
    await ctx.step.realtime.publish("c", channel, "anything", {"plain": 1})
    await ctx.realtime.publish(channel, reports, Report(lines=[]))
    await ctx.realtime.publish(channel, "anything", 1)


@app.create_function(id="synchronous", trigger=Ordered)
def synchronous(ctx: Context[Ordered, Sync]) -> None:
    ctx.step.realtime.publish("a", "c", reports, Report(lines=[]))
    ctx.step.realtime.publish("b", channel="c", topic="anything", data=1)
    ctx.realtime.publish("c", lines, ["one"])
    app.realtime.publish_sync("c", reports, Report(lines=[]))


async def outside() -> None:
    await app.realtime.publish("c", reports, Report(lines=[]))
    async with app.realtime.subscribe("c", reports) as one:
        async for message in one:
            assert_type(message, RealtimeMessage[Report])
            assert_type(message.data, Report)
    async with app.realtime.subscribe("c", [lines]) as several:
        assert_type((await anext(several)).data, list[str])
    async with app.realtime.subscribe("c", ["plain", lines]) as mixed:
        assert_type((await anext(mixed)).data, Any)
    assert_type(await app.realtime.token("c", [reports, "plain"]), SubscriptionToken)


def tested() -> None:
    with harness(app) as t:
        assert_type(t.published("c", reports), list[RealtimeMessage[Any]])
