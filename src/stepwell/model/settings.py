"""What whoever runs an engine decides for all of its functions."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.limits import (
    CALL_TIME_MAX,
    ENDPOINT_SILENCE,
    EVENT_BYTES_CEILING,
    EVENT_BYTES_MAX,
    RUN_CHAIN_CEILING,
    RUN_CHAIN_MAX,
    STEPS_PER_RUN_CEILING,
    STEPS_PER_RUN_MAX,
)

_MS = type(CALL_TIME_MAX)(milliseconds=1)


class Setting(NamedTuple):
    """An option of whoever runs it, for people. ``source`` is where it was said: flag, environment, file, or nowhere
    (default)."""

    name: str
    value: str
    source: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``event_bytes_max`` bounds the JSON text of one event, up to 3 MiB; ``steps_max`` the steps of one run, up to
    10,000 (semantics §1.3, §4.5). ``retry_ms`` replaces the back-off table by one fixed pause.
    ``endpoint_silence_ms`` is how long a durable endpoint may report nothing before it is called again, up to 2 hours.

    ``chain_max`` bounds how many runs may start one another in a chain, up to 10,000; 0 is no limit.

    Raises ``ConfigurationError``.
    """

    retry_ms: int | None = None
    event_bytes_max: int = EVENT_BYTES_MAX
    steps_max: int = STEPS_PER_RUN_MAX
    chain_max: int = RUN_CHAIN_MAX
    endpoint_silence_ms: int = ENDPOINT_SILENCE // _MS

    def __post_init__(self) -> None:
        _check("max_event_bytes", self.event_bytes_max, EVENT_BYTES_CEILING, "events are copied into every call")
        _check("max_steps", self.steps_max, STEPS_PER_RUN_CEILING, "each call replays all steps of its run")
        if self.chain_max != 0:
            _check("max_chain", self.chain_max, RUN_CHAIN_CEILING, "functions that start each other do so for ever")
        why = "a process that has died must not keep its run for ever"
        _check("endpoint_silence_ms", self.endpoint_silence_ms, CALL_TIME_MAX // _MS, why)


def _check(name: str, value: object, ceiling: int, why: str) -> None:
    if type(value) is not int or not 1 <= value <= ceiling:
        raise ConfigurationError(
            what=f"{name} is {value!r}",
            why=f"{why}, so it is bounded",
            fix=f"give a whole number from 1 to {ceiling:,}, or leave it out",
        )
