"""Queues, limits and windows over REST v2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from starlette.responses import Response

from stepwell.engine.held import Reset
from stepwell.errors import NotFound
from stepwell.flow.keys import storable
from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.model.function import Function
from stepwell.model.history import Outcome
from stepwell.model.run import Run
from stepwell.runtime.engine import Engine
from stepwell.runtime.held import discard, reset, run_now
from stepwell.server.desk import find_function, situation
from stepwell.server.envelopes import Page, v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.server.parameters import choice, named, number, text
from stepwell.views.nouns import outcome_view
from stepwell.views.queues.backlogs import function_queue, queues
from stepwell.views.queues.controls import NAMES, limits, reset_view, resettable
from stepwell.views.queues.shapes import (
    ActedView,
    ForgottenView,
    FunctionQueueView,
    LimitsView,
    QueueView,
    WindowView,
)
from stepwell.views.queues.windows import By, cells, window_view

_KEYS: Final = number("limit", "how many keys at most", default=20, most=200)
_WINDOWS: Final = (
    choice("control", "only those of this rule", "debounce", "batch"),
    named("functionId", "the id of a function", "only those of this function"),
    _KEYS,
    text("cursor", "where to go on: the cursor of the page before, exclusive"),
)
_LIMITS: Final = (
    choice("control", "only this rule", *NAMES.values()),
    text("key", "only the state of this key"),
    text("after", "only keys after this one: the `after` of a rule with `more`"),
    _KEYS,
)
_WINDOWS_PER_REQUEST: Final = 100  # each is a decision of its own


class Resetting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which key: its value, empty for the one of a rule without a key. Of one rule, or of all that remember it.
    ``reason`` is for people who ask why."""

    key: str = ""
    control: Literal["rate-limit", "idempotency", "throttle"] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=PAUSE_REASON_CHARS_MAX)] = ""
    dry_run: bool = False


class Acting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which open windows of the function: of this rule, all or the one of a key."""

    control: Literal["debounce", "batch"]
    key: str | None = None
    dry_run: bool = False


class QueuesV2:
    """The endpoints of an engine. ``led`` tells whether any process runs what the database owes."""

    def __init__(self, engine: Engine, *, led: bool = True) -> None:
        self._engine = engine
        self._led = led

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        function = f"{prefix}/functions/{{function_id}}"
        return [
            op(
                "GET",
                f"{prefix}/queue",
                self.queues,
                "[what waits](#queues), by function and reason",
                answer=list[QueueView],
            ),
            op(
                "GET",
                f"{function}/queue",
                self.queue,
                "[what waits](#queues) of a function, by key, the deepest first",
                query=(_KEYS,),
                answer=FunctionQueueView,
            ),
            op(
                "GET",
                f"{function}/limits",
                self.limits,
                "[its rules](#limits) with their present state",
                query=_LIMITS,
                answer=LimitsView,
            ),
            op(
                "POST",
                f"{function}/limits/reset",
                self.reset,
                "has a key of a rule [forgotten](#limits)",
                body=Resetting,
                answer=ForgottenView,
            ),
            op(
                "GET",
                f"{prefix}/windows",
                self.windows,
                "[events that are held back](#windows) for one start",
                query=_WINDOWS,
                answer=list[WindowView],
                paged=True,
                refuses=[404],
            ),
            op(
                "POST",
                f"{function}/windows/run",
                self.run,
                "starts the runs of [open windows](#windows) now",
                body=Acting,
                answer=ActedView,
            ),
            op(
                "POST",
                f"{function}/windows/delete",
                self.delete,
                "deletes [open windows](#windows): their events start nothing, and say so",
                body=Acting,
                answer=ActedView,
            ),
        ]

    async def queues(self, asked: Asked) -> Response:
        clock = self._engine.clock
        return v2(clock, await queues(self._engine.store, clock.now_ms()))

    async def queue(self, asked: Asked) -> Response:
        function = await find_function(self._engine, asked.path["function_id"])
        now = situation(self._engine, led=self._led)
        shown = await function_queue(self._engine.store, self._engine.registry, function.id, now, asked.query["limit"])
        return v2(self._engine.clock, shown)

    async def limits(self, asked: Asked) -> Response:
        function = await self._function(asked)
        query = asked.query
        shown = await limits(
            self._engine.store,
            function,
            situation(self._engine, led=self._led),
            limit=query["limit"],
            control=query["control"],
            value=_stored(query["key"]),
            after=query["after"],
        )
        return v2(self._engine.clock, shown)

    async def reset(self, asked: Asked) -> Response:
        function = await self._function(asked)
        given: Resetting = asked.body
        engine, now = self._engine, self._engine.clock.now_ms()
        found = await resettable(engine.store, function, storable(given.key), now, given.control)
        if not found:
            raise NotFound(
                f"nothing is remembered of the key {given.key!r} of {function.id}",
                "its rules count starts by key, and forget a key that is not used; or it has no such rule",
                f"look: stepwell limits {function.id}",
            )
        keys = [key for _, key in found]
        done = keys if given.dry_run else await reset(engine, function.id, keys, reason=given.reason)
        shown = ForgottenView(
            function_id=function.id,
            dry_run=given.dry_run,
            forgotten=[reset_view(function, Reset(key, now, given.reason)) for key in done],
        )
        return v2(engine.clock, shown)

    async def windows(self, asked: Asked) -> Response:
        engine, query = self._engine, asked.query
        limit: int = query["limit"]
        function_id = (await find_function(engine, query["functionId"])).id if query["functionId"] else None
        kinds: tuple[By, ...] = ("batch", "debounce") if query["control"] is None else (query["control"],)
        now, found = engine.clock.now_ms(), list[WindowView]()
        last = None
        for kind in kinds:  # in the order of their keys
            room = limit + 1 - len(found)
            if room <= 0:
                break
            after = query["cursor"]
            for cell in await cells(engine.store, kind, now, room, function_id=function_id, after=after):
                if len(found) < limit:
                    last = cell.key
                found.append(await window_view(engine.store, engine.registry, kind, cell))
        more = len(found) > limit
        return v2(engine.clock, found[:limit], page=Page(limit, more, last if more else None))

    async def run(self, asked: Asked) -> Response:
        runs, outcomes = list[str](), list[Outcome]()

        async def start(key: str) -> bool:
            started = await run_now(self._engine, key)
            if isinstance(started, Run):
                runs.append(started.id)
            elif started is not None:
                outcomes.append(started)
            return started is not None

        return await self._act(asked, start, runs, outcomes)

    async def delete(self, asked: Asked) -> Response:
        return await self._act(asked, partial(discard, self._engine), [], [])

    async def _act(
        self, asked: Asked, act: Callable[[str], Awaitable[bool]], runs: list[str], outcomes: list[Outcome]
    ) -> Response:
        """Each window is a decision of its own: what is done stays done if the process dies in between."""
        engine = self._engine
        function = await find_function(engine, asked.path["function_id"])
        given: Acting = asked.body
        kind = given.control
        value, most = _stored(given.key), _WINDOWS_PER_REQUEST
        page = await cells(engine.store, kind, engine.clock.now_ms(), most + 1, function_id=function.id, value=value)
        keys, more = [cell.key for cell in page[:most]], len(page) > most
        done = 0
        for key in keys:
            done += await act(key) if not given.dry_run else True
        if given.key is not None and not done:
            raise NotFound(
                f"no events of {function.id} are held back under the key {given.key!r}",
                "its window has closed, or there was none",
                f"list them: stepwell {kind} {function.id}",
            )
        shown = ActedView(
            function_id=function.id,
            windows=done,
            dry_run=given.dry_run,
            more=more,
            run_ids=runs,
            outcomes=[outcome_view(outcome) for outcome in outcomes],
        )
        return v2(engine.clock, shown)

    async def _function(self, asked: Asked) -> Function:
        """The function as it is registered. Raises ``NotFound``."""
        stored = await find_function(self._engine, asked.path["function_id"])
        function = self._engine.registry.of_run(stored.id)
        if function is None:
            raise NotFound(
                f"{stored.id} has left its app", "what it declared is not known any more", "register it again"
            )
        return function


def _stored(key: str | None) -> str | None:
    """A value of a key as keys in the database have it."""
    return None if key is None else storable(key)
