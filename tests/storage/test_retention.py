"""Conformance: what is forgotten, and what is not."""

from __future__ import annotations

from stepwell.model.changes import (
    CreateRun,
    Enqueue,
    FinishRun,
    HoldEvent,
    OpenWait,
    PutCell,
    SaveAttempt,
    SaveEvent,
    SaveLogs,
    SaveNote,
    SaveOutcome,
    SaveRequest,
    SaveStep,
    TakeSlots,
)
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import (
    Attempts,
    CountSlots,
    GetCell,
    GetEvent,
    GetLogs,
    GetRequest,
    GetRun,
    GetSteps,
    GetWaits,
    ListRuns,
    Notes,
    Outcomes,
    RunItems,
)
from stepwell.storage.interface import Store, Swept
from tests.storage.nouns import (
    PLACE,
    attempt,
    cell,
    count,
    event,
    item,
    logged,
    near,
    note,
    outcome,
    request,
    run,
    step,
    wait,
    write,
)


async def test_an_old_run_goes_with_all_that_belongs_to_it(store: Store):
    for run_id in ("r1", "r10"):
        await write(
            store,
            CreateRun(run(run_id, event_id=f"e-{run_id}")),
            SaveStep(step(run_id=run_id)),
            SaveAttempt(attempt(run_id=run_id)),
            SaveNote(note(run_id=run_id)),
            SaveLogs(logged(run_id=run_id)),
            OpenWait(wait(run_id=run_id)),
            SaveRequest(request(run_id=run_id)),
            Enqueue(item(run_id)),
            Enqueue(item(f"{run_id}/start", run_id=run_id)),
            TakeSlots(("k",), run_id),
        )
    await write(store, FinishRun("r1", "COMPLETED", 50), FinishRun("r10", "COMPLETED", 100))

    assert await store.sweep(100, 10) == Swept(runs=1, events=0, more=False)

    for run_id, left in (("r1", 0), ("r10", 1)):
        assert (await store.read(GetRun(run_id)) is not None) == bool(left)
        for question in (GetSteps(run_id), Attempts(run_id), Notes(run_id), GetLogs(run_id), GetWaits(run_id)):
            assert await count(store, question) == left
        assert await count(store, RunItems(run_id)) == 2 * left
        assert (await store.read(GetRequest(run_id, "s1")) is not None) == bool(left)
    assert await store.read(CountSlots("k", EVERYWHERE)) == 1


async def test_a_run_that_has_not_ended_stays_however_old_it_is(store: Store):
    await write(store, CreateRun(run(at=1)))

    await store.sweep(1 << 50, 10)

    assert await store.read(GetRun("r1")) is not None


async def test_an_old_event_goes_with_its_outcomes_unless_a_run_refers_to_it(store: Store):
    used = near("E1")
    await write(
        store,
        SaveEvent(event("old")),
        SaveOutcome(outcome("old")),
        SaveEvent(event(used)),
        SaveOutcome(outcome(used)),
        CreateRun(run(near("R1"), event_id=used)),
        SaveEvent(event("young", at=100)),
    )

    assert await store.sweep(100, 10) == Swept(runs=0, events=1, more=False)

    assert await store.read(GetEvent("old")) is None
    assert await store.read(Outcomes("old")) == []
    assert await store.read(GetEvent(used)) is not None
    assert await count(store, Outcomes(used)) == 1
    assert await store.read(GetEvent("young")) is not None


async def test_the_event_of_a_run_goes_with_the_run(store: Store):
    await write(store, SaveEvent(event()), CreateRun(run()), FinishRun("r1", "COMPLETED", 50))

    assert await store.sweep(100, 10) == Swept(runs=1, events=1, more=False)


async def test_cells_go_once_they_have_expired_even_if_runs_are_kept(store: Store):
    await write(store, PutCell(cell("old", expires_at=50), PLACE), PutCell(cell("young", expires_at=51), PLACE))

    await store.sweep(0, 10, now=50)

    assert await store.read(GetCell("old", 0, PLACE)) is None
    assert await store.read(GetCell("young", 0, PLACE)) is not None


async def test_a_round_has_a_limit_and_says_if_there_is_more(store: Store):
    for number in range(5):
        await write(
            store,
            CreateRun(run(near(f"R{number}"), event_id=f"e{number}")),
            FinishRun(near(f"R{number}"), "COMPLETED", 50 - number),
        )

    assert await store.sweep(100, 2) == Swept(runs=2, events=0, more=True)
    assert [left.id for left in await store.read(ListRuns(10))] == [near("R2"), near("R1"), near("R0")]
    assert await store.sweep(100, 2) == Swept(runs=2, events=0, more=True)
    assert await store.sweep(100, 2) == Swept(runs=1, events=0, more=False)
    assert await store.sweep(100, 2) == Swept(runs=0, events=0, more=False)


async def test_a_round_takes_fewer_runs_if_they_have_many_steps_but_never_a_part_of_one(store: Store):
    for number in range(4):
        run_id = near(f"R{number}")
        await write(
            store,
            CreateRun(run(run_id, event_id="e")),
            *(SaveStep(step(f"s{place}", run_id)) for place in range(8 if number < 2 else 30)),
            FinishRun(run_id, "COMPLETED", 50 + number),
        )

    rounds: list[tuple[int, bool]] = []
    left: list[list[int]] = []
    while not rounds or rounds[-1][1]:
        swept = await store.sweep(100, 4)  # 20 rows
        rounds.append((swept.runs, swept.more))
        left.append([await count(store, GetSteps(near(f"R{number}"))) for number in range(4)])

    assert rounds == [(2, True), (1, True), (1, False)]
    assert left == [[0, 0, 30, 30], [0, 0, 0, 30], [0, 0, 0, 0]]


async def test_what_has_to_stay_does_not_keep_a_pass_from_what_is_behind_it(store: Store):
    for number in range(10):
        event_id = near(f"E{number}")
        await write(store, SaveEvent(event(event_id, at=number)))
        if number < 9:
            await write(store, CreateRun(run(near(f"R{number}"), event_id=event_id)))

    passes = [await _whole_pass(store, 2), await _whole_pass(store, 2)]

    assert [(len(rounds), sum(each.events for each in rounds)) for rounds in passes] == [(6, 1), (5, 0)]
    assert await store.read(GetEvent(near("E9"))) is None
    assert await store.read(GetEvent(near("E0"))) is not None


async def test_an_event_that_had_to_stay_goes_with_the_last_run_that_kept_it(store: Store):
    kept, held = near("E1"), near("E2")
    await write(
        store,
        SaveEvent(event(kept, at=1)),
        SaveEvent(event(held, at=2)),
        CreateRun(run(near("R1"), event_id=kept)),
        CreateRun(run(near("R2"), event_id=kept)),
        HoldEvent(near("R2"), 0, held),
        FinishRun(near("R1"), "COMPLETED", 50),
    )
    assert [(each.runs, each.events) for each in await _whole_pass(store, 10)] == [(1, 0)]

    await write(store, FinishRun(near("R2"), "COMPLETED", 60))

    assert [(each.runs, each.events) for each in await _whole_pass(store, 10)] == [(1, 2)]


async def _whole_pass(store: Store, limit: int) -> list[Swept]:
    rounds: list[Swept] = []
    while not rounds or rounds[-1].more:
        rounds.append(await store.sweep(100, limit))
        assert len(rounds) < 100, "it looks at the same rows again and again"
    return rounds
