"""How people find a run from the one that has put it off, and the other way round (semantics §5.11)."""

from __future__ import annotations

from stepwell import Context, Stepwell
from stepwell.testing import harness
from tests.edge.test_why import drawn


def test_a_run_shows_what_it_has_put_off_and_what_came_of_it() -> None:
    app = Stepwell("shop")

    @app.create_defer(id="receipt")
    async def receipt(ctx: Context):
        return ctx.event.data

    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context):
        ctx.defer("printed", function=receipt, data={"order": 1})
        ctx.defer("aborted", function=receipt, data={}).abort()
        ctx.defer("wrong", function=receipt, data=[])
        await ctx.step.sleep("nap", "1h")

    with harness(app) as t:
        t.send("paid")
        before = drawn(t, bill)
        t.advance("1h")
        after, child = drawn(t, bill), drawn(t, receipt)

        assert "printed  starts shop-receipt when the run ends" in before
        assert "aborted  put shop-receipt off, and did not start it after all" in before
        assert "wrong  was not put off: its data is of type list" in before
        assert "printed  started shop-receipt" in after
        assert t.run(receipt).id in after
        assert f"deferred by  {t.run(bill).id}" in child
