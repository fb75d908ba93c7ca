"""Conformance: what people and commands ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.model.changes import (
    Block,
    CreateRun,
    DropOrder,
    DropOutcome,
    Enqueue,
    FinishRun,
    Grant,
    HoldEvent,
    OpenWait,
    SaveEvent,
    SaveOrder,
    SaveOutcome,
    SaveStep,
    StartRun,
)
from stepwell.model.event import FINISHED
from stepwell.model.place import place_of
from stepwell.model.questions import (
    BacklogPosition,
    Count,
    CountRuns,
    DescribeStore,
    EventNames,
    EventsOfRuns,
    FindEvents,
    FunctionItems,
    GetOrder,
    GetRun,
    ListEvents,
    ListOrders,
    ListRuns,
    OutcomesOfEvents,
    Question,
    Reruns,
    RunEndings,
    RunsOfEvent,
    RunsOfEvents,
    RunsOfFunction,
    RunsOfStatus,
    SkippedEvents,
    StepsOfKinds,
    Totals,
)
from stepwell.model.run import RunStatus
from stepwell.storage.interface import Store
from tests.storage.nouns import event, item, near, order, outcome, run, step, wait, write


async def test_runs_are_listed_newest_first_without_their_outputs(store: Store):
    await _runs(store)

    found = await store.read(ListRuns(10))

    assert [each.id for each in found] == RUNS
    assert {each.output for each in found} == {None}
    assert (await store.read(ListRuns(10, output=True)))[1].output == b"out"


async def test_a_list_of_runs_goes_on_before_the_last_one_shown(store: Store):
    await _runs(store)

    assert await _ids(store, ListRuns(2)) == RUNS[:2]
    assert await _ids(store, ListRuns(2, before=RUNS[1])) == RUNS[2:4]
    assert await _ids(store, ListRuns(9, before=RUNS[-1])) == []


async def test_runs_are_listed_by_function_status_and_moment(store: Store):
    await _runs(store)

    assert await _ids(store, ListRuns(10, function_id="other")) == ["run4", "run1"]
    assert await _ids(store, ListRuns(10, status="FAILED")) == ["run2", "run1"]
    assert await _ids(store, ListRuns(10, status="QUEUED")) == ["run4", "run0"]
    assert await _ids(store, ListRuns(1, status="FAILED", before="run2")) == ["run1"]


@pytest.mark.parametrize(
    "question",
    [
        lambda: ListRuns(10, status=RunStatus.COMPLETED),
        lambda: ListRuns(10, function_id="other", status="FAILED"),
        lambda: RunsOfStatus("COMPLETED", "", "\x7f", 9),
        lambda: CountRuns("COMPLETED", 10),
    ],
)
def test_what_no_index_has_cannot_be_asked_for_as_if_there_was_nothing(question: Callable[[], object]):
    with pytest.raises(AssertionError, match="index"):
        question()


async def test_the_steps_of_a_run_of_some_kinds(store: Store):
    kinds = ("run", "sendEvent", "invoke", "sendEvent", "sleep")
    await write(store, *(SaveStep(replace(step(f"s{n}"), kind=kind)) for n, kind in enumerate(kinds)))

    found = await store.read(StepsOfKinds("r1", ("sendEvent", "invoke"), 10))

    assert [each.id for each in found] == ["s1", "s2", "s3"]
    assert len(await store.read(StepsOfKinds("r1", ("sendEvent", "invoke"), 2))) == 2
    assert await store.read(StepsOfKinds("r2", ("sendEvent",), 10)) == []


async def test_the_runs_of_an_event(store: Store):
    await write(store, CreateRun(run("r2")), CreateRun(run("r1", output=b"1")), CreateRun(run("r3", event_id="e2")))

    assert await store.read(RunsOfEvent("e1")) == [run("r1", output=b"1"), run("r2")]


async def test_events_are_listed_newest_first_without_our_own(store: Store):
    await _events(store)

    assert await _ids(store, ListEvents(10)) == ["e4", "e3", "e2", "e1"]
    assert await _ids(store, ListEvents(10, internal=True)) == ["e4", "our", "e3", "e2", "e1"]


async def test_a_list_of_events_goes_on_before_the_last_one_shown(store: Store):
    await _events(store)

    assert await _ids(store, ListEvents(2)) == ["e4", "e3"]
    assert await _ids(store, ListEvents(2, before="e3")) == ["e2", "e1"]
    assert await _ids(store, ListEvents(2, before="e1")) == []
    assert await _ids(store, ListEvents(2, before="forgotten")) == []


async def test_events_are_listed_by_name_and_moment(store: Store):
    await _events(store)

    assert await _ids(store, ListEvents(10, name="a")) == ["e3", "e1"]
    assert await _ids(store, ListEvents(10, name=FINISHED, internal=True)) == ["our"]
    assert await _ids(store, ListEvents(10, received_after=20, received_before=40)) == ["e3", "e2"]
    assert await _ids(store, ListEvents(10, name="a", received_after=11)) == ["e3"]


async def test_a_wait_looks_back_at_the_events_of_a_name_from_a_moment_until_before_another(store: Store):
    await write(store, *(SaveEvent(event(f"e{at}", name="a", at=at)) for at in (10, 20, 30, 40)))
    await write(store, SaveEvent(event("other", name="b", at=25)))

    found = await store.read(FindEvents("a", after=10, before=40, limit=2))

    assert [each.id for each in found] == ["e30", "e20"]


async def test_a_blocked_item_knows_how_many_go_before_it(store: Store):
    first, second, third, last = map(near, ("A0", "B1", "B2", "C0"))
    for id, queued_at in ((last, 30), (first, 10), (third, 20), (second, 20)):
        await write(store, Enqueue(item(id, queued_at=queued_at)), Block(id, "full"))
    await write(store, Enqueue(item("free")), Enqueue(item("x", at=None, backlog="another")))

    assert await store.read(BacklogPosition(first)) == (0, 4)
    assert await store.read(BacklogPosition(third)) == (2, 4)
    assert await store.read(BacklogPosition(last)) == (3, 4)
    assert await store.read(BacklogPosition("free")) is None
    assert await store.read(BacklogPosition("unknown")) is None


async def test_the_items_of_a_function_are_those_of_no_run(store: Store):
    tick = item("cron/1", kind="cron", run_id=None, place=0)
    await write(store, Enqueue(tick), Enqueue(item("r1")))

    assert await store.read(FunctionItems("shop-bill")) == [tick]
    assert await store.read(FunctionItems("other")) == []


async def test_counting_what_there_is(store: Store):
    assert await store.read(Count(100)) == Totals(live_runs=0, items=0, blocked=0, leased=0, waits=0, oldest_due=None)
    await _runs(store)
    await write(
        store,
        StartRun("run0", 5),
        Enqueue(item("run0", at=50)),
        Enqueue(item("run4", at=40)),
        Enqueue(item("later", at=500)),
        Enqueue(item("blocked", at=None, backlog="full")),
        Enqueue(item("held")),
        Grant("held", 5, 1_000),
        OpenWait(wait()),
    )

    assert await store.read(Count(100)) == Totals(live_runs=2, items=5, blocked=1, leased=1, waits=1, oldest_due=40)


async def test_runs_that_ended_between_two_moments_are_found_newest_first(store: Store):
    await write(store, *(CreateRun(run(f"r{number}")) for number in range(5)))
    ends = {"r1": (50, "FAILED"), "r2": (70, "COMPLETED"), "r3": (60, "CANCELLED"), "r4": (60, "COMPLETED")}
    await write(store, *(FinishRun(id, status, at) for id, (at, status) in ends.items()))

    assert await store.read(RunEndings(0, 70, 10)) == [
        (70, "r2", "COMPLETED"),
        (60, "r4", "COMPLETED"),
        (60, "r3", "CANCELLED"),
        (50, "r1", "FAILED"),
    ]
    assert await store.read(RunEndings(50, 60, 10)) == [(60, "r4", "COMPLETED"), (60, "r3", "CANCELLED")]
    assert await store.read(RunEndings(0, 70, 1)) == [(70, "r2", "COMPLETED")]
    assert await store.read(RunEndings(70, 90, 10)) == []


async def test_a_store_says_what_it_is(store: Store):
    found = await store.read(DescribeStore())

    assert found.kind in ("SQLite", "PostgreSQL")
    assert found.version[0].isdigit()
    assert found.schema >= 1
    assert found.size_bytes > 10_000


async def test_runs_of_a_state_are_counted_up_to_a_number(store: Store):
    await _runs(store)

    assert await store.read(CountRuns("FAILED", 10)) == 2
    assert await store.read(CountRuns("QUEUED", 1)) == 1
    assert await store.read(CountRuns("RUNNING", 10)) == 0


async def test_a_read_sees_every_commit_that_was_acknowledged_before(store: Store):
    for number in range(50):
        await write(store, CreateRun(run(f"r{number}")))
        assert await store.read(GetRun(f"r{number}")) is not None


RUNS = ["run4", "run3", "run2", "run1", "run0"]


async def _runs(store: Store) -> None:
    """Oldest first: queued, failed, failed, completed, queued; the second and the last are of another function."""
    for number in range(5):
        function_id = "other" if number in {1, 4} else "shop-bill"
        await write(store, CreateRun(run(f"run{number}", at=number * 10, function_id=function_id)))
    await write(
        store,
        FinishRun("run1", "FAILED", 60),
        FinishRun("run2", "FAILED", 60),
        FinishRun("run3", "COMPLETED", 60, b"out"),
    )


async def _events(store: Store) -> None:
    for id, name, at in (("e1", "a", 10), ("e2", "b", 20), ("e3", "a", 30), ("our", FINISHED, 35), ("e4", "b", 40)):
        await write(store, SaveEvent(event(id, name=name, at=at)))


async def _ids(store: Store, question: Question[Any]) -> list[str]:
    return [each.id for each in await store.read(question)]


async def test_live_runs_are_found_by_their_state_between_two_ids(store: Store):
    await write(store, *(CreateRun(run(f"r{n}", function_id=f"f{n % 2}")) for n in range(6)))
    await write(store, StartRun("r1", 20), StartRun("r3", 20), FinishRun("r3", "COMPLETED", 30))

    assert await _ids(store, RunsOfStatus("QUEUED", "", "r5", 9)) == ["r0", "r2", "r4"]
    assert await _ids(store, RunsOfStatus("QUEUED", "r0", "\x7f", 2)) == ["r2", "r4"]
    assert await _ids(store, RunsOfStatus("RUNNING", "", "\x7f", 9)) == ["r1"]


async def test_the_names_of_many_events_are_one_question(store: Store):
    places = {"e1": "r1", "e2": "r2", "e3": "r3"}
    names = {"e1": "a", "e2": "b", "e3": "a"}
    await write(store, *(SaveEvent(event(id, names[id])) for id in places))
    await write(store, *(SaveEvent(event(id, names[id]), place_of(run_id)) for id, run_id in places.items()))

    assert await store.read(EventNames((("r1", "e1"), ("r1", "e1"), ("r2", "e2"), ("r3", "gone")))) == {
        "e1": "a",
        "e2": "b",
    }
    assert await store.read(EventNames(())) == {}


async def test_what_became_of_many_events_is_two_questions(store: Store):
    """Of an event its own runs, and those that hold it in a batch, each once; and none of what they gave."""
    await write(store, *(SaveEvent(event(id)) for id in ("e1", "e2", "e3", "e4")))
    await write(
        store,
        *(CreateRun(run(id, event_id)) for id, event_id in (("r2", "e1"), ("r1", "e1"), ("r3", "e2"))),
        HoldEvent("r3", 0, "e2"),
        HoldEvent("r3", 1, "e3"),
        FinishRun("r1", "COMPLETED", 30, b'"long"'),
        *(SaveOutcome(outcome(event_id, id)) for event_id, id in (("e1", "g"), ("e1", "f"), ("e4", "f"))),
    )
    ids = ("e1", "e2", "e3", "e4", "e5", "e1")

    runs = await store.read(RunsOfEvents(ids))
    outcomes = await store.read(OutcomesOfEvents(ids))

    assert {id: [one.id for one in some] for id, some in runs.items()} == {
        "e1": ["r1", "r2"],
        "e2": ["r3"],
        "e3": ["r3"],
    }
    assert [(one.status, one.output) for one in runs["e1"]] == [("COMPLETED", None), ("QUEUED", None)]
    assert {id: [one.function_id for one in some] for id, some in outcomes.items()} == {"e1": ["f", "g"], "e4": ["f"]}
    assert await store.read(RunsOfEvents(())) == await store.read(OutcomesOfEvents(())) == {}


async def test_many_events_are_one_question(store: Store):
    await write(store, SaveEvent(event("e1", "a")), SaveEvent(event("e1", "a"), place_of("r1")))
    await write(store, SaveEvent(event("e2", "b")), SaveEvent(event("e2", "b"), place_of("r2")))

    found = await store.read(EventsOfRuns((("r1", "e1"), ("r1", "e1"), ("r2", "e2"), ("r3", "gone"))))

    assert found == {"e1": event("e1", "a"), "e2": event("e2", "b")}
    assert await store.read(EventsOfRuns(())) == {}


async def test_a_run_finds_its_reruns(store: Store):
    await write(store, CreateRun(run("r1")), CreateRun(run("r3", original="r1")), CreateRun(run("r2", original="r1")))
    await write(store, CreateRun(run("r4", original="r2")), CreateRun(run("r5")))

    assert await store.read(Reruns("r1")) == ["r2", "r3"]
    assert await store.read(Reruns("r5")) == []


async def test_an_order_is_kept_with_how_far_it_has_come(store: Store):
    first, second, other = order("c1"), order("c2"), order("c3", "replay")
    wanted = replace(first.what, condition="event.data.n == 1", created_after=3, limit=1, period_ms=9, name="n")
    first = replace(first, what=wanted)
    further = replace(first, stage=1, position="r7", examined=5, done=2, skipped=1, ended_at=40, aborted=True)
    await write(store, SaveOrder(first), SaveOrder(second), SaveOrder(other), SaveOrder(further))

    assert await store.read(GetOrder("c1")) == further
    assert await store.read(ListOrders("cancel", 9)) == [second, further]
    assert await store.read(ListOrders("cancel", 9, before="c2")) == [further]
    assert await store.read(ListOrders("replay", 9)) == [other]

    await write(store, DropOrder("c1"), DropOrder("c1"))

    assert await store.read(GetOrder("c1")) is None


async def test_retention_forgets_orders_that_are_done(store: Store):
    old, open_one = order("c1", ended_at=5), order("c2")
    await write(store, SaveOrder(old), SaveOrder(open_one))

    await store.sweep(6, 10)

    assert await store.read(ListOrders("cancel", 9)) == [open_one]


async def test_runs_of_a_function_come_by_their_ids_without_what_they_gave(store: Store):
    made = [run(f"r{n}", function_id="shop-bill" if n % 2 else "shop-other", output=b"1") for n in range(8)]
    await write(store, *map(CreateRun, made))

    found = await store.read(RunsOfFunction("shop-bill", "r1", "r7", 9))

    assert [(each.id, each.output) for each in found] == [("r3", None), ("r5", None)]
    assert await _ids(store, RunsOfFunction("shop-bill", "", "\x7f", 2)) == ["r1", "r3"]


async def test_what_a_pause_or_a_drain_skipped_is_found_by_when_that_was(store: Store):
    made = [
        outcome("e2", kind="paused", at=10),
        outcome("e1", kind="paused", at=10),
        outcome("e3", kind="drained", at=30),
        outcome("e4", kind="rate-limited", at=20),
        outcome("e5", function_id="shop-other", kind="paused", at=20),
    ]
    await write(store, *map(SaveOutcome, made))

    async def found(after: int, event: str, before: int, limit: int = 9) -> list[str]:
        return [one.event_id for one in await store.read(SkippedEvents("shop-bill", after, event, before, limit))]

    assert await found(0, "", 99) == ["e1", "e2", "e3"]
    assert await found(10, "", 99) == ["e1", "e2", "e3"]
    assert await found(10, "e1", 99, 1) == ["e2"]
    assert await found(10, "e2", 29) == []

    await write(store, DropOutcome("e1", "shop-bill"), DropOutcome("e1", "shop-bill"))
    assert await found(0, "", 29) == ["e2"]
