"""What pages are made from: questions to a store, and what the process that is asked knows of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stepwell.dashboard.sharing import Shared
from stepwell.engine.registry import Registry
from stepwell.model.settings import Setting
from stepwell.views.nouns import Reader
from stepwell.views.queues.shapes import AllQueuesView
from stepwell.views.throughput import Throughput
from stepwell.views.why.shapes import Situation


class Pulse(NamedTuple):
    """Whether due work moves, and if not, ``why``."""

    healthy: bool
    why: str


class WorkerHere(NamedTuple):
    """A worker that is connected to this process. ``calls`` are those of its instance, of ``calls_max``; ``version`` is
    that of its app."""

    id: str
    instance: str
    status: str
    calls: int
    calls_max: int
    connected_at: int
    heard_at: int
    sdk: str
    version: str | None


class AddressHere(NamedTuple):
    """Where this process asks for functions, or the workers of an app. ``error`` is why it was not told, and ``code``
    the protocol's word for that; ``app_id`` is ``None`` if it never was."""

    url: str
    app_id: str | None
    code: str | None
    error: str | None
    synced_at: int | None
    workers: Sequence[WorkerHere]


class Key(NamedTuple):
    """That there is such a key, and what tells it from others."""

    name: str
    fingerprint: str


class About(NamedTuple):
    """What a process is. ``part`` is what it does for its store, and ``kept`` for how long that keeps what has ended;
    ``token`` tells whether one is asked for in place of keys."""

    python: str
    part: str
    shards: int
    kept: str
    keys: Sequence[Key]
    token: bool
    settings: Sequence[Setting]


@dataclass(frozen=True, slots=True)
class Here:
    """What the process that is asked knows, and others may know otherwise. ``serves`` tells whether it has the code of
    a function."""

    health: Callable[[], Awaitable[Pulse]]
    addresses: Callable[[], Sequence[AddressHere]]
    serves: Callable[[str], bool]
    about: Callable[[], About]


@dataclass(frozen=True, slots=True)
class Source:
    """``registry`` and ``situation`` are what is known at the moment of the call; ``production`` whether this is a
    server for production, and ``version`` that of the server. ``throughput`` remembers the last hour;
    ``queues`` is what all who look at the queue share."""

    reader: Reader
    registry: Callable[[], Registry]
    situation: Callable[[], Situation]
    version: str
    here: Here
    production: bool = False
    throughput: Throughput = field(default_factory=Throughput)
    queues: Shared[AllQueuesView] = field(default_factory=Shared[AllQueuesView])
