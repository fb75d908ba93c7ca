"""Conformance: events, runs, steps and what is remembered about them."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.limits import FUNCTION_VERSIONS_KEPT
from stepwell.model.changes import (
    ArchiveFunction,
    CreateRun,
    FinishRun,
    GiveOrder,
    PauseFunction,
    SaveAttempt,
    SaveEvent,
    SaveFunction,
    SaveLogs,
    SaveNote,
    SaveOutcome,
    SaveStep,
    SettleStep,
    StartRun,
    WithdrawOrder,
)
from stepwell.model.function import FunctionVersion
from stepwell.model.pause import Pause
from stepwell.model.place import place_of
from stepwell.model.questions import (
    Attempts,
    FunctionVersions,
    GetEvent,
    GetLogs,
    GetRun,
    GetStep,
    GetSteps,
    ListFunctions,
    ListStandingOrders,
    LoadRuns,
    LoggedBytes,
    Notes,
    Outcomes,
    RegistryStamp,
    StoredFunction,
)
from stepwell.model.run import Run
from stepwell.model.standing import StandingOrder
from stepwell.model.step import Step
from stepwell.storage.interface import Store
from tests.storage.nouns import attempt, event, function, logged, note, outcome, run, step, write


async def test_an_event_is_remembered_with_all_its_fields(store: Store):
    sent = event(data=b'{"a":1}', key="mine", v="2", user=b'{"id":1}', meta=b"{}", source="cron")

    await write(store, SaveEvent(sent))

    assert await store.read(GetEvent("e1")) == sent
    assert await store.read(GetEvent("e2")) is None


async def test_an_event_with_a_known_id_is_ignored(store: Store):
    await write(store, SaveEvent(event(data=b"1")))

    await write(store, SaveEvent(event(data=b"2")))

    found = await store.read(GetEvent("e1"))
    assert found is not None
    assert found.data == b"1"


async def test_a_second_outcome_of_the_same_pair_is_ignored(store: Store):
    await write(store, SaveOutcome(outcome(kind="idempotent")))

    await write(store, SaveOutcome(outcome(kind="loop")), SaveOutcome(outcome(function_id="other")))

    assert await store.read(Outcomes("e1")) == [outcome(function_id="other"), outcome(kind="idempotent")]


async def test_a_run_is_remembered_with_all_its_fields(store: Store):
    full = run(
        status="FAILED",
        function_version=3,
        started_at=11,
        ended_at=12,
        output=b"{}",
        reason="tired",
        parent="r0",
        parent_step="s0",
        depth=2,
        slots=("a", 'quote " and é'),
        guarded=True,
        cron="* * * * *",
        original="r00",
    )

    await write(store, CreateRun(full), CreateRun(run("r2")))

    assert await store.read(GetRun("r1")) == full
    assert await store.read(GetRun("r2")) == run("r2")
    assert await store.read(GetRun("r3")) is None


async def test_starting_makes_a_queued_run_running(store: Store):
    await write(store, CreateRun(run()), StartRun("r1", 30))

    found = await _run(store)
    assert (found.status, found.started_at) == ("RUNNING", 30)


async def test_starting_does_nothing_to_a_run_that_is_not_queued(store: Store):
    await write(store, CreateRun(run()), StartRun("r1", 30), FinishRun("r1", "CANCELLED", 40))

    await write(store, StartRun("r1", 50))

    found = await _run(store)
    assert (found.status, found.started_at) == ("CANCELLED", 30)


async def test_finishing_writes_the_end_of_a_run(store: Store):
    await write(store, CreateRun(run()), FinishRun("r1", "FAILED", 40, b'{"e":1}', "why"))

    found = await _run(store)
    assert (found.status, found.ended_at, found.output, found.reason) == ("FAILED", 40, b'{"e":1}', "why")


async def test_a_run_that_has_ended_is_not_ended_again(store: Store):
    await write(store, CreateRun(run()), FinishRun("r1", "COMPLETED", 40, b"1"))

    await write(store, FinishRun("r1", "CANCELLED", 50, None, "too late"))

    found = await _run(store)
    assert (found.status, found.ended_at, found.output, found.reason) == ("COMPLETED", 40, b"1", None)


async def test_a_step_is_remembered_with_all_its_fields(store: Store):
    full = step(repeat=2, position=3, attempt=1, started_at=15, due=99, output=b"1", details=b"{}")

    await write(store, SaveStep(full))

    assert await store.read(GetStep("r1", "s1")) == full
    assert await store.read(GetStep("r1", "s2")) is None


async def test_steps_come_in_the_order_in_which_they_were_first_seen(store: Store):
    await write(store, SaveStep(step("z", status="SLEEPING")), SaveStep(step("a")), SaveStep(step("m")))

    await write(store, SaveStep(step("z", output=b"awake")), SaveStep(step("other", run_id="r2")))

    found = await store.read(GetSteps("r1"))
    assert [(each.id, each.output) for each in found] == [("z", b"awake"), ("a", None), ("m", None)]


async def test_an_open_step_is_replaced(store: Store):
    await write(store, SaveStep(step(status="ERRORED", attempt=0, due=50)))

    await write(store, SaveStep(step(attempt=1, output=b"1", position=1)))

    assert await _step(store) == step(attempt=1, output=b"1", position=1)


async def test_a_result_is_never_replaced(store: Store):
    await write(store, SaveStep(step(output=b"1")))

    await write(store, SaveStep(step(output=b"2")), SaveStep(step(status="ERRORED")))

    assert await _step(store) == step(output=b"1")


async def test_settling_gives_an_open_step_its_result_and_the_next_position(store: Store):
    await write(store, SaveStep(step("s0", position=4)), SaveStep(step(status="WAITING", due=50, details=b"old")))

    await write(store, SettleStep("r1", "s1", "COMPLETED", 45, b"1"))

    found = await _step(store)
    assert (found.status, found.ended_at, found.output, found.position) == ("COMPLETED", 45, b"1", 5)
    assert found.details == b"old"


async def test_who_knows_the_position_gives_it(store: Store):
    await write(store, SaveStep(step("s0", position=4)), SaveStep(step(status="WAITING", due=50)))

    await write(store, SettleStep("r1", "s1", "COMPLETED", 45, b"1", position=7))

    assert (await _step(store)).position == 7


async def test_the_first_position_is_one(store: Store):
    await write(store, SaveStep(step(status="WAITING")), SettleStep("r1", "s1", "TIMED_OUT", 45))

    assert (await _step(store)).position == 1


async def test_settling_replaces_the_details_if_they_are_given(store: Store):
    await write(store, SaveStep(step(status="WAITING", details=b"old")))

    await write(store, SettleStep("r1", "s1", "COMPLETED", 45, details=b"new"))

    assert (await _step(store)).details == b"new"


async def test_a_step_is_settled_once(store: Store):
    await write(store, SaveStep(step(status="WAITING")), SettleStep("r1", "s1", "COMPLETED", 45, b"1"))

    await write(store, SettleStep("r1", "s1", "TIMED_OUT", 46), SettleStep("r1", "unknown", "TIMED_OUT", 46))

    found = await _step(store)
    assert (found.status, found.ended_at, found.output) == ("COMPLETED", 45, b"1")


async def test_attempts_come_oldest_first_and_a_second_one_with_a_number_replaces_the_first(store: Store):
    await write(
        store, SaveAttempt(attempt(1)), SaveAttempt(attempt(0)), SaveAttempt(attempt(0, step_id="", ended_at=9))
    )

    await write(store, SaveAttempt(attempt(1, error=b"again", retry_at=70)), SaveAttempt(attempt(0, run_id="r2")))

    assert await store.read(Attempts("r1")) == [
        attempt(0, step_id="", ended_at=9),
        attempt(0),
        attempt(1, error=b"again", retry_at=70),
    ]


async def test_notes_come_in_the_order_in_which_they_were_written(store: Store):
    await write(store, SaveNote(note("b", at=20)), SaveNote(note("a", at=10)), SaveNote(note("c", run_id="r2")))

    assert await store.read(Notes("r1")) == [note("b", at=20), note("a", at=10)]


async def test_what_was_logged_comes_in_the_order_in_which_it_was_said_and_a_report_is_kept_once(store: Store):
    later, second = logged(30, name="charge"), logged(20, position=2, step_id="s2")
    await write(store, SaveLogs(later), SaveLogs(second), SaveLogs(logged(20)), SaveLogs(logged(run_id="r2")))

    another = msgspec.structs.replace(later, position=9)  # in the same millisecond
    await write(store, SaveLogs(msgspec.structs.replace(later, lines=b"[]", dropped=9)), SaveLogs(another))

    assert await store.read(GetLogs("r1")) == [logged(20), second, later, another]
    assert await store.read(LoggedBytes("r1")) == 4 * len(later.lines)
    assert await store.read(LoggedBytes("r3")) == 0


async def test_registering_a_function_again_replaces_its_configuration(store: Store):
    await write(store, SaveFunction(function(config=b"1"), 10), ArchiveFunction("shop-bill", 20))

    await write(store, SaveFunction(function(config=b"2", version=2), 30))

    assert await store.read(ListFunctions()) == [
        StoredFunction(id="shop-bill", app_id="shop", config=b"2", version=2, updated_at=30)
    ]


async def test_each_configuration_of_a_function_is_kept_with_the_moment_at_which_it_came(store: Store):
    await write(store, SaveFunction(function(config=b"1"), 10, "py:v1", "é"), SaveFunction(function("shop-b"), 10))
    await write(store, ArchiveFunction("shop-bill", 20), SaveFunction(function(config=b"1"), 25, "py:v2", "b"))
    await write(store, SaveFunction(function(config=b"2", version=2), 30))

    first = _version(1, b"1", 10, sdk="py:v1", app_version="é")
    assert await store.read(FunctionVersions("shop-bill", 9)) == [_version(2, b"2", 30), first]
    assert await store.read(FunctionVersions("shop-bill", 1)) == [_version(2, b"2", 30)]
    assert [each.function_id for each in await store.read(FunctionVersions("shop-b", 9))] == ["shop-b"]
    assert await store.read(FunctionVersions("shop-none", 9)) == []


async def test_the_newest_configurations_of_a_function_are_kept_whatever_others_have(store: Store):
    newest = FUNCTION_VERSIONS_KEPT + 3
    saved = [SaveFunction(function(config=b"%d" % each, version=each), each) for each in range(1, newest + 1)]
    await write(store, SaveFunction(function("shop-b"), 1), *saved[:-1])
    await write(store, saved[-1])

    kept = await store.read(FunctionVersions("shop-bill", 1_000))
    assert [each.version for each in kept] == list(range(newest, 3, -1))
    assert kept[-1] == _version(4, b"4", 4)
    assert len(await store.read(FunctionVersions("shop-b", 9))) == 1


def _version(version: int, config: bytes, at: int, **more: Any) -> FunctionVersion:
    return FunctionVersion(function_id="shop-bill", version=version, config=config, registered_at=at, **more)


async def test_a_pause_stays_until_it_is_ended_whatever_is_registered(store: Store):
    pause = Pause(since=20, events="hold", reason="é")
    await write(store, SaveFunction(function("a"), 10), SaveFunction(function("b"), 10), PauseFunction("a", pause))
    await write(store, SaveFunction(function("a", config=b"2"), 30), ArchiveFunction("a", 40))

    found = await store.read(ListFunctions(archived=True))
    assert [(each.id, each.pause) for each in found] == [("a", pause), ("b", None)]
    await write(store, PauseFunction("a", None))
    assert [each.pause for each in await store.read(ListFunctions(archived=True))] == [None, None]


async def test_an_order_stands_until_it_is_withdrawn(store: Store):
    drain = StandingOrder(kind="drain", target="", since=10, reason="é")
    pause = StandingOrder(kind="pause", target="app/shop", since=10, pause=Pause(since=10, runs="hold"))
    await write(store, GiveOrder(pause), GiveOrder(msgspec.structs.replace(drain, since=5)), GiveOrder(drain))
    assert await store.read(ListStandingOrders()) == [drain, pause]

    await write(store, WithdrawOrder("drain", "app/shop"), WithdrawOrder("drain", ""))
    assert await store.read(ListStandingOrders()) == [pause]


async def test_an_archived_function_is_listed_only_when_asked_for(store: Store):
    await write(store, SaveFunction(function("b"), 10), SaveFunction(function("a"), 10), ArchiveFunction("b", 20))

    assert [f.id for f in await store.read(ListFunctions())] == ["a"]
    assert [(f.id, f.archived_at) for f in await store.read(ListFunctions(archived=True))] == [("a", None), ("b", 20)]


async def test_the_registry_stamp_grows_with_each_registration_also_within_one_moment(store: Store):
    stamps = [await store.read(RegistryStamp())]
    for change in (
        SaveFunction(function("a"), 10),
        SaveFunction(function("b"), 10),
        SaveFunction(function("a"), 10),
        ArchiveFunction("b", 10),
        PauseFunction("a", Pause(since=10)),
        PauseFunction("a", None),
        GiveOrder(StandingOrder(kind="drain", target="", since=10)),
        WithdrawOrder("drain", ""),
    ):
        await write(store, change)
        stamps.append(await store.read(RegistryStamp()))

    assert stamps == sorted(set(stamps))


async def test_text_of_any_language_and_bytes_of_any_value_come_back_as_they_were(store: Store):
    odd = "naïve ünïcödé \u0000 \U0001f600 '; DROP TABLE runs; --"
    everything = bytes(range(256))

    await write(store, SaveEvent(event(name=odd, key=odd, data=everything)), CreateRun(run(reason=odd)))

    assert await store.read(GetEvent("e1")) == event(name=odd, key=odd, data=everything)
    assert (await _run(store)).reason == odd


async def _run(store: Store) -> Run:
    found = await store.read(GetRun("r1"))
    assert found is not None
    return found


async def _step(store: Store) -> Step:
    found = await store.read(GetStep("r1", "s1"))
    assert found is not None
    return found


async def test_many_runs_are_loaded_at_once_each_with_its_event_and_steps(store: Store):
    await write(store, SaveEvent(event("e1")), SaveEvent(event("e2")))
    await write(store, SaveEvent(event("e1"), place_of("r1")), SaveEvent(event("e2"), place_of("r2")))
    await write(store, CreateRun(run("r1", "e1")), CreateRun(run("r2", "e2")), CreateRun(run("r3", "gone")))
    await write(store, SaveStep(step("s2", "r1")), SaveStep(step("s1", "r1")), SaveStep(step("s1", "r2")))

    found = await store.read(LoadRuns(("r1", "r3", "r2", "unknown")))

    assert {run_id: [one.id for one in loaded.steps] for run_id, loaded in found.items()} == {
        "r1": ["s2", "s1"],
        "r2": ["s1"],
        "r3": [],
    }
    assert [found[run_id].event for run_id in ("r1", "r2", "r3")] == [event("e1"), event("e2"), None]
    assert found["r2"].run == run("r2", "e2")
