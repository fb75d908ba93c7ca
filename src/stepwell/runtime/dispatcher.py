"""Takes what is due, shard by shard, as far as there is room for calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepwell.engine.admission import ready, unserved
from stepwell.engine.dispatch import claim
from stepwell.model.questions import NextDues, ShardsWithBacklog

if TYPE_CHECKING:
    from stepwell.runtime.engine import Engine


class Dispatcher:
    """Claims for one process.

    A claim is a transaction that holds its shard, and whoever shares the store sees that something was written: two
    idle processes would wake each other for ever. So where there are several shards, or peers who claim as well, it is
    asked first, without a lock, where anything is due.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last = -1  # the shard that had room last: when it is scarce each has its turn

    async def tick(self, now: int) -> int | None:
        """Take what is due. When to come back: now if there may be more."""
        engine = self._engine
        room = engine.decisions.look_for_room()
        if engine.store.shards == 1 and not engine.peers:
            return await self._claim(0, room)
        waiting = set[int]() if room <= 0 else await self._shards_with_waiting()
        found = await engine.store.read(NextDues(timers_only=room <= 0))
        for shard in waiting:
            engine.decisions.crowded.arise(shard)
        following: list[int | None] = [at for shard, at in found if at > now and shard not in waiting]
        shards = self._in_turn({shard for shard, at in found if at <= now} | waiting)
        if 0 < room < len(shards):
            following += [await self._claim_in_turn(shard) for shard in shards]
        elif shards:  # side by side, each with its share of the room
            following += await self._claim_each(shards, room // len(shards))
        return min((at for at in following if at is not None), default=None)

    async def _claim_in_turn(self, shard: int) -> int | None:
        """One call, if there is room: what is left is for the next, and the rest of this one for its next turn."""
        room = self._engine.decisions.look_for_room()
        if room > 0:
            self._last = shard
        return await self._claim(shard, min(room, 1))

    async def _claim_each(self, shards: Sequence[int], room: int) -> list[int | None]:
        """One that fails does not end this before the others are over: the next tick would claim beside them, and where
        the database is slow there would be more and more."""
        claims = [self._claim(shard, room) for shard in shards]
        found = await asyncio.gather(*claims, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [each for each in found if not isinstance(each, BaseException)]

    async def _claim(self, shard: int, room: int) -> int | None:
        engine = self._engine
        decisions, caller = engine.decisions, engine.caller
        waiting = self._waited_for() if engine.peers else None
        verdict = await decisions.commit(
            lambda draft: claim(
                draft,
                shard=shard,
                room=room,
                new_token=decisions.tokens.__next__,
                serves=caller.transport.serves,
                mine=caller.token_of,
                crowded=shard in decisions.crowded,
                pressing=shard in decisions.pressing,
                waiting=waiting,
            ),
            shard,
        )
        following: int | None = verdict.result.value
        return following

    async def _shards_with_waiting(self) -> set[int]:
        """The shards in which runs of our functions wait for a process: for one with room, or for one that has them.

        Peers put them there, and one that has died takes none of them any more.
        """
        engine = self._engine
        if not engine.peers:
            return set(engine.decisions.crowded.shards)  # as far as is known, which a claim finds out
        names = self._waited_for()
        if not names:
            return set()
        shards = await engine.store.read(ShardsWithBacklog(names))
        return set(shards)

    def _waited_for(self) -> tuple[str, ...]:
        """The backlogs from which this process takes: only those of functions that it serves. One whose peer alone
        serves it waits there for that one, and is not handed to and fro."""
        registry, serves = self._engine.registry, self._engine.caller.transport.serves
        served = [
            function_id
            for known in (registry.functions, registry.departed)
            for function_id in known
            if serves(function_id)
        ]
        return (*map(ready, served), *map(unserved, served))

    def _in_turn(self, shards: set[int]) -> list[int]:
        """Those after the one that had room last come first."""
        return sorted(shards, key=lambda shard: (shard <= self._last, shard))
