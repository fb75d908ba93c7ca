"""Where runs are: all that counts together is together, whatever rules functions have (ADR 0036)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.flow import (
    BatchEvents,
    Concurrency,
    Debounce,
    Idempotency,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)
from stepwell.flow.combinations import conflicts
from stepwell.flow.placement import Placement, cell_place, function_place, placements
from stepwell.model.function import Control, Function

NOW, LATER = 1_700_000_000_000, 1_700_000_100_000
KEYS = ("event.data.a", "event.data.b", "string(now()) + event.data.a", "1 / 0")
VALUES: tuple[Any, ...] = ("x", False, "false", "", "y", "1", 1, True, None, ["x"], {"a": 1}, "x/y", "long" * 50)


@st.composite
def rules(draw: st.DrawFn) -> tuple[Control, ...]:
    """All that one function may have: each of the other controls once, limits up to twice, no two that conflict. Nearly
    always with the same key, because what differs is all at one place anyway."""
    main = draw(st.sampled_from((*KEYS, KEYS[0], KEYS[0])))
    key = st.sampled_from((main,) * 8 + (None, KEYS[1]))
    single = (
        st.builds(lambda key: RateLimit(2, "1m", key=key), key),
        st.builds(lambda key: Throttle(2, "1m", key=key), key),
        st.builds(lambda key: Debounce("5s", key=key), key),
        st.builds(lambda key: BatchEvents(3, "5s", key=key), key),
        st.builds(lambda key: BatchEvents(3, "5s", key=key, if_="event.data.a == 'x'"), key),
        st.builds(lambda key: Singleton("skip", key=key), key),
        st.builds(lambda key: Idempotency(key or main), key),
        st.just(Priority(run="1")),
    )
    limits = st.builds(
        lambda kind, limit, key, scope: kind(limit, key=key, scope=scope if key is not None else "fn"),
        st.sampled_from((Concurrency, RunConcurrency)),
        st.sampled_from((0, 1, 3)),
        key,
        st.sampled_from(("fn", "env", "env", "account")),
    )
    found: dict[str, Control] = {}
    for control in draw(st.lists(st.one_of(*single), max_size=2)):
        if not conflicts({*found, control.keyword}):
            found.setdefault(control.keyword, control)
    return (*found.values(), *draw(st.lists(limits, max_size=2)))


data = st.fixed_dictionaries({}, optional={"a": st.sampled_from(VALUES), "b": st.sampled_from(("x", "y"))})
events = data.map(lambda data: {"event": {"id": "e", "name": "n", "data": data, "ts": NOW}})


def function(name: str, *controls: Control) -> Function:
    return Function(id=name, app_id="app", name=name, controls=controls)


def shared_keys(one: Function, env: dict[str, Any], now: int) -> set[str]:
    """Everything that a run of it counts to, waits for or holds, and the window that may hold its event."""
    found: set[str | None] = set()
    for control in one.controls:
        match control:
            case Concurrency():
                found.add(control.slot(one.id, env, now))
            case RunConcurrency():
                found.add(control.place(one.id, env, now))
            case Throttle():
                found.add(control.queue(one.id, env, now))
            case Singleton():
                found.add(control.lock(one.id, env, now))
            case Debounce() | BatchEvents():
                found.add(control.window(one.id, env, now))
            case _:
                pass  # what these remember has a place of its own
    return {key for key in found if key is not None}


@settings(max_examples=200)
@given(
    st.lists(rules(), min_size=1, max_size=2),
    st.lists(st.tuples(st.integers(0, 1), events, st.sampled_from((NOW, LATER))), min_size=4, max_size=10),
)
def test_whatever_shares_a_key_is_at_one_place(
    found: list[tuple[Control, ...]], starts: list[tuple[int, dict[str, Any], int]]
) -> None:
    functions = [function(f"app-{number}", *controls) for number, controls in enumerate(found)]
    where = placements(functions)
    runs: list[tuple[int, set[str]]] = []
    for number, env, now in starts:
        one = functions[number % len(functions)]
        counted = shared_keys(one, env, now)
        if one.id not in where:
            assert not counted, "what is subject to rules has a place"
            continue
        runs.append((where[one.id].of(env, now), counted))

    for (place, counted), (other, others) in combinations(runs, 2):
        assert place == other or not counted & others


@settings(max_examples=200)
@given(rules(), events, events)
def test_a_run_that_was_held_is_where_those_are_that_it_counts_with_when_it_starts(
    controls: tuple[Control, ...], first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Its place is that of the first event of its window; what it counts to is worked out for the one it starts with,
    when it starts."""
    one = function("app-f", *controls)
    where = placements([one]).get(one.id)
    hold = next((control for control in controls if isinstance(control, Debounce | BatchEvents)), None)
    if hold is None or where is None:
        return
    key = hold.window(one.id, first, NOW)
    if key is None or hold.window(one.id, second, NOW) != key:
        return
    held = shared_keys(one, second, LATER)  # the second event stands for both
    beside = shared_keys(one, second, NOW), where.of(second, NOW)
    late = shared_keys(one, second, LATER), where.of(second, LATER)

    for counted, place in (beside, late):
        assert where.of(first, NOW) == place or not held & counted


def test_runs_without_rules_are_where_their_events_are() -> None:
    assert (
        placements([function("app-f"), function("app-g", Priority(run="1")), function("app-h", Concurrency(0))]) == {}
    )


def test_equal_keys_spread_the_runs_of_a_function_by_their_value() -> None:
    one = function("app-f", Concurrency(1, key="event.data.a"), Throttle(1, "1m", key="event.data.a"))
    where = placements([one])["app-f"]

    found = {where.of({"event": {"data": {"a": str(number)}}}, NOW) for number in range(200)}

    assert len(found) > 150


@pytest.mark.parametrize(
    "controls",
    [
        (Concurrency(1),),
        (Concurrency(1, key="event.data.a"), Throttle(1, "1m")),
        (Concurrency(1, key="event.data.a"), Singleton("skip", key="event.data.b")),
        (Debounce("5s", key="string(now())"),),
    ],
)
def test_other_rules_keep_a_function_together(controls: tuple[Control, ...]) -> None:
    where = placements([function("app-f", *controls)])["app-f"]

    found = {where.of({"event": {"data": {"a": str(number)}}}, NOW + number) for number in range(20)}

    assert found == {function_place("app-f")}


def test_a_shared_limit_spreads_by_its_value_over_all_its_functions() -> None:
    limit = Concurrency(1, key="event.data.a", scope="env")
    where = placements([function("app-f", limit), function("app-g", limit, Throttle(1, "1m", key="event.data.a"))])

    found = [
        {where[name].of({"event": {"data": {"a": str(number)}}}, NOW) for name in ("app-f", "app-g")}
        for number in range(200)
    ]

    assert all(len(each) == 1 for each in found)
    assert len(set.union(*found)) > 150


def test_one_function_with_two_keys_brings_all_that_share_together() -> None:
    limit = Concurrency(1, key="event.data.a", scope="env")
    where = placements([function("app-f", limit), function("app-g", limit, Throttle(1, "1m"))])

    assert where["app-f"] == where["app-g"] == Placement("/shared")


def test_what_a_control_remembers_of_a_key_is_with_the_runs_if_it_is_the_only_one() -> None:
    env = {"event": {"data": {"a": "x/y"}}}
    for control in (RateLimit(1, "1m", key="event.data.a"), RateLimit(1, "1m"), Idempotency("event.data.a")):
        where = placements([function("my/app-f", control)])["my/app-f"]
        cell = control.cell("my/app-f", env, NOW)
        assert cell is not None
        assert cell_place(cell) == where.of(env, NOW) == where.of_key(cell)
