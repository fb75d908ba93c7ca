"""``pytest --store postgres``: what harnesses and servers of tests use is on a real PostgreSQL, in 16 shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from stepwell.storage.interface import Store
from stepwell.storage.postgres.store import PostgresStore
from stepwell.testing.database import AwaitedStore
from stepwell.testing.driver import Driver
from tests import postgres

LEFT_OUT: dict[str, int] = {}
"""How many tests are about files, by the reason that they give."""

_NAMES: Final = ("--db", "--store")
_FILES: Final = {"dev": ".stepwell/dev.db", "start": "stepwell.db"}
"""What a server uses that is told nothing."""

_open = Driver._open
_LEASE: Final = "3s"
"""Whoever leads on a file begins anew with all that the one before was doing; a peer waits for a lease to run out."""

_free: list[_Kept] = []
_free_for_servers: list[str] = []
_instead: dict[Path, str] = {}
_running: Counter[str] = Counter()
_on = False


def on_postgres() -> None:
    """From now on, in this process."""
    global _on
    _on = True
    Driver._open = _opened  # type: ignore[method-assign]


def chosen() -> bool:
    """Whether this test run is one on PostgreSQL."""
    return _on


def about_files(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Those that say so by the marker ``sqlite``, and why. They are counted."""
    found = [(item, mark) for item in items if (mark := item.get_closest_marker("sqlite")) is not None]
    LEFT_OUT.update(Counter(str(mark.args[0]) for _, mark in found))
    return [item for item, _ in found]


def told() -> Iterator[str]:
    """What was left out, in a few lines."""
    if LEFT_OUT:
        yield f"left out on PostgreSQL: {sum(LEFT_OUT.values())} tests"
    for reason, count in sorted(LEFT_OUT.items(), key=lambda each: -each[1]):
        yield f"  {count:4}  {reason}"


async def _opened(driver: Driver) -> Store:
    """The store of a harness, in a database that it has to itself. Connections are kept from one to the next: to make
    them, and to prepare what they are asked, takes most of the time of a usual test."""
    if driver._url is not None:
        return await _open(driver)
    kept = _free.pop() if _free else await _Kept.made(driver)
    postgres.empty(kept.url)
    driver._url = kept.url

    async def give_back() -> None:
        _free.append(kept)

    return AwaitedStore(kept, driver._loop, give_back)


class _Kept:
    """A store that goes on when it is closed."""

    def __init__(self, url: str, store: PostgresStore) -> None:
        self.url = url
        self.shards = store.shards
        self.commit, self.read, self.sweep = store.commit, store.read, store.sweep
        self.new_epoch, self.changed, self.now_ms = store.new_epoch, store.changed, store.now_ms

    @classmethod
    async def made(cls, driver: Driver) -> _Kept:
        url = postgres.kept_database()
        with driver._loop.working("a new database"):
            return cls(url, await PostgresStore.open(url, shards=driver._shards))

    async def close(self) -> None:
        """Somebody else will use it."""


def serving(command: str, folder: Path, options: Sequence[str]) -> tuple[list[str], str | None]:
    """The options of a server with a database in place of its file: the same for the same file. And which that is."""
    if not _on or command not in _FILES:
        return [*options], None
    given = asking(folder, options)
    if not any(name in given for name in _NAMES):
        given += ["--store", instead_of(folder / _FILES[command])]
    if "--lease" not in given:
        given += ["--lease", _LEASE]
    url = next(given[at + 1] for at, name in enumerate(given) if name in _NAMES)
    _running[url] += 1
    return given, url


def asking(folder: Path, options: Sequence[str]) -> list[str]:
    """The options of any command, with the databases that are in place of files."""
    given = [*options]
    for at, name in enumerate(given[:-1]):
        if _on and name in _NAMES and not given[at + 1].startswith("postgres"):
            given[at + 1] = instead_of(folder / given[at + 1])
    return given


def stopped(url: str | None) -> None:
    """A server that used it has ended."""
    if url is not None:
        _running[url] -= 1


def instead_of(file: Path) -> str:
    """The URL of the database that is in place of a file."""
    file = file.resolve()
    if file not in _instead:
        url = _free_for_servers.pop() if _free_for_servers else postgres.kept_database()
        postgres.empty(url)
        _instead[file] = url
    return _instead[file]


def give_back() -> None:
    """What no server uses any more may be used again, for other files."""
    for file, url in list(_instead.items()):
        if _running[url] <= 0:
            del _instead[file], _running[url]
            _free_for_servers.append(url)
