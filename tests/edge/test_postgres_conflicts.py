"""Two peers whose PostgreSQL refuses what they say, again and again: each statement of whatever they decide, with each
error. What the functions, the ledger of their bodies and the tables say is judged as after a crash."""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepwell import Event, Stepwell
from stepwell.errors import StorageUnavailable
from stepwell.storage.postgres.driver import Raw
from stepwell.storage.postgres.session import Session
from stepwell.storage.postgres.statements import COMMIT
from tests.crash.cluster import wait_until
from tests.crash.copied import copied
from tests.crash.replicas import LEFT
from tests.crash.verdict import violations
from tests.postgres import ask, emptied
from tests.storage.test_postgres_faults import KINDS, Faults, Faulty

pytestmark = pytest.mark.slow

EVENTS = 30
PATIENCE_S = 120
_APP = Path(__file__).parents[1] / "crash" / "app.py"
_STRUCK = frozenset({2, 5, 9, 13, 18, 23, 29})
"""Which times of each statement go wrong: more and more seldom, or those that are asked all the time would hold up all
others."""
_COMMITS = 11
"""Of so many one goes wrong: whether it took effect is the hardest question."""


class EachText(Faults):
    """Each kind of fault at each text of SQL, in turn, the first of them another for each."""

    def __init__(self) -> None:
        super().__init__("")
        self.started = False  # who cannot even begin says so, and ends
        self.times: Counter[str] = Counter()
        self.done: Counter[tuple[str, str]] = Counter()

    def strike(self, text: str) -> str:
        self.times[text] += self.started
        times = self.times[text]
        if not self.started or not (times % _COMMITS == 0 if text == COMMIT else times in _STRUCK):
            return ""
        before = sum(self.done[text, kind] for kind in KINDS)
        kind = list(KINDS)[(len(text) + before) % len(KINDS)]
        self.done[text, kind] += 1
        return kind


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> EachText:
    made, connect = EachText(), Session.connect

    async def connected(self: Session, *, patient: bool = False, prepared: bool = True) -> Raw:
        raw = await connect(self, patient=patient, prepared=prepared)
        return raw if patient else Faulty(made, raw)

    monkeypatch.setattr(Session, "connect", connected)
    return made


@pytest.fixture
def apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stepwell]]:
    """The app of the crash tests, twice, with one ledger."""
    monkeypatch.setenv("CRASH_LEDGER", str(tmp_path / "ledger"))
    yield [_loaded(number) for number in range(2)]


def _loaded(number: int) -> Stepwell:
    spec = importlib.util.spec_from_file_location(f"crash_app_{number}", _APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: Stepwell = module.app
    return app


async def test_whichever_statement_the_server_refuses_nothing_is_lost_or_done_twice(
    tmp_path: Path, apps: list[Stepwell], faults: EachText
):
    url = await asyncio.to_thread(emptied, 4)
    acknowledged: dict[str, int] = {}

    async def send(app: Stepwell, number: int) -> None:
        event = Event("crash/go", {"n": number, "key": number % 3}, id=f"event-{number}")
        while True:
            try:
                [event_id] = await app.send(event)
            except StorageUnavailable:
                continue
            acknowledged[event_id] = number
            return

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        for app in apps:
            await stack.enter_async_context(app.embedded(url, shards=4, pool=4, retry_interval="50ms", grace="1s"))
        faults.started = True
        for number in range(EVENTS):
            await send(apps[number % 2], number)
        quiet = partial(wait_until, lambda: not _left(url), "all runs have ended", PATIENCE_S)
        await asyncio.to_thread(quiet)
        faults.started = False

    await asyncio.to_thread(copied, url, tmp_path / "crash.db")
    found, counts = violations(tmp_path, acknowledged, [])
    assert found == []
    assert counts["events"] == EVENTS
    assert {kind for _, kind in faults.done} == set(KINDS)
    often = {text for text, times in faults.times.items() if times >= max(_STRUCK)}
    assert all(faults.done[text, kind] for text in often for kind in KINDS)
    assert len(often) > 40, "of the statements there are"


def _left(url: str) -> Any:
    return ask(url, LEFT)[0][0]
