"""What the threads of a store owe to the loops that wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.model.changes import Decision, Plan, PutCell
from stepwell.model.questions import Count, GetCell
from stepwell.storage.sqlite import SqliteStore
from tests.storage.conftest import scratch
from tests.storage.nouns import PLACE, cell, write


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with scratch() as folder:
        made = SqliteStore.open(Path(folder) / "s.db", leader=False)
        yield made
        asyncio.run(made.close())


async def test_many_works_are_answered_in_few_callbacks(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    loop = asyncio.get_running_loop()
    callbacks = 0
    call_soon_threadsafe = loop.call_soon_threadsafe

    def count(callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        nonlocal callbacks
        callbacks += 1
        return call_soon_threadsafe(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    gate = threading.Event()

    def hold() -> Plan:
        gate.wait(10)  # so that all the others are in the queue before the first is done
        return Decision()
        yield

    held = store.commit(hold)
    works = [store.commit(Decision((PutCell(cell(str(n)), PLACE),))) for n in range(512)]
    gate.set()
    await asyncio.gather(held, *works)

    assert callbacks <= 4


def test_loops_of_several_threads_are_each_answered(store: SqliteStore):
    found: dict[str, list[int]] = {}

    async def count_to(name: str) -> list[int]:
        works = [store.commit(Decision((PutCell(cell(f"{name}{n}"), PLACE),), result=n)) for n in range(300)]
        await store.read(Count(0))
        return [(await work).result for work in works]

    def run(name: str) -> None:
        found[name] = asyncio.run(count_to(name))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {name: list(range(300)) for name in "abc"}


def test_a_loop_that_is_gone_harms_nobody(store: SqliteStore):
    gate = threading.Event()

    def hold() -> Plan:
        gate.wait(10)
        return Decision((PutCell(cell("held"), PLACE),))
        yield

    loop = asyncio.new_event_loop()

    async def ask_and_leave() -> None:
        store.commit(hold)

    loop.run_until_complete(ask_and_leave())
    loop.close()
    gate.set()

    async def another() -> object:
        await write(store, PutCell(cell("other"), PLACE))
        return await store.read(GetCell("held", 0, PLACE))

    assert asyncio.run(another()) is not None


async def test_a_read_does_not_wait_for_what_is_being_written(store: SqliteStore):
    gate = threading.Event()

    def hold() -> Plan:
        gate.wait(10)
        return Decision()
        yield

    held = store.commit(hold)

    assert await store.read(GetCell("c1", 0, PLACE)) is None
    assert not held.done()
    gate.set()
    await held
