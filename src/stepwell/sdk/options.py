"""What a function may declare besides its trigger. Lengths of time are ``timedelta``, ``"1h30m"`` or milliseconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import inf
from typing import Any, Final

import msgspec

from stepwell import clock
from stepwell.errors import ConfigurationError, InvalidDuration
from stepwell.limits import RETRIES_MAX, RETRY_DELAY_MAX
from stepwell.model.duration import format_duration, to_ms
from stepwell.model.event import rfc3339
from stepwell.sdk.events import event_name
from stepwell.sdk.execution import StepOptions
from stepwell.sdk.names import wrong_keywords

Duration = timedelta | str | int

_PAUSE_MS_MAX: Final = to_ms(RETRY_DELAY_MAX)
_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[(?:\d+|\"[^\"\\]+\"|'[^'\\]+')\])*")


class Backoff(msgspec.Struct, frozen=True):
    """The pauses before the retries; the last one is repeated. Up to ``jitter`` is added to each, by chance.

    Without a back-off of its own a function waits 15 s, 30 s, 1 m, 2 m, 5 m, 10 m, 20 m, 40 m, 1 h, 2 h, each plus up
    to 30 s (semantics §6.2). Make one with ``fixed``, ``exponential`` or ``table``, which raise ``InvalidDuration`` and
    ``ConfigurationError``.
    """

    delays_ms: tuple[int, ...]
    jitter_ms: int = 0

    def __post_init__(self) -> None:
        if len(self.delays_ms) > RETRIES_MAX:
            raise ConfigurationError(
                what=f"the table of a back-off has {len(self.delays_ms)} entries",
                why=f"there are at most {RETRIES_MAX} retries",
                fix="leave the others out: the last one is repeated",
            )
        for ms in (*self.delays_ms, self.jitter_ms):
            if type(ms) is not int or ms < 0:
                raise ConfigurationError(
                    what=f"a back-off pauses for {ms!r}",
                    why="its fields are whole milliseconds, 0 or more",
                    fix='make it with Backoff.fixed("5s"), .exponential(…) or .table(…)',
                )
            if ms > _PAUSE_MS_MAX:
                raise ConfigurationError(
                    what=f"a back-off pauses for {format_duration(ms)}",
                    why=f"a retry comes within {format_duration(_PAUSE_MS_MAX)}",
                    fix="make it shorter, or let a scheduled function look after what takes days",
                )

    @classmethod
    def fixed(cls, delay: Duration, *, jitter: Duration = 0) -> Backoff:
        """The same pause before every retry."""
        return cls.table(delay, jitter=jitter)

    @classmethod
    def exponential(
        cls, first: Duration = "1s", *, factor: float = 2.0, longest: Duration = "1h", jitter: Duration = 0
    ) -> Backoff:
        """Each pause is ``factor`` times the one before it, up to ``longest``."""
        if not 1 <= factor < inf:
            raise ConfigurationError(
                what=f"the factor of an exponential back-off is {factor}",
                why="pauses that shrink would hammer a service that is failing",
                fix="give a finite factor of 1 or more",
            )
        delay, most = float(length_ms("first", first)), length_ms("longest", longest)
        delays: list[int] = []
        while len(delays) < RETRIES_MAX and (not delays or delays[-1] < most):
            delays.append(min(round(delay), most))
            delay *= factor
        return cls(tuple(delays), length_ms("jitter", jitter))

    @classmethod
    def table(cls, *delays: Duration, jitter: Duration = 0) -> Backoff:
        """A pause for each retry in turn."""
        if not delays:
            raise ConfigurationError(
                what="the table of a back-off is empty",
                why="it lists the pause before each retry",
                fix='give at least one, as in Backoff.table("1s", "10s", "1m")',
            )
        return cls(tuple(length_ms("delay", delay) for delay in delays), length_ms("jitter", jitter))


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a run that takes too long: ``start`` from creation to its first call, ``finish`` from there to its end."""

    start: Duration | None = None
    finish: Duration | None = None

    def config(self) -> dict[str, str]:
        limits = {"start": self.start, "finish": self.finish}
        return {name: format_duration(length_ms(name, limit)) for name, limit in limits.items() if limit is not None}


class Cancel:
    """Cancel a run when an event arrives while it is not finished.

    ``event`` is an event class or a name. ``match`` is a path that must be equal in the run's event and in the new one;
    ``if_`` is an expression over ``event`` and ``async``; give one of them, or none for any event of that name. The run
    is cancelled only within ``timeout`` from its creation: a length of time or a ``datetime``, default one year. Raises
    ``ConfigurationError``.
    """

    __slots__ = ("event", "if_", "timeout")

    def __init__(
        self,
        event: str | type,
        *,
        if_: str | None = None,
        match: str | None = None,
        timeout: Duration | datetime | None = None,
    ) -> None:
        self.event = event_name(event)
        self.if_ = condition(if_, match)
        self.timeout = timeout

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = {"event": self.event}
        if self.if_ is not None:
            found["if"] = self.if_
        if isinstance(self.timeout, datetime):
            found["timeout"] = rfc3339(clock.to_ms(self.timeout))
        elif self.timeout is not None:
            found["timeout"] = format_duration(length_ms("timeout", self.timeout))
        return found


def condition(if_: str | None, match: str | None) -> str | None:
    """The expression that ``if_`` or ``match`` stands for: a path is to be equal in both events (semantics §5.3)."""
    if if_ is not None:
        check_condition(if_)
    if match is None:
        return if_
    if if_ is not None:
        raise ConfigurationError(
            what="both match and if_ are given",
            why="match is a short form of an expression, so there would be two",
            fix=f"write both in if_: event.{match} == async.{match} && …",
        )
    if not isinstance(match, str) or not _PATH.fullmatch(match):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"{match!r:.80} is not a path into an event",
            why="match names a field that must be equal in both events",
            fix='write a path such as match="data.order_id", or an expression with if_=',
        )
    return f"event.{match} == async.{match}"


def check_condition(if_: str) -> None:
    """Raises ``ConfigurationError`` for what is no text, and for an empty one, of which nobody knows what it means."""
    if not isinstance(if_, str) or not if_.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"if_ is {if_!r:.80}",
            why="it is an expression that has to be true of an event",
            fix='write one such as if_="event.data.total > 10", or leave it out',
        )


def length_ms(name: str, value: Duration) -> int:
    """The milliseconds of an option that cannot be negative. Raises ``ConfigurationError`` and ``InvalidDuration``."""
    try:
        ms = to_ms(value)
    except InvalidDuration as error:
        raise InvalidDuration(f"{name}: {error.what}", error.why, error.fix) from None
    if ms < 0:
        raise ConfigurationError(
            what=f"{name} is {value!r}", why="a length of time cannot be negative here", fix="give 0 or more"
        )
    return ms


def step_options(
    retries: int | None, timeout: Duration | None, backoff: Backoff | None, unknown: Mapping[str, object]
) -> StepOptions:
    """The options of one step. Raises ``ConfigurationError``."""
    if unknown:
        raise wrong_keywords("ctx.step.options", unknown, ("retries", "timeout", "backoff"))
    if retries is not None:
        check_retries(retries)
    return StepOptions(
        retries=retries, timeout_s=None if timeout is None else length_ms("timeout", timeout) / 1000, backoff=backoff
    )


def check_retries(retries: int) -> None:
    if type(retries) is not int or not 0 <= retries <= RETRIES_MAX:
        raise ConfigurationError(
            what=f"retries is {retries!r}",
            why=f"it is the number of attempts after the first, 0 to {RETRIES_MAX}",
            fix="choose fewer, or let a scheduled function look after what takes days",
        )
