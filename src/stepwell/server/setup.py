"""The way to the first admin, where nobody can log in yet: a link that the server prints (ADR 0048)."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from stepwell.limits import SETUP_LIFE
from stepwell.server.guard import Guard

_LIFE_MS: Final = SETUP_LIFE // type(SETUP_LIFE)(milliseconds=1)


def setup_token(guard: Guard, now: int) -> str | None:
    """What makes the first admin, for as long as ``SETUP_LIFE``; every process with the same keys knows it. ``None``
    where nobody has to log in."""
    if not guard.lasting_keys:
        return None
    return f"{now}.{_setup(guard.lasting_keys[0], str(now))}"


def is_setup_token(guard: Guard, token: str, now: int) -> bool:
    since, _, signature = token.partition(".")
    if not (since.isascii() and since.isdigit() and len(since) < 16 and 0 <= now - int(since) < _LIFE_MS):
        return False
    given = signature.encode(errors="replace")
    return any(hmac.compare_digest(_setup(key, since).encode(), given) for key in guard.lasting_keys)


def _setup(key: str, since: str) -> str:
    return hmac.new(f"setup {key}".encode(), since.encode(), sha256).hexdigest()
