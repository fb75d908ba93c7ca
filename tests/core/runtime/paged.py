"""Pages of an app that are durable endpoints (protocol §8.3, §8.4), in virtual time and without a socket.

A page is a list of what it does, one after the other: ``"a"`` runs a step of that name, ``("nap", "1h")`` sleeps,
``("group", "a", "b")`` runs steps side by side, a callable runs code of the page itself. Its SDK reports through the
server's routes, and repeats a request whose answer was lost.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepwell.ids import ulid
from stepwell.runtime.outbound import Reply, Unreachable
from tests.core.runtime.scripted import SDK, hashed, said
from tests.core.runtime.wired import Said, Wired

DOMAIN = "http://pages.test"
COMPLETE = hashed("complete")
Part = str | tuple[str, ...] | Callable[[], Any]


class Paged(Wired):
    """A harness whose app has pages."""

    def __init__(self, parts: Sequence[Part] = (), **options: Any) -> None:
        super().__init__(**options)
        self.parts = parts
        self.bodies: list[str] = []
        self.entries: list[Mapping[str, str]] = []
        self.reachable = True
        self.app.request = self._entered  # type: ignore[method-assign]
        self._runs = 0

    # The server -------------------------------------------------------------------------------------------------------

    def begin(self, method: str, path: str) -> asyncio.Task[Said]:
        """A request to the server that is not waited for."""
        task = self._loop.create_task(self.asked(method, path))
        self._run_ready()
        return task

    def _function_id(self, function: Any) -> str:
        return function if "://" in function else super()._function_id(function)

    # The SDK ----------------------------------------------------------------------------------------------------------

    def new_run(self) -> str:
        self._runs += 1
        return ulid(self._clock.now_ms(), self._runs)

    def creation(self, run_id: str, ops: Sequence[Any] = (), **data: Any) -> dict[str, Any]:
        data = {"domain": DOMAIN, "method": "POST", "path": "/page", "body": "{}", "query_params": "", **data}
        event = {"name": "inngest/http.request", "data": {"content_type": "application/json", "fn": "", **data}}
        return {"run_id": run_id, "event": event, "steps": list(ops), "ts": 1, "request_version": 2, "retries": 3}

    def create(self, run_id: str, *ops: Any, **data: Any) -> Said:
        return self.http("POST", "/v1/checkpoint", self.creation(run_id, ops, **data))

    def report(self, run_id: str, *ops: Any, prefix: str = "/v1/checkpoint") -> Said:
        body = {"run_id": run_id, "fn_id": "f", "app_id": "a", "steps": list(ops), "ts": 1}
        return self.http("POST", f"{prefix}/{run_id}/steps", body)

    def visit(self) -> tuple[str, str | None]:
        """A client asks for the page: the id of its run, and the token for its result if the page has left the run."""
        run_id, token = self.new_run(), None

        def tell(*ops: Any) -> None:
            nonlocal token
            answer = self.create(run_id, *ops) if token is None else self.report(run_id, *ops)
            assert answer.status == 200, answer
            token = token or answer.json["data"]["token"]

        for part in self.parts:
            if isinstance(part, str):
                tell(self._body(part))
            elif isinstance(part, tuple):
                tell(*_found(part))
                return run_id, token
            else:
                try:
                    part()
                except Exception as error:
                    tell({"id": COMPLETE, "op": "StepError", "error": said(error)})
                    return run_id, token
        tell(completed())
        return run_id, None

    def _body(self, name: str) -> dict[str, Any]:
        self.bodies.append(name)
        return step(name)

    async def _entered(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = 0
    ) -> Reply:
        if not self.reachable:
            raise Unreachable("unreachable", "nobody is there")
        self.entries.append({**headers, "method": method, "url": url, "body": body.decode()})
        run_id = headers["X-Run-ID"]
        state = await self.asked("GET", f"/v0/runs/{run_id}/actions")
        events = await self.asked("GET", f"/v0/runs/{run_id}/batch")
        if state.status != 200 or events.status != 200:
            return _reply(500, {"name": "Error", "message": "no state"})
        known, target = state.json, headers.get("X-Inngest-Step-ID")
        if target is not None:
            name = next(name for part in self.parts for name in _names(part) if hashed(name) == target)
            return _reply(206, [self._body(name)])
        for part in self.parts:
            if isinstance(part, tuple):
                found = [op for op in _found(part) if op["id"] not in known]
                if found:
                    return _reply(206, found)
            elif not isinstance(part, str):
                try:
                    part()
                except Exception as error:
                    return _reply(500, said(error), no_retry="false")
            elif hashed(part) not in known:
                if headers.get("X-Inngest-Force-Step-Plan") == "true":
                    return _reply(206, [{**step(part), "op": "StepPlanned", "data": None}])
                return _reply(206, [self._body(part)])
        return _reply(206, completed())


def step(name: str, data: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": hashed(name), "op": "StepRun", "name": name, "displayName": name, "data": data or name, **more}


def sleeping(name: str, length: str) -> dict[str, Any]:
    return {"id": hashed(name), "op": "Sleep", "name": length, "displayName": name}


def completed(body: str = '"done"', status: int = 200, **headers: str) -> dict[str, Any]:
    """The end of a page, as its SDK says it."""
    named = {"content-type": "application/json", **headers}
    return {
        "id": COMPLETE,
        "op": "RunComplete",
        "data": {"status": status, "headers": named, "body": body, "version": 2},
    }


def _found(part: tuple[str, ...]) -> list[dict[str, Any]]:
    if part[0] == "group":
        return [{**step(name), "op": "StepPlanned", "data": None} for name in part[1:]]
    return [sleeping(part[0], part[1])]


def _names(part: Part) -> Sequence[str]:
    return (part,) if isinstance(part, str) else part if isinstance(part, tuple) else ()


def _reply(status: int, body: Any, *, no_retry: str | None = None) -> Reply:
    headers = {"x-inngest-sdk": SDK, "x-inngest-req-version": "2"}
    return Reply(status, headers | ({"x-inngest-no-retry": no_retry} if no_retry else {}), json.dumps(body).encode())
