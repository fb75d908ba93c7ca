"""A call in flight hears of what other processes write about its run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stepwell import Context, Event, Stepwell

pytestmark = pytest.mark.slow


def _app(told: asyncio.Queue[str], hold: asyncio.Event) -> Stepwell:
    app = Stepwell("shared")

    @app.create_function(id="order", trigger="shared/ordered")
    async def order(ctx: Context[Any]) -> None:
        async def pack() -> None:
            told.put_nowait("packing")
            await hold.wait()

        async def approval() -> None:
            found = await ctx.step.wait_for_event("approval", "shared/approved", timeout="1h")
            told.put_nowait("approved" if found else "not approved")

        await asyncio.gather(ctx.step.run("pack", pack), approval())

    return app


async def test_an_event_that_another_process_accepts_reaches_a_call_that_is_busy(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    hold = asyncio.Event()
    app, other = _app(told, hold), _app(told, hold)
    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), app.embedded(path) as leader, other.embedded(path) as follower:
        assert (leader.leads, follower.leads) == (True, False)
        [event_id] = await app.send(Event("shared/ordered", {}))
        assert await told.get() == "packing"
        [run] = await leader.runs(event_id)

        await other.send(Event("shared/approved", {}))

        assert await told.get() == "approved"  # although the other branch goes on packing
        hold.set()
        await leader.wait(run.id)
