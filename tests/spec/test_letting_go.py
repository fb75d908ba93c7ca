"""Many runs that waited go on: a bounded number in each decision, each once, and in their order (ADR 0029)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from stepwell import Event, RunConcurrency, Stepwell, Throttle
from stepwell.clock import to_ms
from stepwell.engine.releasing import ITEMS_PER_DECISION_MAX
from stepwell.model.changes import Change, Release, ReleaseItem, ReleaseShared
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlog, FunctionItems, NextBacklog
from stepwell.protocol.events import Incoming
from stepwell.testing import Harness, harness

MANY = 3 * ITEMS_PER_DECISION_MAX + 20


class Watch:
    """How many items each decision released, and in which order runs began."""

    def __init__(self) -> None:
        self.released: list[int] = []
        self.order: list[int] = []

    def __call__(self, changes: Sequence[Change]) -> None:
        count = sum(1 if isinstance(change, ReleaseItem) else change.count for change in changes if _releases(change))
        if count:
            self.released.append(count)


def _releases(change: Change) -> bool:
    return isinstance(change, Release | ReleaseShared | ReleaseItem)


def declare(app: Stepwell, watch: Watch, **options: Any) -> Any:
    @app.create_function(id="bill", trigger="go", **options)
    async def bill(ctx):
        if ctx.event.data["n"] not in watch.order:
            watch.order.append(ctx.event.data["n"])
        await ctx.step.sleep("rest", "1h")

    return bill


def go(count: int = MANY, users: int = 1) -> list[Event]:
    return [Event("go", {"n": n, "user": n % users}) for n in range(count)]


def waiting(t: Harness, backlog: str) -> int:
    return len(t.ask(Backlog(backlog, 10_000, EVERYWHERE)))


def running(t: Harness, function: Any) -> int:
    return sum(run.status == "RUNNING" for run in t.runs(function))


def nothing_is_owed(t: Harness) -> bool:
    return t.ask(FunctionItems("")) == [] and t.ask(NextBacklog("", EVERYWHERE)) is None


def test_those_who_waited_for_a_pause_to_end_go_in_their_order(app) -> None:
    watch = Watch()
    bill = declare(app, watch)

    with harness(app) as t:
        t.pause(bill, events="hold")
        t.send(go())
        t.advance("1m")
        t.engine.observers.append(watch)
        t.resume(bill)
        assert 0 < waiting(t, "paused/shop-bill") < MANY
        t.advance("1m")

        assert watch.order == list(range(MANY))
        assert max(watch.released) == ITEMS_PER_DECISION_MAX
        assert nothing_is_owed(t)


def test_a_process_that_dies_between_forgets_none_of_them(app) -> None:
    watch = Watch()
    bill = declare(app, watch)

    with harness(app) as t:
        t.pause(bill, events="hold")
        t.send(go())
        t.advance("1m")
        t.resume(bill)
        assert 0 < waiting(t, "paused/shop-bill") < MANY
        t.crash()
        t.advance("1m")

        assert running(t, bill) == MANY
        assert nothing_is_owed(t)


def test_a_pause_that_comes_between_holds_the_rest_and_they_go_when_it_ends(app) -> None:
    watch = Watch()
    bill = declare(app, watch)

    with harness(app) as t:
        t.pause(bill, events="hold")
        t.send(go())
        t.advance("1m")
        t.resume(bill)
        t.pause(bill, events="hold", runs="hold")
        t.advance("1m")
        begun = running(t, bill)
        assert 0 < begun < MANY
        assert waiting(t, "paused/shop-bill") == MANY - begun

        t.resume(bill)
        t.advance("1m")
        assert running(t, bill) == MANY
        assert nothing_is_owed(t)


def test_runs_whose_function_comes_back_go_in_their_order(app) -> None:
    watch, other = Watch(), Stepwell("other")
    bill = declare(app, watch)

    with harness([app, other]) as t:
        t.send([Event("go", event.data, ts=to_ms(t.now) + 60_000 + n) for n, event in enumerate(go())])
        t.crash(app=[other])
        t.advance("2m")
        assert waiting(t, "unserved/shop-bill") == MANY
        t.crash(app=[app, other])
        t.advance("1m")

        assert running(t, bill) == MANY
        assert watch.order == list(range(MANY))
        assert nothing_is_owed(t)


@pytest.mark.parametrize("scope", ["fn", "env"])
def test_room_that_nobody_can_use_does_not_wake_all_who_wait_for_it(app, scope: str) -> None:
    watch, other = Watch(), Stepwell("other")
    bill = declare(app, watch, run_concurrency=RunConcurrency(1, key="'all'", scope=scope))

    with harness([app, other]) as t:
        t.send(go())
        t.advance("1m")
        (first,) = (run for run in t.runs(bill) if run.status == "RUNNING")
        t.crash(app=[other])
        t.engine.observers.append(watch)
        t.cancel(first)
        t.advance("1m")
        assert waiting(t, "unserved/shop-bill") == 1
        assert len(watch.released) == 1

        t.crash(app=[app, other])
        t.advance("40d")
        assert watch.order == list(range(MANY))
        assert [run.status for run in t.runs(bill)] == ["CANCELLED", *["COMPLETED"] * (MANY - 1)]
        assert nothing_is_owed(t)


@pytest.mark.parametrize(("after", "begun"), [(3, 30), (None, MANY)], ids=["raised", "removed"])
def test_as_many_go_as_a_new_limit_has_room_for(app, after: int | None, begun: int) -> None:
    watch, later = Watch(), Stepwell("shop")
    bill = declare(app, watch, run_concurrency=RunConcurrency(1, key="event.data.user"))
    declare(later, watch, **({"run_concurrency": RunConcurrency(after, key="event.data.user")} if after else {}))

    with harness(app) as t:
        t.send(go(users=10))
        t.advance("1m")
        assert running(t, bill) == 10
        t.engine.observers.append(watch)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert running(t, bill) == begun
        assert max(watch.released) <= ITEMS_PER_DECISION_MAX
        assert sum(watch.released) == begun - 10
        t.advance("40d")
        assert {run.status for run in t.runs(bill)} == {"COMPLETED"}
        assert nothing_is_owed(t)


def test_all_are_asked_anew_who_share_a_limit_with_others(app) -> None:
    watch, later = Watch(), Stepwell("shop")
    bill = declare(app, watch, run_concurrency=RunConcurrency(1, key="'all'", scope="env"))
    declare(later, watch, run_concurrency=RunConcurrency(3, key="'all'", scope="env"))

    with harness(app) as t:
        t.send(go())
        t.advance("1m")
        t.engine.observers.append(watch)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert running(t, bill) == 3
        assert max(watch.released) <= ITEMS_PER_DECISION_MAX


def test_a_lowered_limit_lets_nobody_go(app) -> None:
    watch, later = Watch(), Stepwell("shop")
    declare(app, watch, run_concurrency=RunConcurrency(3, key="event.data.user"))
    bill = declare(later, watch, run_concurrency=RunConcurrency(1, key="event.data.user"))

    with harness(app) as t:
        t.send(go(users=10))
        t.advance("1m")
        t.engine.observers.append(watch)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert (running(t, bill), watch.released) == (30, [])


def test_nobody_begins_by_the_limit_that_there_was_while_the_new_one_is_being_read(
    app, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Stepwell("shop")
    declare(app, Watch(), run_concurrency=RunConcurrency(3))
    bill = declare(later, Watch(), run_concurrency=RunConcurrency(1))

    with harness(app) as t:
        t.send(go(1))
        engine, load = t.engine, t.engine.load

        async def meanwhile() -> None:
            monkeypatch.setattr(engine, "load", load)
            await engine.send([Incoming(name="go", data=b'{"n":1}')])
            for _ in range(20):
                await asyncio.sleep(0)
            await load()

        monkeypatch.setattr(engine, "load", meanwhile)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert [run.status for run in t.runs(bill)] == ["RUNNING", "QUEUED"]


def test_those_who_are_throttled_no_more_go_soon(app) -> None:
    watch, later = Watch(), Stepwell("shop")
    declare(app, watch, throttle=Throttle(1, "1d", 0))
    bill = declare(later, watch)

    with harness(app) as t:
        t.send(go())
        t.advance("1m")
        assert running(t, bill) == 1
        t.engine.observers.append(watch)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert watch.order == list(range(MANY))
        assert max(watch.released) <= ITEMS_PER_DECISION_MAX


def test_the_backlogs_of_another_app_are_left_alone(app) -> None:
    watch, other, later = Watch(), Stepwell("other"), Stepwell("shop")
    declare(app, Watch(), concurrency=1)
    declare(later, Watch(), concurrency=2)

    @other.create_function(id="theirs", trigger="go", run_concurrency=RunConcurrency(1, key="event.data.user"))
    async def theirs(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness([app, other]) as t:
        t.send(go(300, users=150))
        t.advance("2h")
        t.engine.observers.append(watch)
        t._do(lambda: t.engine.register("shop", later.configs()))
        t.advance("1m")

        assert watch.released == []
