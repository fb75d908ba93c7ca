"""The store on one SQLite file."""

from __future__ import annotations

from stepwell.storage.sqlite.inline import Hook
from stepwell.storage.sqlite.store import SqliteStore

__all__ = ["Hook", "SqliteStore"]
