"""Stands in for steps: what a test says a step gives, instead of what it would do."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from stepwell.clock import Clock
from stepwell.errors import NonRetriableError
from stepwell.protocol.messages import Call, Memo, Progress
from stepwell.sdk.bodies import Body, body
from stepwell.sdk.codec import encode
from stepwell.sdk.drive import AsyncDrive
from stepwell.sdk.events import Event, payload
from stepwell.sdk.execution import AI_INFER, FETCH, INVOKE, RUN, WAIT, WAIT_FOR_SIGNAL, StepOptions
from stepwell.sdk.failures import StepTimeout
from stepwell.sdk.fetch import FetchResponse
from stepwell.sdk.pool import Pool

_REQUESTS: Final = (AI_INFER, FETCH)


class Timeout:
    """The type of ``TIMEOUT``."""

    def __repr__(self) -> str:
        return "TIMEOUT"


TIMEOUT: Final = Timeout()
"""As the value of a stub: the wait, invoke or body takes too long."""


class InngestInvokeTimeoutError(NonRetriableError):
    """What the engine says of an invoke that took too long, under the same name."""


class Stubs:
    """Which steps are stood in for, and which are under way: by run, the names of steps and since when."""

    def __init__(self) -> None:
        self.under_way: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._values: dict[tuple[str | None, str], Any] = {}
        self._asked: set[tuple[str | None, str]] = set()
        self._names: set[str] = set()

    def add(self, step_id: str, value: Any, function_id: str | None) -> None:
        self._values[function_id, step_id] = value

    def has(self, function_id: str, step_id: str) -> bool:
        self._names.add(step_id)
        for key in ((function_id, step_id), (None, step_id)):
            if key in self._values:
                self._asked.add(key)
                return True
        return False

    def check_all_asked(self) -> None:
        """A stub of a step that was never reached may be one with a wrong id, and the real body may have run."""
        for function_id, step_id in self._values.keys() - self._asked:
            of = f" of {function_id}" if function_id else ""
            raise AssertionError(
                f"the stub of step {step_id!r}{of} was never used; steps that were reached: "
                f"{', '.join(map(repr, sorted(self._names))) or 'none'}. Correct its id, or leave it out"
            )

    async def act(self, function_id: str, step_id: str, *args: Any, **kwargs: Any) -> Any:
        """The result of the stub. Raises what it is to raise."""
        own = (function_id, step_id)
        value: Any = self._values[own] if own in self._values else self._values[None, step_id]
        if isinstance(value, BaseException):
            raise value
        if inspect.isclass(value) and issubclass(value, BaseException):
            raise value
        if not callable(value):
            return value
        result = value(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def drive(self, call: Call, progress: Progress, clock: Clock, pool: Pool) -> AsyncDrive:
        return _StubbedDrive(self, call, progress, clock, pool)


class _StubbedDrive(AsyncDrive):
    """A call in which some steps are stood in for: each becomes a step with a body, which gives the stub's value."""

    def __init__(self, stubs: Stubs, call: Call, progress: Progress, clock: Clock, pool: Pool) -> None:
        super().__init__(call, progress, clock, pool)
        self._stubs = stubs

    async def body(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StepOptions | None = None,
        kind: str = RUN,
        known: Body | None = None,
    ) -> Any:
        under_way = self._stubs.under_way[self.call.run_id]
        under_way[name] = self.clock.now_ms()
        try:
            if self._stubs.has(self.call.function_id, name):
                return await self._stand_in(name, fn, args, kwargs, options, kind, known)
            return await super().body(name, fn, args, kwargs, options, kind, known)
        finally:
            under_way.pop(name, None)

    async def _stand_in(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StepOptions | None,
        kind: str,
        known: Body | None,
    ) -> Any:
        async def stand_in() -> Any:
            value = await self._stubs.act(self.call.function_id, name, *args, **kwargs)
            if value is TIMEOUT:
                raise StepTimeout("the stub says that the body takes too long")
            return value

        known = Body(True, (known or body(fn)).decode)
        return await super().body(name, stand_in, (), {}, options, kind, known)

    async def rest(self, name: str, kind: str, opcode: str, opts: bytes | Callable[[], bytes]) -> Memo:
        if not self._stubs.has(self.call.function_id, name):
            return await super().rest(name, kind, opcode, opts)
        if kind in _REQUESTS:  # in place of which there is a body, with attempts of its own
            return Memo("data", await super().body(name, self._fetched, (name, kind), {}, None, RUN, Body(True, bytes)))
        assert isinstance(opts, bytes), "only requests are worked out late"

        async def stand_in() -> msgspec.Raw:
            return msgspec.Raw(self._result(kind, await self._stubs.act(self.call.function_id, name), opts))

        # Waits and invokes are not tried again: whatever they give is their result.
        data = await super().body(name, stand_in, (), {}, StepOptions(retries=0), kind, Body(True, bytes))
        came = kind == WAIT_FOR_SIGNAL and data != b"null"
        return Memo("data" if came or kind == INVOKE else "bare", data, self.clock.now_ms())

    async def _fetched(self, name: str, kind: str) -> msgspec.Raw:
        value = await self._stubs.act(self.call.function_id, name)
        if value is TIMEOUT:
            raise StepTimeout("the stub says that the request takes too long")
        if kind == FETCH and not isinstance(value, FetchResponse):
            body = value if isinstance(value, str) else encode(value).decode()
            value = FetchResponse(url="", status=200, headers={}, body=body)
        return msgspec.Raw(encode(value))

    def _result(self, kind: str, value: object, opts: bytes) -> bytes:
        if kind == WAIT:
            return b"null" if value is None or value is TIMEOUT else self._event(value, opts)
        if kind == WAIT_FOR_SIGNAL:
            if value is None or value is TIMEOUT:
                return b"null"
            return encode({"signal": msgspec.json.decode(opts)["signal"], "data": msgspec.Raw(encode(value))})
        if value is TIMEOUT and kind == INVOKE:
            raise InngestInvokeTimeoutError("Timed out waiting for invoked function to complete")
        return encode(value) if kind == INVOKE else b"null"

    def _event(self, value: object, opts: bytes) -> bytes:
        data = payload(value).data if issubclass(type(value), Event) else encode(value)
        name = msgspec.json.decode(opts)["event"]
        return encode({"name": name, "id": "stub", "ts": self.clock.now_ms(), "data": msgspec.Raw(data), "user": {}})
