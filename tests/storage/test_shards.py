"""A store with many shards answers what a store with one answers, in the same order, page by page."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.postgres import asked
from stepwell.ids import ulid
from stepwell.model import changes as c
from stepwell.model import questions as q
from stepwell.model.history import Cell
from stepwell.model.item import Item, Lease
from stepwell.model.place import EVERYWHERE, PLACES, place_of
from stepwell.storage.gathering import parts
from stepwell.storage.interface import Swept
from stepwell.storage.places import CHANGES, NOWHERE, QUESTIONS, home_of, shard_of_change, shard_of_question
from stepwell.storage.postgres.statements import BEGIN_READ, COMMIT
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.sqlite import SqliteStore
from tests.postgres import emptied
from tests.storage.nouns import audit, event, item, logged, note, order, outcome, run, step, wait, write

SIZES = (1, 4, 16)
AT = 1_000


def _id(number: int, place: int) -> str:
    return ulid(AT + number, number << 10 | place)


# Runs are told apart by their numbers, and lie where chance puts them, as their events do.
spots = st.integers(0, PLACES - 1)
layouts = st.lists(st.tuples(spots, spots, st.sampled_from("ab"), st.sampled_from("xyz")), min_size=1, max_size=12)


def _written(layout: list[tuple[int, int, str, str]]) -> list[c.Change]:
    """Runs of two functions with an event each, some ended, some in backlogs of three names, with what belongs to
    them: spread over all places."""
    found: list[c.Change] = []
    for number, (place, elsewhere, function_id, key) in enumerate(layout):
        run_id, event_id = _id(number, place), _id(100 + number, elsewhere)
        known = event(event_id, name=key, at=AT + number * 7 % 5)
        found += [
            c.SaveEvent(known),
            c.SaveEvent(known, place),
            c.CreateRun(run(run_id, event_id, function_id, at=AT + number, original=_id(0, layout[0][0]))),
            c.Enqueue(item(run_id, at=None, backlog=f"fn/{key}", queued_at=number // 3)),
            c.OpenWait(wait("w", run_id, path=key, value="1")),
            c.TakeSlots((f"fn/{key}",), run_id),
            c.SaveStep(step("s", run_id)),
            c.SaveNote(note(run_id=run_id)),
            c.SaveLogs(logged(run_id=run_id)),
            c.SaveOrder(order(_id(200 + number, elsewhere))),
            c.SaveAudit(audit(_id(300 + number, elsewhere), who=function_id, target=key)),
            c.Enqueue(
                Item(
                    id=f"cron/{function_id}/{number}", kind="cron", function_id=function_id, at=number, place=elsewhere
                )
            ),
            c.PutCell(Cell(key=f"{key}/{number}", value="v", expires_at=1 << 50), elsewhere),
            c.PutCell(Cell(key=f"{key}/of all", value="v", expires_at=(1 << 50) + number), EVERYWHERE),
            c.SaveOutcome(outcome(event_id, function_id, kind="paused", at=number * 7 % 5)),
        ]
        if number % 3 == 0:
            found.append(c.FinishRun(run_id, "FAILED", AT + number))
    return found


def _questions(layout: list[tuple[int, int, str, str]]) -> list[q.Question[Any]]:
    runs = tuple(_id(number, place) for number, (place, *_) in enumerate(layout))
    events = tuple(_id(100 + number, elsewhere) for number, (_, elsewhere, *_) in enumerate(layout))
    return [
        *(
            q.ListRuns(limit, before, function_id, status)
            for limit in (2, 100)
            for before in (None, runs[-1])
            for function_id, status in ((None, None), ("a", None), (None, "FAILED"))
        ),
        *(
            q.ListEvents(limit, before, name)
            for limit in (2, 100)
            for before in (None, *events[-2:])
            for name in (None, "x")
        ),
        *(q.FindEvents("x", AT, AT + limit, limit) for limit in (2, 100)),
        *(q.RunsOfEvent(event_id) for event_id in events),
        *(q.Outcomes(event_id) for event_id in events),
        *(
            asked(some)
            for asked in (q.RunsOfEvents, q.OutcomesOfEvents)
            for some in ((*events, "gone"), events[:1], ())
        ),
        *(q.RunsOfFunction("a", after, runs[-1], limit) for after in ("", runs[0]) for limit in (1, 100)),
        *(q.RunsOfStatus("FAILED", "", runs[-1], limit) for limit in (1, 100)),
        *(q.SkippedEvents("a", after, "", 100, limit) for after in (0, 2) for limit in (1, 100)),
        *(q.ListOrders("cancel", limit) for limit in (1, 100)),
        *(q.ListAudit(limit, before) for limit in (2, 100) for before in (None, _id(300, layout[0][1]))),
        *(q.ListAudit(limit, who="a") for limit in (2, 100)),
        *(q.ListAudit(limit, target="x", after=_id(301, 0)) for limit in (2, 100)),
        q.Reruns(runs[0]),
        q.FunctionItems("a"),
        q.WaitPaths("paid", EVERYWHERE),
        q.FindWaits("paid", (("z", "1"), ("x", "1")), 0, EVERYWHERE),
        *(q.DueItems(5, limit, EVERYWHERE) for limit in (1, 100)),
        *(q.ComingItems(1, 7, limit) for limit in (1, 100)),
        *(q.NextDue(EVERYWHERE, after) for after in (-1, 3, 100)),
        q.AnyLease(0),
        *(q.Backlog("fn/x", limit, EVERYWHERE, after) for limit in (1, 100) for after in (None, (0, runs[0]))),
        *(q.BacklogItems("fn/x", limit, EVERYWHERE) for limit in (1, 100)),
        *(q.NextBacklog(after, EVERYWHERE) for after in ("", "fn/x", "fn/z")),
        *(q.Backlogs("fn/", limit, EVERYWHERE) for limit in (1, 100)),
        *(q.BacklogDepths("fn/", "fn0", limit, 2) for limit in (1, 100)),
        q.BacklogFunctions("fn/x", 100),
        *(q.SlotKeys("fn/", "fn0", limit, 2) for limit in (1, 100)),
        *(q.SlotHolders("fn/x", limit, EVERYWHERE) for limit in (1, 100)),
        q.CountSlots("fn/x", EVERYWHERE),
        *(q.ListCells("x", "z", 0, limit) for limit in (1, 100)),
        q.AnyCell("x/", 0, EVERYWHERE),
        q.GetCell("x/0", 0, EVERYWHERE),
        *(q.RunEndings(1, AT + 100, limit) for limit in (1, 100)),
        *(q.CountRuns("FAILED", most) for most in (1, 100)),
        q.Count(AT),
        q.LoadRuns((*runs, "gone")),
        q.Standings((*runs, "gone")),
        q.RunStates(runs),
        q.EventNames(tuple(zip(runs, events, strict=True))),
        q.EventsOfRuns(tuple(zip(runs, events, strict=True))),
        q.GetItem("cron/a/0", EVERYWHERE),
    ]


@settings(max_examples=settings().max_examples // 4)
@given(layouts)
def test_what_is_asked_of_all_shards_is_answered_as_by_one(layout: list[tuple[int, int, str, str]]):
    asyncio.run(_agree(layout))


@pytest.mark.slow
@settings(max_examples=10)
@given(layouts)
def test_what_is_asked_of_all_shards_of_a_postgresql_is_answered_as_by_one(layout: list[tuple[int, int, str, str]]):
    """Most of it is one statement for all shards, and none is for one."""
    asyncio.run(_agree_on_postgresql(layout))


async def _agree_on_postgresql(layout: list[tuple[int, int, str, str]]) -> None:
    answers: list[list[Any]] = []
    for shards in (1, 16):
        store = await PostgresStore.open(await asyncio.to_thread(emptied, shards), shards=shards)
        await write(store, *_written(layout))
        answers.append([_comparable(question, await store.read(question)) for question in _questions(layout)])
        await store.close()
    for question, one, many in zip(_questions(layout), *answers, strict=True):
        assert many == one, question


FROM_NAME_TO_NAME = (q.BacklogDepths, q.SlotKeys)
OF_DECISIONS = (q.LoadRuns, q.DueItems, q.Backlog, q.Backlogs, q.WaitPaths)


@pytest.mark.slow
async def test_a_question_of_people_costs_as_many_statements_as_pages_have_not_as_there_are_shards():
    """Sixteen of them would be sixteen times on the way to the server."""
    layout = [
        (number * 619 % PLACES, number * 331 % PLACES, "ab"[number % 2], "xyz"[number % 3]) for number in range(9)
    ]
    store = await PostgresStore.open(await asyncio.to_thread(emptied, 16), shards=16)
    await write(store, *_written(layout))
    most: dict[str, int] = {}
    for question in _questions(layout):
        with asked() as statements:
            await store.read(question)
        name = type(question).__name__
        sent = [text for text in statements.elements() if text not in (BEGIN_READ, COMMIT)]
        if not isinstance(question, OF_DECISIONS):
            most[name] = max(most.get(name, 0), len(sent))
    await store.close()

    named = {kind.__name__ for kind in FROM_NAME_TO_NAME}
    assert {name: count for name, count in most.items() if count > 2 and name not in named} == {}
    assert all(most[name] <= 2 + len(layout) for name in named), most


@pytest.mark.slow
@pytest.mark.parametrize(
    "spread",
    [
        pytest.param(lambda number: number * 619 % PLACES, id="by chance"),
        pytest.param(lambda number: 5, id="all in one"),
        pytest.param(lambda number: 5 if number < 30 else number, id="the older in one"),
        pytest.param(lambda number: 5 if number > 30 else number, id="the newer in one"),
        pytest.param(lambda number: 5 + number % 2, id="in two"),
    ],
)
async def test_a_page_of_a_postgresql_is_exact_however_runs_are_spread(spread: Callable[[int], int]):
    """Each shard is asked for its part of a page, and some have more of it."""
    ids = [_id(number, spread(number)) for number in range(60)]
    store = await PostgresStore.open(await asyncio.to_thread(emptied, 16), shards=16)
    await write(store, *(c.CreateRun(run(run_id, function_id=f"f{run_id < ids[20]}")) for run_id in ids))

    limits = range(1, 62)
    newest = [await store.read(q.ListRuns(limit)) for limit in limits]
    before = [await store.read(q.ListRuns(limit, before=ids[50])) for limit in limits]
    oldest = [await store.read(q.RunsOfFunction("fTrue", "", "\x7f", limit)) for limit in limits]
    await store.close()

    for limit in limits:
        assert [found.id for found in newest[limit - 1]] == ids[::-1][:limit]
        assert [found.id for found in before[limit - 1]] == ids[49::-1][:limit]
        assert [found.id for found in oldest[limit - 1]] == ids[:20][:limit]


async def _agree(layout: list[tuple[int, int, str, str]]) -> None:
    answers: list[list[Any]] = []
    for shards in SIZES:
        store = SqliteStore.inline(shards=shards)
        await write(store, *_written(layout))
        answers.append([_comparable(question, await store.read(question)) for question in _questions(layout)])
        await store.close()
    for question, *found in zip(_questions(layout), *answers, strict=True):
        assert found == [found[0]] * len(SIZES), question


IN_ANY_ORDER = (q.BacklogFunctions, q.RunStates)


def _comparable(question: q.Question[Any], answer: Any) -> Any:
    """Without the shard in which an item was found, and what has no order in one."""
    if isinstance(answer, list):
        found: list[Any] = [_comparable(question, each) for each in answer]
        return sorted(found, key=repr) if isinstance(question, IN_ANY_ORDER) else found
    if isinstance(answer, Item):
        return (answer.id, answer.at, answer.backlog)
    return answer


async def test_pages_of_many_shards_have_each_run_and_each_event_once():
    store = SqliteStore.inline(shards=16)
    layout = [(number * 619 % PLACES, number * 331 % PLACES, "a", "x") for number in range(40)]
    await write(store, *_written(layout))

    async def pages(ask: Callable[[str | None], q.Question[list[Any]]]) -> list[str]:
        found: list[str] = []
        while page := await store.read(ask(found[-1] if found else None)):
            found += [one.id for one in page]
        return found

    runs = await pages(lambda before: q.ListRuns(3, before))
    events = await pages(lambda before: q.ListEvents(3, before))
    await store.close()

    assert runs == [_id(number, layout[number][0]) for number in reversed(range(40))]
    assert sorted(events) == [_id(100 + number, layout[number][1]) for number in range(40)]


async def test_a_copy_of_an_event_is_found_beside_its_run_and_in_no_list():
    store = SqliteStore.inline(shards=4)
    home, away = _id(1, 0), 3
    await write(store, c.SaveEvent(event(home)), c.SaveEvent(event(home), away), c.SaveEvent(event(home), 4))

    assert [one.id for one in await store.read(q.ListEvents(10))] == [home]
    assert await store.read(q.FindEvents("shop/ordered", 0, 100, 10)) == [event(home)]
    assert await store.read(q.GetEvent(home)) == await store.read(q.GetEvent(home, away)) == event(home)
    assert await store.read(q.GetEvent(home, 2)) is None
    await store.close()


async def test_retention_goes_through_all_shards():
    store = SqliteStore.inline(shards=4)
    await write(store, *_written([(place, place, "a", "x") for place in range(12)]))

    rounds: list[Swept] = []
    while not rounds or rounds[-1].more:
        rounds.append(await store.sweep(AT + 100, 2))

    assert sum(each.runs for each in rounds) == 4  # every third had ended
    assert len(await store.read(q.ListRuns(100))) == 8
    assert sum(each.events for each in rounds) == 4
    await store.close()


async def test_a_lease_is_lost_and_lapses_in_whichever_shard_it_is():
    store = SqliteStore.inline(shards=16)
    held = [_id(number, number * 37 % PLACES) for number in range(20)]
    await write(store, *(c.Enqueue(item(run_id)) for run_id in held), *(c.Grant(id, 5, 500) for id in held))

    kept = [await store.commit(c.Decision((c.SaveStep(step("s", id)),), holds=Lease(id, 5))) for id in held]
    lost = [await store.commit(c.Decision((c.SaveStep(step("t", id)),), holds=Lease(id, 4))) for id in held]
    await write(store, c.LapseLeases(6, 100))

    assert all(each.held for each in kept)
    assert not any(each.held for each in lost)
    assert [one.at for one in await store.read(q.DueItems(100, 100, EVERYWHERE))] == [100] * len(held)
    await store.close()


async def test_a_claim_sees_what_is_due_in_its_shard_and_nothing_else():
    store = SqliteStore.inline(shards=4)
    ids = [_id(number, place) for number, place in enumerate((0, 1, 5, 2, 1023))]
    await write(store, *(c.Enqueue(item(id, at=number)) for number, id in enumerate(ids)))

    due = [[one.id for one in await store.read(q.DueItems(100, 10, shard))] for shard in range(4)]

    assert due == [[ids[0]], [ids[1], ids[2]], [ids[3]], [ids[4]]]
    assert [await store.read(q.NextDue(shard)) for shard in range(4)] == [0, 1, 3, 4]
    await store.close()


# The tables ----------------------------------------------------------------------------------------------------------


def test_every_question_and_every_change_says_where_it_belongs():
    questions = {each for _, each in inspect.getmembers(q, inspect.isclass) if issubclass(each, q.Question)}

    assert set(QUESTIONS) == questions - {q.Question}
    assert set(CHANGES) == set(get_args(c.Change))


def test_what_names_a_run_and_a_lease_needs_no_place():
    run_id = _id(1, 777)

    for question in (q.GetRun(run_id), q.GetSteps(run_id), q.CountHeld("k", f"{run_id}/2"), q.GetItem(f"{run_id}/x")):
        assert shard_of_question(question, 1024) == 777
    for change in (c.Park(Lease(run_id, 1), 1, 1), c.TakeSlots(("k",), f"run:{run_id}"), c.Drop(run_id)):
        assert shard_of_change(change, 1024) == 777
    assert home_of(c.Decision((c.SaveFunction, c.Drop(run_id))[1:], Lease(run_id, 1)), 16) == 777 & 15


def test_a_timer_of_no_run_has_to_say_where_it_is():
    with pytest.raises(ValueError, match="its place has to be said"):
        shard_of_change(c.Drop("throttle/shop-bill/"), 4)
    with pytest.raises(ValueError, match="its place has to be said"):
        parts(q.GetItem("throttle/shop-bill/"), 4)

    assert shard_of_change(c.Drop("throttle/shop-bill/", 6), 4) == 2


def test_many_runs_are_each_asked_for_in_their_own_shard():
    ids = tuple(_id(number, place) for number, place in enumerate((5, 6, 1, 9)))

    found = parts(q.LoadRuns(ids), 4)

    assert found == [(1, q.LoadRuns((ids[0], ids[2], ids[3]))), (2, q.LoadRuns((ids[1],)))]
    assert parts(q.ListApps(), 4) == [(0, q.ListApps())]
    assert shard_of_question(q.ListApps(), 4) == NOWHERE
    assert all(place_of(id) & 3 == shard for shard, part in found for id in getattr(part, "run_ids", ()))
