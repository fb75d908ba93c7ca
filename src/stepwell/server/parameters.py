"""Parameters of requests: how each is read from text, and what the OpenAPI document says of it, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from stepwell.limits import ID_CHARS_MAX
from stepwell.model.run import RunStatus
from stepwell.server.replies import Refused, name_of, ulid_of
from stepwell.views.wording import parse_moment

ULID: Final = {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"}
# What can be sent as part of an address, and no control character.
_NAME: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": ID_CHARS_MAX,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f/]+$",
}
_TRUE: Final = frozenset({"1", "true"})
_FALSE: Final = frozenset({"0", "false"})
_ALIASES: Final = {"SCHEDULED": RunStatus.QUEUED}


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a query or a path. ``read`` takes text that is not empty, and raises ``Refused``; ``default`` stands
    for what is left out or empty. An operation refuses by itself to do without what is ``required``: it can say why.
    """

    name: str
    says: str
    schema: dict[str, Any]
    read: Callable[[str], Any]
    default: Any = None
    required: bool = False

    def of(self, text: str | None) -> Any:
        return self.read(text) if text else self.default


def number(name: str, says: str, *, default: int, most: int) -> Parameter:
    """A number from 1 to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
            why, fix = f"it is a whole number from 1 to {most}", f"leave it out for {default}, or send such a number"
            raise _wrong(name, text, why, fix)
        return int(text)

    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter(name=name, says=says, schema=schema, read=read, default=default)


def ulid(name: str, what: str, says: str = "") -> Parameter:
    """The id of a run, an event or the like."""
    return Parameter(name=name, says=says or f"the id of {what}", schema=ULID, read=lambda text: ulid_of(text, what))


def named(name: str, what: str, says: str = "") -> Parameter:
    """An id that people chose."""
    return Parameter(name=name, says=says or what, schema=_NAME, read=lambda text: name_of(text, what))


def text(name: str, says: str, *, required: bool = False) -> Parameter:
    return Parameter(name=name, says=says, schema={"type": "string"}, read=str, required=required)


def moment(name: str, says: str) -> Parameter:
    """A moment as RFC 3339 writes it, in milliseconds since 1970."""

    def read(text: str) -> int:
        try:
            return parse_moment(text)
        except ValueError:
            why, fix = (
                "it is a moment from 1970 to 9999, as RFC 3339 writes it",
                "write it like 2026-01-02T03:04:05Z, with + as %2B",
            )
            raise _wrong(name, text, why, fix) from None

    return Parameter(name=name, says=says, schema={"type": "string", "format": "date-time"}, read=read)


def flag(name: str, says: str) -> Parameter:
    def read(text: str) -> bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _wrong(name, text, "it is true or false", "leave it out for false")
        return text.lower() in _TRUE

    return Parameter(name=name, says=says, schema={"type": "boolean", "default": False}, read=read, default=False)


def choice(name: str, says: str, *options: str) -> Parameter:
    def read(text: str) -> str:
        if text not in options:
            why, fix = f"it is one of {', '.join(options)}", "use one of these, or leave it out"
            raise _wrong(name, text, why, fix)
        return text

    return Parameter(name=name, says=says, schema={"type": "string", "enum": list(options)}, read=read)


def _status(text: str) -> str:
    """A status in any spelling of the protocol."""
    status = _ALIASES.get(text.upper(), text.upper())
    if status not in RunStatus.__members__:
        why, fix = f"it is one of {', '.join(RunStatus)}", "use one of these, or leave it out for all"
        raise Refused(400, "invalid-parameter", f"there is no status {text[:80]!r}", why, fix)
    return status


PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 1_000
LIMIT: Final = number("limit", "how many at most", default=PAGE_DEFAULT, most=PAGE_MAX)
CURSOR: Final = ulid("cursor", "a page", "where to go on: the cursor of the page before, exclusive")
STATUS: Final = Parameter(
    name="status", says="only runs in this state", schema={"type": "string", "enum": list(RunStatus)}, read=_status
)

IN_PATHS: Final = {
    parameter.name: parameter
    for parameter in (
        ulid("run_id", "a run"),
        ulid("event_id", "an event"),
        ulid("cancellation_id", "a cancellation"),
        ulid("replay_id", "a replay"),
        named("app_id", "the id of an app"),
        named("function_id", "the id of a function"),
        named("slug", "the id of a function"),
        named("user", "the name of a user"),
        named("session", "the id of a session"),
        text("key", "an event key of the server; any text if it has none"),
    )
}
"""What may stand between braces in the address of an operation."""


def _wrong(name: str, text: str, why: str, fix: str) -> Refused:
    return Refused(400, "invalid-parameter", f"{name} is {text[:80]!r}", why, fix)
