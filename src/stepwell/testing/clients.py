"""The clients of an imagined world: apps and operators, who ask until they are answered."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from stepwell.engine.again import FromStep
from stepwell.errors import LimitExceeded, NotFound, NotRunning, StorageError
from stepwell.ids import RandomIds
from stepwell.model.order import Order
from stepwell.model.pause import Pause
from stepwell.model.place import PLACES
from stepwell.model.standing import EVERYTHING, StandingKind, StandingOrder, of_app, of_function
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.runtime.engine import Engine
from stepwell.runtime.nearby import NEARBY_MAX, Nearby
from stepwell.runtime.operator import pause as pause_function
from stepwell.runtime.operator import rerun, retry_now, skip_sleep
from stepwell.runtime.operator import resume as resume_function
from stepwell.runtime.orders import Replay, Selection, cancel_many, replay_many
from stepwell.runtime.standing import give as give_order
from stepwell.runtime.standing import withdraw as withdraw_order
from stepwell.testing.faults import pause
from stepwell.testing.plans import APP, Action, fewer_limits, other_keys, other_limits, other_rules

if TYPE_CHECKING:
    from stepwell.testing.processes import Process
    from stepwell.testing.world import World

T = TypeVar("T")

_FROM_STEP: Final = 0.7  # of the runs that are started again
_MANY: Final = 0.4  # of what operators cancel are all runs of a function
_RULES_TOO: Final = 0.4  # of those whose limits change
_FEWER: Final = 0.2  # of them are not limited by one of their rules any more
_KEYS_TOO: Final = 0.35  # of them count by other keys
_ONE_STEP: Final = 0.6  # of those who do not want to wait mean one step
_TOGETHER: Final = (0, 0, NEARBY_MAX, 0, 0, 0, 3, 0)  # by the seed, in turn: bugs between shards need events in several
_CLIENT_MS: Final = 10_000  # a client that hears nothing for so long asks again


class Archived(msgspec.Struct):
    """Somebody asked for it at the first of these moments, and it held until the second at the latest."""

    target: str
    since: int
    until: int = 1 << 62


class Clients:
    """Whoever asks something of the engine of a world. What they have been told is in the world's account."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: list[asyncio.Task[None]] = []
        self._unsure: dict[tuple[str, str], list[Process]] = {}  # whom somebody asked for an order, and was not told
        plan = world.plan
        together = _TOGETHER[plan.seed % len(_TOGETHER)] if plan.shards > 1 else 0
        self._nearby = Nearby(RandomIds(plan.seed), together) if together else None
        self._place: int | None = None  # of the last event

    def act(self, action: Action) -> None:
        """One of them does what is planned."""
        if action.kind == "send":
            for copy in range(action.copies):
                self.begin(self._send(action, f"{len(self.all)}-{copy}"))
        elif action.kind == "cancel":
            self.begin(self._cancel(action.pick))
        elif action.kind in ("pause", "resume"):
            spec = self._world.plan.functions[int(action.pick * len(self._world.plan.functions))]
            function_id = f"{APP}-{spec.id}"
            self.begin(self.resume(function_id) if action.kind == "resume" else self._pause(function_id, action))
        elif action.kind in ("archive", "drain"):
            self.begin(self._give(StandingKind(action.kind), self._target(action)))
        elif action.kind in ("unarchive", "undrain"):
            self.begin(self.withdraw(StandingKind(action.kind.removeprefix("un")), self._target(action)))
        elif action.kind == "rerun":
            self.begin(self._rerun(action.pick, f"k{len(self.all)}"))
        elif action.kind == "replay":
            self.begin(self._replay(action, f"k{len(self.all)}"))
        elif action.kind in ("retry", "skip"):
            self.begin(self._hurry(action))
        elif action.kind in ("deploy", "limit"):
            self.begin(self._deploy(action))
        else:
            raise AssertionError(action.kind)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.all.append(self._world.loop.create_task(work))

    async def _send(self, action: Action, label: str) -> None:
        seed = self._seed(label)
        event = validate_incoming(
            Incoming(
                name=action.event,
                data=msgspec.json.encode({"key": action.key}),
                id=action.id,
                ts=self._world.clock.now_ms() + action.delay_ms if action.delay_ms else 0,
            )
        )

        def send(engine: Engine) -> Coroutine[Any, Any, list[str]]:
            return engine.send([event], seed=seed)

        while True:
            answer = await self._ask(send)
            if answer is not None:
                self._world.acked[answer[0]] = (action.event, action.key)
                return
            self._world.reach("client asks again")

    def _seed(self, label: str) -> str:
        """Of an event that is sent again until it is answered. The seed says where it is: by chance, or as processes
        do with what comes without one."""
        now = self._world.clock.now_ms()
        entropy = int.from_bytes(sha256(label.encode()).digest()[:10])
        if self._nearby is not None:
            place, before = self._nearby.place(now), self._place
            if place == before:
                self._world.reach("events together")
            self._place = place
            entropy = entropy // PLACES * PLACES + (place - 1) % PLACES  # the event has the number after its seed
        return f"{now},{b64encode(entropy.to_bytes(10)).decode()}"

    async def _cancel(self, pick: float) -> None:
        live = self._world.tables.unfinished()
        if not live:
            return
        run_id, function_id = live[int(pick * len(live))]
        if pick * 100 % 1 < _MANY:
            await self._cancel_many(function_id)
            return

        def cancel(engine: Engine) -> Coroutine[Any, Any, bool]:
            return engine.cancel(run_id)

        while (answer := await self._ask(cancel)) is None:
            pass
        self._world.reach("cancelled" if answer else "cancelled too late")
        self._world.cancelled.add(run_id)

    async def _cancel_many(self, function_id: str) -> None:
        """A client that is not answered orders it again."""

        def order(engine: Engine) -> Coroutine[Any, Any, Order]:
            return cancel_many(engine, Selection(app_id=APP, function_id=function_id))

        while await self._ask(order) is None:
            pass
        self._world.reach("many cancelled")

    async def _rerun(self, pick: float, key: str) -> None:
        """Some begin with a step. A client that is not answered asks for the same once more."""
        runs = self._world.tables.ask("SELECT id FROM runs WHERE function_id NOT LIKE '%-failure' ORDER BY id")
        if not runs:
            return
        (run_id,) = runs[int(pick * len(runs))]
        steps = self._world.tables.ask("SELECT id FROM steps WHERE run_id = ? ORDER BY rowid", run_id)
        begin = None
        if steps and pick * 100 % 1 < _FROM_STEP:
            begin = FromStep(step=steps[int(pick * 1_000 % 1 * len(steps))][0])

        async def again(engine: Engine) -> str:
            try:
                run = await rerun(engine, run_id, key=key, from_step=begin)
            except LimitExceeded:
                return "not started again"
            except NotFound:  # its function is archived
                return "not there to be started again"
            return "started again from a step" if run.rerun is not None else "started again"

        while (done := await self._ask(again)) is None:
            pass
        self._world.reach(done)

    async def _hurry(self, action: Action) -> None:
        """Somebody does not want to wait for the next attempts of a run, or for its sleeps: for all or one of them."""
        kind = "retried" if action.kind == "retry" else "skipped"
        live = self._world.tables.retrying() if kind == "retried" else self._world.tables.sleeping()
        live = live or [(run_id, None) for run_id, _ in self._world.tables.unfinished()]
        if not live:
            return
        run_id, step = live[int(action.pick * len(live))]
        if action.pick * 100 % 1 >= _ONE_STEP:
            step = None

        async def hurry(engine: Engine) -> str:
            if action.kind == "retry":
                found = (await retry_now(engine, run_id, step)).any
            else:
                found = bool(await skip_sleep(engine, run_id, step))
            meant = "one" if step is not None else "all"
            return f"{meant} {kind} by a person" if found else f"nothing to be {kind}"

        while (done := await self._ask(hurry)) is None:
            pass
        self._world.reach(done)

    async def _replay(self, action: Action, key: str) -> None:
        spec = self._world.plan.functions[int(action.pick * len(self._world.plan.functions))]
        replay = Replay(app_id=APP, function_id=f"{APP}-{spec.id}", statuses=action.statuses, rate=action.rate)

        async def order(engine: Engine) -> str:
            try:
                made = await replay_many(engine, replay, key=key)
            except NotFound:
                return "replay of what is archived"
            return "replay of something" if made.what.matched else "replay of nothing"

        while (done := await self._ask(order)) is None:
            pass
        self._world.reach(done)

    async def _pause(self, function_id: str, action: Action) -> None:
        def pause_it(engine: Engine) -> Coroutine[Any, Any, Pause]:
            return pause_function(engine, function_id, events=action.events, runs=action.runs)

        while await self._ask(pause_it) is None:
            pass
        self._world.reach(f"paused: events {action.events}, runs {action.runs}")

    def _target(self, action: Action) -> str:
        """Whom a standing order is about. What is put off is not archived by itself: those that do so would need it."""
        if action.target == "app":
            return of_app(APP)
        if action.target == "all":
            return EVERYTHING
        specs = [spec for spec in self._world.plan.functions if not spec.put_off]
        return of_function(f"{APP}-{specs[int(action.pick * len(specs))].id}")

    async def _give(self, kind: StandingKind, target: str) -> None:
        began = self._world.clock.now_ms()

        def give(engine: Engine) -> Coroutine[Any, Any, StandingOrder]:
            return give_order(engine, kind, target)

        if kind == StandingKind.ARCHIVE:
            self._world.archived.append(Archived(target, began))
        leader = self._world.processes.leader
        while await self._ask(give) is None:
            if leader is not None:
                self._unsure.setdefault((kind, target), []).append(leader)
            leader = self._world.processes.leader
        self._world.reach(f"order: {kind}")
        if kind == StandingKind.ARCHIVE:  # another client may have taken it back before it was given at last
            self._world.archived.append(Archived(target, began))

    async def withdraw(self, kind: StandingKind, target: str) -> None:
        async def withdraw(engine: Engine) -> str:
            taken = await withdraw_order(engine, kind, target)
            return f"order taken back: {kind}" if taken is not None else "no order to take back"

        while (done := await self._ask(withdraw)) is None:
            pass
        self._world.reach(done)
        if self._may_stand(kind, target):
            self._world.reach("an order that was given up came later")
            return
        for one in self._world.archived:
            if kind == StandingKind.ARCHIVE and one.target == target:
                one.until = min(one.until, self._world.clock.now_ms())

    def _may_stand(self, kind: StandingKind, target: str) -> bool:
        """Whether a client that gave up asking for this order has got it all the same, after it was taken back, or may
        still get it: what it asked for is done as soon as the disk lets it."""
        asked = self._unsure.get((kind, target), ())
        stands = f"SELECT 1 FROM standing_orders WHERE kind = '{kind}' AND target = '{target}'"
        return bool(asked) and (
            any(process.node.door.open and process.node.engine.declaring for process in asked)
            or bool(self._world.tables.ask(stands))
        )

    async def _deploy(self, action: Action) -> None:
        """The rules of one function are others from now on, or its limits."""
        world, chance = self._world, Random(f"deploy {action.pick}")
        if action.kind == "limit":
            specs = world.plan.functions
            name = f"{APP}-{specs[int(action.pick * len(specs))].id}"
        else:
            name = world.configs[int(action.pick * len(world.configs))]["id"]
        old = next(config for config in world.configs if config["id"] == name)
        new = self._changed(action, old, chance)
        configs = world.configs = [new if config is old else config for config in world.configs]

        async def register(engine: Engine) -> bool:
            await engine.register(APP, configs)
            return True

        while await self._ask(register) is None:
            pass
        world.reach("deployed" if action.kind == "deploy" else "limits changed")

    def _changed(self, action: Action, config: Mapping[str, Any], chance: Random) -> dict[str, Any]:
        if action.kind == "deploy":
            return other_rules(config, chance)
        found = other_limits(config, chance)
        if found == config or chance.random() < _RULES_TOO:
            found = other_rules(found, chance)
        if self._world.plan.shards == 1 and chance.random() < _FEWER:
            self._world.reach("limit taken away")
            found = fewer_limits(found, chance)
        if self._world.plan.shards == 1 and chance.random() < _KEYS_TOO:
            before, found = found, other_keys(found, chance)
            if found != before:
                self._world.reach("keys changed")
        return found

    async def resume(self, function_id: str) -> None:
        async def resume_it(engine: Engine) -> str:
            return (
                "resumed" if await resume_function(engine, function_id) is not None else "resumed what was not paused"
            )

        while (done := await self._ask(resume_it)) is None:
            pass
        self._world.reach(done)

    async def _ask(self, question: Callable[[Engine], Coroutine[Any, Any, T]]) -> T | None:
        """Ask whoever leads. ``None`` if nobody answers, or says that it could not."""
        process = self._world.processes.leader
        if process is None:
            await pause(5_000)
            return None
        task = process.do(question(process.node.engine))
        done, _ = await asyncio.wait((task,), timeout=_CLIENT_MS / 1000)
        if done and not task.cancelled() and task.exception() is None:
            return task.result()
        if done and not task.cancelled() and not isinstance(task.exception(), StorageError | NotRunning):
            self._world.fail("error", f"a client was told {task.exception()!r}")
        task.cancel()
        await pause(self._world.chance.choice((0, 300, 2_000)))
        return None
