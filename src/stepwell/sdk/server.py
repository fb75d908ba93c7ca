"""The server of an app that is served over HTTP: events go there, and what an app reports while it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import msgspec

from stepwell.errors import EventTooLarge, InvalidEvent, InvalidSignal, NotRunning
from stepwell.protocol.signing import SigningKey
from stepwell.sdk.client import EventPayload

if TYPE_CHECKING:
    import aiohttp

    from stepwell.sdk.server_messages import ServerMessages

_TRIES: Final = 5
_PAUSE_S: Final = 0.1  # before the second try; each further one is twice as long
_TIMEOUT_S: Final = 30.0
_NO_KEY: Final = "NO_EVENT_KEY_SET"


class Reply(NamedTuple):
    status: int
    body: bytes


class _Resumed(msgspec.Struct):
    run_id: str


class Unreachable(Exception):
    """The server gave no answer."""


class Server:
    """A server of this protocol at ``origin``. ``keys`` prove that we may call it, ``event_key`` that we may send."""

    def __init__(self, origin: str, keys: Sequence[SigningKey], event_key: str | None) -> None:
        self.origin = origin.rstrip("/")
        self._keys = tuple(keys)
        self._event_key = event_key or _NO_KEY
        # A session belongs to an event loop, and an app may be called from several.
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        """As ``Sender`` has it."""
        body = msgspec.json.encode([_wire(payload) for payload in payloads])
        headers = {"X-Inngest-Event-Id-Seed": seed} if seed else {}
        reply = await self.told(f"/e/{self._event_key}", body, headers)
        found = _json(reply.body)
        if reply.status == 200:
            return list(found.get("ids", []))
        text = str(found.get("error", f"status {reply.status}"))
        if reply.status == 400:
            kind = EventTooLarge if "over the max size" in text else InvalidEvent
            raise kind(text, "the server refused it", str(found.get("fix", "correct it")))
        raise NotRunning(f"the server at {self.origin} took no event", text, "look at its log")

    async def signal(self, name: str, data: bytes) -> str | None:
        """As ``Sender`` has it."""
        body = msgspec.json.encode({"signal": name, "data": msgspec.Raw(data)})
        reply = await self.told("/v1/signals", body, {})
        found = _json(reply.body)
        if reply.status == 200:
            return msgspec.convert(found.get("data"), _Resumed).run_id
        if reply.status == 404:
            return None
        text = str(found.get("error", f"status {reply.status}"))
        if reply.status == 400:
            raise InvalidSignal(text, "the server refused it", str(found.get("fix", "correct it")))
        raise NotRunning(f"the server at {self.origin} took no signal", text, "look at its log")

    @property
    def messages(self) -> ServerMessages:
        """As ``Sender`` has it."""
        from stepwell.sdk.server_messages import ServerMessages

        return ServerMessages(self)

    async def told(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The answer to something sent, which is sent again while the server fails. Raises ``NotRunning``."""
        try:
            return await self.request("POST", path, body, headers, patient=True)
        except Unreachable as error:
            raise NotRunning(
                f"no server answers at {self.origin}", str(error), "start it, or say where it is: server=…"
            ) from None

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> Reply:
        """One request, shown to be ours. A ``patient`` one is repeated while the server fails.

        Raises ``Unreachable``.
        """
        import aiohttp

        told = {"Content-Type": "application/json", **(headers or {})}
        if self._keys:
            told["Authorization"] = f"Bearer {self._keys[0].bearer}"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        for tries in range(1, _TRIES + 1):
            try:
                async with self.session().request(
                    method, self.origin + path, data=body or None, headers=told, timeout=timeout
                ) as response:
                    reply = Reply(response.status, await response.read())
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if not patient or tries == _TRIES:
                    raise Unreachable(f"{type(error).__name__}: {error}") from None
            else:
                if reply.status == 401 and len(self._keys) > 1 and told["Authorization"].endswith(self._keys[0].bearer):
                    told["Authorization"] = f"Bearer {self._keys[1].bearer}"  # the server knows the other one still
                    continue
                if not patient or reply.status < 500 or tries == _TRIES:
                    return reply
            await _pause(_PAUSE_S * 2 ** (tries - 1))
        raise Unreachable("it refused both keys")

    def session(self) -> aiohttp.ClientSession:
        """The connections of the present event loop."""
        import aiohttp

        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            session = self._sessions[loop] = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return session


async def _pause(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()


def _wire(payload: EventPayload) -> dict[str, object]:
    found: dict[str, object] = {"name": payload.name, "data": msgspec.Raw(payload.data)}
    if payload.id is not None:
        found["id"] = payload.id
    if payload.ts:
        found["ts"] = payload.ts
    if payload.v is not None:
        found["v"] = payload.v
    if payload.user is not None:
        found["user"] = msgspec.Raw(payload.user)
    if payload.meta is not None:
        found["meta"] = msgspec.Raw(payload.meta)
    if payload.run_id is not None:
        found["stepwell"] = {"run_id": payload.run_id}
    return found


def _json(body: bytes) -> dict[str, Any]:
    try:
        return _decode(body)
    except msgspec.MsgspecError:
        return {}


_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
