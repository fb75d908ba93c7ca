"""Orders to start many runs again (semantics §9.4): ``/v2/replays``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Final

import msgspec
from starlette.responses import Response

from stepwell.engine.bulk import is_held
from stepwell.limits import EVENT_ID_BYTES_MAX
from stepwell.model.order import Order, OrderKind
from stepwell.model.questions import ListOrders, ListStandingOrders
from stepwell.model.run import RunStatus
from stepwell.model.standing import Orders, StandingKind
from stepwell.runtime.engine import Engine
from stepwell.runtime.orders import REPLAYED, Replay, abort_replay, find_replay, replay_many
from stepwell.server.cancelling import Moment, moment_of
from stepwell.server.desk import find_function
from stepwell.server.envelopes import Page, v2
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.parameters import CURSOR, LIMIT
from stepwell.server.replies import Refused
from stepwell.views.nouns import View
from stepwell.views.replay import ReplayView, WaitedFor, replay_view

_STATUSES: Final = {"enum": [*REPLAYED, *(status.lower() for status in REPLAYED)]}
Status = Annotated[str, msgspec.Meta(extra_json_schema=_STATUSES)]


class Replaying(View, frozen=True):
    """Which runs to start again: of this function, by its full id or the one in the code, or of all functions of an
    app; that have ended so, by default those that failed; created between two moments, by default until now.

    ``SKIPPED`` are events that a pause or a drain kept from starting a run, at a moment between the two. ``if`` is an
    expression over the event; ``rate`` is how many are started in which time, such as ``10/s``, ``100/m`` or
    ``1/30s``. With ``dryRun`` they are only counted. A second request with the same ``idempotencyKey`` within 24
    hours gets the order of the first.
    """

    function_id: str | None = None
    app_id: str | None = None
    name: str = ""
    statuses: list[Status] = msgspec.field(default_factory=lambda: [RunStatus.FAILED])
    created_after: Moment | None = None
    created_before: Moment | None = None
    condition: str | None = msgspec.field(default=None, name="if")
    rate: str | None = None
    dry_run: bool = False
    idempotency_key: str | None = None


class ReplayingV2:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        path = f"{prefix}/replays"
        one = f"{path}/{{replay_id}}"
        return [
            op(
                "POST",
                path,
                self.begin,
                "starts all runs again that fit, or counts them with `dryRun`; the [replay](#replays)",
                body=Replaying,
                answer=ReplayView,
                refuses=[404],
            ),
            op(
                "GET",
                path,
                self.list,
                "the replays, newest first",
                query=(LIMIT, CURSOR),
                answer=list[ReplayView],
                paged=True,
            ),
            op("GET", one, self.one, "a replay, and how far it is", answer=ReplayView),
            op(
                "POST",
                f"{one}/abort",
                self.abort,
                "starts no more runs for it; those that it has started go on",
                body=Opaque(required=False),
                answer=ReplayView,
            ),
        ]

    async def begin(self, asked: Asked) -> Response:
        given: Replaying = asked.body
        key = given.idempotency_key
        if key is not None and len(key.encode()) > EVENT_ID_BYTES_MAX:
            why = f"the limit is {EVENT_ID_BYTES_MAX} bytes, as for the id of an event"
            raise Refused(400, "invalid-body", "the idempotencyKey is too long", why, "shorten it")
        if (given.function_id is None) == (given.app_id is None):
            why = "either one function is meant, or all of an app"
            raise Refused(400, "invalid-body", "it is not said what to replay", why, "give functionId or appId")
        function = None if given.function_id is None else await find_function(self._engine, given.function_id)
        replay = Replay(
            app_id=function.app_id if function is not None else given.app_id or "",
            function_id=function.id if function is not None else None,
            created_before=moment_of(given.created_before, "createdBefore"),
            created_after=moment_of(given.created_after, "createdAfter"),
            statuses=given.statuses,
            condition=given.condition,
            rate=given.rate,
            name=given.name,
        )
        order = await replay_many(self._engine, replay, key=key, dry_run=given.dry_run)
        return v2(self._clock, *await self._views(order))

    async def list(self, asked: Asked) -> Response:
        limit: int = asked.query["limit"]
        found = await self._engine.store.read(ListOrders(OrderKind.REPLAY, limit + 1, asked.query["cursor"]))
        more = len(found) > limit
        page = Page(limit, more, found[limit - 1].id if more else None)
        return v2(self._clock, await self._views(*found[:limit]), page=page)

    async def one(self, asked: Asked) -> Response:
        return v2(self._clock, *await self._views(await find_replay(self._engine, asked.path["replay_id"])))

    async def abort(self, asked: Asked) -> Response:
        return v2(self._clock, *await self._views(await abort_replay(self._engine, asked.path["replay_id"])))

    async def _views(self, *found: Order) -> Sequence[ReplayView]:
        standing = await self._engine.store.read(ListStandingOrders())
        orders = Orders(standing)
        return [replay_view(each, [*self._held(each, orders)]) for each in found]

    def _held(self, found: Order, standing: Orders) -> Iterator[WaitedFor]:
        for function_id in found.what.functions if found.ended_at is None else ():
            function = self._engine.registry.get(function_id)
            if function is None or not is_held(function):
                continue
            if function.drain is not None:
                yield WaitedFor(function_id=function_id, by="drain", argument=function.drain.argument)
                continue
            order = standing.find(StandingKind.PAUSE, function_id, function.app_id)
            of_app = order is not None and order.pause == function.pause
            yield WaitedFor(
                function_id=function_id, by="pause", argument=order.argument if order and of_app else function_id
            )
