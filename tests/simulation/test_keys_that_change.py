"""Limits that count by another key while runs wait: those keep the keys that they were given (semantics §3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest

from stepwell.engine import pressure, progress, registration, releasing
from stepwell.flow import limit
from stepwell.testing.limits import Limits
from stepwell.testing.plans import Action, Plan, make_plan
from stepwell.testing.programs import KEYS, Do, Nap, Rate, Rules, Spec
from stepwell.testing.world import Report, World

SEEDS = 12
PROGRAM = (Do("a", takes_ms=20_000, fails=("error",)), Nap("nap", 5_000), Do("b", takes_ms=3_000))
SPECS = (
    Spec(id="whole", event="e/0", program=PROGRAM, limit=1),
    Spec(id="keyed", event="e/0", program=PROGRAM, limit=1, keyed=True),
    Spec(id="both", event="e/1", program=PROGRAM, limit=1, keyed=True, second_limit=2),
    Spec(id="shares", event="e/1", program=PROGRAM, limit=1, shared_limit=2),
    Spec(id="runs", event="e/2", program=PROGRAM, limit=1, keyed=True, rules=Rules(runs_max=2)),
    Spec(id="turns", event="e/2", program=PROGRAM, limit=2, rules=Rules(throttle=Rate(1, 5_000), keyed=True)),
)


def with_new_keys(plan: Plan) -> Plan:
    """The plan, with functions whose limits get other keys soon after many events have come for them at once."""
    random = Random(f"keys {plan.seed}")
    functions = (*plan.functions, *SPECS)
    actions = [action for action in plan.actions if action.kind != "depose"]  # as with all that is deployed
    for _ in range(random.randint(3, 6)):
        place, at = random.randrange(len(plan.functions), len(functions)), random.randint(0, len(actions))
        event, key = functions[place].event or "", random.choice(KEYS)
        burst = Action(kind="send", after_ms=random.choice((0, 900, 31_000)), event=event, key=key, copies=4)
        pick = (place + random.random()) / len(functions)
        actions[at:at] = [burst, Action(kind="limit", after_ms=random.choice((0, 40, 5_000)), pick=pick)]
    return msgspec.structs.replace(plan, functions=functions, actions=tuple(actions))


@cache
def play(seed: int) -> Report:
    return World(with_new_keys(make_plan(seed))).play()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_waits_under_an_old_key_goes_by_the_limit_that_there_is_now(seed: int) -> None:
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_keys_change_while_runs_wait_for_room() -> None:
    reached: Counter[str] = Counter()
    for seed in range(SEEDS):
        reached.update(play(seed).reached)

    assert reached["keys changed"] >= SEEDS // 2
    assert reached.keys() >= {"blocked by a limit"}


def limits_nobody_who_has_an_old_key(patch: pytest.MonkeyPatch) -> None:
    def pairs(keys: Any, limits: Any, function_id: str) -> Any:
        made = [(key, each) for key in keys for each in limits if limit._makes(each.prefix(function_id), key)]
        return [next(one for one in made if one[0] == key) for key in keys if key in dict(made)]

    for module in (pressure, progress, releasing):
        patch.setattr(module, "pairs", pairs)


def does_not_look_at_who_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registration, "review", lambda *_: None)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [limits_nobody_who_has_an_old_key, does_not_look_at_who_waits]


@pytest.mark.parametrize("plant", BUGS)
def test_worlds_find_an_engine_that(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    seeds = reversed(range(SEEDS))  # the last one shows both
    played = (World(with_new_keys(make_plan(seed))).play().violations for seed in seeds)
    found = next(filter(None, played), ())

    assert {violation.rule for violation in found} & {"I11", "I12"}, found


def test_an_old_key_goes_with_the_limit_that_makes_none_of_the_keys_of_its_run() -> None:
    limits = Limits(lambda *_: [])
    limits._of = {"f": {"fn/f/1/": 3, "env/": 5, "run/fn/f": 7}}

    def of(key: str, *keys: str) -> int | None:
        return limits.of(key, "f", keys)

    assert (of("fn/f/1/a"), of("env/pool"), of("run/fn/f")) == (3, 5, 7)
    assert of("fn/f", "fn/f") == 3
    assert of("fn/f", "env/pool", "fn/f") == 3
    assert of("fn/f", "fn/f/1/a", "fn/f") == 5
    assert of("fn/f", "fn/f/1/a", "env/pool", "fn/f") is None
    assert of("run/fn/f/2/a", "fn/f", "run/fn/f/2/a") == 7
    assert of("fn/f") is None, "of nobody who is there"
