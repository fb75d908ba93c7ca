"""An event: something that happened, as it was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

INTERNAL_PREFIX: Final = "inngest/"
FINISHED: Final = "inngest/function.finished"
FAILED: Final = "inngest/function.failed"
CANCELLED: Final = "inngest/function.cancelled"
INVOKED: Final = "inngest/function.invoked"
HTTP_REQUEST: Final = "inngest/http.request"
TIMER: Final = "inngest/scheduled.timer"
DEFERRED: Final = "inngest/deferred.schedule"

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode = msgspec.json.Decoder().decode


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted event. ``data``, ``user`` and ``meta`` stay JSON text until something needs to look inside.

    ``id`` is ours and unique; ``key`` is the sender's idempotency key, shown to users as the event's id. ``sent_by`` is
    the run that it comes from, if that is known, and ``depth`` how many runs before it began one another.
    """

    id: str
    name: str
    ts: int
    received_at: int
    data: bytes = b"{}"
    key: str | None = None
    v: str | None = None
    user: bytes | None = None
    meta: bytes | None = None
    source: str = "api"
    depth: int = 0
    sent_by: str | None = None

    @property
    def public_id(self) -> str:
        """What users see as ``event.id``: the sender's own id if there is one."""
        return self.key or self.id

    def fields(self) -> dict[str, object]:
        """The event as expressions and people see it."""
        found: dict[str, object] = {
            "id": self.public_id,
            "name": self.name,
            "data": _decode(self.data),
            "ts": self.ts,
            "user": _decode(self.user) if self.user else {},
        }
        if self.v is not None:
            found["v"] = self.v
        if self.meta is not None:
            found["meta"] = _decode(self.meta)
        return found


def routed(data: bytes, routing: Mapping[str, object]) -> bytes:
    """The data of an event that the server sends on behalf of a run, with what it says of where it comes from and goes
    to (protocol §6.4, §6.6). It is kept apart from what users say: theirs is removed."""
    fields: dict[str, object] = dict(_decode_object(data))
    fields["_inngest"] = routing
    return _encode(fields)


def rfc3339(ms: int) -> str:
    """A moment as the wire writes it: ``2026-01-02T03:04:05.678Z``."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
