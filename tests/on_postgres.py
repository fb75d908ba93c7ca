"""``pytest --store postgres``: what harnesses and servers of tests use is on a real PostgreSQL, in 16 shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stepwell.testing.driver import Driver
from tests import postgres

_free: list[str] = []


def on_postgres() -> None:
    """From now on, in this process."""
    Driver._lend = staticmethod(lent)


@contextmanager
def lent() -> Iterator[str]:
    """The URL of a database that nobody else uses meanwhile. What is in it others have left."""
    url = _free.pop() if _free else postgres.kept_database()
    try:
        yield url
    finally:
        _free.append(url)
