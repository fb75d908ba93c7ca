"""The store without threads, which simulations make fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stepwell.model.changes import Decision, PutCell
from stepwell.model.questions import GetCell
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.sqlite.committer import Work
from tests.storage.nouns import PLACE, cell, write


class Crash(Exception):
    pass


class FailOnce:
    """Raises once, before or after the commit takes effect."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.seen: list[str] = []

    def before_commit(self, work: Work) -> None:
        self._pass("before")

    def after_commit(self, work: Work) -> None:
        self._pass("after")

    def _pass(self, moment: str) -> None:
        self.seen.append(moment)
        if self.when == moment:
            self.when = "never"
            raise Crash(moment)


@pytest.mark.parametrize(("when", "took_effect"), [("before", False), ("after", True)])
async def test_a_commit_fails_before_or_after_it_takes_effect(when: str, took_effect: bool):
    store = SqliteStore.inline(hook=FailOnce(when))

    with pytest.raises(Crash, match=when):
        await write(store, PutCell(cell(), PLACE))

    assert (await store.read(GetCell("c1", 0, PLACE)) is not None) == took_effect
    await write(store, PutCell(cell("c2"), PLACE))
    assert await store.read(GetCell("c2", 0, PLACE)) is not None
    await store.close()


async def test_the_hook_sees_commits_and_upkeep_and_no_reads():
    hook = FailOnce("never")
    store = SqliteStore.inline(hook=hook)

    await store.read(GetCell("c1", 0, PLACE))
    assert hook.seen == []
    await store.new_epoch()
    await write(store)

    assert hook.seen == ["before", "after"] * 2
    await store.close()


async def test_a_commit_has_happened_when_its_call_returns_though_nobody_is_told_yet():
    store = SqliteStore.inline()

    future = store.commit(Decision((PutCell(cell(), PLACE),)))

    assert store._committer.connection.execute("SELECT key FROM cells").fetchall() == [("c1",)]
    assert not future.done()
    await future
    await store.close()


async def test_answers_come_in_the_order_of_the_calls_from_the_loop_of_the_caller():
    store = SqliteStore.inline()
    order: list[int] = []

    for number in range(5):
        store.commit(Decision(result=number)).add_done_callback(lambda future: order.append(future.result().result))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert order == [0, 1, 2, 3, 4]
    await store.close()


async def test_a_file_survives_the_store_that_wrote_it(tmp_path: Path):
    first = SqliteStore.inline(tmp_path / "s.db")
    await write(first, PutCell(cell(), PLACE))
    await first.close()

    second = SqliteStore.inline(tmp_path / "s.db")

    assert await second.read(GetCell("c1", 0, PLACE)) == cell()
    await second.close()
