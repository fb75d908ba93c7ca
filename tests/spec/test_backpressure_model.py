"""Back-pressure against a model: random runs that are told to wait, and when each body may begin (ADR 0030)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell import BackpressureError, Concurrency, Event, Stepwell
from stepwell.testing import harness

Sent = tuple[int, int, tuple[int, ...]]
"""A run: the second at which its event comes, its key, and for how many seconds each of its attempts asks."""

_SENT = st.tuples(st.integers(0, 40), st.integers(0, 1), st.lists(st.integers(1, 30), max_size=2).map(tuple))


def expected(runs: list[Sent], *, keyed: bool) -> list[tuple[int, ...]]:
    """The seconds at which the attempts of each run begin. Bodies take no time, and limits have room for all.

    A queue is free from a moment on. Whoever is due goes then, in their order, and each who asks for time moves it.
    """
    free: dict[int, int] = {}
    begun: list[list[int]] = [[] for _ in runs]
    due = {number: at for number, (at, _, _) in enumerate(runs)}
    while due:
        moment = min(max(at, free.get(runs[n][1] if keyed else 0, 0)) for n, at in due.items())
        for number in sorted(due):
            _, key, asks = runs[number]
            queue = key if keyed else 0
            if due[number] > moment or free.get(queue, 0) > moment:
                continue
            attempt = len(begun[number])
            begun[number].append(moment)
            if attempt < len(asks):
                due[number] = moment + asks[attempt]
                free[queue] = max(free.get(queue, 0), due[number])
            else:
                del due[number]
    return [tuple(each) for each in begun]


@pytest.mark.parametrize("keyed", [True, False])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(_SENT, min_size=1, max_size=6))
def test_no_body_begins_while_its_queue_is_to_be_left_alone_and_all_begin_when_it_is_over(
    runs: list[Sent], keyed: bool
) -> None:
    runs = sorted(runs)
    begun: list[list[int]] = [[] for _ in runs]
    app = Stepwell("shop")
    limit: dict[str, Any] = {"concurrency": Concurrency(100, key="event.data.key")} if keyed else {}

    @app.create_function(id="work", trigger="go", retries=5, **limit)
    async def work(ctx):
        await ctx.step.run("call", call, ctx.event.data["n"])

    with harness(app) as t:
        start = t.now

        def second() -> int:
            return round((t.now - start).total_seconds())

        async def call(n: int) -> None:
            attempt = len(begun[n])
            begun[n].append(second())
            if attempt < len(runs[n][2]):
                raise BackpressureError("busy", f"{runs[n][2][attempt]}s")

        for number, (at, key, _) in enumerate(runs):
            t.advance(f"{at - second()}s")
            t.send(Event("go", {"n": number, "key": key}))
        t.advance("10m")

        asked = expected(runs, keyed=keyed)
        assert [len(each) for each in begun] == [len(each) for each in asked]
        # Which of those that are due in one moment is first is nobody's promise; that none goes too early is.
        for number, seconds in enumerate(begun):
            for attempt, at in enumerate(seconds):
                for other, moments in enumerate(begun):
                    if keyed and runs[other][1] != runs[number][1]:
                        continue
                    for tried, since in enumerate(moments[: len(runs[other][2])]):
                        if since < at:
                            assert at >= since + runs[other][2][tried], (number, attempt, other, tried)
        # And nobody waits for longer than those who asked for it.
        ends = sorted(
            {
                0,
                *(
                    at + runs[n][2][k]
                    for n, each in enumerate(begun)
                    for k, at in enumerate(each)
                    if k < len(runs[n][2])
                ),
            }
        )
        for number, seconds in enumerate(begun):
            assert seconds[0] == runs[number][0] or seconds[0] in ends
