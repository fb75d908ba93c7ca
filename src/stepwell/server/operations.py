"""Operations of the REST API: each is declared once, and that is both what checks requests and what the OpenAPI
document is written from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.server.guard import envelope
from stepwell.server.ingest import TOO_LARGE, read_body
from stepwell.server.parameters import IN_PATHS, Parameter
from stepwell.server.replies import Refused


class Style(StrEnum):
    """How the answers of a part of the API are wrapped, and its errors with them."""

    PLAIN = "plain"
    V1 = "v1"
    V2 = "v2"


class Opaque(msgspec.Struct, frozen=True, kw_only=True):
    """A body that the operation decodes by itself. ``schema`` is what is to be in it, ``None`` for anything at all.

    One that is ``streamed`` is not read before the operation is asked: it reads the request as it arrives.
    """

    schema: dict[str, Any] | None = None
    types: tuple[str, ...] = ("application/json",)
    required: bool = True
    streamed: bool = False


class Written(msgspec.Struct, frozen=True):
    """An answer that the operation writes by itself: of these media types, or without one of any, with any status."""

    types: tuple[str, ...] = ()


class Asked:
    """A request whose parameters and body have been checked. ``body`` is of the declared type, or bytes; ``None`` if
    there is none, or if it is streamed."""

    def __init__(self, request: Request, path: dict[str, Any], query: dict[str, Any], body: Any, seed: str | None):
        self.request = request
        self.path = path
        self.query = query
        self.body = body
        self.seed = seed


Do = Callable[[Asked], Awaitable[Response]]
Note = Callable[["Operation", Asked], AbstractContextManager[object]]
NOTING: Final = "stepwell.noting"
"""Where a request has the ``Note`` that opens an action for what it does, if that is noted (``noted.py``)."""


class Operation(Route):
    """A method of an address. ``do`` answers it.

    ``query`` are its parameters, ``body`` is a struct, or ``Opaque`` for one that it reads by itself. ``answer`` is the
    type of what is in the envelope, with ``status``; ``Written`` for what is no JSON of ours, ``None`` for an answer
    without a body. With ``paged`` there is a page beside it. ``refuses`` are statuses of errors besides those that all
    operations have; a body that is too large is one of them where 413 is, and else a 400.

    Bodies are read before anything is answered, so that a request that is refused is not taken for half of one. Of
    several values of a parameter the first that is not empty counts (protocol §12.1).
    """

    def __init__(
        self,
        method: str,
        path: str,
        do: Do,
        says: str,
        *,
        style: Style,
        query: Sequence[Parameter] = (),
        body: type[msgspec.Struct] | Opaque | None = None,
        answer: Any = None,
        status: int = 200,
        paged: bool = False,
        refuses: Sequence[int] = (),
    ) -> None:
        super().__init__(path, self._answer, methods=[method])
        self.method = method
        self.says = says
        self.style = style
        self.query = tuple(query)
        self.body = body
        self.answer = answer
        self.status = status
        self.paged = paged
        self.refuses = tuple(refuses)
        self.do = do
        self.in_path = tuple(IN_PATHS[name] for name in self.param_convertors)
        self._reads = body is not None and not (isinstance(body, Opaque) and body.streamed)
        self._decode = msgspec.json.Decoder(body).decode if isinstance(body, type) else None

    async def _answer(self, request: Request) -> Response:
        path = {each.name: each.read(request.path_params[each.name]) for each in self.in_path}
        given = {name: value for name, value in reversed(request.query_params.multi_items()) if value}
        query = {each.name: each.of(given.get(each.name)) for each in self.query}
        asked = envelope(request.scope["headers"])
        body: Any = None
        if self._reads:
            body = await self._whole(request, asked.length)
            if self._decode is not None:
                body = self._read(self._decode, body)
        found = Asked(request, path, query, body, asked.seed)
        noting: Note | None = request.scope.get(NOTING)
        with nullcontext() if noting is None else noting(self, found):
            return await self.do(found)

    async def _whole(self, request: Request, length: int | None) -> bytes:
        try:
            return await read_body(length, request.receive)
        except Refused as error:
            if 413 not in self.refuses or error.code != TOO_LARGE:
                raise
            fix = "send less at once, and keep what is large elsewhere"
            raise Refused(413, error.code, "the request is too large", error.why, fix) from None

    def _read(self, decode: Callable[[bytes], Any], body: bytes) -> Any:
        try:
            return decode(body or b"{}")
        except _UNREADABLE as error:
            fix = "send a JSON object as GET /openapi.json describes it"
            raise Refused(400, "invalid-body", "the body cannot be read", str(error), fix) from None


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
