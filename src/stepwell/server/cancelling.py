"""Orders to cancel many runs: ``/v1/cancellations``, and the same under v2 (protocol §10.1, semantics §8.3)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from stepwell.model.event import rfc3339
from stepwell.model.order import Order, OrderKind
from stepwell.model.questions import ListOrders
from stepwell.runtime.engine import Engine
from stepwell.runtime.orders import Selection, cancel_many, count_many, end_cancellation, find_cancellation
from stepwell.server.apps import app_uuid
from stepwell.server.desk import find_function
from stepwell.server.envelopes import Page, v1, v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.server.parameters import CURSOR, LIMIT
from stepwell.server.replies import Refused
from stepwell.server.rest_v1 import NOBODY
from stepwell.views.cancellation import CancellationView, cancellation_view
from stepwell.views.nouns import View, moment
from stepwell.views.wording import parse_moment

_NAME: Final = "runs of {}"
Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs to cancel: of this function, created between two moments. ``function_id`` is without the app's id; a
    full one will do as well. ``if`` is an expression over the event."""

    app_id: str
    function_id: str
    started_before: Moment
    started_after: Moment | None = None
    condition: str | None = msgspec.field(default=None, name="if")


class V1Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """An order in the words of v1, and how far it is: ``examined`` and ``cancelled`` are numbers of runs."""

    id: str
    created_at: str
    name: str
    account_id: str = NOBODY
    environment_id: str = NOBODY
    app_id: str
    function_internal_id: str
    function_id: str
    started_after: str | None
    started_before: str
    condition: str | UnsetType = msgspec.field(default=UNSET, name="if")
    kind: str = "bulk"
    cause: str = "api"
    examined: int
    cancelled: int
    ended_at: str | None


class Ended(msgspec.Struct, frozen=True):
    ok: bool = True


class Selecting(View, frozen=True):
    """Which runs to cancel: of this function, by its full id or the one in the code, created between two moments, by
    default until now. ``if`` is an expression over the event. With ``dryRun`` they are only counted."""

    function_id: str
    started_before: Moment | None = None
    started_after: Moment | None = None
    condition: str | None = msgspec.field(default=None, name="if")
    dry_run: bool = False


class Cancelling:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock

    def routes(self) -> list[Operation]:
        op = partial(Operation, style=Style.V1)
        path = "/v1/cancellations"
        one = f"{path}/{{cancellation_id}}"
        return [
            op(
                "POST",
                path,
                self.begin,
                "cancels all runs of a function that fit; the order, which goes on by itself",
                body=Ordered,
                answer=V1Cancellation,
                refuses=[404],
            ),
            op(
                "GET",
                path,
                self.list,
                "the orders, newest first, and how far they are",
                query=(LIMIT, CURSOR),
                answer=list[V1Cancellation],
            ),
            op("DELETE", one, self.end, "cancels no more runs for it, and forgets it", answer=Ended),
        ]

    async def begin(self, asked: Asked) -> Response:
        given: Ordered = asked.body
        own = given.function_id.removeprefix(f"{given.app_id}-")
        function = await find_function(self._engine, f"{given.app_id}-{own}")
        selection = Selection(
            app_id=function.app_id,
            function_id=function.id,
            started_before=moment_of(given.started_before, "started_before"),
            started_after=moment_of(given.started_after, "started_after"),
            condition=given.condition,
        )
        return v1(self._clock, _of_v1(await cancel_many(self._engine, selection)))

    async def list(self, asked: Asked) -> Response:
        found = await self._engine.store.read(ListOrders(OrderKind.CANCEL, asked.query["limit"], asked.query["cursor"]))
        return v1(self._clock, [_of_v1(each) for each in found])

    async def end(self, asked: Asked) -> Response:
        await end_cancellation(self._engine, asked.path["cancellation_id"])
        return v1(self._clock, Ended())


class CancellingV2:
    """The same for people's tools and our own command line."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        path = f"{prefix}/cancellations"
        one = f"{path}/{{cancellation_id}}"
        return [
            op(
                "POST",
                path,
                self.begin,
                "cancels all runs of a function that fit, or counts them with `dryRun`",
                body=Selecting,
                answer=CancellationView,
                refuses=[404],
            ),
            op(
                "GET",
                path,
                self.list,
                "the orders, newest first",
                query=(LIMIT, CURSOR),
                answer=list[CancellationView],
                paged=True,
            ),
            op("GET", one, self.one, "an order, and how far it is", answer=CancellationView),
            op("DELETE", one, self.end, "cancels no more runs for it, and forgets it", answer=Ended),
        ]

    async def begin(self, asked: Asked) -> Response:
        given: Selecting = asked.body
        function = await find_function(self._engine, given.function_id)
        selection = Selection(
            app_id=function.app_id,
            function_id=function.id,
            started_before=moment_of(given.started_before, "startedBefore"),
            started_after=moment_of(given.started_after, "startedAfter"),
            condition=given.condition,
        )
        if not given.dry_run:
            return v2(self._clock, cancellation_view(await cancel_many(self._engine, selection)))
        counted = CancellationView(
            id=None,
            function_id=function.id,
            created_at=None,
            started_before=moment(selection.started_before),
            started_after=moment(selection.started_after),
            condition=given.condition,
            status=None,
            who="",
            examined=0,
            cancelled=await count_many(self._engine, selection),
            ended_at=None,
        )
        return v2(self._clock, counted)

    async def list(self, asked: Asked) -> Response:
        limit: int = asked.query["limit"]
        found = await self._engine.store.read(ListOrders(OrderKind.CANCEL, limit + 1, asked.query["cursor"]))
        more = len(found) > limit
        page = Page(limit, more, found[limit - 1].id if more else None)
        return v2(self._clock, [cancellation_view(each) for each in found[:limit]], page=page)

    async def one(self, asked: Asked) -> Response:
        return v2(self._clock, cancellation_view(await find_cancellation(self._engine, asked.path["cancellation_id"])))

    async def end(self, asked: Asked) -> Response:
        await end_cancellation(self._engine, asked.path["cancellation_id"])
        return v2(self._clock, Ended())


def moment_of(text: str | None, name: str) -> int | None:
    """A moment in a body, in milliseconds. Raises ``Refused``."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError:
        why, fix = "it is a moment from 1970 to 9999, as RFC 3339 writes it", "write it like 2026-01-02T03:04:05Z"
        raise Refused(400, "invalid-parameter", f"{name} is {text[:80]!r}", why, fix) from None


def _of_v1(found: Order) -> V1Cancellation:
    what = found.what
    return V1Cancellation(
        id=found.id,
        created_at=rfc3339(found.created_at),
        name=_NAME.format(what.functions[0]),
        app_id=what.app_id,
        function_internal_id=app_uuid(what.functions[0]),
        function_id=what.functions[0],
        started_after=moment(what.created_after),
        started_before=rfc3339(what.created_before),
        condition=UNSET if what.condition is None else what.condition,
        examined=found.examined,
        cancelled=found.done,
        ended_at=moment(found.ended_at),
    )
