"""One process of an imagined world: an engine, the functions it calls, and its only way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from stepwell.clock import Clock, monotonic_s
from stepwell.ids import Ids
from stepwell.limits import CALLS_MAX
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question
from stepwell.model.settings import Settings
from stepwell.protocol.messages import Transport
from stepwell.runtime.engine import Engine
from stepwell.runtime.loop import Timers
from stepwell.runtime.outbound import Outbound
from stepwell.storage.interface import Changed, Store, Swept, Verdict

A = TypeVar("A")

_USUAL: Final = Settings()

Work = Decision | Callable[[], Plan]


class Door:
    """A process's way to the store. Once shut, nothing it says arrives and nothing is answered: the process is gone.

    ``dies`` is asked at each commit, before (``True``) and after (``False``) it takes effect, whether this is the end.
    After a plan it is given the decision that the plan has come to.
    """

    def __init__(self, store: Store, dies: Callable[[bool, object], bool] | None = None) -> None:
        self.open = True
        self._store = store
        self._dies = dies

    def watch(self, dies: Callable[[bool, object], bool]) -> None:
        """Ask this from now on."""
        self._dies = dies

    @property
    def shards(self) -> int:
        return self._store.shards

    def commit(self, work: Work) -> asyncio.Future[Verdict]:
        return self._through(work, self._store.commit)

    async def read(self, question: Question[A]) -> A:
        if not self.open:
            await _nothing()
        answer = await self._store.read(question)
        if not self.open:
            await _nothing()
        return answer

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        return await self._store.sweep(before, limit, now=now)

    async def new_epoch(self) -> int:
        return await self._through(None, lambda _: asyncio.ensure_future(self._store.new_epoch()))

    async def changed(self) -> Changed:
        return await self._store.changed()

    async def now_ms(self) -> int:
        return await self._store.now_ms()

    async def close(self) -> None:
        """The store outlives its processes."""

    def _through(self, work: Any, commit: Callable[[Any], asyncio.Future[A]]) -> asyncio.Future[A]:
        if self.open and self._dies is not None and self._dies(True, work):
            self.open = False
        if not self.open:
            return _nothing()
        if self._dies is None:
            return commit(work)
        made: list[Decision] = []
        future = commit(work if work is None or isinstance(work, Decision) else _noting(work, made))
        if self._dies(False, made[-1] if made else work):
            self.open = False
            return _nothing()
        return future


def _noting(plan: Callable[[], Plan], made: list[Decision]) -> Callable[[], Plan]:
    """The same plan, and what it comes to is put into ``made``."""

    def planned() -> Plan:
        made.append((yield from plan()))
        return made[-1]

    return planned


def _nothing() -> asyncio.Future[Any]:
    """No answer, ever."""
    return asyncio.get_running_loop().create_future()


class Node:
    """An engine and the functions of some apps, with a life of their own on a store that outlives them.

    Under virtual time all that happens is within a moment: unless somebody says otherwise each request has a place of
    its own, so that all shards take part.
    """

    def __init__(
        self,
        door: Door,
        transport: Transport,
        clock: Clock,
        timers: Timers,
        ids: Ids,
        apps: Mapping[str, Sequence[Mapping[str, Any]]],
        *,
        settings: Settings = _USUAL,
        calls_max: int = CALLS_MAX,
        tidies: bool = True,
        outbound: Outbound | None = None,
        peers: bool = False,
        monotonic: Callable[[], float] = monotonic_s,
        nearby_max: int = 1,
    ) -> None:
        self.door = door
        self._apps = apps
        self.engine = Engine(
            door,
            transport,
            clock,
            timers,
            ids,
            ids,
            settings=settings,
            calls_max=calls_max,
            retention_ms=None,
            shared=peers,
            peers=peers,
            monotonic=monotonic,
            nearby_max=nearby_max,
            tidies=tidies,
            outbound=outbound,
        )

    async def start(self) -> None:
        """Register the functions, take over what is owed."""
        for app_id, configs in self._apps.items():
            await self.engine.register(app_id, configs)
        await self.engine.lead()

    def vanish(self) -> None:
        """As a killed process does: from here on nothing of it has any effect on the store."""
        self.door.open = False
        self.engine.stopping = True
