"""Starting a run again from one of its steps, with other inputs, outputs and data (semantics §9.2; F89, F90)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stepwell import (
    BatchEvents,
    ConfigurationError,
    Event,
    EventTooLarge,
    InvalidEvent,
    NotFound,
    Stepwell,
    ai,
)
from stepwell.model.questions import GetEvent, GetSteps, ListEvents, Reruns
from stepwell.testing import Harness, harness


@pytest.fixture
def ran() -> list[Any]:
    """The bodies that ran, with what they were given."""
    return []


@pytest.fixture
def order(app: Stepwell, ran: list[Any]) -> Stepwell:
    @app.create_function(id="order", trigger="go", retries=0)
    async def order(ctx):
        async def body(name: str, *given: object) -> str:
            ran.append((name, *given))
            if ctx.event.data.get("declined") == name and len(ran) < 4:
                raise ValueError(f"{name} was declined")
            return f"{name} done"

        first = await ctx.step.run("reserve", body, "reserve", ctx.event.data["n"])
        await ctx.step.sleep("think", "1h")
        second = await ctx.step.run("charge", body, "charge", first)
        return await ctx.step.run("ship", body, "ship", second)

    return app


def started(t: Harness, data: dict[str, Any] | None = None) -> Any:
    t.send("go", data or {"n": 1})
    t.advance("2h")
    return t.runs("order")[0]


def test_what_came_before_the_step_is_taken_over_and_what_comes_after_is_done_anew(
    order: Stepwell, ran: list[Any]
) -> None:
    with harness(order) as t:
        first = started(t)
        ran.clear()

        again = t.rerun(first, from_step="charge")

        t.assert_completed(again, "ship done")
        assert ran == [("charge", "reserve done"), ("ship", "charge done")]
        assert [step.name for step in t.ask(GetSteps(again.id))] == ["reserve", "think", "charge", "ship"]
        assert t.ask(Reruns(first.id)) == [again.id]


def test_a_run_begins_with_the_step_that_failed(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t, {"n": 1, "declined": "charge"})
        t.assert_failed(first, "declined")
        assert len(ran) == 2
        ran += [(), ()]

        again = t.rerun(first, from_step="charge")

        t.assert_completed(again, "ship done")
        assert ran.count(("reserve", 1)) == 1


def test_a_run_that_is_not_over_can_begin_at_the_step_that_it_is_at(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        t.send("go", {"n": 1})
        first = t.run("order")

        again = t.rerun(first, from_step="think")

        assert (first.status, again.status) == ("RUNNING", "RUNNING")
        t.advance("59m")
        assert again.status == "RUNNING"  # the function has come to the sleep anew
        t.advance("1m")
        t.assert_completed(again, "ship done")
        assert ran.count(("reserve", 1)) == 1


def test_the_first_step_leaves_nothing_to_be_taken_over(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t)

        again = t.rerun(first, from_step="reserve")
        t.advance("1h")

        t.assert_completed(again, "ship done")
        assert ran.count(("reserve", 1)) == 2


def test_a_step_can_be_given_other_arguments(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t)

        again = t.rerun(first, from_step="charge", input=["charge", "by hand"])

        t.assert_completed(again)
        assert ran[-2:] == [("charge", "by hand"), ("ship", "charge done")]


def test_other_arguments_are_those_of_all_attempts(app: Stepwell) -> None:
    given: list[object] = []

    @app.create_function(id="work", trigger="go", retries=2)
    async def work(ctx):
        def body(n: int) -> int:
            given.append(n)
            if n == 7 and len(given) < 4:
                raise ValueError("not yet")
            return n

        return await ctx.step.run("one", body, 1)

    with harness(app) as t:
        t.send("go")
        again = t.rerun(t.run(work), from_step="one", input=[7])
        t.crash()
        t.advance("1h")

        t.assert_completed(again, 7)
        assert given == [1, 7, 7, 7]


def test_arguments_that_have_a_name_come_last(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        def ask(prompt: str, *, model: str) -> list[str]:
            return [prompt, model]

        return await ctx.step.ai.wrap("ask", ask, "hello", model="large")

    with harness(app) as t:
        t.send("go")
        first = t.run(work)
        assert json.loads(t.ask(GetSteps(first.id))[0].details or b"")["input"] == ["hello", {"model": "large"}]

        t.assert_completed(t.rerun(first, from_step="ask", input=["bye"]), ["bye", "large"])
        t.assert_completed(t.rerun(first, from_step="ask", input=["bye", {"model": "small"}]), ["bye", "small"])


def test_plain_functions_get_other_arguments_as_well(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    def work(ctx):
        return ctx.step.run("one", lambda n: n * 2, 1)

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.rerun(t.run(work), from_step="one", input=[21]), 42)


def test_a_request_to_a_model_can_be_changed(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        model = ai.openai("small", api_key="key")
        found = await ctx.step.ai.infer("ask", model=model, body={"messages": ["hello"]})
        return found["echo"]

    with harness(app) as t:
        t.answer_fetch("https://api.openai.com/v1/chat/completions", body={"echo": 1})
        t.send("go")
        first = t.run(work)

        again = t.rerun(first, from_step="ask", input=[{"messages": ["bye"]}])

        t.assert_completed(again, 1)
        assert [request.json() for request in t.fetches] == [
            {"model": "small", "messages": ["hello"]},
            {"model": "small", "messages": ["bye"]},
        ]


def test_a_request_can_be_sent_elsewhere(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        return (await ctx.step.fetch("ask", "https://a.example/x")).body

    with harness(app) as t:
        t.answer_fetch("https://a.example/x", body="a")
        t.answer_fetch("https://b.example/y", body="b")
        t.send("go")

        again = t.rerun(t.run(work), from_step="ask", input=[{"url": "https://b.example/y"}])

        t.assert_completed(again, "b")


@pytest.mark.parametrize("given", [[], [1], [{}, {}]])
def test_what_replaces_a_request_is_one_object(app: Stepwell, given: list[Any]) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await ctx.step.fetch("ask", "https://a.example/x")

    with harness(app) as t:
        t.answer_fetch("https://a.example/x", body="a")
        t.send("go")
        with pytest.raises(ConfigurationError, match="no request"):
            t.rerun(t.run(work), from_step="ask", input=given)


def test_what_earlier_steps_gave_can_be_replaced(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t)

        again = t.rerun(first, from_step="charge", outputs={"reserve": "by hand"})

        t.assert_completed(again, "ship done")
        assert ran[-2] == ("charge", "by hand")


def test_a_step_with_an_output_of_its_own_does_not_run(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t, {"n": 1, "declined": "charge"})
        ran.clear()

        again = t.rerun(first, from_step="charge", outputs={"charge": "paid in cash"})

        t.assert_completed(again, "ship done")
        assert ran == [("ship", "paid in cash")]


def test_what_a_wait_brought_can_be_replaced(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        found = await ctx.step.wait_for_event("paid", "paid", timeout="1h")
        return await ctx.step.run("tell", lambda: found.data if found else "nothing")

    with harness(app) as t:
        t.send("go")
        t.send("paid", {"n": 1})
        first = t.run(work)
        t.assert_completed(first, {"n": 1})

        event = {"name": "paid", "data": {"n": 2}, "id": "x", "ts": 1}
        t.assert_completed(t.rerun(first, from_step="tell"), {"n": 1})
        t.assert_completed(t.rerun(first, from_step="tell", outputs={"paid": event}), {"n": 2})
        t.assert_completed(t.rerun(first, from_step="tell", outputs={"paid": None}), "nothing")


def test_branches_that_were_done_before_stay(app: Stepwell) -> None:
    ran: list[str] = []

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        def body(name: str) -> str:
            ran.append(name)
            return name

        async def branch(name: str, rest: str) -> str:
            await ctx.step.sleep(f"rest {name}", rest)
            return await ctx.step.run(name, body, name)

        found = await asyncio.gather(branch("quick", "1h"), branch("slow", "3h"), branch("middle", "2h"))
        return [*found, await ctx.step.run("last", body, "last")]

    with harness(app) as t:
        t.send("go")
        t.advance("4h")
        ran.clear()

        again = t.rerun(t.run(work), from_step="middle")
        t.advance("3h")

        t.assert_completed(again, ["quick", "slow", "middle", "last"])
        assert sorted(ran) == ["last", "middle", "slow"]


def test_an_error_that_was_caught_before_stays(app: Stepwell) -> None:
    ran: list[str] = []

    @app.create_function(id="work", trigger="go", retries=0)
    async def work(ctx):
        def bad() -> None:
            ran.append("bad")
            raise ValueError("no")

        try:
            await ctx.step.run("bad", bad)
        except Exception as error:
            return await ctx.step.run("tidy", lambda text: text, str(error))

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.rerun(t.run(work), from_step="tidy"), "ValueError: no")
        assert ran == ["bad"]


def test_a_process_that_dies_forgets_nothing_of_where_a_run_begins(order: Stepwell, ran: list[Any]) -> None:
    with harness(order, concurrency=1) as t:
        first = started(t)
        t.crash()
        again = t.rerun(first, from_step="charge", input=["charge", 9])

        t.assert_completed(again)
        assert [each for each in ran if each[0] != "ship"][2:] == [("charge", 9)]


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"from_step": "chrge"}, NotFound, "no step 'chrge'"),
        ({"from_step": "think", "input": [1]}, ConfigurationError, "kind 'sleep'"),
        ({"from_step": "ship", "outputs": {"think": 1}}, ConfigurationError, "it is a sleep"),
        ({"from_step": "charge", "outputs": {"ship": 1}}, ConfigurationError, "no result before"),
        ({"from_step": "charge", "outputs": {"nobody": 1}}, NotFound, "no step 'nobody'"),
        ({"from_step": "charge", "outputs": {"charge": 1}, "input": [1]}, ConfigurationError, "an input and an output"),
        ({"input": [1]}, ConfigurationError, "no step"),
        ({"from_step": "charge", "outputs": {"reserve": "x" * 5_000_000}}, ConfigurationError, "limit"),
    ],
)
def test_what_cannot_be_is_said(order: Stepwell, asked: dict[str, Any], error: type[Exception], told: str) -> None:
    with harness(order) as t:
        first = started(t)
        with pytest.raises(error, match=told):
            t.rerun(first, **asked)
        assert len(t.runs("order")) == 1


def test_a_step_that_is_not_there_names_those_that_are_like_it(order: Stepwell) -> None:
    with harness(order) as t, pytest.raises(NotFound) as raised:
        t.rerun(started(t), from_step="chrge")
    assert "'charge'" in raised.value.fix


def test_one_of_several_steps_of_a_name_is_meant_by_its_id(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        return [await ctx.step.run("one", lambda n: n, n) for n in range(3)]

    with harness(app) as t:
        t.send("go")
        first = t.run(work)
        with pytest.raises(ConfigurationError, match="3 steps 'one'") as raised:
            t.rerun(first, from_step="one")
        second = t.ask(GetSteps(first.id))[1]
        assert second.id in raised.value.fix

        t.assert_completed(t.rerun(first, from_step=second.id, input=[9]), [0, 9, 2])


# The data of the event ------------------------------------------------------------------------------------------------


def test_a_run_is_started_again_with_other_data(order: Stepwell, ran: list[Any]) -> None:
    heard: list[Any] = []

    @order.create_function(id="listens", trigger="go")
    async def listens(ctx):
        heard.append(ctx.event.data)

    with harness(order) as t:
        first = started(t, {"n": 1, "kept": True})
        again = t.rerun(first, data={"n": 2})
        t.advance("1h")

        t.assert_completed(again, "ship done")
        assert ("reserve", 2) in ran
        assert heard == [{"n": 1, "kept": True}]  # nobody else hears of it
        assert again.record.original == first.id
        assert again.record.rerun is not None and again.record.rerun.edited
        assert t.ask(Reruns(first.id)) == [again.id]
        old, new = (t.ask(GetEvent(run.record.event_id)) for run in (first, again))
        assert old is not None and new is not None
        assert (old.name, old.ts, old.data) == (new.name, new.ts, b'{"n":1,"kept":true}')
        assert new.data == b'{"n":2}' and new.id != old.id


def test_data_are_changed_by_a_merge_patch(order: Stepwell) -> None:
    with harness(order) as t:
        first = started(t, {"n": 1, "a": {"b": 1, "c": 2}, "gone": 1, "list": [1]})

        again = t.rerun(first, merge={"a": {"b": 9, "d": None}, "gone": None, "list": [2], "new": {"x": None, "y": 1}})

        event = t.ask(GetEvent(again.record.event_id))
        assert event is not None
        assert json.loads(event.data) == {"n": 1, "a": {"b": 9, "c": 2}, "list": [2], "new": {"y": 1}}


def test_data_and_a_step_go_together(order: Stepwell, ran: list[Any]) -> None:
    with harness(order) as t:
        first = started(t, {"n": 1})

        t.assert_completed(t.rerun(first, from_step="charge", merge={"n": 5}), "ship done")
        assert ran.count(("reserve", 1)) == 1


def test_data_that_no_event_may_have_are_refused(order: Stepwell) -> None:
    with harness(order) as t:
        first = started(t)
        with pytest.raises(EventTooLarge):
            t.rerun(first, data={"n": "x" * 4_000_000})
        deep: Any = []
        for _ in range(300):
            deep = [deep]
        with pytest.raises(InvalidEvent, match="nested"):
            t.rerun(first, merge={"n": deep})
        with pytest.raises(ConfigurationError, match="new data and a patch"):
            t.rerun(first, data={}, merge={})
        assert len(t.ask(ListEvents(10))) == 1


def test_the_events_of_a_batch_are_not_edited(app: Stepwell) -> None:
    @app.create_function(id="work", trigger="go", batch_events=BatchEvents(max_size=2, timeout="1m"))
    async def work(ctx): ...

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(2)])
        with pytest.raises(ConfigurationError, match="cannot be edited"):
            t.rerun(t.run(work), data={})


def test_who_sent_an_event_for_a_run_is_not_forgotten(app: Stepwell) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return ctx.event.data["n"]

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child, data={"n": 1})

    with harness(app) as t:
        t.send("go")
        first = t.run(child)
        again = t.rerun(first, data={"n": 2, "_inngest": {"fn_id": "mine"}})

        t.assert_completed(again, 2)
        old, new = (json.loads(t.ask(GetEvent(run.record.event_id)).data)["_inngest"] for run in (first, again))  # type: ignore[union-attr]
        assert old == new
