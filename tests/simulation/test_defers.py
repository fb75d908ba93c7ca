"""Functions that are put off, in imagined worlds: beside those that a seed makes up, and with bugs planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest

from stepwell.engine import deferral, intake, progress
from stepwell.ops import DeferAbort
from stepwell.testing.plans import Plan, make_plan
from stepwell.testing.programs import Do, Fork, Nap, PutOff, Spec, Stumble, TakeBack
from stepwell.testing.world import Report, World

SEEDS = 40
LATER = Spec(id="later", put_off=True, program=(Do("print", fails=("error",)), Nap("nap", 5_000)))
ALSO = Spec(id="also", put_off=True, program=(Do("print"),))
PROGRAMS = {
    "rests": (PutOff("one", "later"), Do("a"), Nap("nap", 60_000), PutOff("two", "also"), Do("b", takes_ms=3_000)),
    "takes-back": (PutOff("one", "later"), Do("a"), Nap("nap", 5_000), TakeBack("one"), PutOff("two", "also"), Do("b")),
    "fails": (PutOff("one", "later"), Do("a"), Stumble("own", 9), Do("b")),
    "branches": (PutOff("one", "also"), Fork(branches=((Do("a"), Nap("nap", 5_000)), (Do("b", takes_ms=3_000),)))),
}


def with_defers(plan: Plan) -> Plan:
    """The plan, whose events also start runs that put functions off."""
    added = [
        Spec(id=id, event=f"e/{number % 3}", program=program, cancel_on="e/3")
        for number, (id, program) in enumerate(PROGRAMS.items())
    ]
    return msgspec.structs.replace(plan, functions=(*plan.functions, LATER, ALSO, *added))


@cache
def play(seed: int) -> Report:
    return World(with_defers(make_plan(seed))).play()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_put_off_starts_once_at_the_end_of_its_run(seed: int) -> None:
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_runs_that_put_something_off_end_in_every_way() -> None:
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        reached.update(play(seed).reached)

    ends = {f"put off COMPLETED, run {status}" for status in ("COMPLETED", "FAILED", "CANCELLED")}
    assert reached.keys() >= {*ends, "put off ABORTED, run COMPLETED", "put off: run", "put off: paused"}


def knows_only_what_it_says_itself(patch: pytest.MonkeyPatch) -> None:
    def deferred(draft: Any, run: Any) -> Any:
        return [step for step in draft.put_off.get(run.id, {}).values() if step.open]
        yield

    patch.setattr(intake, "deferred", deferred)


def does_not_hear_that_it_was_taken_back(patch: pytest.MonkeyPatch) -> None:
    real = deferral.put_off

    def put_off(draft: Any, op: Any, turn: Any) -> Any:
        if isinstance(op, DeferAbort) and op.target in {step_id.removeprefix("defer/") for step_id in turn.defers}:
            return turn.defers[f"defer/{op.target}"]
        return (yield from real(draft, op, turn))

    patch.setattr(progress, "put_off", put_off)


def starts_it_and_does_not_say_so(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake, "settle", lambda *_: None)


def thinks_that_there_is_nothing_if_it_was_not_told(patch: pytest.MonkeyPatch) -> None:
    real = progress.finish

    def finish(*given: Any, **named: Any) -> None:
        real(*given, **named | {"deferred": False})

    patch.setattr(progress, "finish", finish)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    knows_only_what_it_says_itself,
    does_not_hear_that_it_was_taken_back,
    starts_it_and_does_not_say_so,
    thinks_that_there_is_nothing_if_it_was_not_told,
]


@pytest.mark.parametrize("plant", BUGS)
def test_worlds_find_an_engine_that(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    assert any(World(with_defers(make_plan(seed))).play().violations for seed in range(SEEDS))
