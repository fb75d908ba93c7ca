"""What the functions of a test have published, kept for those who ask what it was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from stepwell.clock import Clock
from stepwell.model.event import rfc3339
from stepwell.protocol.realtime import Received
from stepwell.runtime.engine import Engine
from stepwell.runtime.local import LocalMessages
from stepwell.sdk.realtime import RealtimeMessage, Topic


class Published:
    """The way of an app's messages to the engine that runs at present, and a list of them that outlives it."""

    def __init__(self, engine: Callable[[], Engine], clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._all: list[Received] = []

    def messages(self, channel: str | None, topic: str | Topic[Any] | None) -> list[RealtimeMessage[Any]]:
        """Those of a channel and a topic, or of any; oldest first."""
        name, typed = (topic.name, topic) if isinstance(topic, Topic) else (topic, None)
        return [
            RealtimeMessage(each, typed)
            for each in self._all
            if channel in (None, each.channel) and name in (None, each.topic)
        ]

    async def publish(self, channel: str, topic: str, data: bytes, run_id: str | None) -> None:
        """As ``Messages`` of ``sdk/client.py`` has it, and so is the rest."""
        await self._local().publish(channel, topic, data, run_id)
        self._all.append(
            Received(
                kind="data",
                channel=channel,
                topic=topic,
                data=msgspec.Raw(data),
                created_at=rfc3339(self._clock.now_ms()),
                run_id=run_id,
            )
        )

    async def token(self, channel: str, topics: Sequence[str]) -> str:
        return await self._local().token(channel, topics)

    def listen(self, channel: str, topics: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._local().listen(channel, topics)

    def _local(self) -> LocalMessages:
        return LocalMessages(self._engine().realtime, self._clock)
