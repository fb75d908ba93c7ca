"""Who did what: a row for each action of a person, written together with its effect (ADR 0048)."""

from __future__ import annotations

import msgspec


class AuditEntry(msgspec.Struct, frozen=True):
    """One action. ``id`` is a ULID, so entries are in the order of their moments.

    ``who`` is the name of a user, ``key …`` for whoever had that key, or empty where nobody has to say. ``via`` is
    ``dashboard``, ``api`` or ``cli``; ``target`` what it was about: the id of a run, a function, an app, a user.
    ``detail`` is one line for people, ``request`` what the request was called by whoever passed it on.
    """

    id: str
    at: int
    who: str
    via: str
    action: str
    target: str = ""
    detail: str = ""
    request: str = ""
