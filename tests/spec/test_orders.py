"""A person archives or drains a function, an app or all there is, or pauses an app (semantics §9.5, §9.6, §9.9)."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Debounce, Event, StepError, Stepwell, TriggerCron
from stepwell.errors import LimitExceeded, NotFound
from stepwell.model.changes import GiveOrder, WithdrawOrder
from stepwell.model.questions import FunctionItems, Outcomes
from stepwell.testing import Harness, harness

BILL: dict[str, Any] = {"function": "bill"}
APP: dict[str, Any] = {"app": "shop"}
EVERYTHING: dict[str, Any] = {}


def kinds(t: Harness, event_id: str) -> list[str]:
    return [found.kind for found in t.ask(Outcomes(event_id))]


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


@pytest.fixture
def bill(app) -> Any:
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        return ctx.event.data.get("n")

    return bill


# Archive --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [BILL, APP])
def test_what_is_archived_starts_no_run_and_those_it_has_go_on(app, bill, target) -> None:
    with harness(app) as t:
        t.send("go")
        t.archive(**target)
        (event_id,) = t.send(Event("go"))
        t.advance("1h")
        assert (statuses(t, bill), kinds(t, event_id)) == (["COMPLETED"], [])

        assert t.unarchive(**target)
        assert not t.unarchive(**target)
        t.send("go")
        assert statuses(t, bill) == ["COMPLETED", "RUNNING"]


def test_what_a_person_has_archived_is_not_brought_back_by_its_app(app, bill) -> None:
    with harness(app) as t:
        t.archive(**BILL)
        t.crash()
        t.send("go")
        assert statuses(t, bill) == []

        t.unarchive(**BILL)
        t.send("go")
        assert statuses(t, bill) == ["RUNNING"]


def test_a_function_is_archived_until_neither_it_nor_its_app_is(app, bill) -> None:
    with harness(app) as t:
        t.archive(**BILL)
        t.archive(**APP)
        t.unarchive(**BILL)
        t.send("go")
        assert statuses(t, bill) == []

        t.unarchive(**APP)
        t.send("go")
        assert statuses(t, bill) == ["RUNNING"]


def test_crons_of_an_archived_function_rest_until_it_is_back(app) -> None:
    @app.create_function(id="bill", trigger=TriggerCron("0 * * * *"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.archive(**BILL)
        assert t.ask(FunctionItems("shop-bill")) == []
        t.crash(down="3h30m")  # its app registers it again meanwhile
        assert t.ask(FunctionItems("shop-bill")) == []
        t.unarchive(**BILL)
        assert statuses(t, bill) == []  # those that were missed are not made up for

        t.advance("1h")
        assert statuses(t, bill) == ["COMPLETED"]


def test_events_held_back_for_a_function_that_is_archived_say_that_it_is_gone(app) -> None:
    @app.create_function(id="bill", trigger="go", debounce=Debounce("10s"))
    async def bill(ctx): ...

    with harness(app) as t:
        (event_id,) = t.send(Event("go"))
        t.archive(**BILL)
        t.advance("10s")

        assert (kinds(t, event_id), statuses(t, bill)) == (["function-gone"], [])


def test_a_run_of_an_archived_function_is_not_started_again(app, bill) -> None:
    with harness(app) as t:
        t.send("go")
        t.archive(**BILL)

        with pytest.raises(NotFound, match="unarchive it"):
            t.rerun(t.run(bill))


# Drain ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [BILL, APP, EVERYTHING])
def test_while_it_is_drained_nothing_new_begins_and_what_there_is_goes_on(app, bill, target) -> None:
    with harness(app) as t:
        t.send("go")
        t.drain(**target, reason="moving to the new machine")
        (event_id,) = t.send(Event("go"))
        t.advance("1h")
        (outcome,) = t.ask(Outcomes(event_id))
        assert (outcome.kind, statuses(t, bill)) == ("drained", ["COMPLETED"])
        assert outcome.reason.endswith("been drained since 2026-01-01T00:00:00.000Z: moving to the new machine")

        assert t.undrain(**target)
        t.send("go")
        assert statuses(t, bill) == ["COMPLETED", "RUNNING"]


def test_who_drains_again_without_a_reason_keeps_the_one_of_before(app, bill) -> None:
    with harness(app) as t:
        t.drain(**BILL, reason="moving")
        t.drain(**BILL)
        (first,) = t.send(Event("go"))
        t.drain(**BILL, reason="the disk is full")
        (second,) = t.send(Event("go"))

        reasons = [t.ask(Outcomes(event_id))[0].reason.rpartition(": ")[2] for event_id in (first, second)]
        assert reasons == ["moving", "the disk is full"]


def test_runs_that_are_queued_go_on_too(app) -> None:
    @app.create_function(id="bill", trigger="go", concurrency=1)
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        now = int(t.now.timestamp() * 1000)
        t.send([Event("go"), Event("go", ts=now + 60_000)])
        t.drain(**BILL)
        t.advance("2h")

        assert statuses(t, bill) == ["COMPLETED"] * 2


def test_an_event_that_was_held_back_before_is_part_of_what_there_is(app) -> None:
    @app.create_function(id="bill", trigger="go", debounce=Debounce("10s"))
    async def bill(ctx):
        return ctx.event.data["n"]

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.drain(**EVERYTHING)
        (late,) = t.send(Event("go", {"n": 2}))
        t.advance("10s")

        assert [run.output for run in t.runs(bill)] == [1]
        assert kinds(t, late) == ["drained"]


def test_runs_get_what_they_need_to_end_and_start_nothing_else(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return "done"

    @app.create_defer(id="tidy")
    async def tidy(ctx): ...

    async def told(ctx): ...

    @app.create_function(id="bill", trigger="go", retries=0, on_failure=told)
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.invoke("ask", child)
        await ctx.step.send_event("tell", Event("billed"))
        ctx.defer("tidy", function=tidy, data={})
        raise ValueError

    @app.create_function(id="other", trigger="billed")
    async def other(ctx): ...

    with harness(app) as t:
        t.send("go")
        t.drain(**EVERYTHING)
        t.advance("1h")

        assert statuses(t, bill) == ["FAILED"]
        assert (statuses(t, child), statuses(t, "shop-bill-failure")) == (["COMPLETED"], ["COMPLETED"])
        assert (statuses(t, tidy), statuses(t, other)) == (["COMPLETED"], [])


def test_ticks_and_starts_by_hand_are_new_work(app) -> None:
    @app.create_function(id="bill", trigger=TriggerCron("0 * * * *"))
    async def bill(ctx): ...

    with harness(app) as t:
        t.advance("1h")
        t.drain(**EVERYTHING)
        t.advance("2h")
        assert statuses(t, bill) == ["COMPLETED"]
        with pytest.raises(LimitExceeded, match="stepwell undrain --all"):
            t.rerun(t.run(bill))


@pytest.mark.parametrize(
    ("target", "command"), [(BILL, "stepwell undrain shop-bill"), (APP, "stepwell undrain --app shop")]
)
def test_whoever_starts_a_run_again_is_told_what_to_take_back(app, bill, target, command) -> None:
    with harness(app) as t:
        t.send("go")
        t.drain(**target)
        with pytest.raises(LimitExceeded) as refused:
            t.rerun(t.run(bill))
        assert refused.value.fix.endswith(command)


@pytest.mark.parametrize("own", [True, False])
def test_or_to_resume(app, bill, own) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause_app("shop")
        if own:
            t.pause(bill)
        with pytest.raises(LimitExceeded) as refused:
            t.rerun(t.run(bill))
        assert refused.value.fix.endswith("stepwell resume shop-bill" if own else "stepwell resume --app shop")


def test_what_is_archived_cannot_be_replayed_and_it_says_so(app, bill) -> None:
    with harness(app) as t:
        t.send("go")
        t.archive(**BILL)
        with pytest.raises(NotFound, match="unarchive"):
            t.replay("bill")


# Pausing an app -------------------------------------------------------------------------------------------------------


def test_a_paused_app_holds_all_its_functions_and_those_it_gets_later(bill, app) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause_app("shop", events="hold", runs="hold", reason="the bank is down")

        @app.create_function(id="later", trigger="go")
        async def later(ctx): ...

        t.crash(app=app)
        t.send("go")
        t.advance("3h")
        assert (statuses(t, bill), statuses(t, later)) == (["RUNNING", "QUEUED"], ["QUEUED"])

        assert t.resume_app("shop")
        t.advance("1h")
        assert (statuses(t, bill), statuses(t, later)) == (["COMPLETED"] * 2, ["COMPLETED"])


def test_a_function_that_is_paused_by_itself_stays_so_when_its_app_is_resumed(app, bill) -> None:
    with harness(app) as t:
        t.pause(bill, events="hold", runs="hold")
        t.pause_app("shop", events="skip")
        t.send("go")
        assert statuses(t, bill) == ["QUEUED"]  # its own pause counts

        t.resume_app("shop")
        assert statuses(t, bill) == ["QUEUED"]
        t.resume(bill)
        assert statuses(t, bill) == ["RUNNING"]


def test_the_runs_of_a_paused_app_can_be_cancelled(app, bill) -> None:
    with harness(app) as t:
        t.send("go")
        t.pause_app("shop", runs="cancel")
        t.advance("1s")

        assert statuses(t, bill) == ["CANCELLED"]


# What they survive ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", [GiveOrder, WithdrawOrder])
def test_an_order_is_given_or_taken_back_whole_though_the_process_dies_in_it(app, before, change) -> None:
    @app.create_function(id="bill", trigger=[TriggerCron("0 * * * *"), "go"])
    async def bill(ctx): ...

    with harness(app) as t:
        deaths = iter([True])
        t.die_when(
            lambda at, work: (
                at is before
                and any(isinstance(each, change) for each in getattr(work, "changes", ()))
                and next(deaths, False)
            )
        )
        t.archive(**BILL)
        t.crash()
        assert t.ask(FunctionItems("shop-bill")) == []
        assert t.unarchive(**BILL) or change is WithdrawOrder
        t.crash()
        assert len(t.ask(FunctionItems("shop-bill"))) == 1
        t.send("go")
        assert statuses(t, bill) == ["COMPLETED"]


def test_whoever_invokes_what_is_archived_is_told_that_it_is_not_there(app, bill) -> None:
    @app.create_function(id="parent", trigger="ask")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", bill)
        except StepError as error:
            return error.message

    with harness(app) as t:
        t.archive(**BILL)
        t.send("ask")

        assert t.run(parent).output == "could not find function with ID: shop-bill"


def test_what_there_is_not_cannot_be_archived(app, bill) -> None:
    with harness(app) as t, pytest.raises(NotFound, match="there is no app 'none'"):
        t.archive(app="none")


def test_an_app_without_functions_yet_is_drained_with_all_the_others() -> None:
    with harness(Stepwell("empty")) as t:
        t.drain(**EVERYTHING)
        app = Stepwell("empty")

        @app.create_function(id="bill", trigger="go")
        async def bill(ctx): ...

        t.crash(app=app)
        (event_id,) = t.send(Event("go"))
        assert kinds(t, event_id) == ["drained"]
