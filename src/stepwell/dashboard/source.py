"""What pages are made from: questions to a store, and what the process that is asked knows of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepwell.engine.registry import Registry
from stepwell.views.nouns import Reader
from stepwell.views.why.shapes import Situation


@dataclass(frozen=True, slots=True)
class Source:
    """``registry`` and ``situation`` are what is known at the moment of the call; ``production`` whether this is a
    server for production, and ``version`` that of the server."""

    reader: Reader
    registry: Callable[[], Registry]
    situation: Callable[[], Situation]
    version: str
    production: bool = False
