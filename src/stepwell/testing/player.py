"""Plays the programs of a world: each node of a program is a use of the SDK, as users would write it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from stepwell.errors import BackpressureError, NonRetriableError, RetryAfterError, StepError
from stepwell.sdk.app import Stepwell
from stepwell.sdk.context import Context
from stepwell.sdk.defer import Deferred
from stepwell.sdk.events import Event
from stepwell.sdk.execution import RUNNING
from stepwell.sdk.function import Function
from stepwell.testing.faults import pause
from stepwell.testing.ledger import Start
from stepwell.testing.programs import (
    Await,
    Dawdle,
    Do,
    Emit,
    Fork,
    Hear,
    Invoke,
    Loop,
    Nap,
    Node,
    PutOff,
    Signal,
    Spec,
    Stumble,
    TakeBack,
)

if TYPE_CHECKING:
    from stepwell.testing.world import World

Seen = list[tuple[str, Any]]
"""What the code of one call saw of its steps: name and turn, and the result."""


def functions(world: World, app: Stepwell) -> dict[str, Function[Any, Any]]:
    """Make the functions of a world."""
    nobody = Stepwell("elsewhere").create_function(id="nobody", trigger="never")(_never)
    found: dict[str, Function[Any, Any]] = {"nobody": nobody}
    for spec in world.plan.functions:
        found[spec.id] = _function(world, app, spec, found)
    return found


async def _never(ctx: Context) -> None:
    """Not served by anybody."""


def _function(world: World, app: Stepwell, spec: Spec, others: dict[str, Function[Any, Any]]) -> Function[Any, Any]:
    async def handler(ctx: Context) -> Any:
        player = Player(world, ctx, others)
        await player.play(spec.program)
        return player.seen

    async def on_failure(ctx: Context) -> Any:
        player = Player(world, ctx, others)
        await player.play((Do("tidy"),))
        return player.seen

    options = spec.options()
    if spec.put_off:
        del options["batch_events"]
        return app.create_defer(**options)(handler)
    if spec.on_failure:
        options["on_failure"] = on_failure
    function: Function[Any, Any] = app.create_function(**options)(handler)
    return function


class Player:
    """One call of a function."""

    def __init__(self, world: World, ctx: Context, others: dict[str, Function[Any, Any]]) -> None:
        self.seen: Seen = []
        self._world = world
        self._ctx = ctx
        self._others = others
        self._turns: dict[str, int] = {}
        self._put_off: dict[str, Deferred] = {}

    async def play(self, program: Sequence[Node]) -> None:
        for node in program:
            if isinstance(node, Fork):
                await self._fork(node)
            elif isinstance(node, Loop):
                for _ in range(node.times):
                    await self.play(node.body)
            elif isinstance(node, Stumble):
                self._stumble(node)
            elif isinstance(node, Dawdle):
                await pause(node.ms)
            elif isinstance(node, PutOff):
                function: Any = self._others[node.function]
                self._put_off[node.name] = self._ctx.defer(node.name, function=function, data={"key": self._key})
            elif isinstance(node, TakeBack):
                self._put_off[node.name].abort()
            else:
                await self._step(node)

    async def _step(self, node: Do | Nap | Await | Invoke | Emit | Hear | Signal) -> None:
        name = node.name
        turn = self._turns.get(name, 0)
        self._turns[name] = turn + 1
        step, key = self._ctx.step, self._key
        value: Any = None
        try:
            if isinstance(node, Do):
                value = await step.run(name, self._body, node)
            elif isinstance(node, Nap):
                await step.sleep(name, node.ms)
            elif isinstance(node, Await):
                found = await step.wait_for_event(
                    name, node.event, match="data.key", timeout=node.timeout_ms, lookback=node.lookback_ms
                )
                value = found.id if found is not None else None
            elif isinstance(node, Invoke):
                child = self._others[node.function]
                data, timeout, cancel_child = {"key": key}, node.timeout_ms, node.cancel_child
                value = await step.invoke(name, child, data=data, timeout=timeout, cancel_child=cancel_child)
            elif isinstance(node, Hear):
                conflict: Literal["fail", "replace"] = "replace" if node.replace else "fail"
                heard = await step.wait_for_signal(name, key, timeout=node.timeout_ms, on_conflict=conflict)
                value = heard["data"] if heard is not None else None
            elif isinstance(node, Signal):
                value = await step.send_signal(name, key, f"{self._ctx.run_id} {name}")
            else:
                value = await step.send_event(name, Event(node.event, {"key": key}))
        except StepError as error:
            if isinstance(node, Do) and not node.caught:
                raise
            self._world.reach("step error caught")
            value = f"error: {error.name}"
        self.seen.append((f"{name}:{turn}", value))

    @property
    def _key(self) -> str:
        return str(self._ctx.event.data.get("key", ""))

    async def _fork(self, node: Fork) -> None:
        branches = [partial(self.play, branch) for branch in node.branches]
        if node.how == "gather":
            await asyncio.gather(*(branch() for branch in branches))
        elif node.how == "parallel":
            await self._ctx.group.parallel(branches)
        else:
            await self._ctx.group.race(branches)

    def _stumble(self, node: Stumble) -> None:
        ledger, key = self._world.ledger, (self._ctx.run_id, node.name)
        if ledger.stumbles[key] < node.times:
            ledger.stumbles[key] += 1
            self._world.reach("own code fails")
            error = NonRetriableError if node.fatal else RuntimeError
            raise error(f"{node.name}, time {ledger.stumbles[key]}")

    async def _body(self, node: Do) -> int:
        running = RUNNING.get()
        assert running is not None, "a body runs in a step"
        world, call, step = self._world, running.execution.call, running.step
        token = int(call.request_id.rpartition(".")[2], 16)
        stale = not world.tables.holds(call.run_id, token)
        start = Start(
            call.run_id, step.id, f"{step.name}:{step.repeat}", running.attempt, token, world.clock.now_ms(), stale
        )
        number = world.ledger.begin(start)
        world.tell(f"body {number}: {call.run_id} {start.name}, attempt {start.attempt}{', stale' if stale else ''}")
        if stale:
            world.reach("stale body")
        elif world.tables.recorded(call.run_id, step.id) and call.run_id not in world.doubled:
            world.fail("I4", f"step {start.name} of run {call.run_id} ran again after its result was recorded")
        if not stale and world.knows_pressure(world.tables.pressed(call.run_id, world.clock.now_ms())):
            world.fail("ADR 30", f"body {number} of run {call.run_id} began while its queue was to be left alone")
        world.began(start)
        try:
            if node.takes_ms:
                await pause(node.takes_ms)
        finally:
            world.ledger.end(number)
        how = node.fails[running.attempt] if running.attempt < len(node.fails) else "ok"
        world.reach(f"body {how}")
        if how == "error":
            raise RuntimeError(f"body {number} failed")
        if how == "after":
            raise RetryAfterError(f"body {number} asks for time", timedelta(seconds=40))
        if how == "press":
            world.reach("back-pressure")
            raise BackpressureError(f"body {number} asks for time for all", timedelta(seconds=40))
        if how == "fatal":
            raise NonRetriableError(f"body {number} gave up")
        return number
