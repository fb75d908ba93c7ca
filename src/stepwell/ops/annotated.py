"""An op that says something about its step besides."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.model.log import Logs
from stepwell.model.metadata import Entry
from stepwell.model.questions import Question
from stepwell.ops.base import Effect, Op, Turn


def plain(op: Op) -> Op:
    """The op itself, whatever is said besides."""
    return op.op if isinstance(op, Annotated) else op


class Annotated(msgspec.Struct, frozen=True):
    """``op``, and what is to be known of it; ``problem`` is why that cannot be read, if it cannot. ``logs`` is what
    was logged on the way to it, in ``attempt`` if it has a body."""

    op: Op
    entries: tuple[Entry, ...] = ()
    problem: str | None = None
    logs: Logs | None = None
    attempt: int = 0

    @property
    def only_logs(self) -> bool:
        """Whether nothing but that was said."""
        return self.logs is not None and not self.entries and self.problem is None

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
