"""Sessions of people who have logged in: a signed cookie, and nothing that is kept.

It is signed with keys that come from those of the server, so that every process that has these reads it, and changing
them ends all sessions. A page of somebody else cannot use it: browsers send it along with requests of our own pages
only (``SameSite=Strict``), and what changes anything has to come from one and to show the session's own token
(invariants S19, S20).
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from stepwell.limits import LOGIN_FAILURES_MAX, SESSION_LIFE

_MS: Final = type(SESSION_LIFE)(milliseconds=1)
_LIFE_MS: Final = SESSION_LIFE // _MS
_MINUTE_MS: Final = 60_000
COOKIE: Final = "stepwell"
SECURE_COOKIE: Final = "__Host-stepwell"  # browsers take it over TLS only, from this host alone


class Session(msgspec.Struct, frozen=True):
    """Somebody who has logged in. ``csrf`` is what forms of theirs have to say."""

    id: str
    csrf: str


class Sessions:
    """Gives sessions, and knows them again. ``keys`` sign: the first of them, and any is accepted."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [sha256(f"sessions {key}".encode()).digest() for key in keys]
        self._failures: deque[int] = deque(maxlen=LOGIN_FAILURES_MAX)

    @property
    def needed(self) -> bool:
        """Whether anybody has to log in: not where the server has neither keys nor a token."""
        return bool(self._keys)

    def begin(self, id: str, now: int) -> str:
        """The value of the cookie of a new session."""
        said = f"{id}.{now}"
        return f"{said}.{_signed(self._keys[0], said)}"

    def find(self, cookie: str, now: int) -> Session | None:
        """The session of a cookie, if it is one of ours and has not ended."""
        said, _, signature = cookie.rpartition(".")
        id, _, since = said.partition(".")
        for key in self._keys:
            if hmac.compare_digest(_signed(key, said).encode(), signature.encode(errors="replace")):
                if since.isdigit() and 0 <= now - int(since) < _LIFE_MS:
                    return Session(id, _signed(key, f"form {id}"))
                return None
        return None

    def retry_after_s(self, now: int) -> int:
        """For how many seconds nobody may try to log in, because too many have failed."""
        if len(self._failures) < LOGIN_FAILURES_MAX:
            return 0
        return max(0, -(-(self._failures[0] + _MINUTE_MS - now) // 1000))

    def failed(self, now: int) -> None:
        """Somebody has tried to log in, and could not."""
        self._failures.append(now)


def same(expected: str, given: str) -> bool:
    """Whether a form says what its session has given out."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def _signed(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(errors="replace"), sha256).hexdigest()
