"""``python -m benchmarks.sdk_steps``: what the SDK itself takes for a new step and for one that is replayed.

The real driver, with an engine that remembers at once: no database, no turn of the event loop. Exit 1 when a bar is
missed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from stepwell import Context, Stepwell
from stepwell.clock import SystemClock
from stepwell.model.event import Event
from stepwell.model.log import Said
from stepwell.protocol.gate import Gate
from stepwell.protocol.messages import Answer, Call, Completed, Executing, Memo, Op, Settled

NEW_US_MAX = 15.0
REPLAYED_US_MAX = 3.0
STEPS = 900
ROUNDS = 30


class Remembers:
    """A ``protocol.messages.Reports`` that has each result at once."""

    lost = False
    unsure = False
    stopping = False
    keeps = False

    def __init__(self) -> None:
        self.memos: dict[str, Memo] = {}
        self.executing: dict[str, Executing] = {}
        self.gate: Gate | None = None
        self.news: set[str] = set()

    @property
    def call(self) -> Call:
        raise NotImplementedError("a function in this process is called once")

    async def report(self, ops: Sequence[Op], version: int | None) -> None:
        raise NotImplementedError("it reports each step by itself")

    async def catch_up(self) -> bool:
        return False

    async def hear(self) -> None:
        """There is nobody else."""

    async def save(self, op: Op) -> Settled:
        assert op.data is not None
        self.memos[op.id] = Memo("data", op.data, op.ended_at)
        return Settled()

    async def widen(self, wanted: int) -> int:
        return wanted

    async def look(self) -> None:
        raise NotImplementedError("nobody else is there")

    def watch(self, step_id: str) -> Awaitable[Settled]:
        raise NotImplementedError("nothing rests here")

    def keep(self, said: Sequence[Said]) -> Awaitable[None]:
        raise NotImplementedError("nothing is logged here")

    def afterwards(self, do: Callable[[], None]) -> None:
        raise NotImplementedError("nobody waits to hear of it")


async def body(n: int) -> int:
    return n


async def measure() -> tuple[float, float]:
    """The best of several rounds: microseconds for a new step, and for a replayed one."""
    app = Stepwell("bench")

    @app.create_function(id="steps", trigger="bench/started")
    async def steps(ctx: Context) -> int:
        for n in range(STEPS):
            await ctx.step.run(f"step {n}", body, n)
        return STEPS

    @app.create_function(id="none", trigger="bench/started")
    async def none(ctx: Context) -> int:
        return STEPS

    transport = app.transport(SystemClock())
    event = Event(id="01HF7YAT000000000000000001", name="bench/started", ts=1, received_at=1, data=b"{}")

    async def timed(function_id: str, progress: Remembers) -> float:
        call = Call(
            function_id=function_id,
            run_id="01HF7YAT00000000000000000A",
            request_id="call",
            attempt=0,
            max_attempts=5,
            events=(event,),
            steps=dict(progress.memos),
            stack=list(progress.memos),
            pending={},
        )
        began = time.perf_counter()
        answer: Answer = await transport.call(call, progress)
        took = time.perf_counter() - began
        assert isinstance(answer, Completed), answer
        return took

    new, replayed, floor = [], [], []
    for _ in range(ROUNDS):
        progress = Remembers()
        floor.append(await timed(none.id, progress))
        new.append(await timed(steps.id, progress))
        replayed.append(await timed(steps.id, progress))
    return (min(new) - min(floor)) / STEPS * 1e6, (min(replayed) - min(floor)) / STEPS * 1e6


def main() -> int:
    missed = False
    for name, value, bar in zip(
        ("new step", "replayed step"), asyncio.run(measure()), (NEW_US_MAX, REPLAYED_US_MAX), strict=True
    ):
        missed |= value > bar
        print(f"  {name:<16}{value:>8.2f} µs   <= {bar:g} µs   {'MISSED' if value > bar else 'ok'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
