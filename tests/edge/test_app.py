"""The ASGI application in the states that a test cannot bring a process into at will."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from stepwell.errors import StorageUnavailable
from stepwell.model.questions import NextDues
from stepwell.server import ingest
from stepwell.server.app import App
from stepwell.server.guard import Guard
from stepwell.server.wiring import NOBODY, Member, open_store

EVENT = b'{"name": "a/b"}'


async def ask(app: App, method: str, path: str, messages: Sequence[dict[str, Any]]) -> tuple[int, Any] | None:
    """Status and JSON of the answer; ``None`` if there is none. A client that has sent everything waits."""
    answer: list[Any] = []
    coming = iter(messages)

    async def receive() -> Any:
        message = next(coming, None)
        return message if message is not None else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        answer.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost")], "query_string": b""}
    await app({**scope, "root_path": ""}, receive, send)
    return (answer[0]["status"], json.loads(answer[1]["body"])) if answer else None


def whole(body: bytes = b"") -> list[dict[str, Any]]:
    return [{"type": "http.request", "body": body, "more_body": False}]


async def started() -> tuple[Member, App]:
    member = await open_store(":memory:", NOBODY, {})
    await member.start()
    return member, App(member.engine, Guard())


async def test_a_server_that_is_stopping_accepts_no_events() -> None:
    member, app = await started()
    member.engine.stopping = True

    answer = await ask(app, "POST", "/e/k", whole(EVENT))

    assert answer is not None and answer[0] == 503
    assert (answer[1]["status"], answer[1]["ids"]) == (503, [])
    await member.stop(0)


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BODY_S_MAX", 0.02)
    member, app = await started()

    answer = await ask(app, "POST", "/e/k", [{"type": "http.request", "body": EVENT, "more_body": True}])

    assert answer is not None and answer[0] == 408
    await member.stop(0)


@pytest.mark.parametrize("begun", [[], [{"type": "http.request", "body": EVENT, "more_body": True}]])
async def test_a_sender_that_hangs_up_before_its_body_is_there_has_sent_nothing(begun: list[dict[str, Any]]) -> None:
    member, app = await started()

    answer = await ask(app, "POST", "/e/k", [*begun, {"type": "http.disconnect"}])

    assert answer is None
    assert (await ask(app, "GET", "/v1/events", whole()) or (0, {}))[1]["data"] == []
    await member.stop(0)


async def test_a_fault_of_ours_is_answered_without_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    member, app = await started()

    async def fail(*_: Any, **__: Any) -> list[str]:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(member.engine, "send", fail)
    answer = await ask(app, "POST", "/e/k", whole(EVENT))

    assert answer == (500, {"error": "internal error", "status": 500, "ids": []})
    await member.stop(0)


async def test_an_engine_whose_database_cannot_be_read_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    member, app = await started()
    read = member.engine.store.read

    async def fail(question: Any) -> Any:
        if isinstance(question, NextDues):
            raise StorageUnavailable("the disk fails")
        return await read(question)

    monkeypatch.setattr(member.engine.store, "read", fail)
    answer = await ask(app, "GET", "/health", whole())

    assert answer == (503, {"status": 503, "message": "the disk fails"})
    await member.stop(0)


async def test_a_page_that_cannot_be_shown_says_so_as_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    member = await open_store(":memory:", NOBODY, {})
    await member.start()
    app = App(member.engine, Guard(), ui=True)
    fault: Exception = StorageUnavailable("the disk fails")

    async def fail(question: Any) -> Any:
        raise fault

    monkeypatch.setattr(member.engine.store, "read", fail)
    told = [await page(app, "/runs")]
    fault = RuntimeError("a secret of the inside")
    told.append(await page(app, "/runs"))

    assert [status for status, _ in told] == [503, 500]
    assert "The disk fails" in told[0][1] and "Internal error" in told[1][1]
    assert "secret" not in told[1][1]
    assert all("Try again" in text and "<nav" in text for _, text in told)
    await member.stop(0)


async def page(app: App, path: str) -> tuple[int, str]:
    """What a browser gets."""
    answer: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answer.append(message)

    headers = [(b"host", b"localhost"), (b"accept", b"text/html")]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    return answer[0]["status"], b"".join(each.get("body", b"") for each in answer[1:]).decode()
