"""``singleton=``: one run at a time, from its creation to its end (semantics §7.10; F69, I22)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import ConfigurationError, Event, Singleton, StepError, Stepwell, TriggerCron
from stepwell.testing import Harness, harness
from tests.spec.looking import holders, outcomes

LOCK = "singleton/shop-work/"


def work(app: Stepwell, singleton: Any, *, trigger: Any = "go", **more: Any) -> Any:
    @app.create_function(id="work", trigger=trigger, singleton=singleton, **more)
    async def work(ctx):
        await ctx.step.sleep("a while", "1h")
        if ctx.event.data.get("fails"):
            raise RuntimeError("as asked")
        return ctx.event.data.get("n")

    return work


def statuses(t: Harness, function: Any) -> list[str]:
    return [run.status for run in t.runs(function)]


def test_K22_a_second_run_is_dropped_while_the_first_sleeps_and_says_for_which(app) -> None:
    """I2, F79."""
    function = work(app, Singleton("skip"))

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.advance("59m")
        (second,) = t.send("go", {"n": 2})
        found = outcomes(t, second)["shop-work"]
        t.advance("1h")

        assert (found.kind, found.run_id) == ("singleton", t.run(function).id)
        assert [run.output for run in t.runs(function)] == [1]


def test_a_newer_run_takes_the_place_of_the_one_there_is(app) -> None:
    function = work(app, Singleton("cancel"))

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.advance("59m")
        t.send("go", {"n": 2})
        t.advance("2h")

        first, second = t.runs(function)
        assert (first.status, second.output) == ("CANCELLED", 2)
        assert "singleton" in (first.reason or "")


def test_of_many_at_once_the_first_stays_or_the_last_remains(app) -> None:
    first = work(app, Singleton("skip"))

    @app.create_function(id="last", trigger="go", singleton=Singleton("cancel"))
    async def last(ctx):
        await ctx.step.sleep("a while", "1h")
        return ctx.event.data["n"]

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(10)])
        t.advance("2h")

        assert [run.output for run in t.runs(first)] == [0]
        assert [run.output for run in t.runs(last) if run.status == "COMPLETED"] == [9]
        assert statuses(t, last).count("CANCELLED") == 9


def test_a_run_that_is_replaced_begins_nothing_any_more(app) -> None:
    """I18."""
    began: list[int] = []

    @app.create_function(id="work", trigger="go", singleton=Singleton("cancel"))
    async def function(ctx):
        await ctx.step.run("a", began.append, ctx.event.data["n"])

    with harness(app) as t:
        t.send([Event("go", {"n": n}) for n in range(5)])

        assert began == [4]


def test_each_key_has_one_and_false_has_as_many_as_come(app) -> None:
    function = work(app, Singleton("skip", key="event.data.free ? false : event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"free": False, "who": who}) for who in "aabb"])
        t.send([Event("go", {"free": True})] * 3)

        assert len(t.runs(function)) == 5


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled", "timed out"])
def test_the_place_is_free_however_the_run_ended(app, ending: str) -> None:
    """I22."""
    from stepwell import Timeouts

    more: Any = {"timeouts": Timeouts(finish="30m")} if ending == "timed out" else {}
    function = work(app, Singleton("skip"), retries=0, **more)

    with harness(app) as t:
        t.send("go", {"fails": ending == "failed"})
        assert len(holders(t, LOCK)) == 1
        if ending == "cancelled":
            t.cancel(t.run(function))
        else:
            t.advance("1h")
        assert holders(t, LOCK) == []
        t.send("go", {"n": 2})
        t.advance("20m")

        assert statuses(t, function)[1] == "RUNNING"


def test_the_place_is_kept_through_a_crash(app) -> None:
    function = work(app, Singleton("skip"))

    with harness(app) as t:
        t.send("go", {"n": 1})
        t.crash()
        t.send("go", {"n": 2})
        t.advance("2h")
        t.send("go", {"n": 3})
        t.advance("2h")

        assert [run.output for run in t.runs(function)] == [1, 3]


def test_it_counts_from_creation_also_for_a_run_that_is_to_start_later(app) -> None:
    function = work(app, Singleton("skip"))

    with harness(app) as t:
        t.send("go", {"n": 1}, ts=datetime(2026, 1, 3, tzinfo=UTC))
        t.send("go", {"n": 2})

        assert statuses(t, function) == ["QUEUED"]


def test_an_invoke_beside_it_fails_and_a_tick_is_dropped(app) -> None:
    function = work(app, Singleton("skip"), trigger=["go", TriggerCron("0 * * * *")])

    @app.create_function(id="parent", trigger="parent")
    async def parent(ctx):
        try:
            await ctx.step.invoke("child", function)
        except StepError as error:
            return str(error)

    with harness(app) as t:
        t.advance("30m")
        t.send("go")
        t.send("parent")
        t.advance("45m")

        assert "singleton" in t.run(parent).output
        assert len(t.runs(function)) == 1


def test_a_mode_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mode of singleton is 'wait'"):
        Singleton("wait")  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["skip", "cancel"]),
    steps=st.lists(st.tuples(st.sampled_from(["send", "cancel", "crash", "wait"]), st.integers(0, 2)), max_size=25),
)
def test_never_two_at_once_and_never_none_that_could_have_been(mode: Any, steps: list[tuple[str, int]]) -> None:
    """I22, against the model: for each key the run there is, and when it ends."""
    app = Stepwell("shop")
    function = work(app, Singleton(mode, key="event.data.key"))
    holder: dict[int, tuple[int, int]] = {}  # key -> (number of the run, minute of its end)
    finished: set[int] = set()
    cancelled: set[int] = set()
    number = minute = 0
    with harness(app) as t:
        for what, key in steps:
            for each, (run, end) in list(holder.items()):
                if end <= minute:
                    finished.add(run)
                    del holder[each]
            if what == "send":
                t.send("go", {"key": key, "n": number})
                if key not in holder or mode == "cancel":
                    if key in holder:
                        cancelled.add(holder[key][0])
                    holder[key] = (number, minute + 60)
                number += 1
            elif what == "cancel" and key in holder:
                mine = next(
                    run
                    for run in t.runs(function)
                    if run.event["data"]["n"] == holder[key][0] and run.status == "RUNNING"
                )
                t.cancel(mine)
                cancelled.add(holder.pop(key)[0])
            elif what == "crash":
                t.crash()
            else:
                t.advance("25m")
                minute += 25
        t.advance("2h")
        finished |= {run for run, _ in holder.values()}

        found = {run.event["data"]["n"]: run.status for run in t.runs(function)}
        assert {n for n, status in found.items() if status == "COMPLETED"} == finished
        assert {n for n, status in found.items() if status == "CANCELLED"} == cancelled
