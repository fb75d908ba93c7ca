"""What the options of flow controls have in common: lengths of time in range, whole numbers, objects of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import cast

from stepwell.errors import ConfigurationError
from stepwell.model.duration import format_duration, to_ms

Duration = timedelta | str | int
"""``timedelta``, text such as ``"1h30m"``, or milliseconds."""


@lru_cache(1024)
def length_ms(value: Duration) -> int:
    """Controls are asked for their lengths with each event, and text takes a while to read."""
    return to_ms(value)


def check_length(keyword: str, name: str, value: Duration, least: timedelta, most: timedelta) -> None:
    """Raises ``ConfigurationError`` unless the length is one that this engine keeps exactly."""
    ms = to_ms(value)
    if not to_ms(least) <= ms <= to_ms(most):
        shown = format_duration(ms) if ms >= 0 else f"{ms} ms"
        between = f"{format_duration(to_ms(least))} to {format_duration(to_ms(most))}"
        raise ConfigurationError(
            what=f"the {name} of {keyword} is {shown}", why=f"it may be {between}", fix=f'write e.g. {name}="1m"'
        )


def check_whole(keyword: str, name: str, value: object, least: int, meaning: str, most: int | None = None) -> None:
    """Raises ``ConfigurationError`` unless it is a whole number in range."""
    if type(value) is not int or value < least or (most is not None and value > most):
        to = f" to {most}" if most is not None else " or more"
        raise ConfigurationError(
            what=f"the {name} of {keyword} is {value!r:.40}",
            why=f"it is {meaning}",
            fix=f"give a whole number of {least}{to}",
        )


def members(keyword: str, value: object) -> Mapping[str, object]:
    """The members of an option as the wire has it. ``null`` stands for one that is absent."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"{value!r:.40} stands there", "an object is expected", f"write {keyword}: {{…}}")
    return {name: member for name, member in cast("dict[str, object]", value).items() if member is not None}


def key_of(fields: Mapping[str, object]) -> str | None:
    """The key, which some SDKs send empty for none. What else is wrong with it is for the control to say."""
    key = fields.get("key")
    return None if key == "" else cast("str | None", key)
