"""``engine.runs`` and ``engine.wait``: from what was sent to what has come of it."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Context, Event, NonRetriableError, NotFound, StepError, Stepwell


@pytest.fixture
def app() -> Stepwell:
    app = Stepwell("asker")

    @app.create_function(id="greet", trigger="asker/came")
    async def greet(ctx: Context[Any]) -> str:
        return "hello"

    @app.create_function(id="refuse", trigger="asker/came-wrong")
    async def refuse(ctx: Context[Any]) -> None:
        raise NonRetriableError("not at home")

    @app.create_function(id="rest", trigger="asker/came-late")
    async def rest(ctx: Context[Any]) -> None:
        await ctx.step.sleep("night", "8h")

    return app


async def test_the_runs_of_an_event_are_there_when_it_is_sent_and_give_their_output(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        (event_id,) = await app.send(Event("asker/came"))
        (run,) = await engine.runs(event_id)

        assert run.function_id == "asker-greet"
        assert await engine.wait(run.id) == "hello"


async def test_an_event_that_starts_nothing_has_no_runs(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        (event_id,) = await app.send(Event("asker/went"))

        assert await engine.runs(event_id) == []


async def test_waiting_for_a_run_that_fails_raises_what_it_failed_with(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        (event_id,) = await app.send(Event("asker/came-wrong"))
        (run,) = await engine.runs(event_id)

        with pytest.raises(StepError, match=r"^NonRetriableError: not at home$"):
            await engine.wait(run.id)


async def test_waiting_for_a_run_that_is_cancelled_says_so(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        (event_id,) = await app.send(Event("asker/came-late"))
        (run,) = await engine.runs(event_id)
        await engine.cancel(run.id)

        with pytest.raises(StepError, match=r"^Cancelled: "):
            await engine.wait(run.id)


async def test_waiting_for_a_run_that_never_was_raises(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        with pytest.raises(NotFound):
            await engine.wait("01ARZ3NDEKTSV4RRFFQ69G5FAV")
