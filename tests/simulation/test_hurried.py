"""People who do not want to wait, in imagined worlds: they end sleeps, and have attempts made now (semantics §9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest

from stepwell.engine import operator
from stepwell.model.changes import SaveNote, SettleStep, Wake
from stepwell.storage.sqlite import changes as sqlite
from stepwell.testing.plans import Action, Plan, make_plan
from stepwell.testing.programs import Do, Fork, Nap, Spec, Stumble
from stepwell.testing.world import Report, World

SEEDS = 40
HOUR_MS = 3_600_000
FAILS = Do("a", fails=("error", "after", "error"))
PROGRAMS = {
    "rests": (Nap("one", HOUR_MS), Do("a"), Fork(branches=((Nap("two", HOUR_MS), Do("b")), (Nap("three", 60_000),)))),
    "fails": (FAILS, Stumble("own", 2), Nap("nap", HOUR_MS), Stumble("again", 1)),
    "works": (Fork(branches=((FAILS,), (Do("b", takes_ms=45_000),), (Nap("nap", 60_000), Stumble("own", 1)))),),
}


def with_hurry(plan: Plan) -> Plan:
    """The plan, with runs that rest and fail, and people who hurry them between its actions."""
    random = Random(f"hurry {plan.seed}")
    added = [
        Spec(id=id, event=f"e/{number}", program=program, retries=3, limit=random.choice((0, 0, 1)))
        for number, (id, program) in enumerate(PROGRAMS.items())
    ]
    actions: list[Action] = []
    for action in plan.actions:
        actions.append(action)
        for _ in range(random.choice((0, 1, 2, 4))):
            after, kind = random.choice((0, 1, 40, 900, 5_000, 31_000)), random.choice(("retry", "skip"))
            actions.append(Action(kind=kind, after_ms=after, pick=random.random()))
    return msgspec.structs.replace(plan, functions=(*plan.functions, *added), actions=tuple(actions))


@cache
def play(seed: int, shards: int = 1) -> Report:
    return World(with_hurry(make_plan(seed, shards))).play()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_hurried_goes_on_at_once_and_nothing_else_does(seed: int) -> None:
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


@pytest.mark.parametrize("seed", range(10))
def test_so_it_does_in_a_store_with_several_shards_whose_decisions_overlap(seed: int) -> None:
    report = play(seed, 4 if seed % 2 else 16)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_people_hurry_what_waits_and_what_does_not() -> None:
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        reached.update(play(seed).reached)

    found = {f"{which} {what} by a person" for which in ("one", "all") for what in ("retried", "skipped")}
    nothing = {"nothing to be retried", "nothing to be skipped"}
    assert reached.keys() >= {*found, *nothing, "sleep skipped", "step retried now", "code retried now"}


def _changed(patch: pytest.MonkeyPatch, name: str, alter: Callable[[Any], Any]) -> None:
    """What this operator writes is altered; ``None`` is not written."""
    real = getattr(operator, name)

    def decide(draft: Any, *given: Any) -> Any:
        decision = yield from real(draft, *given)
        changes = tuple(new for change in decision.changes if (new := alter(change)) is not None)
        return msgspec.structs.replace(decision, changes=changes)

    patch.setattr(operator, name, decide)


def says_nothing_of_a_sleep_that_is_skipped(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, "skip_sleep", lambda change: None if isinstance(change, SaveNote) else change)


def does_not_wake_who_sleeps(patch: pytest.MonkeyPatch) -> None:
    _changed(patch, "skip_sleep", lambda change: None if isinstance(change, Wake) else change)


def ends_the_sleeps_beside_it(patch: pytest.MonkeyPatch) -> None:
    real = operator.skip_sleep

    def skip_sleep(draft: Any, run_id: str, step: str | None = None) -> Any:
        decision = yield from real(draft, run_id)
        settled = [change.step_id for change in decision.changes if isinstance(change, SettleStep)]
        if step is None:
            return decision
        if step not in settled:
            return msgspec.structs.replace(decision, changes=())
        kept = decision.result.value[settled.index(step)]
        text = f"a person ended the sleep {kept!r} before its time"
        changes = tuple(
            SaveNote(msgspec.structs.replace(change.note, text=text)) if isinstance(change, SaveNote) else change
            for change in decision.changes
        )
        return msgspec.structs.replace(decision, changes=changes)

    patch.setattr(operator, "skip_sleep", skip_sleep)


def calls_the_code_again_as_soon_as_anything_happens(patch: pytest.MonkeyPatch) -> None:
    text, row = sqlite._WRITE[Wake]
    assert "(attempt > 0 OR losses > 0)" in text
    patch.setitem(sqlite._WRITE, Wake, (text.replace("(attempt > 0 OR losses > 0)", "losses > 0"), row))  # type: ignore[index]


def does_not_say_that_the_code_was_meant(patch: pytest.MonkeyPatch) -> None:
    def alter(change: Any) -> Any:
        if not isinstance(change, SaveNote):
            return change
        return SaveNote(msgspec.structs.replace(change.note, text=change.note.text.replace("the function's", "its")))

    _changed(patch, "retry_now", alter)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    says_nothing_of_a_sleep_that_is_skipped,
    does_not_wake_who_sleeps,
    ends_the_sleeps_beside_it,
    calls_the_code_again_as_soon_as_anything_happens,
    does_not_say_that_the_code_was_meant,
]


@pytest.mark.parametrize("plant", BUGS)
def test_worlds_find_an_engine_that(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    played = (World(with_hurry(make_plan(seed))).play().violations for seed in range(SEEDS))
    found = next(filter(None, played), ())

    assert {violation.rule for violation in found} & {"I11", "I15"}, found
