"""What pages are made from: questions to a store, and what the process that is asked knows of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from stepwell.dashboard.sharing import Shared
from stepwell.engine.registry import Registry
from stepwell.views.nouns import Reader
from stepwell.views.queues.shapes import AllQueuesView
from stepwell.views.throughput import Throughput
from stepwell.views.why.shapes import Situation


class Pulse(NamedTuple):
    """Whether due work moves, and if not, ``why``."""

    healthy: bool
    why: str


@dataclass(frozen=True, slots=True)
class Here:
    """What the process that is asked knows, and others may know otherwise."""

    health: Callable[[], Awaitable[Pulse]]


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
