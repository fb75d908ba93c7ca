"""Errors as answers, in the envelopes of the events API and of REST v1 and v2; and checks of what comes in.

No web framework here: the events route does without.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from stepwell.errors import (
    ConfigurationError,
    InvalidEvent,
    InvalidMessage,
    InvalidSignal,
    LimitExceeded,
    MessageTooLarge,
    NotFound,
    NotRunning,
    StepwellError,
    StorageUnavailable,
)
from stepwell.ids import is_ulid

_encode: Final = msgspec.json.Encoder().encode
_STATUS: Final[tuple[tuple[type[StepwellError], int], ...]] = (
    (NotFound, 404),
    (InvalidEvent, 400),
    (InvalidSignal, 400),
    (MessageTooLarge, 413),
    (InvalidMessage, 400),
    (ConfigurationError, 400),
    (LimitExceeded, 429),
    (NotRunning, 503),
    (StorageUnavailable, 503),
)
_WORDS: Final = {
    401: ("unauthorized", "unauthorized"),
    403: ("forbidden", "forbidden"),
    404: ("not-found", "there is nothing at this address"),
    405: ("method-not-allowed", "method not allowed"),
    408: ("too-slow", "the request took too long to arrive"),
    500: ("internal-error", "internal error"),
}


class Refused(Exception):
    """A request that cannot be answered, for a reason that only HTTP knows."""

    def __init__(self, status: int, code: str, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.status, self.code, self.what, self.why, self.fix = status, code, what, why, fix


def refused(error: Exception) -> Refused:
    """Any error as an answer. What we do not know is not told to strangers."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, StepwellError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return Refused(status, error.slug, error.what, error.why, error.fix)
    return by_status(500)


def by_status(status: int) -> Refused:
    code, what = _WORDS.get(status, ("error", "error"))
    return Refused(status, code, what)


def error_body(error: Refused, path: str) -> bytes:
    """The error in the envelope of the part of the API that the path belongs to."""
    if path.startswith(("/v2", "/api/v2")):
        told = {"code": error.code, "message": error.what}
        if error.why:
            told["why"] = error.why
        if error.fix:
            told["fix"] = error.fix
        return _encode({"errors": [told]})
    # SDKs show their users this one text, so it has to say why.
    body: dict[str, Any] = {"error": f"{error.what}: {error.why}" if error.why else error.what, "status": error.status}
    if path.startswith("/e/"):
        body["ids"] = []
    elif path.startswith("/v1"):
        body["data"] = None
    if error.fix:
        body["fix"] = error.fix
    return _encode(body)


async def refuse_socket(error: Exception, send: Callable[[Any], Awaitable[None]], kind: str, path: str) -> None:
    """Answer a request for a socket as any other request is answered, by a server of this kind."""
    told = refused(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-inngest-server-kind", kind.encode()),
    ]
    await send({"type": "websocket.http.response.start", "status": told.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": error_body(told, path)})


# What comes in, checked --------------------------------------------------------------------------------------------

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")


def ulid_of(text: str, what: str) -> str:
    """The id, if it has the form of one (invariants S13)."""
    if not is_ulid(text):
        raise Refused(
            400,
            "invalid-id",
            f"{text[:80]!r} is not the id of {what}",
            "ids have 26 characters, digits and capital letters, such as 01HF7YAT000000000000000001",
            "copy the whole id",
        )
    return text


def name_of(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        why = "it has 1 to 255 printable characters"
        raise Refused(400, "invalid-id", f"{text[:80]!r} is not {what}", why, "copy it as it is listed")
    return text
