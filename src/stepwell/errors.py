"""Every error Stepwell raises, as one tree.

::

    Exception
    ├─ StepwellError                what we raise at users: what happened, why, how to fix it
    │  ├─ ConfigurationError        a function, trigger or option that cannot work
    │  │  ├─ InvalidExpression      an expression that does not parse or is not allowed where it stands
    │  │  ├─ InvalidDuration        text that is not a length of time
    │  │  ├─ InvalidCron            a schedule or time zone that does not exist
    │  │  └─ UnknownName            a name we do not have, with the one that was meant
    │  ├─ InvalidEvent              an event that cannot be accepted
    │  │  └─ EventTooLarge
    │  ├─ InvalidSignal             a signal that cannot be accepted
    │  ├─ InvalidMessage            a realtime message, or a subscription, that cannot be accepted
    │  │  └─ MessageTooLarge
    │  ├─ NotFound                  no such run, event or function
    │  ├─ InvalidOutput             a value that cannot be remembered as JSON
    │  ├─ LimitExceeded             a documented limit was reached
    │  ├─ InvalidExport             a file that is to be imported is not whole, or not ours
    │  ├─ StorageError              the database cannot serve us
    │  │  ├─ StorageUnavailable     read-only, full or failing disk; recovers by itself
    │  │  └─ SchemaTooNew           written by a newer Stepwell
    │  ├─ NotRunning                the engine is not started, or is draining
    │  └─ CodeChanged               a strict function was changed while a run was under way
    ├─ NonRetriableError            users raise it: do not try again
    ├─ RetryAfterError              users raise it: try again at this moment
    │  └─ BackpressureError         users raise it: and leave what shares the queue alone until then
    └─ StepError                    raised at users: a step is out of attempts

Each class has a stable ``slug``, which names its page in the documentation. Suspension of a run is a
``BaseException`` and lives in ``sdk/replay.py``: a user's ``except Exception`` must not swallow it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar


class StepwellError(Exception):
    """Base of what Stepwell raises at its users. ``str(error)`` is what, why and fix on three lines."""

    slug: ClassVar[str] = "stepwell-error"

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type[StepwellError], tuple[str, str, str]]:
        return type(self), (self.what, self.why, self.fix)


class ConfigurationError(StepwellError):
    """A function, trigger or option cannot work as it was declared."""

    slug = "invalid-configuration"


class InvalidExpression(ConfigurationError):
    """An expression does not parse, or uses what is not allowed where it stands (semantics §3)."""

    slug = "invalid-expression"


class InvalidDuration(ConfigurationError):
    """Text is not a length of time such as ``"1h30m"`` (protocol §4.6)."""

    slug = "invalid-duration"


class InvalidCron(ConfigurationError):
    """A cron schedule or its time zone does not exist (semantics §2.2)."""

    slug = "invalid-cron"


class UnknownName(ConfigurationError, AttributeError):
    """A name does not exist here; the message says which one was meant."""

    slug = "unknown-name"


class InvalidEvent(StepwellError):
    """An event cannot be accepted (semantics §1)."""

    slug = "invalid-event"


class EventTooLarge(InvalidEvent):
    """An event is larger than the limit (semantics §1.3)."""

    slug = "event-too-large"


class InvalidSignal(StepwellError):
    """A signal cannot be accepted (semantics §5.4)."""

    slug = "invalid-signal"


class InvalidMessage(StepwellError):
    """A realtime message, or a subscription, cannot be accepted (semantics §15.1)."""

    slug = "invalid-message"


class MessageTooLarge(InvalidMessage):
    """A realtime message is larger than the limit (semantics §16)."""

    slug = "message-too-large"


class NotFound(StepwellError):
    """No run, event or function has this id."""

    slug = "not-found"


class InvalidOutput(StepwellError):
    """A value cannot be written as JSON, so it cannot be remembered."""

    slug = "output-unserializable"


class LimitExceeded(StepwellError):
    """A documented limit was reached (limits.py)."""

    slug = "limit-exceeded"


class InvalidExport(StepwellError):
    """A file that is to be imported is cut off, damaged, of another version, or not by ``stepwell export``."""

    slug = "invalid-export"


class StorageError(StepwellError):
    """The database cannot serve us."""

    slug = "storage-error"


class StorageUnavailable(StorageError):
    """The database cannot be written now: read-only, full or failing disk. Nothing was acknowledged."""

    slug = "storage-unavailable"


class SchemaTooNew(StorageError):
    """The database was written by a newer Stepwell."""

    slug = "schema-too-new"


class NotRunning(StepwellError):
    """The engine is not started, or it is draining."""

    slug = "not-running"


class CodeChanged(StepwellError):
    """A function with ``strict=True`` asks for other steps than a run of it remembers (semantics §4.5)."""

    slug = "code-changed"


class NonRetriableError(Exception):
    """Raise it in a step or function when trying again cannot help (semantics §6.3)."""

    slug: ClassVar[str] = "non-retriable"


class RetryAfterError(Exception):
    """Raise it to say when the next attempt should happen (semantics §6.2).

    ``retry_after`` is a ``timedelta``, a duration such as ``"30s"``, an aware ``datetime``, or integer
    **milliseconds**. The moment is clamped to 1 s … 24 h from now. It still uses up one attempt.
    Anything else is said in the error as it is shown, and the usual pause counts.
    """

    slug: ClassVar[str] = "retry-after"

    def __init__(self, message: str, retry_after: timedelta | datetime | str | int) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class BackpressureError(RetryAfterError):
    """Raise it when what you call wants to be left alone for a while, and not only by this run: it says 429.

    What failed is tried again after ``retry_after``, as with ``RetryAfterError``. Until then nothing else begins that
    shares its queue: no step and no start of a run with the same key of a concurrency limit or throttle, or of any run
    of the function if these have no key.
    """

    slug: ClassVar[str] = "backpressure"


class StepError(Exception):
    """A step failed and has no attempt left. Catch it to compensate; let it pass to fail the run.

    ``name``, ``message`` and ``stack`` are those of the original error; its class is not kept, because
    the error may have been raised by another process, in another language, weeks ago (semantics §6.3).
    """

    slug: ClassVar[str] = "step-failed"

    def __init__(self, message: str, *, name: str = "Error", stack: str | None = None) -> None:
        super().__init__(message)
        self.message, self.name, self.stack = message, name, stack

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name
