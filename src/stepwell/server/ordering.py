"""Standing orders over REST v2: to archive, drain and pause functions, apps, or all there is, until that is taken back
(semantics §9.5, §9.6, §9.9)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, cast

import msgspec
from starlette.responses import Response

from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.model.event import rfc3339
from stepwell.model.pause import Pause
from stepwell.model.questions import ListFunctions, ListStandingOrders
from stepwell.model.standing import EVERYTHING, Orders, StandingKind, StandingOrder, of_app, of_function
from stepwell.runtime import standing
from stepwell.runtime.engine import Engine
from stepwell.runtime.operator import pause, resume
from stepwell.server.desk import find_function
from stepwell.server.envelopes import v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.server.parameters import choice, named
from stepwell.server.replies import Refused
from stepwell.views.nouns import View

_PauseEvents = Literal["skip", "hold"]
_PauseRuns = Literal["finish", "hold", "cancel"]


class Ordering(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to hold, and for what: a function, an app, or without either all there is, which only ``drain`` can be
    about. ``events`` and ``runs`` are the choices of a pause; ``reason`` is for people who ask why."""

    kind: Literal["archive", "drain", "pause"]
    function_id: str | None = None
    app_id: str | None = None
    events: _PauseEvents = "skip"
    runs: _PauseRuns = "finish"
    reason: Annotated[str, msgspec.Meta(max_length=PAUSE_REASON_CHARS_MAX)] = ""


class OrderView(View, frozen=True):
    """What an operator has decided, and not taken back: about a function, an app, or without either all there is.
    ``events`` and ``runs`` are the choices of a pause."""

    kind: Literal["archive", "drain", "pause"]
    function_id: str | None
    app_id: str | None
    since: str
    reason: str
    events: _PauseEvents | None
    runs: _PauseRuns | None


class WithdrawnView(View, frozen=True):
    """``order`` is what held until now, null if nothing did. ``remains`` is a wider order of the kind that holds for it
    all the same: that of its app, or of everything."""

    withdrawn: bool
    order: OrderView | None
    remains: OrderView | None = None


_QUERY = (
    choice("kind", "what is taken back", *StandingKind),
    named("functionId", "the id of a function", "the function that it is about"),
    named("appId", "the id of an app", "the app that it is about"),
)


class OrderingV2:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        path = f"{prefix}/orders"
        return [
            op("GET", path, self.orders, "what operators have decided, and not taken back", answer=list[OrderView]),
            op(
                "POST",
                path,
                self.give,
                "[archives, drains](../how-to/archive-and-drain.md) or pauses a function, an app or all there is",
                body=Ordering,
                answer=OrderView,
            ),
            op(
                "DELETE",
                path,
                self.withdraw,
                "takes that back; `withdrawn` is false if it did not hold",
                query=_QUERY,
                answer=WithdrawnView,
            ),
        ]

    async def orders(self, asked: Asked) -> Response:
        shown = [_view(order) for order in await self._engine.store.read(ListStandingOrders())]
        functions = await self._engine.store.read(ListFunctions(archived=True))
        shown += [_view(_of_pause(each.id, each.pause)) for each in functions if each.pause is not None]
        return v2(self._engine.clock, shown)

    async def give(self, asked: Asked) -> Response:
        given: Ordering = asked.body
        kind, engine, reason = StandingKind(given.kind), self._engine, given.reason
        target, function_id = await self._target(kind, given.function_id, given.app_id)
        if kind != StandingKind.PAUSE:
            found = await standing.give(engine, kind, target, reason=reason)
        elif function_id is not None:
            found = _of_pause(
                function_id, await pause(engine, function_id, events=given.events, runs=given.runs, reason=reason)
            )
        else:
            found = await standing.pause_all(engine, target, events=given.events, runs=given.runs, reason=reason)
        return v2(engine.clock, _view(found))

    async def withdraw(self, asked: Asked) -> Response:
        query = asked.query
        if query["kind"] is None:
            why = "archive, drain and pause are taken back one by one"
            raise Refused(400, "invalid-parameter", "there is no kind", why, "add kind=archive, drain or pause")
        kind = StandingKind(query["kind"])
        target, function_id = await self._target(kind, query["functionId"], query["appId"])
        if kind == StandingKind.PAUSE and function_id is not None:
            ended = await resume(self._engine, function_id)
            found = None if ended is None else _of_pause(function_id, ended)
        else:
            found = await standing.withdraw(self._engine, kind, target)
        remains = await self._remaining(kind, function_id, query["appId"])
        shown = WithdrawnView(
            withdrawn=found is not None,
            order=None if found is None else _view(found),
            remains=None if remains is None else _view(remains),
        )
        return v2(self._engine.clock, shown)

    async def _remaining(self, kind: StandingKind, function_id: str | None, app_id: str | None) -> StandingOrder | None:
        if function_id is not None:
            app_id = (await find_function(self._engine, function_id)).app_id
        left = await self._engine.store.read(ListStandingOrders())
        return Orders(left).find(kind, function_id or "", app_id or "")

    async def _target(self, kind: StandingKind, function_id: str | None, app_id: str | None) -> tuple[str, str | None]:
        """What an order is about, and the full id of the function if it is one."""
        if function_id and app_id:
            why = "an order is about one of them"
            raise Refused(400, "invalid-order", "a function and an app are named", why, "leave out one of the two")
        if function_id:
            found = (await find_function(self._engine, function_id)).id
            return of_function(found), found
        if app_id:
            return of_app(app_id), None
        if kind != StandingKind.DRAIN:
            why = "only a drain can be about all there is"
            raise Refused(400, "invalid-order", f"{kind} of what is not said", why, "add functionId or appId")
        return EVERYTHING, None


def _of_pause(function_id: str, pause: Pause) -> StandingOrder:
    return StandingOrder(
        kind=StandingKind.PAUSE, target=of_function(function_id), since=pause.since, reason=pause.reason, pause=pause
    )


def _view(order: StandingOrder) -> OrderView:
    scope, _, name = order.target.partition("/")
    return OrderView(
        kind=cast("Literal['archive', 'drain', 'pause']", order.kind),
        function_id=name if scope == "function" else None,
        app_id=name if scope == "app" else None,
        since=rfc3339(order.since),
        reason=order.reason,
        events=cast("_PauseEvents", order.pause.events) if order.pause is not None else None,
        runs=cast("_PauseRuns", order.pause.runs) if order.pause is not None else None,
    )
