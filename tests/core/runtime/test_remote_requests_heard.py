"""Who listens hears the answers to requests made for steps. Numbers are those of the protocol's checklist (§14)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from stepwell.protocol.realtime import Topic
from stepwell.runtime.realtime import Subscription
from tests.core.runtime.flows import DIALECTS
from tests.core.runtime.requesting import API, KEY, MODEL
from tests.core.runtime.scripted import Steps
from tests.core.runtime.wired import Wired


def listening(t: Wired) -> Callable[[], list[tuple[str, str]]]:
    """Somebody listens to a topic from now on: kinds and data of what was heard there by the time of a call."""
    subscription = t._do(lambda: t.engine.realtime.subscribe([Topic("answers", "of-models")]))

    def heard() -> list[tuple[str, str]]:
        t._do(closed)
        frames = t._do(lambda: everything_of(subscription))
        return [(each["kind"], each["data"]) for each in map(json.loads, frames)]

    async def closed() -> None:
        subscription.close()

    return heard


async def everything_of(subscription: Subscription) -> list[bytes]:
    found: list[bytes] = []
    while (frame := await subscription.next()) is not None:
        found.append(frame.body)
    return found


@DIALECTS
def test_68_who_listens_hears_the_answer_of_a_model_as_a_stream(dialect):
    with Wired(dialect, retry_interval=1_000) as t:

        @t.function("f")
        async def f(s: Steps):
            to = {"channel": "answers", "topic": "of-models"}
            return await s.infer("ask", MODEL, auth_key=KEY, publish=to)

        heard = listening(t)
        answers = iter([{"status": 500, "body": {"error": "no"}}, {"body": {"text": "é" * 1_000}}])
        t.answer_fetch(MODEL, **next(answers))
        t.start("f")
        t.answer_fetch(MODEL, **next(answers))
        t.advance("1m")

        found = heard()
        assert [kind for kind, _ in found] == ["datastream-start", "chunk", "chunk", "datastream-end"]
        assert json.loads("".join(data for kind, data in found if kind == "chunk")) == t.run("f").output
        assert found[0][1] == found[-1][1] != ""


@DIALECTS
def test_69_so_does_who_listens_to_what_is_fetched(dialect):
    with Wired(dialect) as t:

        @t.function("f")
        async def f(s: Steps):
            return (await s.fetch("get", API, publish={"channel": "answers", "topic": "of-models"}))["body"]

        heard = listening(t)
        t.answer_fetch(API, body="plain")
        run = t.finish("f")

        assert [data for kind, data in heard() if kind == "chunk"] == [run.output] == ["plain"]


@pytest.mark.parametrize(
    ("to", "body"),
    [({"channel": "answers", "topic": "of-models"}, "x" * 1_100_000), ({"channel": "a\n", "topic": "b"}, "x")],
)
def test_an_answer_that_cannot_be_published_is_a_result_all_the_same(to, body, caplog):
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            return len((await s.fetch("get", API, publish=to))["body"])

        heard = listening(t)
        t.answer_fetch(API, body=body)
        run = t.finish("f")

        assert (run.output, len(t.fetches), heard()) == (len(body), 1, [])
        assert "an answer cannot be published" in caplog.text
