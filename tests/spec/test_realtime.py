"""``ctx.step.realtime``, ``ctx.realtime``, channels and topics (semantics §5.10, §15.1, F49)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest
from pydantic import BaseModel

from stepwell import Channel, ConfigurationError, Context, InvalidMessage, MessageTooLarge, NotRunning, Stepwell, Sync
from stepwell import Topic as TopicClass
from stepwell.limits import REALTIME_BYTES_MAX
from stepwell.testing import harness


class Progress(msgspec.Struct):
    done: int


class Model(BaseModel):
    done: int


@dataclass
class Plain:
    done: int


orders = Channel("orders:{id}")
progress = orders.topic("progress", Progress)


def seen(t, **wanted) -> list:
    return [message.data for message in t.published(**wanted)]


def test_a_step_publishes_once_however_often_the_function_is_called(app):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", channel=orders(id=7), topic=progress, data=Progress(1))
        await ctx.step.sleep("rest", "1h")
        await ctx.step.realtime.publish("tell", orders(id=7), "log", {"text": "done"})

    with harness(app) as t:
        t.send("asked", {})
        t.crash()
        t.advance("1h")
        t.assert_completed(t.run(work))

        first, second = t.published()
        assert (first.channel, first.topic, first.data, first.run_id) == (
            "orders:7",
            "progress",
            {"done": 1},
            t.run(work).id,
        )
        assert first.created_at == datetime(2026, 1, 1, tzinfo=UTC)
        assert second.data == {"text": "done"}
        assert [step.record.kind for step in t.run(work).steps.values()] == [
            "realtimePublish",
            "sleep",
            "realtimePublish",
        ]
        assert t.run(work).steps["tell"].output is None


def test_outside_of_steps_a_message_is_published_each_time_the_code_comes_by(app):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.realtime.publish("c", "t", "here")
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("asked", {})
        t.advance("1h")

        assert seen(t) == ["here", "here"]
        assert {message.run_id for message in t.published()} == {t.run(work).id}


def test_the_body_of_a_step_publishes_once_for_each_attempt(app):
    @app.create_function(id="work", trigger="asked", retries=1)
    async def work(ctx: Context):
        async def body():
            await ctx.realtime.publish("c", "t", ctx.attempt)
            if ctx.attempt == 0:
                raise ValueError("once")

        await ctx.step.run("body", body)

    with harness(app) as t:
        t.send("asked", {})
        t.advance("1h")

        assert seen(t) == [0, 1]


def test_plain_functions_publish_in_all_these_ways(app):
    @app.create_function(id="work", trigger="asked")
    def work(ctx: Context[dict, Sync]):
        ctx.realtime.publish("c", "between", 1)
        ctx.step.realtime.publish("tell", "c", "step", 2)
        ctx.step.run("body", lambda: ctx.realtime.publish("c", "body", 3))
        app.realtime.publish_sync("c", "app", 4)

    with harness(app) as t:
        t.send("asked", {})
        t.assert_completed(t.run(work))

        assert seen(t, channel="c") == [1, 2, 3, 4]
        assert seen(t, topic="step") == [2]
        assert seen(t, channel="other") == []
        assert [message.run_id is None for message in t.published()] == [False, False, False, True]


@pytest.mark.parametrize("type_", [Progress, Model, Plain])
def test_messages_of_a_topic_are_of_its_type(app, type_):
    topic = TopicClass("progress", type_)

    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", "c", topic, type_(done=3))

    with harness(app) as t:
        t.send("asked", {})

        assert t.published(topic=topic)[0].data == type_(done=3)
        assert seen(t) == [{"done": 3}]


@pytest.mark.parametrize("wrong", [{"done": "three"}, {}, Progress("three"), 7, object(), float("nan")])
def test_a_message_that_is_not_what_its_topic_declares_fails_its_step_at_once(app, wrong):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", "c", progress, wrong)

    with harness(app) as t:
        t.send("asked", {})

        t.assert_failed(t.run(work), "InvalidMessage")
        assert t.run(work).steps["tell"].attempts == 1
        assert t.published() == []


def test_what_arrives_and_is_not_of_the_type_of_its_topic_says_so_when_it_is_read(app):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", "c", "progress", {"done": "three"})

    with harness(app) as t:
        t.send("asked", {})
        (message,) = t.published(topic=progress)

        with pytest.raises(InvalidMessage, match=r"data\.done"):
            _ = message.data


@pytest.mark.parametrize(
    ("channel", "topic", "data", "error"),
    [
        ("", "t", 1, InvalidMessage),
        ("c", "", 1, InvalidMessage),
        ("c\n", "t", 1, InvalidMessage),
        (7, "t", 1, InvalidMessage),
        ("c", "t", "x" * REALTIME_BYTES_MAX, MessageTooLarge),
    ],
)
def test_what_cannot_be_published_fails_its_step_with_a_reason(app, channel, topic, data, error):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", channel, topic, data)

    with harness(app) as t:
        t.send("asked", {})

        t.assert_failed(t.run(work), error.__name__)


def test_a_step_to_publish_can_be_stubbed(app):
    @app.create_function(id="work", trigger="asked")
    async def work(ctx: Context):
        await ctx.step.realtime.publish("tell", "c", "t", 1)

    with harness(app) as t:
        t.stub("tell", None)
        t.send("asked", {})

        t.assert_completed(t.run(work))
        assert t.published() == []


def test_a_channel_is_made_from_its_parameters():
    assert Channel("news")() == "news"
    assert orders(id=7) == "orders:7"
    assert Channel("{tenant}/{id}")(tenant="a", id="b") == "a/b"


@pytest.mark.parametrize("values", [{}, {"id": 1, "more": 2}, {"other": 1}, {"id": ""}])
def test_a_channel_has_all_its_parameters(values):
    with pytest.raises(InvalidMessage, match="id"):
        orders(**values)


@pytest.mark.parametrize("pattern", ["{", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>5}", 7])
def test_the_pattern_of_a_channel_names_its_parameters(pattern):
    with pytest.raises(ConfigurationError, match="channel"):
        Channel(pattern)


async def test_nothing_is_published_where_no_engine_is():
    app = Stepwell("shop")

    with pytest.raises(NotRunning):
        await app.realtime.publish("c", "t", 1)
