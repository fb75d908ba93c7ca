"""What is judged of limits follows what is registered: who was there may stay, and nobody takes the place of one that
has gone."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Concurrency, RunConcurrency, Stepwell
from stepwell.clock import to_ms
from stepwell.testing import Harness, harness
from stepwell.testing.invariants import Guard
from stepwell.testing.limits import Limits
from stepwell.testing.sweep import sweep
from stepwell.testing.tables import Tables
from stepwell.testing.world import play


def shop(places: int, **more: Any) -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go", run_concurrency=RunConcurrency(places), **more)
    async def work(ctx: Any) -> None:
        await ctx.step.sleep("rest", "1h")

    return app


def deploy(t: Harness, app: Stepwell) -> None:
    t._do(lambda: t.engine.register("shop", app.configs()))


def too_many(guard: Guard) -> list[str]:
    return [violation.what for violation in guard.check() if violation.rule == "I12"]


def test_who_began_under_a_higher_limit_may_stay_and_nobody_may_come_after_them() -> None:
    with harness(shop(3)) as t:
        tables = Tables(t.store)
        guard = Guard(tables, lambda: to_ms(t.now))
        for _ in range(4):
            t.send("go")
        t.advance("1m")
        assert too_many(guard) == []

        deploy(t, shop(1))

        assert too_many(guard) == []
        assert "more than a lowered limit" in guard.seen
        ((shard, key, holder),) = tables.ask("SELECT shard, key, holder FROM slots LIMIT 1")
        tables.ask("DELETE FROM slots WHERE holder = ?", holder)
        assert too_many(guard) == []
        tables.ask("INSERT INTO slots (shard, key, holder) VALUES (?, ?, ?)", shard, key, holder)
        assert too_many(guard) == ["3 calls are in flight under run/fn/shop-work, whose limit is 1"]


def test_each_function_that_shares_a_limit_has_its_own() -> None:
    app, pool = shop(2, concurrency=Concurrency(5, key="'pool'", scope="env")), "env/pool"

    @app.create_function(id="other", trigger="go", concurrency=Concurrency(2, key="'pool'", scope="env"))
    async def other(ctx: Any) -> None: ...

    with harness(app) as t:
        limits = Limits(Tables(t.store).ask)
        limits.look()

        assert (limits.of(pool, "shop-work"), limits.of(pool, "shop-other"), limits.most(pool)) == (5, 2, 5)
        assert (limits.of("run/fn/shop-work", "shop-work"), limits.of("fn/shop-work", "shop-work")) == (2, None)


def test_a_crash_beside_a_deployment_leaves_nobody_waiting_for_room_that_a_new_limit_has() -> None:
    def scenario(t: Harness) -> None:
        for _ in range(4):
            t.send("go")
        t.advance("1m")
        deploy(t, shop(3))
        t.advance("1m")
        assert sum(run.status == "RUNNING" for run in t.runs("shop-work")) == 3

    assert not sweep(shop(1), scenario, judged=True).failures


@pytest.mark.parametrize("seed", [73, 159, 241, 267, 528])
def test_they_hold_in_worlds_from_the_moment_at_which_they_are_written(seed: int) -> None:
    report = play(seed)

    assert report.violations == (), "\n".join(report.story[-40:])
    assert report.reached["limits changed"]
