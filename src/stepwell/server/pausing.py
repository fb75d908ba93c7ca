"""Pausing and resuming a function over REST v2 (semantics §9.5)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec
from starlette.responses import Response

from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.runtime.engine import Engine
from stepwell.runtime.operator import pause, resume
from stepwell.server.desk import find_function
from stepwell.server.envelopes import v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.views.functions import FunctionView, function_view
from stepwell.views.nouns import View


class Pausing(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of events and ticks, and of the runs that there are; ``reason`` is for people who ask why."""

    events: Literal["skip", "hold"] = "skip"
    runs: Literal["finish", "hold", "cancel"] = "finish"
    reason: Annotated[str, msgspec.Meta(max_length=PAUSE_REASON_CHARS_MAX)] = ""


class Resuming(msgspec.Struct, frozen=True):
    """Nothing is to be said."""


class ResumedView(View, frozen=True):
    """A function that goes on: ``resumed`` is false if it was not paused."""

    resumed: bool
    function: FunctionView


class PausingV2:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        function = f"{prefix}/functions/{{function_id}}"
        return [
            op(
                "POST",
                f"{function}/pause",
                self.pause,
                "[pauses](../how-to/pause.md) it; the function",
                body=Pausing,
                answer=FunctionView,
            ),
            op(
                "POST",
                f"{function}/resume",
                self.resume,
                "lets it go on; `resumed` is false if it was not paused",
                body=Resuming,
                answer=ResumedView,
            ),
        ]

    async def pause(self, asked: Asked) -> Response:
        function = await find_function(self._engine, asked.path["function_id"])
        given: Pausing = asked.body
        await pause(self._engine, function.id, events=given.events, runs=given.runs, reason=given.reason)
        return v2(self._engine.clock, await self._function(function.id))

    async def resume(self, asked: Asked) -> Response:
        function = await find_function(self._engine, asked.path["function_id"])
        found = await resume(self._engine, function.id)
        shown = ResumedView(resumed=found is not None, function=await self._function(function.id))
        return v2(self._engine.clock, shown)

    async def _function(self, function_id: str) -> FunctionView:
        return await function_view(self._engine.store, await find_function(self._engine, function_id))
