"""What a person does is written with its effect, once, and nothing that goes on by itself is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from stepwell import Stepwell
from stepwell.engine.draft import Draft
from stepwell.model.audit import AuditEntry
from stepwell.model.changes import Change, Plan, PutCell, SaveAudit
from stepwell.model.history import Cell
from stepwell.model.questions import ListAudit
from stepwell.runtime.acting import Actor, current, described
from stepwell.runtime.engine import Engine
from stepwell.testing import Harness, harness

APP = Stepwell("shop")
NOBODY = "01HF7YAT00000000000000000A"


def remember(draft: Draft, key: str) -> Plan:
    draft.add(PutCell(Cell(key=key, value="v", expires_at=1 << 50), 3))
    return draft.decision(key)
    yield


def nothing(draft: Draft) -> Plan:
    return draft.decision(None)
    yield


def entries(t: Harness) -> list[AuditEntry]:
    return t.ask(ListAudit(100))


async def _act(engine: Engine, *keys: str, target: str = "", **said: Any) -> None:
    with Actor(engine, "ada", "api", "r7").act("do", target, described(said)):
        for key in keys:
            await engine.commit(lambda draft, key=key: remember(draft, key))


def test_an_action_of_several_decisions_has_one_entry_with_what_was_said():
    with harness(APP) as t:
        t._do(lambda: _act(t.engine, "a", "b", target=NOBODY, reason="why\nnot", data={"secret": 1}, n=3))

        (entry,) = entries(t)
        assert (entry.who, entry.via, entry.action, entry.target, entry.request) == ("ada", "api", "do", NOBODY, "r7")
        assert entry.detail == "reason=why not data=… n=3"
        assert entry.id[24:] == NOBODY[24:], "it is where the run is"


def test_what_changes_nothing_and_what_fails_leaves_no_entry():
    async def act(engine: Engine) -> None:
        def fail(draft: Draft) -> Plan:
            raise ValueError("no")
            yield

        with Actor(engine, "ada", "api").act("do"):
            await engine.commit(nothing)
        try:
            with Actor(engine, "ada", "api").act("do"):
                await engine.commit(fail)
        except ValueError:
            pass
        await engine.commit(lambda draft: remember(draft, "a"))

    with harness(APP) as t:
        t._do(lambda: act(t.engine))
        assert entries(t) == []


def test_what_goes_on_after_an_action_is_nobodys():
    async def act(engine: Engine) -> None:
        after = asyncio.Event()

        async def later() -> None:
            await after.wait()
            assert current() is None
            await engine.commit(lambda draft: remember(draft, "later"))

        with Actor(engine, "ada", "api").act("do"):
            task = engine.spawn(later())
        after.set()
        await task

    with harness(APP) as t:
        t._do(lambda: act(t.engine))
        assert entries(t) == []


def test_whoever_looks_is_told_of_the_entry():
    told: list[Change] = []

    async def act(engine: Engine) -> None:
        def observe(changes: Sequence[Change]) -> None:
            told.extend(changes)

        engine.observers.append(observe)
        await _act(engine, "a")

    with harness(APP) as t:
        t._do(lambda: act(t.engine))
        assert [type(each) for each in told] == [PutCell, SaveAudit]


def test_what_is_said_has_no_secret_and_is_short():
    said = {"password": "hush", "csrf": "hush", "data": '{"a": "hush"}', "all": True, "mode": "skip", "reason": ""}

    assert described(said) == "data=… all=true mode=skip"
    assert described({"note": "x" * 500, "ids": ["a", "b"]}) == "note=… ids=a,b"
