"""An app: a program of somebody that has functions and serves them at an address."""

from __future__ import annotations

import msgspec


class App(msgspec.Struct, frozen=True, kw_only=True):
    """What an app said about itself when it was synced last. ``synced_at`` is in milliseconds.

    ``sdk`` is its language and version, such as ``"py:v0.5.18"``; ``version`` is the app's own. ``checksum`` is that of
    all it said, by which it is seen whether anything is new (protocol §4.4).
    """

    id: str
    url: str
    sdk: str
    framework: str | None = None
    version: str | None = None
    checksum: str
    synced_at: int
