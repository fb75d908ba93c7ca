"""What waits, for what, and when it can move: by function and by key."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
from typing import Any

import pytest

from stepwell import BackpressureError, Concurrency, Event, Priority, RunConcurrency, Stepwell, Throttle
from stepwell.cli.waiting import function_queue, moves, queues
from stepwell.clock import to_ms
from stepwell.engine.registry import Registry
from stepwell.model.changes import Block, Decision, Enqueue
from stepwell.model.item import Item
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing import Harness, harness
from stepwell.views.queues import backlogs
from stepwell.views.queues.names import named
from stepwell.views.queues.shapes import AmountView, FunctionQueueView, QueueView
from stepwell.views.why import Situation
from tests.edge.conftest import STEPWELL, Dev, environment, eventually
from tests.edge.test_why import Asking, at_once

STATES = ("due", "running", "blocked", "throttled", "paused", "unserved", "later")


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


@pytest.fixture
def store() -> SqliteStore:
    return SqliteStore.inline()


def all_of(t: Harness) -> dict[str, QueueView]:
    return {view.function_id: view for view in at_once(backlogs.queues(Asking(t), to_ms(t.now)))}


def one(t: Harness, function: str, limit: int = 20) -> FunctionQueueView:
    situation = Situation(now=to_ms(t.now))
    found: FunctionQueueView = at_once(
        backlogs.function_queue(Asking(t), t.engine.registry, f"shop-{function}", situation, limit)
    )
    return found


def counts(view: QueueView) -> dict[str, int]:
    return {state: found for state in STATES if (found := getattr(view, state).count)}


def sleeper(app: Stepwell, id: str = "work", **options: Any) -> None:
    @app.create_function(id=id, trigger="go", **options)
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "1h")


def busy(app: Stepwell, id: str = "work", **options: Any) -> None:
    @app.create_function(id=id, trigger="go", **options)
    async def work(ctx: Any) -> None:
        await ctx.step.run("long", asyncio.sleep, 60)


def test_runs_that_a_limit_of_steps_blocks_are_counted_by_key_the_deepest_first(app: Stepwell) -> None:
    busy(app, concurrency=Concurrency(1, key="event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"who": who}) for who in ("ann", "bob", "ann", "bob", "ann", "cas")])
        view = one(t, "work")

        assert counts(view) == {"running": 3, "blocked": 3}
        first, second = view.backlogs
        assert (first.by, first.value, first.expression) == ("concurrency", "ann", "event.data.who")
        assert (first.waiting.count, first.used, first.limit) == (2, 1, 1)
        assert (second.value, second.waiting.count) == ("bob", 1)
        (holder,) = first.held_by
        held, waits, last = (run for run in t.runs("work") if run.event["data"]["who"] == "ann")
        assert holder.run_id == held.id
        assert holder.until is not None
        assert (first.first_run_id, first.first_since) == (waits.id, "2026-01-01T00:00:00.000Z")
        assert moves(first, to_ms(t.now)).startswith(f"when a call ends: {held.id}")
        assert last.status == "QUEUED"
        assert (view.keys.count, len(one(t, "work", limit=1).backlogs)) == (2, 1)


def test_runs_of_a_paused_app_wait_until_that_is_resumed(app: Stepwell) -> None:
    sleeper(app)

    with harness(app) as t:
        t.pause_app("shop", events="hold", runs="hold")
        t.send("go")

        (line,) = one(t, "work").backlogs
        assert line.paused_app_id == "shop"
        assert moves(line, to_ms(t.now)) == "when it is resumed: stepwell resume --app shop"


def test_runs_that_wait_for_the_end_of_another_say_whose(app: Stepwell) -> None:
    sleeper(app, run_concurrency=RunConcurrency(1))

    with harness(app) as t:
        t.send([Event("go") for _ in range(3)])
        view = one(t, "work")

        assert counts(view) == {"blocked": 2, "later": 1}
        (line,) = view.backlogs
        assert (line.by, line.value, line.limit, line.used) == ("run-concurrency", None, 1, 1)
        assert [holder.run_id for holder in line.held_by] == [t.runs("work")[0].id]
        assert line.held_by[0].until is None, "a run that sleeps has no lease"
        assert "when a run ends" in moves(line, to_ms(t.now))


def test_runs_that_are_throttled_say_when_the_next_starts(app: Stepwell) -> None:
    sleeper(app, throttle=Throttle(1, "1m", burst=0, key="event.data.who"))

    with harness(app) as t:
        t.send([Event("go", {"who": "ann"}) for _ in range(3)])
        t.advance("15s")
        view = one(t, "work")

        assert counts(view) == {"throttled": 2, "later": 1}
        (line,) = view.backlogs
        assert (line.by, line.value, line.next_at) == ("throttle", "ann", "2026-01-01T00:01:00.000Z")
        assert view.next_at == "2026-01-01T00:01:00.000Z"
        assert view.oldest_since == "2026-01-01T00:00:00.000Z"
        assert "in 45 s" in moves(line, to_ms(t.now))


def test_runs_of_a_paused_function_wait_until_it_is_resumed(app: Stepwell) -> None:
    sleeper(app)

    with harness(app) as t:
        t.pause("work", events="hold", runs="hold")
        t.send("go")

        view = one(t, "work")
        assert counts(view) == {"paused": 1}
        assert moves(view.backlogs[0], to_ms(t.now)) == "when it is resumed: stepwell resume shop-work"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, None),
        ({"concurrency": Concurrency(2, key="event.data.who")}, "ann"),
        ({"concurrency": Concurrency(2, key="event.data.who", scope="env")}, "ann"),
        ({"throttle": Throttle(9, "1s", key="event.data.who")}, "ann"),
    ],
    ids=["function", "limit", "shared limit", "throttle"],
)
def test_runs_that_back_pressure_holds_say_until_when(
    app: Stepwell, options: dict[str, Any], value: str | None
) -> None:
    told: list[int] = []

    @app.create_function(id="work", trigger="go", **options)
    async def work(ctx: Any) -> None:
        def call() -> None:
            told.append(1)
            if len(told) == 1:
                raise BackpressureError("429", "1m")

        await ctx.step.run("call", call)

    with harness(app) as t:
        t.send("go", {"who": "ann"})
        t.send([Event("go", {"who": "ann"}) for _ in range(3)])
        t.advance("15s")
        view = one(t, "work")

        assert counts(view) == counts(all_of(t)["shop-work"]) == {"throttled": 3, "later": 1}
        (line,) = view.backlogs
        assert (line.by, line.value, line.expression) == ("back-pressure", value, value and "event.data.who")
        assert (line.waiting.count, line.limit, line.next_at) == (3, None, "2026-01-01T00:01:00.000Z")
        assert moves(line, to_ms(t.now)) == "all of them in 45 s"


def test_a_limit_that_functions_share_counts_for_each_its_own(app: Stepwell) -> None:
    shared = Concurrency(1, key="'bank'", scope="env")
    busy(app, "pay", concurrency=shared)
    busy(app, "refund", concurrency=shared)
    busy(app, "other")

    with harness(app) as t:
        t.send([Event("go") for _ in range(2)])
        found = {id: counts(view) for id, view in all_of(t).items()}

        assert sum(each.get("running", 0) for id, each in found.items() if id != "shop-other") == 1
        assert sum(each.get("blocked", 0) for each in found.values()) == 3
        assert found["shop-other"] == {"running": 2}
        for id in ("pay", "refund"):
            (line,) = one(t, id).backlogs
            assert (line.scope, line.value, line.waiting.count) == ("env", "bank", 3)
        assert one(t, "other").backlogs == []


def test_a_start_in_the_future_is_later_and_says_when(app: Stepwell) -> None:
    sleeper(app)

    with harness(app) as t:
        t.send("go", ts=t.now.replace(hour=1))

        view = all_of(t)["shop-work"]
        assert counts(view) == {"later": 1}
        assert (view.next_at, view.oldest_since) == ("2026-01-01T01:00:00.000Z", None)


def test_a_priority_moves_the_place_in_line_and_not_how_long_one_has_waited(app: Stepwell) -> None:
    busy(app, concurrency=Concurrency(1), priority=Priority(run="300"))

    with harness(app) as t:
        t.send([Event("go") for _ in range(2)])

        assert all_of(t)["shop-work"].oldest_since == "2026-01-01T00:00:00.000Z"


def test_a_function_that_nobody_needs_is_there_with_zeros(app: Stepwell) -> None:
    sleeper(app)

    with harness(app) as t:
        assert {id: counts(view) for id, view in all_of(t).items()} == {"shop-work": {}}
        assert one(t, "work").backlogs == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fn/shop-a", ("concurrency", "fn", "shop-a", None)),
        ("fn/shop%2Fa%25/01234567/x/y", ("concurrency", "fn", "shop/a%", "x/y")),
        ("fn/shop-a/01234567/", ("concurrency", "fn", "shop-a", "")),
        ("run/fn/shop-a", ("run-concurrency", "fn", "shop-a", None)),
        ("run/env/x/y", ("run-concurrency", "env", None, "x/y")),
        ("account/x", ("concurrency", "account", None, "x")),
        ("throttle/shop%2Fa/x/y", ("throttle", "fn", "shop/a", "x/y")),
        ("paused/shop/a", ("paused", "fn", "shop/a", None)),
        ("unserved/shop-a", ("unserved", "fn", "shop-a", None)),
        ("pressure/function/shop%2Fa", ("back-pressure", "fn", "shop/a", None)),
        ("pressure/fn/shop-a/01234567/x/y", ("back-pressure", "fn", "shop-a", "x/y")),
        ("pressure/throttle/shop-a/x", ("back-pressure", "fn", "shop-a", "x")),
        ("pressure/env/x/y", ("back-pressure", "env", None, "x/y")),
        ("ready/shop-a", ("room", "fn", "shop-a", None)),
        ("new", ("other", "fn", None, "new")),
        ("new/x", ("other", "fn", None, "new/x")),
    ],
)
def test_the_name_of_a_backlog_says_what_its_runs_wait_for(name: str, said: tuple[Any, ...]) -> None:
    assert tuple(named(name)) == said


async def test_numbers_end_somewhere_and_say_so(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> FunctionQueueView:
        return await backlogs.function_queue(store, Registry(), "shop-work", Situation(now=9), 20)

    for key, depth in enumerate((1, 5, 4, 2, 1)):
        for number in range(depth):
            item = Item(id=f"{key}-{number}", kind="run", function_id="shop-work", at=1, queued_at=number)
            await store.commit(Decision((Enqueue(item), Block(item.id, f"fn/shop-work/01234567/{key}"))))
    monkeypatch.setattr(backlogs, "_KEYS_PER_READ", 2)
    monkeypatch.setattr(backlogs, "_DEPTH_MAX", 3)
    monkeypatch.setattr(backlogs, "_COUNTED_FURTHER", 1)

    view = await look()
    assert view.blocked == AmountView(count=5 + 3 + 2 + 1 + 1, more=True)
    assert view.keys == AmountView(count=5)
    assert [line.waiting.count for line in view.backlogs] == [5, 4, 2, 1, 1]
    monkeypatch.setattr(backlogs, "_COUNTED_FURTHER", 2)
    assert (await look()).blocked == AmountView(count=13)
    monkeypatch.setattr(backlogs, "_KEYS_MAX", 5)
    assert (await look()).keys == AmountView(count=5), "these are all there are"
    monkeypatch.setattr(backlogs, "_KEYS_MAX", 2)
    assert (await look()).keys == AmountView(count=2, more=True)


def test_a_narrow_terminal_names_only_what_there_is(app: Stepwell) -> None:
    from rich.console import Console

    busy(app, concurrency=Concurrency(1, key="event.data.who"))
    with harness(app) as t:
        t.send([Event("go", {"who": "ann"}) for _ in range(3)])
        view, now = one(t, "work"), to_ms(t.now)

    drawn = {}
    for width in (60, 160):
        console = Console(width=width, color_system=None)
        with console.capture() as captured:
            console.print(function_queue(view, now, width))
            console.print(queues([], now, width))
        drawn[width] = captured.get()
    assert "1 running, 2 blocked" in " ".join(drawn[60].split())
    assert "unserved" not in drawn[60]
    assert "concurrency event.data.who = 'ann', 1 of 1 in use" in drawn[160]
    assert "No functions." in drawn[160]


# A server and the command ---------------------------------------------------------------------------------------------

QUEUED = """
import asyncio
from stepwell import Concurrency, Context, Stepwell

app = Stepwell("shop")


@app.create_function(id="slow", trigger="shop/slow", concurrency=Concurrency(1, key="event.data.who"))
async def slow(ctx: Context[dict]) -> None:
    await ctx.step.run("think", asyncio.sleep, 600)
"""


@pytest.mark.slow
def test_the_command_shows_who_holds_what_others_wait_for(start_dev: Any) -> None:
    dev = start_dev(app=QUEUED)
    first, second = (dev.start("shop/slow", who="ann") for _ in range(2))

    shown = eventually(lambda: (found := dev.get("/v2/functions/slow/queue"))["blocked"]["count"] and found)
    (line,) = shown["backlogs"]
    assert (line["firstRunId"], line["heldBy"][0]["runId"], line["heldBy"][0]["step"]) == (second, first, "think")
    assert dev.cli("queue", "slow", "--json").json["backlogs"] == dev.get("/v2/functions/slow/queue")["backlogs"]
    said = dev.cli("queue", "slow").out
    assert "concurrency event.data.who = 'ann', 1 of 1 in use" in said
    assert f"when a call ends: {first} in think" in said
    (every,) = dev.cli("queue", "--json").json
    assert (every["functionId"], every["running"]["count"], every["blocked"]["count"]) == ("shop-slow", 1, 1)
    assert "shop-slow" in dev.cli("queue").out
    assert dev.cli("queue", "--db", str(dev.folder / ".stepwell" / "dev.db")).code == 0


@pytest.mark.slow
def test_it_is_kept_up_to_date_until_one_leaves(start_dev: Any) -> None:
    dev = start_dev(app=QUEUED)
    dev.start("shop/slow", who="ann")
    terminal, inside = pty.openpty()
    watching = subprocess.Popen(
        [*STEPWELL, "queue", "slow", "--watch", "--url", dev.url],
        cwd=dev.folder,
        env=environment() | {"TERM": "xterm", "COLUMNS": "160"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    shown = bytearray()

    def shows(text: str) -> bool:
        if select.select([terminal], [], [], 0.1)[0]:
            shown.extend(os.read(terminal, 65_536))
        return text in drawn()

    def drawn() -> str:
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode(errors="replace"))

    try:
        eventually(lambda: shows("shop-slow"))
        assert "in use" not in drawn()
        dev.start("shop/slow", who="ann")
        eventually(lambda: shows("'ann', 1 of 1 in use"))
        watching.send_signal(signal.SIGINT)
        eventually(lambda: shows("") and watching.poll() is not None)  # what it still draws has to be read
        assert watching.returncode == 0
        assert not shows("Traceback")
    finally:
        watching.kill()
        watching.wait()
        os.close(terminal)
        os.close(inside)


def test_a_function_that_there_is_not_is_an_error(dev: Dev) -> None:
    done = dev.cli("queue", "bil")

    assert (done.code, "did you mean 'shop-bill'" in done.err) == (1, True)
    assert dev.http("GET", "/v2/functions/bill/queue?limit=0").status == 400
    assert dev.cli("queue", "--watch", "--json").code == 2
