"""Who may do what: users of the dashboard, their roles, and the sessions in which they are logged in (ADR 0048)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

from stepwell.limits import USER_NAME_CHARS_MAX

_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9._@+-]{{0,{USER_NAME_CHARS_MAX - 1}}}")


class Role(StrEnum):
    """What somebody may do. Each may do what those before it may."""

    VIEWER = "viewer"  # sees all pages but those of users
    OPERATOR = "operator"  # acts: cancels, runs again, pauses
    ADMIN = "admin"  # and decides who may do what

    def may(self, needed: Role) -> bool:
        return _ORDER[self] >= _ORDER[needed]


_ORDER: Final = {role: number for number, role in enumerate(Role)}


class User(msgspec.Struct, frozen=True):
    """Somebody who can log in. ``password`` is the hash of it; ``changed_at`` when that or the role was set."""

    name: str
    role: str
    password: str
    created_at: int
    changed_at: int


class Session(msgspec.Struct, frozen=True):
    """Somebody who is logged in, from ``begun_at`` until ``expires_at`` at the latest.

    ``id`` is the hash of what their browser shows. ``who`` is the name of a user, or ``key …`` with the fingerprint of
    a key of the server, which no user can be called. ``agent`` is what the browser says it is.
    """

    id: str
    who: str
    begun_at: int
    seen_at: int
    expires_at: int
    agent: str


def is_user_name(text: str) -> bool:
    """Small letters, digits and ``. _ @ + -``, so that two names never look alike."""
    return _NAME.fullmatch(text) is not None
