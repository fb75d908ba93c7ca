"""Answers the HTTP requests that the engine makes for steps: what a test says instead of the internet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stepwell.protocol.requests import shown_url
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, Reply, Unreachable
from stepwell.sdk.codec import encode


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was made for a step. Names of headers are in lower case; ``at`` is in milliseconds."""

    method: str
    url: str
    headers: dict[str, str]
    body: str
    at: int

    def json(self) -> Any:
        """What its body says."""
        return msgspec.json.decode(self.body)


class _Answer(msgspec.Struct):
    status: int
    body: Any
    headers: Mapping[str, str]
    delay_ms: int
    used: bool = False


class Answers:
    """An ``Outbound`` that asks nobody. It outlives the processes that use it."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.requests: list[FetchRequest] = []
        self._now_ms = now_ms
        self._known: dict[tuple[str | None, str], _Answer] = {}
        self._unanswered: list[FetchRequest] = []

    def add(self, url: str, method: str | None, status: int, body: Any, headers: Mapping[str, str], ms: int) -> None:
        self._known[method.upper() if method else None, url] = _Answer(status, body, headers, ms)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = 0
    ) -> Reply:
        found = {name.lower(): value for name, value in headers.items()}
        request = FetchRequest(method=method, url=url, headers=found, body=body.decode(), at=self._now_ms())
        self.requests.append(request)
        answer = self._find(request)
        if answer is None:
            self._unanswered.append(request)
            raise Unreachable(ADDRESS_NOT_ALLOWED, _unknown(request))
        answer.used = True
        if answer.delay_ms:
            await _pause(answer.delay_ms / 1000)
        value = answer.body(request) if callable(answer.body) else answer.body
        if isinstance(value, BaseException):
            raise Unreachable("unreachable", str(value))
        text = value.encode() if isinstance(value, str) else b"" if value is None else encode(value)
        kind = "text/plain; charset=utf-8" if isinstance(value, str) else "application/json"
        given = {name.lower(): said for name, said in answer.headers.items()}
        return Reply(answer.status, {"content-type": kind} | given, text)

    async def check(self, url: str) -> None:
        """Every address may be called: none is."""

    def raise_unanswered(self) -> None:
        """Nobody has said what a request is to be answered with: raises ``AssertionError`` for the first, once."""
        if self._unanswered:
            first, self._unanswered = self._unanswered[0], []
            raise AssertionError(_unknown(first))

    def check_all_asked(self) -> None:
        """An answer that nobody asked for may be one to a wrong address."""
        for (method, url), answer in self._known.items():
            if not answer.used:
                made = ", ".join(f"{each.method} {shown_url(each.url)}" for each in self.requests) or "none"
                asked = f"{method} {url}" if method else url
                raise AssertionError(
                    f"the answer to {asked} was never asked for; requests that were made: {made}. Correct its address, "
                    "or leave it out"
                )

    def _find(self, request: FetchRequest) -> _Answer | None:
        for url in (request.url, request.url.partition("?")[0]):
            for method in (request.method, None):
                if (method, url) in self._known:
                    return self._known[method, url]
        return None


def _unknown(request: FetchRequest) -> str:
    url = shown_url(request.url)
    return (
        f"a step makes the request {request.method} {url}, and nobody answers it: say what comes back, as in "
        f't.answer_fetch("{url.partition("?")[0]}", body={{"ok": True}}), or stub the step'
    )


async def _pause(seconds: float) -> None:
    over = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
