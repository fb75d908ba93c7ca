"""What the limits of steps and of runs have in common: a number, a key, and who shares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Protocol, TypeVar, cast

from stepwell.errors import ConfigurationError
from stepwell.flow.keys import check_key, key_text, owner
from stepwell.flow.options import key_of, members

SCOPES: Final = ("fn", "env", "account")
_SHARED: Final = ("env/", "account/", "run/env/", "run/account/")


def check_limit(keyword: str, what: str, limit: object, key: str | None, scope: str) -> None:
    """Raises ``ConfigurationError`` unless ``limit`` is a number of ``what``, shared by ``key`` and ``scope``."""
    if type(limit) is not int or limit < 0:
        raise ConfigurationError(
            what=f"the limit of a {keyword} is {limit!r}",
            why=f"it is the number of {what}",
            fix="give a whole number of 1 or more, or leave the limit out",
        )
    if scope not in SCOPES:
        raise ConfigurationError(
            what=f"the scope of a {keyword} is {scope!r}",
            why="a limit is shared within a function, an environment or an account",
            fix=f"choose one of {', '.join(map(repr, SCOPES))}",
        )
    if key is not None:
        check_key(keyword, key)
    elif scope != "fn":
        raise ConfigurationError(
            what=f"a {keyword} with scope {scope!r} has no key",
            why="functions share a limit by the value of its key; without one nothing says what is shared",
            fix="add a key, for example key=\"'reports'\" for one limit with a name",
        )


def read_limit(keyword: str, value: object) -> tuple[int, str | None, str]:
    """Limit, key and scope from the wire (protocol §4.5): a number or an object."""
    fields = {"limit": value} if isinstance(value, int) else members(keyword, value)
    return cast("int", fields.get("limit", 0)), key_of(fields), cast("str", fields.get("scope", "fn"))


def limit_config(limit: int, key: str | None, scope: str) -> dict[str, Any]:
    """As the wire has it."""
    found: dict[str, Any] = {"limit": limit}
    if key is not None:
        found["key"] = key
    if scope != "fn":
        found["scope"] = scope
    return found


def slot_key(
    limit: int, key: str | None, scope: str, function_id: str, env: Mapping[str, object], now: int
) -> str | None:
    """The key of the slots that a run started by this event competes for; ``None`` if nothing limits it.

    All events for which the key is missing or fails share the slots of one key; ``false`` is a key like any other here
    (semantics §3.4).
    """
    if limit == 0:
        return None
    prefix = slot_prefix(key, scope, function_id)
    return prefix if key is None else f"{prefix}{key_text(key, env, now).text}"


def is_shared(key: str) -> bool:
    """Whether several functions may have slots of this key, or wait for them, each with a limit of its own."""
    return key.startswith(_SHARED)


@lru_cache(1024)
def slot_prefix(key: str | None, scope: str, function_id: str) -> str:
    """What the keys of a limit's slots begin with; the one key there is, without a slash at its end, if it has none."""
    if key is None:
        return f"fn/{owner(function_id)}"
    if scope != "fn":
        return f"{scope}/"
    # Two limits of one function may have the same value by chance, a user 7 and an order 7: keep them apart.
    expression = sha256(key.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"fn/{owner(function_id)}/{expression}/"


class _Limit(Protocol):
    def prefix(self, function_id: str) -> str: ...


L = TypeVar("L", bound=_Limit)


def pairs(keys: Sequence[str], limits: Sequence[L], function_id: str) -> list[tuple[str, L]]:
    """Each key that a run has of its limits, with the limit of its function that it belongs to by now.

    The function may have others than when the run was created. A key goes with the limit that still makes such keys;
    those that are left over go together in their order, as those of which only the expression has changed.
    """
    if len(keys) == len(limits) <= 1:
        return list(zip(keys, limits, strict=True))
    found: list[L | None] = [None] * len(keys)
    left = list(limits)
    for index, key in enumerate(keys):
        found[index] = next((limit for limit in left if _makes(limit.prefix(function_id), key)), None)
        left = [limit for limit in left if limit is not found[index]]
    rest = iter(left)
    matched = [limit if limit is not None else next(rest, None) for limit in found]
    return [(key, limit) for key, limit in zip(keys, matched, strict=True) if limit is not None]


def _makes(prefix: str, key: str) -> bool:
    return key.startswith(prefix) if prefix.endswith("/") else key == prefix
