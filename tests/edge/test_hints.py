"""Who looks at one process hears of what another writes on the same file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stepwell import Context, Event, Stepwell
from stepwell.runtime.hints import RUNS

pytestmark = pytest.mark.slow


def _app() -> Stepwell:
    app = Stepwell("shared")

    @app.create_function(id="order", trigger="shared/ordered")
    async def order(ctx: Context[Any]) -> None: ...

    return app


@pytest.mark.parametrize("looks", ["leader", "follower"])
async def test_a_process_tells_of_what_another_writes(tmp_path: Path, looks: str) -> None:
    first, second = _app(), _app()
    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), first.embedded(path) as leader, second.embedded(path) as follower:
        assert (leader.leads, follower.leads) == (True, False)
        here, there = (leader, second) if looks == "leader" else (follower, first)
        looking = here.engine.hints.look([RUNS])

        await there.send(Event("shared/ordered", {}))

        assert await looking.next() == [RUNS]
        looking.close()
        assert not here.engine.hints.wanted
