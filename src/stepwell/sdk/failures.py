"""Exceptions as the wire carries them, and what they say about trying again (semantics §6.3)."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, cast

import msgspec

from stepwell import clock
from stepwell.errors import (
    BackpressureError,
    CodeChanged,
    ConfigurationError,
    InvalidDuration,
    InvalidEvent,
    InvalidMessage,
    InvalidOutput,
    NonRetriableError,
    RetryAfterError,
    StepError,
    StepwellError,
)
from stepwell.model.duration import to_ms
from stepwell.model.failure import BACKPRESSURE
from stepwell.protocol.messages import WireError

STACK_BYTES_MAX: Final = 16 * 1024
MESSAGE_BYTES_MAX: Final = 16 * 1024
_FRAMES_MAX: Final = 100
_CAUSES_MAX: Final = 5
_MEMBERS_MAX: Final = 3  # of a group, that are told of in its message

_encode: Final = msgspec.json.Encoder().encode

# Frames of these folders say nothing about the user's error.
_OURS: Final = (
    str(Path(__file__).parent),
    str(Path(asyncio.__file__).parent),
    str(Path(sys.modules["threading"].__file__ or "").parent / "concurrent"),
)


_FINAL: Final = (NonRetriableError, StepError, ConfigurationError, InvalidEvent, InvalidMessage, InvalidOutput)


class StepNested(NonRetriableError):
    """A step was begun inside the body of another: it could not be remembered, as only the outer one is."""


class StepTimeout(Exception):
    """The body of a step took longer than its ``timeout``. Retriable."""


class Verdict(NamedTuple):
    """What an error says about trying again. ``retry_at`` is a moment in milliseconds."""

    final: bool
    retry_at: int | None


def verdict(error: BaseException, now: int) -> Verdict:
    """May what raised this be tried again, and when at the earliest? A group asks all its members."""
    members = list(_leaves(error))
    if all(_is_final(member) for member in members):
        return Verdict(True, None)
    moments = [_moment(member, now) for member in members if isinstance(member, RetryAfterError)]
    return Verdict(False, max((moment for moment in moments if moment is not None), default=None))


def code_changed(what: str) -> CodeChanged:
    """What a strict function raises when it finds that its code is not that of the run (semantics §4.5)."""
    return CodeChanged(
        what,
        "the function is strict, and its code was changed while this run was under way",
        "bring back the code that the run began with, or cancel the run and send its event again",
    )


def wire_error(error: BaseException, place: str = "") -> WireError:
    """The error with its class name, message and the user's part of its stack, and what it was raised from.

    ``place`` is put before the message.
    """
    found = _wire_error(error, place)
    cause = _causes(error)
    return found if cause is None else msgspec.structs.replace(found, cause=msgspec.Raw(_encode(cause)))


def _causes(error: BaseException) -> dict[str, object] | None:
    """What it says to have been raised from: names and messages, for the stack has the rest."""
    chain: list[BaseException] = []
    while (before := error.__cause__) is not None and before not in chain and len(chain) < _CAUSES_MAX:
        chain.append(before)
        error = before
    found: dict[str, object] | None = None
    for one in reversed(chain):
        name, text = _said(one)
        said: dict[str, object] = {"name": name, "message": _clean(text)}
        found = said if found is None else {**said, "cause": found}
    return found


def _said(error: BaseException) -> tuple[str, str]:
    """Its name and message; those of a step's error are of what was raised in the step."""
    return (error.name, error.message) if isinstance(error, StepError) else (type(error).__name__, _message(error))


def _wire_error(error: BaseException, place: str) -> WireError:
    leaves = list(_leaves(error))
    if len(leaves) == 1:
        error = leaves[0]
    if isinstance(error, StepError):
        return WireError(error.name, _clean(error.message), error.stack, "step_errored")
    message = place + _message(error)
    if len(leaves) > 1:
        said = list(dict.fromkeys(": ".join(_said(one)) for one in leaves))  # a group itself says only how many
        message += f": {'; '.join(said[:_MEMBERS_MAX])}" + ("; …" if len(said) > _MEMBERS_MAX else "")
    if isinstance(error, RetryAfterError) and _moment(error, 0) is None:
        message += f" (it asks for another try after {error.retry_after!r}, which is no length of time and no moment)"
    return WireError(type(error).__name__, _clean(message), _stack(error), _code(error))


def step_error(data: bytes) -> StepError:
    """The ``StepError`` for a remembered error, whoever wrote it."""
    try:
        error = _decode_error(data)
    except msgspec.MsgspecError:
        return StepError(data.decode(errors="replace"))
    return _step_error(error)


def _step_error(remembered: _Remembered) -> StepError:
    error = StepError(remembered.message, name=remembered.name, stack=remembered.stack)
    with suppress(msgspec.MsgspecError):  # a cause may be anything
        if bytes(remembered.cause):
            error.__cause__ = _step_error(_decode_error(bytes(remembered.cause)))
    return error


class _Remembered(msgspec.Struct):
    name: str = "Error"
    message: str = ""
    stack: str | None = None
    cause: msgspec.Raw = msgspec.Raw(b"")


_decode_error: Final = msgspec.json.Decoder(_Remembered).decode


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    else:
        yield error


def _is_final(error: BaseException) -> bool:
    # A wrong declaration, a wrong event and a value that is no JSON do not get better by themselves.
    return isinstance(error, _FINAL)


def _moment(error: RetryAfterError, now: int) -> int | None:
    """When to try again; ``None`` if what it names is no moment, which must not hide the error that it is about."""
    after = error.retry_after
    try:
        return clock.to_ms(after) if isinstance(after, datetime) else now + to_ms(after)
    except (InvalidDuration, TypeError, ValueError, OverflowError):
        return None


def _code(error: BaseException) -> str | None:
    if isinstance(error, StepNested):
        return "step_nested"
    if isinstance(error, InvalidOutput):
        return "output_unserializable"
    if isinstance(error, NonRetriableError):
        return "non_retriable_error"
    if isinstance(error, BackpressureError):
        return BACKPRESSURE
    if isinstance(error, RetryAfterError):
        return "retry_after_error"
    return error.slug if isinstance(error, StepwellError) else None


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the user's own __str__
        return f"<{type(error).__name__} that cannot be shown>"


def _clean(text: str, bytes_max: int = MESSAGE_BYTES_MAX) -> str:
    """Text that every JSON writer and database takes, within its limit."""
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")


def _stack(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, limit=-_FRAMES_MAX)
    _trim(shown, set())
    raw = "".join(shown.format()).encode(errors="replace")
    if len(raw) > STACK_BYTES_MAX:
        # Where it began and where it ended say most; a message may be long enough to leave no room for either.
        half = STACK_BYTES_MAX // 2 - 8
        raw = raw[:half] + b"\n [...] \n" + raw[-half:]
    return raw.decode(errors="ignore")


def _trim(shown: traceback.TracebackException, done: set[int]) -> None:
    if id(shown) in done:
        return
    done.add(id(shown))
    shown.stack[:] = [frame for frame in shown.stack if not frame.filename.startswith(_OURS)]
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _trim(other, done)
