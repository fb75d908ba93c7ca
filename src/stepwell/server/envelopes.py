"""The envelopes of REST v1 and v2, and the base of their endpoints."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.responses import Response

from stepwell.clock import Clock
from stepwell.model.event import rfc3339

_encode: Final = msgspec.json.Encoder().encode


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """Where a list goes on: ``cursor`` is what to ask for next."""

    limit: int
    has_more: bool
    cursor: str | None


def plain(body: object, status: int = 200) -> Response:
    return Response(_encode(body), status, media_type="application/json")


def v1(clock: Clock, data: object) -> Response:
    """Envelope of protocol §10.1."""
    return plain({"data": data, "metadata": {"fetched_at": rfc3339(clock.now_ms()), "cached_until": None}})


def v2(clock: Clock, data: object, *, page: Page | None = None) -> Response:
    """Envelope of protocol §10.3."""
    body: dict[str, Any] = {"data": data, "metadata": {"fetchedAt": rfc3339(clock.now_ms()), "cachedUntil": None}}
    if page is not None:
        body["page"] = page
    return plain(body)
