"""A run that is copied as a Python test: the test runs as it is, and says the same of the run."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from stepwell import BatchEvents, Context, Event, FetchResponse, NonRetriableError, StepError, Stepwell, TriggerCron
from stepwell.dashboard.as_test import Told, Unfit, python_test
from stepwell.model.questions import Attempts, GetEvent, GetSteps, HeldEvents
from stepwell.testing import Harness, harness

CALLED: list[str] = []


def work(name: str) -> dict[str, Any]:
    CALLED.append(name)
    return {"did": name, "text": 'it\'s "quoted" <b>', "none": None, "list": list(range(40))}


def app_with(app: Stepwell) -> Stepwell:
    @app.create_function(id="child")
    async def child(ctx: Context) -> int:
        work("child")
        return await ctx.step.run("number", lambda: ctx.event.data["n"] + 1)

    @app.create_function(id="whole", trigger="shop/ordered", retries=3)
    async def whole(ctx: Context) -> Any:
        def flaky() -> str:
            work("flaky")
            if len(CALLED) < 3:
                raise ConnectionError("the bank is down")
            return "paid"

        paid = await ctx.step.run("pay", flaky)
        await ctx.step.sleep("rest", "1d")
        tries = [await ctx.step.run("again", work, f"again {number}") for number in range(2)]
        answer = await ctx.step.wait_for_event("answer", "shop/answered", timeout="1h")
        late = await ctx.step.wait_for_event("late", "shop/never", timeout="1h")
        page = await ctx.step.fetch("page", "https://example.com/")
        n = await ctx.step.invoke("child", child, data={"n": 1})
        await ctx.step.send_event("tell", Event("shop/told"))
        return [paid, tries, answer.data if answer else None, late, page.json(), n]

    @app.create_function(id="told", trigger="shop/told")
    async def told(ctx: Context) -> None:
        work("told")

    @app.create_function(id="also", trigger="shop/ordered")
    async def also(ctx: Context) -> None:
        work("also")

    @app.create_function(id="fails", trigger="shop/failing", retries=1)
    async def fails(ctx: Context) -> None:
        def refuse() -> None:
            work("refuse")
            raise NonRetriableError("card 12 declined")

        with suppress(StepError):
            await ctx.step.run("own", refuse)
        await ctx.step.run("decline", refuse)

    @app.create_function(id="together", trigger="shop/many", batch_events=BatchEvents(max_size=5, timeout="9s"))
    async def together(ctx: Context) -> list[int]:
        return [event.data["n"] for event in ctx.events]

    @app.create_function(id="nightly", trigger=TriggerCron("0 3 * * *"))
    async def nightly(ctx: Context) -> str:
        await ctx.step.run("clean", work, "clean")
        return "clean"

    return app


@pytest.fixture
def t():
    CALLED.clear()
    with harness(app_with(Stepwell("shop")), retry_interval="2s") as running:
        yield running


def copied(t: Harness, name: str) -> str:
    record = t.runs(name)[0].record
    registry = t.engine.registry
    function = registry.of_run(record.function_id)
    assert function is not None
    events = t.ask(HeldEvents(record.id)) if record.batch else [t.ask(GetEvent(record.event_id))]
    others = sorted(
        {match.function.id for event in events for match in registry.matches(event.name)} - {record.function_id}
    )
    return python_test(Told(record, function, events, t.ask(GetSteps(record.id)), t.ask(Attempts(record.id)), others))


def run_text(text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is called when the text is run as a test beside an ``app.py``."""
    module = ModuleType("app")
    module.app = app_with(Stepwell("shop"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "app", module)
    CALLED.clear()
    names: dict[str, Any] = {}
    exec(compile(text, "test_copied.py", "exec"), names)
    (test,) = [each for name, each in names.items() if name.startswith("test_")]
    test()
    return CALLED


def test_a_run_with_steps_of_many_kinds_is_run_again_and_nothing_is_called(t, monkeypatch):
    t.answer_fetch("https://example.com/", body='{"page": 1}')
    t.send("shop/ordered", {"order": 7, "text": "ä'\"\n"})
    t.advance("1d")
    t.advance("10s")
    t.send("shop/answered", {"yes": True})
    t.advance("2h")
    t.assert_completed(t.run("whole"))
    text = copied(t, "whole")

    assert run_text(text, monkeypatch) == []
    assert "t.pause('shop-also')" in text
    assert "given(ConnectionError('the bank is down')" in text
    assert FetchResponse.__name__ in text


def test_a_run_that_failed_fails_in_the_same_way(t, monkeypatch):
    t.send("shop/failing")
    t.advance("1m")
    t.assert_failed(t.run("fails"), "card 12 declined")

    assert run_text(copied(t, "fails"), monkeypatch) == []


def test_a_test_fails_where_the_code_does_otherwise_than_in_the_run(t, monkeypatch):
    t.send("shop/failing")
    t.advance("1m")
    text = copied(t, "fails").replace(
        "t.stub('decline', NonRetriableError('card 12 declined')", "t.stub('decline', (1)"
    )

    with pytest.raises(AssertionError):
        run_text(text, monkeypatch)


def test_runs_of_several_events_of_ticks_and_of_invokes_are_started_as_they_were(t, monkeypatch):
    t.send([Event("shop/many", {"n": n}) for n in range(2)])
    t.advance("1d")
    t.answer_fetch("https://example.com/", body="{}")
    t.send("shop/ordered", {})
    t.advance("2d")

    assert run_text(copied(t, "together"), monkeypatch) == []
    assert run_text(copied(t, "nightly"), monkeypatch) == []
    assert run_text(copied(t, "child"), monkeypatch) == ["child"]


def test_a_run_that_waits_is_copied_as_far_as_it_has_come(t, monkeypatch):
    t.send("shop/ordered", {})
    t.advance("10s")
    t.assert_waiting(t.run("whole"), "rest")

    run_text(copied(t, "whole"), monkeypatch)
    t.cancel(t.run("whole"))
    run_text(copied(t, "whole"), monkeypatch)


def test_what_only_a_server_starts_is_no_test(t):
    t.send("shop/many", {"n": 1})
    t.advance("10s")
    record = t.runs("together")[0].record
    function = t.engine.registry.of_run(record.function_id)
    (event,) = t.ask(HeldEvents(record.id))
    import msgspec

    failed = msgspec.structs.replace(event, name="inngest/function.failed")
    with pytest.raises(Unfit, match="only a server sends"):
        python_test(Told(record, function, [failed], [], [], []))
    with pytest.raises(Unfit, match="no longer there"):
        python_test(Told(record, function, [], [], [], []))
