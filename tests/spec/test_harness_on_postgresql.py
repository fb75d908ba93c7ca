"""``harness(app, store="postgresql://…")``: the same, on the database that one runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from stepwell import ConfigurationError, Context, Debounce, Event, Stepwell, StorageError
from stepwell.storage.postgres.store import PostgresStore
from stepwell.testing import harness
from tests import postgres

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres.database() as made:
        yield made


@pytest.fixture
def app() -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered")
    async def bill(ctx: Context) -> str:
        await ctx.step.run("charge", lambda: 1)
        paid = await ctx.step.wait_for_event("paid", "shop/paid", timeout="30d")
        return "paid" if paid else "overdue"

    @app.create_function(id="save", trigger="shop/edited", debounce=Debounce("10s"))
    async def save(ctx: Context) -> int:
        return await ctx.step.run("write", lambda: ctx.event.data["rev"])

    return app


def test_months_go_by_in_a_real_database(app: Stepwell, url: str):
    with harness(app, store=url) as t:
        t.send("shop/ordered")
        t.advance("29d")
        t.assert_waiting(t.run("bill"), "paid")
        assert postgres.ask(url, "SELECT id FROM stepwell.runs") == [(t.run("bill").id,)]

        t.advance("1d")
        t.assert_completed(t.run("bill"), "overdue")
        assert t.store.shards == 16


def test_what_many_shards_do_at_one_moment_happens_at_that_moment(app: Stepwell, url: str):
    with harness(app, store=url) as t:
        began = t.now
        t.send([Event("shop/ordered") for _ in range(40)])
        t.send("shop/paid")

        assert {(run.status, run.record.ended_at) for run in t.runs("bill")} == {
            ("COMPLETED", int(began.timestamp() * 1000))
        }


def test_each_harness_begins_with_nothing(app: Stepwell, url: str):
    with harness(app, store=url) as t:
        t.send("shop/ordered")
        t.send("shop/edited", {"rev": 1})

    with harness(app, store=url) as t:
        t.advance("1d")
        assert t.runs() == []


def test_what_was_written_outlives_a_process(app: Stepwell, url: str):
    with harness(app, store=url) as t:
        t.send("shop/ordered")
        t.send("shop/edited", {"rev": 7})
        t.crash(down="20s")
        t.run_until_idle()
        t.assert_completed(t.run("save"), 7)

        t.send("shop/paid")
        t.assert_completed(t.run("bill"), "paid")


def test_one_harness_at_a_time_has_the_database(app: Stepwell, url: str):
    with (
        harness(app, store=url) as t,
        pytest.raises(ConfigurationError, match="another harness is using the database"),
        harness(Stepwell("other"), store=url),
    ):
        t.send("shop/ordered")

    with harness(app, store=url) as t:
        assert t.runs() == []


def test_tables_that_no_harness_made_are_left_alone(app: Stepwell):
    with postgres.database() as url:
        store = asyncio.run(PostgresStore.open(url))
        asyncio.run(store.close())
        postgres.administrate("INSERT INTO stepwell.commits VALUES (0, 'somebody', 1, 1)", url)

        with pytest.raises(ConfigurationError, match="were not made by a harness"), harness(app, store=url):
            pass

        assert postgres.ask(url, "SELECT writer FROM stepwell.commits") == [("somebody",)]


def test_a_database_that_is_not_there_is_named(app: Stepwell):
    with pytest.raises(StorageError, match="nowhere"), harness(app, store=postgres.at("nowhere")):
        pass


@pytest.mark.parametrize("store", ["stepwell.db", ":memory:", ""])
def test_a_file_is_refused(app: Stepwell, store: str):
    with pytest.raises(ConfigurationError, match="cannot be"), harness(app, store=store):
        pass
