"""In whose lane a work goes: that of the shard where it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from stepwell.model import questions as q
from stepwell.model.changes import Decision, Plan
from stepwell.storage.places import home_of
from stepwell.storage.postgres.shards import shards_asked
from stepwell.storage.postgres.transaction import Upkeep, Work

_QUESTIONS_MAX: Final = 4


class Homes:
    """Finds the home of works. A plan does not say it, so what it would ask is looked at before it is run."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self.stamp: int | None = None
        """The last answer to ``RegistryStamp``, with which most plans begin."""

    def find(self, work: Work) -> int | None:
        """The shard, or ``None`` if it cannot be said."""
        if self._shards == 1:
            return 0
        if isinstance(work, Decision):
            return home_of(work, self._shards) or 0
        if isinstance(work, Upkeep):
            return work.shard
        try:
            return self._first_asked(work)
        except Exception:  # it raises again when it is run, and then whoever asked for it is told
            return None

    def _first_asked(self, make: Callable[[], Plan]) -> int | None:
        """The plan is made anew when its turn comes: pure as it is, it asks the same if the answers are the same."""
        plan = make()
        try:
            answer: Any = None
            for _ in range(_QUESTIONS_MAX):
                try:
                    question = plan.send(answer)
                except StopIteration as done:
                    return home_of(done.value, self._shards)
                asked = shards_asked(question, self._shards)
                if asked:
                    return min(asked)
                if not isinstance(question, q.RegistryStamp) or self.stamp is None:
                    return None
                answer = self.stamp
            return None
        finally:
            plan.close()
