"""What simulations have found, each as the shortest story that shows it."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import Context, Stepwell
from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision
from stepwell.testing import harness


@pytest.fixture
def app():
    return Stepwell("shop")


def fail_once(t, chosen):
    """Let the first commit for which ``chosen`` is true fail, as a full disk does."""
    door = t.engine.store
    commit, failed = door.commit, []

    def failing(work):
        if failed or not chosen(work):
            return commit(work)
        failed.append(work)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(StorageUnavailable("the disk is full"))
        return future

    door.commit = failing
    return failed


def test_a_result_is_saved_although_the_disk_failed_for_a_moment(app):
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> int:
        async def charge() -> int:
            bodies.append(1)
            return len(bodies)

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        failed = fail_once(t, lambda work: isinstance(work, Decision))
        t.send("go")
        t.advance("10s")

        t.assert_completed(t.run(bill), 1)
        assert (len(failed), len(bodies)) == (1, 1)
