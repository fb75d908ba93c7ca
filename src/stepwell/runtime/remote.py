"""Calls the functions of apps over HTTP: one lease, as many requests as the run needs until it rests (ADR 0014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from stepwell.clock import Clock
from stepwell.errors import InvalidOutput
from stepwell.ids import Ids
from stepwell.protocol.codec import Unreadable, decode_answer, encode_call
from stepwell.protocol.endpoints import CallRequest, reenter
from stepwell.protocol.messages import Answer, Call, Failed, Reports, WireError
from stepwell.protocol.registration import is_connected
from stepwell.runtime.connected import Stored, ask_worker
from stepwell.runtime.driving import NOBODY, Drive
from stepwell.runtime.outbound import Unreachable
from stepwell.runtime.signed import Signed
from stepwell.runtime.workers import Workers

_FUNCTION_NOT_FOUND: Final = "function_not_found"  # how Python and our SDK say it
_COULD_NOT_FIND: Final = "Could not find function"  # and JavaScript
_OUTLIVED_MAX: Final = 10_000


class Remote:
    """A ``protocol.messages.Transport`` for the functions that apps serve over HTTP, or by workers that connect.

    ``where`` gives the URL of a function, if it has one; with the scheme of a WebSocket it is one of ``workers``, whose
    app is ``owner``. ``departed`` tells whether its app no longer lists it: its runs go on while the app has the code,
    and wait for it once it does not (semantics §9.6).
    """

    def __init__(
        self,
        outbound: Signed,
        where: Callable[[str], str | None],
        clock: Clock,
        ids: Ids,
        departed: Callable[[str], bool] = lambda function_id: False,
        *,
        workers: Workers | None = None,
        owner: Callable[[str], str] = lambda function_id: "",
    ) -> None:
        self.clock = clock
        self._workers = workers
        self._owner = owner
        self._ids = ids
        self._outbound = outbound
        self._where = where
        self._departed = departed
        self._gone: set[str] = set()
        self.outlived: dict[tuple[str, str, int], None] = {}  # calls that wait: run, step and attempt

    def serves(self, function_id: str) -> bool:
        """Does an app serve this function, at an address or by a worker that is connected?"""
        if self._gone and function_id in self._gone:
            if self._departed(function_id):
                return False
            self._gone.discard(function_id)  # it is back
        url = self._where(function_id)
        if url is None or not is_connected(url):
            return url is not None
        return self._workers is not None and self._workers.serves(function_id)

    def remember_outlived(self, tried: tuple[str, str, int]) -> None:
        """A call has outlived the worker that had it, and there is no other. Of very many it forgets the oldest."""
        if len(self.outlived) >= _OUTLIVED_MAX:
            del self.outlived[next(iter(self.outlived))]
        self.outlived[tried] = None

    def is_gone(self, function_id: str, failed: Failed) -> bool:
        """Is there nobody any more to run it? No worker takes its calls, or the app says that it has no such function,
        which it does not list any more either."""
        error = failed.error
        if error.code in NOBODY:
            return True
        unknown = error.code == _FUNCTION_NOT_FOUND or error.message.startswith(_COULD_NOT_FIND)
        if unknown and self._departed(function_id):
            self._gone.add(function_id)
            return True
        return False

    async def call(self, call: Call, progress: Reports) -> Answer:
        """Drive the run until it rests or ends. Raises ``Superseded``."""
        return await Drive(self, call, progress).run()

    async def ask(self, call: Call) -> tuple[Answer, Stored | None]:
        """One request. The second value is to be called once the answer is written down, if whoever gave it waits for
        that. Raises ``LeaseLost`` if a worker had it and went silent."""
        url = self._where(call.function_id)
        if url is None:
            return Failed(WireError("Error", f"no app serves {call.function_id} any more")), None
        call = msgspec.structs.replace(call, request_id=self._ids.ulid(self.clock.now_ms()))
        if self._workers is not None and is_connected(url):
            return await ask_worker(self._workers, call, self._owner(call.function_id), self.clock.now_ms)
        return await self._ask_over_http(call, url), None

    async def _ask_over_http(self, call: Call, url: str) -> Answer:
        now = self.clock.now_ms()
        try:
            made = reenter(call) if call.endpoint is not None else self._request(call, url)
        except Unreadable as error:  # nor what is in the event of an endpoint
            return Failed(WireError("Error", f"the endpoint cannot be called again: {error}"), no_retry=True)
        except InvalidOutput as error:  # no attempt would change what the event or a step has in it
            return Failed(WireError("Error", f"the call cannot be signed: {error.what}: {error.why}"), no_retry=True)
        try:
            reply = await self._outbound.request(made.method, made.url, made.headers, made.body, signed=made.signed)
        except Unreachable as error:
            return Failed(WireError("Error", f"the call failed: {error}", code=error.code), started_at=now)
        believed = self._outbound.believable(reply)
        if believed is None:
            return Failed(WireError("Error", "the app's answer is not signed with our key"), started_at=now)
        answer = decode_answer(
            believed.status,
            believed.headers,
            believed.body,
            now=self.clock.now_ms(),
            attempt=call.attempt,
            called_at=now,
        )
        return msgspec.structs.replace(answer, started_at=now) if isinstance(answer, Failed) else answer

    def _request(self, call: Call, url: str) -> CallRequest:
        body = encode_call(call, signed=bool(self._outbound.keys))
        headers = {
            "Content-Type": "application/json",
            "X-Inngest-Req-Version": str(call.version),
            "X-Inngest-Step-ID": call.step_id,
            "X-Run-ID": call.run_id,
            "X-Request-ID": call.request_id,
            "X-Inngest-Generation-ID": str(call.generation),
            "X-Inngest-Job-ID": call.run_id,
        }
        address = call_url(url, call.function_id, call.step_id)
        return CallRequest(method="POST", url=address, headers=headers, body=body, signed=body)


def call_url(url: str, function_id: str, step_id: str) -> str:
    """The address of a call: the app's own, with what is asked for in the query (protocol §5.1)."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in _OURS]
    return parts._replace(query=urlencode([*kept, ("fnId", function_id), ("stepId", step_id)]), fragment="").geturl()


_OURS: Final = ("fnId", "stepId")
