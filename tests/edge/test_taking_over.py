"""A process takes over from one with another version of the program."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stepwell import Context, Event, Stepwell

pytestmark = pytest.mark.slow


def _app(*functions: str) -> Stepwell:
    app = Stepwell("shop")
    for id in functions:

        @app.create_function(id=id, trigger=f"shop/{id}")
        async def function(ctx: Context[Any]) -> str:
            return await ctx.step.run("who", lambda: ctx.event.name)

    return app


async def test_what_only_the_next_version_has_runs_as_soon_as_that_leads(tmp_path: Path) -> None:
    old, new = _app("old"), _app("old", "new")
    leader, follower = old.embedded(tmp_path / "shop.db"), new.embedded(tmp_path / "shop.db")
    async with asyncio.timeout(30), leader:
        await follower.start()
        [event_id] = await new.send(Event("shop/new"))
        [run] = await follower.runs(event_id)
        # The old version hears of it after this event, so once that one's run has ended it has seen both.
        [other] = await follower.runs(*await new.send(Event("shop/old")))
        await follower.wait(other.id)
        assert (await follower.run(run.id)).status == "QUEUED"

        await leader.stop()
        assert await follower.wait(run.id) == "shop/new"
        await follower.stop()


async def test_a_file_with_two_names_has_one_leader(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "shop.db")
    async with _app("old").embedded(tmp_path / "shop.db") as one, _app("old").embedded(tmp_path / "link.db") as other:
        assert (one.leads, other.leads) == (True, False)
