"""Queues, limits and windows over REST v2."""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.responses import Response

from stepwell.runtime.engine import Engine
from stepwell.server.desk import find_function, situation
from stepwell.server.envelopes import v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.server.parameters import number
from stepwell.server.queues.backlogs import function_queue, queues
from stepwell.server.queues.shapes import FunctionQueueView, QueueView

_KEYS: Final = number("limit", "how many keys at most", default=20, most=200)


class QueuesV2:
    """The endpoints of an engine. ``led`` tells whether any process runs what the database owes."""

    def __init__(self, engine: Engine, *, led: bool = True) -> None:
        self._engine = engine
        self._led = led

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        function = f"{prefix}/functions/{{function_id}}"
        return [
            op(
                "GET",
                f"{prefix}/queue",
                self.queues,
                "[what waits](#queues), by function and reason",
                answer=list[QueueView],
            ),
            op(
                "GET",
                f"{function}/queue",
                self.queue,
                "[what waits](#queues) of a function, by key, the deepest first",
                query=(_KEYS,),
                answer=FunctionQueueView,
            ),
        ]

    async def queues(self, asked: Asked) -> Response:
        clock = self._engine.clock
        return v2(clock, await queues(self._engine.store, clock.now_ms()))

    async def queue(self, asked: Asked) -> Response:
        function = await find_function(self._engine, asked.path["function_id"])
        now = situation(self._engine, led=self._led)
        shown = await function_queue(self._engine.store, self._engine.registry, function.id, now, asked.query["limit"])
        return v2(self._engine.clock, shown)
