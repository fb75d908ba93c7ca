"""Workers that come and go, freeze and lie, by a seed: what is known of them adds up, and no call is for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from stepwell.protocol.connect import WorkerReply
from stepwell.runtime.workers import LeaseLost, NotAnswered, Worker
from tests.core.runtime.test_workers import SECOND, World

SEEDS = 150
MOVES = 80


class Play:
    """One seed. What workers have been given they take, answer, go on with, or not at all, in any order."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.there: list[Worker] = []
        self.left: list[Worker] = []
        self.leases: dict[str, str] = {}

    def check(self) -> None:
        workers = self.world.workers
        asked = workers._asked.values()
        assert workers._busy == Counter(each.worker.instance for each in asked if each.worker is not None)
        ready = [worker for worker in workers.all() if worker.ready]
        assert workers._served == Counter(function for worker in ready for function in worker.functions)
        assert all(workers._asked[id].worker is None for id in workers._waiting)
        with_room = [worker for worker in ready if workers._has_room(worker)]
        for each in workers._waiting.values():
            assert not any(workers._may_have(each, worker) for worker in with_room), "it waits while there is room"

    async def move(self) -> None:
        act = self.random.choices(
            [self.join, self.ask, self.ack, self.extend, self.reply, self.pause, self.leave, self.cancel, self.wait],
            [2, 6, 8, 4, 6, 1, 1, 1, 5],
        )[0]
        await act()

    async def join(self) -> None:
        name = f"c{len(self.there) + len(self.left)}"
        instance = self.random.choice(["one", "two", name])
        functions = self.random.choice(["f", "g", "f g"])
        self.there.append(
            self.world.join(name, functions=functions, instance=instance, capacity=self.random.randint(1, 3))
        )

    async def ask(self) -> None:
        id = f"r{len(self.tasks)}"
        self.tasks[id] = self.world.ask(id, self.random.choice("fg"))

    async def ack(self) -> None:
        if found := self._some_call():
            self.world.workers.heard(found[0])
            self.world.workers.acked(found[1], found[0])

    async def extend(self) -> None:
        if found := self._some_call():
            worker, id, lease = found
            new = self.world.workers.extended(id, self.leases.get(id, lease), worker)
            if new is not None:
                self.leases[id] = new

    async def reply(self) -> None:
        if found := self._some_call(gone=True):
            self.world.workers.replied(WorkerReply(request_id=found[1]), lambda: None, found[0])

    async def pause(self) -> None:
        if self.there:
            self.world.workers.pause(self.random.choice(self.there))

    async def leave(self) -> None:
        if self.there:
            worker = self.there.pop(self.random.randrange(len(self.there)))
            self.left.append(worker)
            self.world.workers.leave(worker)

    async def cancel(self) -> None:
        if self.tasks:
            self.random.choice([*self.tasks.values()]).cancel()

    async def wait(self) -> None:
        await self.world.later(self.random.choice([0, 1, 4, 6, 11, 40, 130]) * SECOND)

    def _some_call(self, *, gone: bool = False) -> tuple[Worker, str, str] | None:
        workers = [*self.there, *(self.left if gone else ())]
        calls = [(worker, call.request_id, call.lease_id) for worker in workers for call in self.world.got[worker.id]]
        return self.random.choice(calls) if calls else None


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_known_of_workers_adds_up_and_every_call_ends(seed: int) -> None:
    async def work(world: World) -> None:
        play = Play(world, seed)
        for _ in range(MOVES):
            await play.move()
            await world.later()
            play.check()
        for worker in play.there:
            world.workers.leave(worker)
        await world.later()
        play.check()
        await world.later(300 * SECOND)  # a lease, the patience, and those who are asked one after the other

        for task in play.tasks.values():
            assert task.done()
            if not task.cancelled() and task.exception() is None:
                task.result()[1]()  # it is written down
            elif not task.cancelled():
                assert isinstance(task.exception(), LeaseLost | NotAnswered)
        workers = world.workers
        assert not (workers._asked or workers._waiting or workers._busy or workers._served or len(workers))

    World().play(work)
