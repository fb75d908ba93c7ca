"""One transaction: locks the shards it comes upon, in their order, and runs works in it, each as if it were alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from stepwell.clock import Clock, monotonic_s
from stepwell.model.changes import Decision, OpenWait, Plan
from stepwell.model.questions import Lock, Question, RegistryStamp
from stepwell.storage.delivery import Outcome
from stepwell.storage.interface import Verdict
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.answers import Paths, Reader
from stepwell.storage.postgres.batch import Batch
from stepwell.storage.postgres.driver import Connection
from stepwell.storage.postgres.pending import REGISTRY, Pending, touches_of
from stepwell.storage.postgres.shards import shards_asked, shards_locked
from stepwell.storage.postgres.versions import Versions


class Upkeep(NamedTuple):
    """Work on the store itself, such as retention, under the lock of a shard."""

    run: Callable[[Connection], Awaitable[Any]]
    shard: int


Work = Decision | Callable[[], Plan] | Upkeep


class Behind(Exception):
    """A lock is needed that comes before one that is held. The work is to begin again with all these locks."""

    def __init__(self, shards: set[int]) -> None:
        super().__init__(shards)
        self.shards = shards


class NoShard(Exception):
    """Something names a shard that there is not."""


class _Raised(Exception):
    """A plan raised this."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Transaction:
    """Used once, on a connection that is in no transaction."""

    def __init__(
        self,
        connection: Connection,
        shards: int,
        versions: Versions,
        clock: Clock,
        asked: Callable[[Question[Any], Any], None],
    ) -> None:
        self._asked = asked
        self._connection, self._shards, self._clock = connection, shards, clock
        self._shared = versions
        self.locked: dict[int, int] = {}  # shard to version
        self.wrote = False
        self._batch = Batch(connection, self.locked, shards)
        self._paths: Paths = {}
        self._reader = Reader(connection, shards, self._paths)
        self._outcomes: list[Outcome | None] = []
        self._unwritten: list[tuple[int, Decision]] = []
        self._pending = Pending()
        self._stamp: int | None = None

    @property
    def mark(self) -> tuple[int, str, int] | None:
        """Where this transaction finds out whether it took effect: shard, writer and number. ``None`` without locks."""
        first = next(iter(self.locked), None)
        return None if first is None else (first, self._connection.writer, self._connection.number)

    async def run(self, works: Sequence[Work], wanted: Iterable[int]) -> list[Outcome]:
        """Run works in order, all that the locks allow, but at least the first. Raises ``Behind`` if the first needs
        others than ``wanted`` and what it came upon."""
        await self._connection.execute(sql.BEGIN)
        await self._lock(set(wanted))
        for work in works:
            try:
                await self._run_one(work)
            except Behind:
                if not self._outcomes:
                    raise
                break  # the others have what they need, so they need not begin again
        await self._flush()
        return cast("list[Outcome]", self._outcomes)

    async def _run_one(self, work: Work) -> None:
        if isinstance(work, Decision):
            await self._add(work)
            return
        if isinstance(work, Upkeep):
            await self._lock({work.shard})
            await self._flush()
            self.wrote = True
            self._outcomes.append(Outcome(await work.run(self._connection)))
            return
        try:
            decision = await self._drive(work)
        except _Raised as raised:
            self._outcomes.append(Outcome(None, raised.error))  # it has written nothing, so the others need not suffer
            return
        await self._add(decision)

    async def _add(self, decision: Decision) -> None:
        await self._lock(shards_locked(decision, self._shards))
        self._unwritten.append((len(self._outcomes), decision))
        self._outcomes.append(None)
        self._batch.add(decision)
        self._pending.add(decision)

    async def _flush(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        if not unwritten:
            return
        self._pending.clear()
        verdicts = await self._batch.flush()
        for (place, decision), held in zip(unwritten, verdicts, strict=True):
            self._outcomes[place] = Outcome(Verdict(held, decision.result))
            if held and decision.changes:
                self.wrote = True
                if self._stamp is not None and any(touch.table == REGISTRY for touch in touches_of(decision)):
                    self._stamp = None
                if any(type(change) is OpenWait for change in decision.changes):
                    self._paths.clear()

    async def _drive(self, make: Callable[[], Plan]) -> Decision:
        plan: Plan | None = None
        answer: Any = None
        while True:
            try:
                plan = plan or make()
                question = plan.send(answer)
            except StopIteration as done:
                return cast("Decision", done.value)
            except Exception as error:
                raise _Raised(error) from error
            try:
                await self._lock(shards_asked(question, self._shards))
            except Behind:
                plan.close()
                raise
            if isinstance(question, Lock):
                answer = len(self.locked) == self._shards
                continue
            if self._unwritten and self._pending.concerns(question):
                await self._flush()  # it sees what was decided before it
            answer = await self._answer(question)
            self._asked(question, answer)

    async def _answer(self, question: Question[Any]) -> Any:
        """Almost every plan asks for the stamp of the functions. Whoever changes them locks all shards first, so as
        long as this transaction holds one, the answer changes only by what it writes itself."""
        if type(question) is not RegistryStamp or not self.locked:
            return await self._reader.answer(question)
        if self._stamp is None:
            self._stamp = await self._reader.answer(question)
        return self._stamp

    async def _lock(self, shards: set[int]) -> None:
        missing = sorted(shards - self.locked.keys())
        if not missing:
            return
        if self.locked and missing[0] < max(self.locked):
            raise Behind(shards | self.locked.keys())
        for shard in missing:
            asked_at = monotonic_s()
            version = await (self._lock_one(shard) if self.locked else self._lock_first(shard))
            self._shared.locked(shard, version, asked_at)
            self.locked[shard] = version

    async def _lock_first(self, shard: int) -> int:
        connection, now = self._connection, self._clock.now_ms()
        connection.number += 1
        row = (shard, connection.writer, connection.number, now)
        version, marked = self._version(shard, await connection.fetch(sql.LOCK_AND_MARK, row))
        if not marked:
            await connection.execute(sql.MARK, row)
        return version

    async def _lock_one(self, shard: int) -> int:
        version, _ = self._version(shard, await self._connection.fetch(sql.LOCK, (shard,)))
        return version

    def _version(self, shard: int, found: list[tuple[Any, ...]]) -> tuple[int, bool]:
        if not found:
            raise NoShard(f"there is no shard {shard}: the database has {self._shards}")
        version, marked = found[0]
        return version, marked
