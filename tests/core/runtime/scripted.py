"""Apps that answer as the official SDKs do (protocol §5-§7), without a process and without a socket.

Two dialects of the same step functions. ``Javascript`` runs all branches of a function side by side and resolves memos
in the order of the stack; ``Python`` runs them one after the other and stops at what is not known. Both report steps
again that are not finished yet.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stepwell.runtime.outbound import Reply, Unreachable

SDK = "inngest-test:v1.0.0"
_QUIET_ROUNDS = 40  # of the event loop in which a function does nothing, before it is said to wait for steps

Handler = Callable[["Steps"], Awaitable[Any]]


class Final(Exception):
    """Not to be tried again."""


class Later(Exception):
    """To be tried again after this: what is written in ``Retry-After``."""

    def __init__(self, after: str) -> None:
        super().__init__("later")
        self.after = after


class StepFailed(Exception):
    """A step is out of attempts: the memo of an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


_MODE: ContextVar[str | None] = ContextVar("parallel mode", default=None)


def hashed(name: str, repeat: int = 0) -> str:
    return sha1((f"{name}:{repeat}" if repeat else name).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Request:
    """One request, as it was received."""

    number: int
    at: int
    method: str
    url: str
    headers: Mapping[str, str]
    text: bytes
    ended_at: int | None = None
    broken: bool = False

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def ctx(self) -> Any:
        return self.body["ctx"]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query))

    @property
    def step_id(self) -> str:
        return self.query["stepId"]

    @property
    def target(self) -> str | None:
        return None if self.step_id == "step" else self.step_id

    @property
    def function_id(self) -> str:
        return self.query["fnId"]


@dataclass
class _Found:
    op: dict[str, Any]
    body: Callable[[], Any] | None


class _Stop(BaseException):
    """Python: a step was found that is not known."""


class Steps:
    """What a function is given. Subclasses say how a step that is asked for comes by its result."""

    def __init__(self, app: App, request: Request) -> None:
        self.app = app
        self.request = request
        body = request.body
        self.event = body["event"]
        self.events = body["events"]
        self.attempt = body["ctx"]["attempt"]
        self.memos: dict[str, Any] = body["steps"]
        self.found: dict[str, _Found] = {}
        self._uses: Counter[str] = Counter()

    async def run(self, name: str, body: Callable[[], Any] | None = None, **opts: Any) -> Any:
        return await self._step(self._op("StepRun", name, opts=opts or None), body or (lambda: name))

    async def sleep(self, name: str, length: str) -> None:
        await self._step(self._op("Sleep", name, wire_name=length), None)

    async def wait(self, name: str, event: str, within: str = "1h", **opts: Any) -> Any:
        return await self._step(self._op("WaitForEvent", name, wire_name=event, opts={"timeout": within, **opts}), None)

    async def signal(self, name: str, signal: str, within: str = "1h", **opts: Any) -> Any:
        opts = {"signal": signal, "timeout": within, **opts}
        return await self._step(self._op("WaitForSignal", name, opts=opts), None)

    async def invoke(self, name: str, function_id: str, data: Any = None, **opts: Any) -> Any:
        opts = {"function_id": function_id, "payload": {"data": data}, **opts}
        return await self._step(self._op("InvokeFunction", name, opts=opts), None)

    async def op(self, op: str, name: str, **fields: Any) -> Any:
        """Any instruction at all."""
        return await self._step({**self._op(op, name), **fields}, None)

    async def group(self, *branches: Callable[[], Awaitable[Any]], mode: str | None = None) -> list[Any]:
        raise NotImplementedError

    async def answer(self, handler: Handler) -> Reply:
        raise NotImplementedError

    async def _step(self, op: dict[str, Any], body: Callable[[], Any] | None) -> Any:
        raise NotImplementedError

    def _op(self, op: str, name: str, *, wire_name: str | None = None, opts: Any = None) -> dict[str, Any]:
        repeat = self._uses[name]
        self._uses[name] += 1
        step_id = hashed(name, repeat)
        self.app.names[step_id] = f"{name}:{repeat}" if repeat else name
        return {
            "id": step_id,
            "op": op,
            "name": name if wire_name is None else wire_name,
            "displayName": name,
            "opts": opts,
            "userland": {"id": name, "index": repeat},
            "data": None,
        }

    def _value(self, step_id: str) -> Any:
        """What is remembered. Raises ``StepFailed``."""
        memo = self.memos[step_id]
        if isinstance(memo, dict) and len(memo) == 1:
            if "error" in memo:
                raise StepFailed(memo["error"])
            if "data" in memo:
                return memo["data"]
        return memo

    async def _execute(self, found: _Found) -> Reply:
        """Run the body of a step, and say what became of it."""
        name, app = found.op["displayName"], self.app
        assert found.body is not None
        app.started.append((self.request.ctx["run_id"], name, self.request.ctx["attempt"]))
        app.busy += 1
        app.busy_max = max(app.busy_max, app.busy)
        try:
            value = found.body()
            if asyncio.iscoroutine(value):
                value = await value
            op = {**found.op, "op": "StepRun", "data": value}
            headers = {}
        except Exception as error:
            final = isinstance(error, Final) or self.attempt + 1 >= self.request.ctx["max_attempts"]
            op = {**found.op, "op": "StepFailed" if final else "StepError", "error": said(error)}
            headers = {"X-Inngest-No-Retry": "true" if final else "false"}
            if isinstance(error, Later) and not final:
                headers["Retry-After"] = error.after
        finally:
            app.busy -= 1
        app.ended.append((self.request.ctx["run_id"], name))
        return reply(206, [op], version=app.version, **headers)

    def _failed(self, error: Exception) -> Reply:
        """The function's own code raised."""
        final = isinstance(error, Final | StepFailed) or self.attempt + 1 >= self.request.ctx["max_attempts"]
        headers = {"X-Inngest-No-Retry": "true" if final else "false"}
        if isinstance(error, Later) and not final:
            headers["Retry-After"] = error.after
        return reply(400 if final else 500, said(error), version=self.app.version, **headers)

    def _not_found(self) -> Reply:
        body = {"error": "step not found", "requestedStep": self.request.target, "foundSteps": []}
        return reply(500, body, version=self.app.version, **{"X-Inngest-No-Retry": "false"})

    def _reported(self) -> Reply:
        return reply(206, [_planned(found) for found in self.found.values()], version=self.app.version)


class Javascript(Steps):
    """All branches at once, as promises are."""

    def __init__(self, app: App, request: Request) -> None:
        super().__init__(app, request)
        self._stack = list(request.ctx["stack"]["stack"])
        assert set(self._stack) == set(self.memos), "the stack and the memos agree (protocol §7.4)"
        assert len(set(self._stack)) == len(self._stack), "no step is in the stack twice"
        self._stirred = 0
        self._pausing = 0
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._tasks: list[asyncio.Task[Any]] = []

    async def pause(self, seconds: float) -> None:
        """The function's own code takes its time."""
        self._pausing += 1
        try:
            await pause(seconds)
        finally:
            self._pausing -= 1
            self._stirred += 1

    async def group(self, *branches: Callable[[], Awaitable[Any]], mode: str | None = None) -> list[Any]:
        """``Promise.all``."""
        return list(await asyncio.gather(*(self._begin(branch, mode) for branch in branches)))

    async def race(self, *branches: Callable[[], Awaitable[Any]], mode: str | None = None) -> Any:
        """``Promise.race``: the losers go on."""
        tasks = [self._begin(branch, mode) for branch in branches]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()

    def _begin(self, branch: Callable[[], Awaitable[Any]], mode: str | None = None) -> asyncio.Task[Any]:
        async def begun() -> Any:
            if mode is not None:
                _MODE.set(mode)
            return await branch()

        task = asyncio.get_running_loop().create_task(begun())
        task.add_done_callback(_ignore)
        self._tasks.append(task)
        return task

    async def answer(self, handler: Handler) -> Reply:
        task = self._begin(lambda: handler(self))
        try:
            await self._until_quiet(task)
            if task.done():
                error = task.exception()
                if error is None:
                    return reply(200, task.result(), version=self.app.version)
                assert isinstance(error, Exception), error
                return self._failed(error)
            target = self.request.target
            if target is not None:
                found = self.found.get(target)
                return self._not_found() if found is None else await self._execute(found)
            if len(self.found) == 1 and not self.request.ctx["disable_immediate_execution"]:
                (found,) = self.found.values()
                if found.body is not None:
                    return await self._execute(found)
            return self._reported()
        finally:
            for each in self._tasks:
                each.cancel()

    async def _step(self, op: dict[str, Any], body: Callable[[], Any] | None) -> Any:
        step_id = op["id"]
        if _MODE.get() is not None:
            op["opts"] = {**(op["opts"] or {}), "parallelMode": _MODE.get()}
        self._stirred += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if step_id not in self.memos:
            self.found[step_id] = _Found(op, body)
            return await future
        self._awaited[step_id] = future
        while self._stack and self._stack[0] in self._awaited:  # a memo is resolved when the stack has come to it
            self._awaited.pop(self._stack.pop(0)).set_result(None)
        await future
        self._stirred += 1
        return self._value(step_id)

    async def _until_quiet(self, task: asyncio.Future[Any]) -> None:
        quiet, seen = 0, self._stirred
        while quiet < _QUIET_ROUNDS and not task.done():
            if self._pausing:
                await pause(0.001)
            else:
                await asyncio.sleep(0)
            if self._pausing or self._stirred != seen:
                quiet, seen = 0, self._stirred
            else:
                quiet += 1


class Python(Steps):
    """One branch after the other, each until it comes to a step that is not known."""

    def __init__(self, app: App, request: Request) -> None:
        super().__init__(app, request)
        self._parallel = False
        self._reply: Reply | None = None

    async def group(self, *branches: Callable[[], Awaitable[Any]], mode: str | None = None) -> list[Any]:
        before, self._parallel, known = self._parallel, True, set(self.found)
        outputs, stopped = [], False
        try:
            for branch in branches:
                try:
                    outputs.append(await branch())
                except _Stop:
                    if self._reply is not None:
                        raise
                    stopped = True
        finally:
            self._parallel = before
        if mode is not None:
            for step_id in self.found.keys() - known:
                op = self.found[step_id].op
                op["opts"] = {**(op["opts"] or {}), "parallelMode": mode}
        if stopped:
            raise _Stop
        return outputs

    async def answer(self, handler: Handler) -> Reply:
        try:
            return reply(200, await handler(self), version=2)
        except _Stop:
            if self._reply is not None:
                return self._reply
            return self._not_found() if self.request.target is not None else self._reported()
        except Exception as error:
            return self._failed(error)

    async def _step(self, op: dict[str, Any], body: Callable[[], Any] | None) -> Any:
        step_id, target = op["id"], self.request.target
        if step_id in self.memos:
            return self._value(step_id)
        found = _Found(op, body)
        alone = not self._parallel and not self.request.ctx["disable_immediate_execution"]
        if step_id == target or (target is None and body is not None and alone):
            self._reply = await self._execute(found)
        elif target is None:
            self.found[step_id] = found
        raise _Stop


@dataclass
class App:
    """An ``Outbound`` behind which functions answer.

    ``before`` may answer in the app's place, or break the connection, before anything has run; ``after`` may change
    what was answered. ``started`` are the bodies that began (run, step, attempt), ``ended`` those that came to an end.
    """

    dialect: type[Steps] = Javascript
    version: int = 2
    handlers: dict[str, Handler] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    started: list[tuple[str, str, int]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    before: Callable[[Request], Any] | None = None
    after: Callable[[Request, Reply], Any] | None = None
    busy: int = 0
    busy_max: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    clock: Any = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = 0
    ) -> Reply:
        request = Request(len(self.requests), self.clock.now_ms(), method, url, dict(headers), body)
        self.requests.append(request)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            found = self.before(request) if self.before is not None else None
            if asyncio.iscoroutine(found):
                found = await found
            if found is None:
                found = await self.dialect(self, request).answer(self.handlers[request.function_id])
                if self.after is not None:
                    found = self.after(request, found) or found
                if asyncio.iscoroutine(found):
                    found = await found
            request.ended_at = self.clock.now_ms()
            return found
        except BaseException:
            request.broken = True
            raise
        finally:
            self.in_flight -= 1

    async def check(self, url: str) -> None:
        """Whatever is asked for may be called."""

    # What tests look at -----------------------------------------------------------------------------------------------

    @property
    def asked(self) -> list[str]:
        """Which step each request was for, and "step" where it was for none."""
        return [self.names.get(request.step_id, request.step_id) for request in self.requests]

    def bodies(self) -> dict[str, int]:
        """How often each body began."""
        return dict(Counter(name for _, name, _ in self.started))


def said(error: Exception) -> dict[str, Any]:
    if isinstance(error, StepFailed):
        return dict(error.error)
    return {"name": type(error).__name__, "message": str(error), "stack": "", "__serialized": True}


def reply(status: int, body: Any, *, version: int | None = 2, sdk: str | None = SDK, **headers: str) -> Reply:
    """An answer. ``body`` is bytes, or something to be written as JSON."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if sdk is not None:
        fields["x-inngest-sdk"] = sdk
    if version is not None:
        fields["x-inngest-req-version"] = str(version)
    return Reply(status, fields, text)


def broken() -> Unreachable:
    return Unreachable("unreachable", "the connection broke before the answer was there")


async def pause(seconds: float) -> None:
    """Let virtual time go by."""
    over = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()


def _planned(found: _Found) -> dict[str, Any]:
    return found.op if found.body is None else {**found.op, "op": "StepPlanned"}


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
