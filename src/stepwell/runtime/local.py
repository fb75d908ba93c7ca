"""The way of an app to the subscribers in its own process, where a server would be asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from stepwell.clock import Clock
from stepwell.errors import NotRunning
from stepwell.ids import is_ulid
from stepwell.protocol.realtime import Topic as Address
from stepwell.protocol.realtime import address, checked_topics, message, subscription_token
from stepwell.runtime.realtime import Hub

_ENDED: Final = "the subscription has ended"


class LocalMessages:
    """Messages of an app whose engine is in this process. With ``keys``, which sign tokens, browsers may listen."""

    def __init__(self, hub: Hub, clock: Clock, keys: Callable[[], Awaitable[Sequence[str]]] | None = None) -> None:
        self._hub = hub
        self._clock = clock
        self._keys = keys

    async def publish(self, channel: str, topic: str, data: bytes, run_id: str | None) -> None:
        to, run_id = address(channel, topic), run_id if run_id and is_ulid(run_id) else None
        await self._hub.publish(message(to, data, self._clock.now_ms(), run_id=run_id))

    async def token(self, channel: str, topics: Sequence[str]) -> str:
        if self._keys is None:
            raise NotRunning(
                "there is no server for which a token could be",
                "an embedded engine has no address that a browser could connect to",
                "subscribe in a route of your own, and pass the messages on",
            )
        found = _addresses(channel, topics)
        key = (await self._keys())[0]
        return subscription_token(found, key, self._clock.now_ms(), self._hub.new_id())

    @asynccontextmanager
    async def listen(self, channel: str, topics: Sequence[str]) -> AsyncGenerator[AsyncIterator[bytes], None]:
        subscription = await self._hub.subscribe(_addresses(channel, topics))

        async def frames() -> AsyncIterator[bytes]:
            while (frame := await subscription.next()) is not None:
                yield frame.body
            raise NotRunning(_ENDED, subscription.reason or "", "subscribe again")

        try:
            yield frames()
        finally:
            subscription.close()


def _addresses(channel: str, topics: Sequence[str]) -> tuple[Address, ...]:
    return checked_topics(Address(channel, topic) for topic in topics)
