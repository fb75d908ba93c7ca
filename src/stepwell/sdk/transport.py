"""Runs the functions of an app in the process of the engine: calls come as values, answers go as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepwell.clock import Clock
from stepwell.errors import NotFound, StepwellError
from stepwell.protocol.messages import Answer, Call, Completed, Failed, Progress
from stepwell.sdk.bridge import Bridge, SeatedPool
from stepwell.sdk.context import Context
from stepwell.sdk.drive import AsyncDrive
from stepwell.sdk.events import received
from stepwell.sdk.failures import code_changed, wire_error
from stepwell.sdk.group import Group
from stepwell.sdk.pool import Pool
from stepwell.sdk.step import Step
from stepwell.sdk.step_sync import SyncGroup, SyncStep

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell


class InProcess:
    """A ``protocol.messages.Transport`` for the functions of one app.

    ``drive`` and ``pool`` are how functions are run; tests stand in for steps and threads there.
    """

    def __init__(self, app: Stepwell, clock: Clock, threads_max: int) -> None:
        self._app = app
        self._clock = clock
        self.pool = Pool(threads_max)
        self.drive: Callable[[Call, Progress, Clock, Pool], AsyncDrive] = AsyncDrive

    def serves(self, function_id: str) -> bool:
        """Does the app have this function?"""
        return function_id in self._app.functions

    async def call(self, call: Call, progress: Progress) -> Answer:
        """Run the function as far as it goes. Raises ``Superseded``."""
        app = self._app
        function = app.functions.get(call.function_id)
        if function is None:
            # Another version of the program may have it: this one was deployed too early, or not yet.
            return Failed(wire_error(NotFound(f"app {app.app_id!r} has no function {call.function_id!r}")))
        try:
            events = [received(event, function.decode(event.name)) for event in call.events]
        except StepwellError as error:
            return Failed(wire_error(error), no_retry=True, started_at=self._clock.now_ms())
        if function.is_async:
            drive = self.drive(call, progress, self._clock, self.pool)
            drive.strict = function.strict
            ctx = Context(drive, events, Step(drive, app), Group(), app.logger)
            answer = await drive.run(function.handler(ctx))
        else:
            drive = self.drive(call, progress, self._clock, SeatedPool(self.pool))
            drive.strict = function.strict
            bridge = Bridge(drive, self.pool)
            ctx = Context(drive, events, SyncStep(Step(drive, app), bridge), SyncGroup(bridge), app.logger)
            answer = await drive.run(bridge.run(function.handler, ctx))
        changed = drive.changed if isinstance(answer, Completed) else None
        if not isinstance(answer, Completed) or changed is None:
            return answer
        if function.strict:
            return Failed(wire_error(code_changed(changed)), started_at=self._clock.now_ms(), logs=answer.logs)
        note = f"{changed}: was the code changed while the run was under way?"
        # Not by ctx.logger: to it, code that has not asked for all that is known only repeats itself.
        app.logger.warning(note, extra={"run_id": call.run_id, "function_id": call.function_id})
        return Completed(answer.data, note, answer.logs)
