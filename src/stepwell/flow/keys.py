"""The text that a key expression gives for an event, made fit to be part of a key in the database."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from stepwell.errors import ConfigurationError

if TYPE_CHECKING:
    from stepwell.expressions import Expression

CHARS_MAX: Final = 128  # longer ones are hashed: index keys stay small, and people still read the usual ones


def check_key(keyword: str, key: object) -> None:
    """Raises ``ConfigurationError`` unless ``key`` is an expression over ``event`` (semantics §3.2)."""
    if not isinstance(key, str):
        raise ConfigurationError(
            what=f"the key of {keyword} is {key!r}",
            why="a key is an expression that is evaluated for each event",
            fix='write it as text, such as "event.data.user_id", or "\'everyone\'" for a constant',
        )
    compiled(key)


def check_condition(keyword: str, condition: object) -> None:
    """Raises ``ConfigurationError`` unless it is an expression over ``event`` that is true or false."""
    if not isinstance(condition, str):
        raise ConfigurationError(
            what=f"the condition of {keyword} is {condition!r:.40}",
            why="a condition is an expression that is evaluated for each event",
            fix='write it as text, such as "event.data.amount < 100"',
        )
    from stepwell.expressions import compile_expression

    compile_expression(condition, boolean=True)


class KeyText(NamedTuple):
    """The value of a key for an event. ``is_false`` is the literal ``false``; ``absent`` says that there is no value,
    and then the text is empty."""

    text: str
    is_false: bool
    absent: bool


def key_text(key: str, env: Mapping[str, object], now: int) -> KeyText:
    """The value of the key for this event. What it means to be false or absent, each control decides (semantics §3.4).

    ``now`` is the moment in milliseconds at which it is worked out.
    """
    result = compiled(key).key_result(env, now_ms=now)
    absent = result.failed or result.missing
    return KeyText("" if absent else storable(result.text), result.is_false, absent)


def key_failure(key: str, env: Mapping[str, object], now: int) -> str | None:
    """Why the key cannot be worked out for this event; ``None`` if it can, also if what it names is missing."""
    result = compiled(key).key_result(env, now_ms=now)
    return result.reason if result.failed else None


def owner(function_id: str) -> str:
    """The function id as one segment of a key: no two pairs of function and key text look the same."""
    return function_id.replace("%", "%25").replace("/", "%2F")


def owned(text: str) -> str:
    """The function id that ``owner`` made this of."""
    return text.replace("%2F", "/").replace("%25", "%")


def within(prefix: str) -> tuple[str, str]:
    """The least key that begins so, and the least after all of those. Without a slash at its end it is one key."""
    return (prefix, f"{prefix[:-1]}0") if prefix.endswith("/") else (prefix, f"{prefix}\x01")


def storable(text: str) -> str:
    """The text itself if it is short and every database and terminal can show it, else its hash."""
    if len(text) <= CHARS_MAX and (text.isprintable() or not text):
        return text
    return "sha256:" + sha256(text.encode(errors="surrogatepass")).hexdigest()


def value_of(expression: str, env: Mapping[str, object], now: int) -> object:
    """The value of an expression for this event; ``None`` if it fails."""
    from stepwell.expressions import EvaluationError

    try:
        return compiled(expression).evaluate(env, now_ms=now)
    except EvaluationError:
        return None


@lru_cache(1024)
def compiled(key: str) -> Expression:
    """The expression. Raises ``InvalidExpression``."""
    # Controls are part of the public API, and compiling expressions is a third of what it would take to import it.
    from stepwell.expressions import compile_expression

    return compile_expression(key)
