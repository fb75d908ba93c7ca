"""What a run waits for by the clock, brought to its end over REST v2: a retry, a sleep (semantics §9)."""

from __future__ import annotations

from functools import partial

from starlette.responses import Response

from stepwell.runtime.engine import Engine
from stepwell.runtime.operator import retry_now, skip_sleep
from stepwell.server.desk import find_run
from stepwell.server.envelopes import v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.views.nouns import RunView, View, whole_run


class Hurrying(View, frozen=True):
    """Which step is meant, by its name or the id in the trace; without one all of the run."""

    step_id: str | None = None


class RetriedView(View, frozen=True):
    """A run, and what of it is tried again now: ``steps`` by name, and whether the function's own ``code``. There is
    nothing if nothing waited for its next attempt."""

    steps: list[str]
    code: bool
    run: RunView


class SkippedView(View, frozen=True):
    """A run, and the sleeps of it that are over by this, by name: none if it slept in none."""

    steps: list[str]
    run: RunView


class HurryingV2:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        run = f"{prefix}/runs/{{run_id}}"
        return [
            op(
                "POST",
                f"{run}/retry",
                self.retry,
                "makes the [next attempts now](#hurry) for which it waits",
                body=Hurrying,
                answer=RetriedView,
            ),
            op(
                "POST",
                f"{run}/skip-sleep",
                self.skip_sleep,
                "ends the [sleeps](#hurry) in which it rests",
                body=Hurrying,
                answer=SkippedView,
            ),
        ]

    async def retry(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        tried = await retry_now(self._engine, run.id, asked.body.step_id)
        return v2(self._engine.clock, RetriedView(steps=tried.steps, code=tried.code, run=await self._run(run.id)))

    async def skip_sleep(self, asked: Asked) -> Response:
        run = await find_run(self._engine, asked.path["run_id"])
        skipped = await skip_sleep(self._engine, run.id, asked.body.step_id)
        return v2(self._engine.clock, SkippedView(steps=skipped, run=await self._run(run.id)))

    async def _run(self, run_id: str) -> RunView:
        return await whole_run(self._engine.store, await find_run(self._engine, run_id))
