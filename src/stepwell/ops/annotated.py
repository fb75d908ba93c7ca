"""An op that says something about its step besides."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.model.metadata import Entry
from stepwell.model.questions import Question
from stepwell.ops.base import Effect, Op, Turn


class Annotated(msgspec.Struct, frozen=True):
    """``op``, and what is to be known of it; ``problem`` is why that cannot be read, if it cannot."""

    op: Op
    entries: tuple[Entry, ...] = ()
    problem: str | None = None

    @property
    def id(self) -> str:
        return self.op.id

    @property
    def parallel(self) -> str | None:
        return self.op.parallel

    def ask(self, turn: Turn) -> Question[Any] | None:
        return self.op.ask(turn)

    def decide(self, turn: Turn) -> Effect:
        return self.op.decide(turn)
