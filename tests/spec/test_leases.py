"""The end of a lease matters only to a call that left it behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from stepwell import Context, Stepwell
from stepwell.runtime import caller, engine
from stepwell.testing import harness


def quick(counted: Callable[[], None] = lambda: None) -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="quick", trigger="shop/ordered")
    async def run(ctx: Context[Any]) -> str:
        counted()
        return await ctx.step.run("work", lambda: "done")

    return app


@pytest.mark.parametrize("later", [0, 60_000])
def test_nothing_looks_for_work_after_the_last_run_has_ended(monkeypatch: pytest.MonkeyPatch, later: int):
    claims: list[int] = []
    claim = engine.claim

    def counting(draft: Any, **named: Any) -> Any:
        claims.append(draft.now)
        return claim(draft, **named)

    monkeypatch.setattr(engine, "claim", counting)
    app = quick()
    with harness(app) as t:
        t.send("shop/ordered", ts=t.now.timestamp() * 1000 + later)
        t.advance(later)
        t.assert_completed(t.run(), "done")
        before = len(claims)

        t.advance("1h")

    assert len(claims) == before


def test_a_run_whose_call_left_its_lease_behind_goes_on_when_that_ends(monkeypatch: pytest.MonkeyPatch):
    conclusion, calls = caller._conclusion, 0

    def broken(*_: object) -> NoReturn:
        monkeypatch.setattr(caller, "_conclusion", conclusion)
        raise RuntimeError("a bug of ours")

    def counted() -> None:
        nonlocal calls
        calls += 1

    monkeypatch.setattr(caller, "_conclusion", broken)
    with harness(quick(counted)) as t:
        t.send("shop/ordered", {})
        run = t.run()
        assert (calls, run.ended) == (1, False)

        t.advance("31s")

        t.assert_completed(run, "done")
    assert calls == 2
