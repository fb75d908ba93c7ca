"""What one call knows of its run's steps, and which step comes next. Pure: no I/O, no tasks, no clock."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from stepwell.errors import ConfigurationError
from stepwell.ids import hashed
from stepwell.protocol.messages import Memo, Pending

_hashed: Final = lru_cache(maxsize=4096)(hashed)


class Suspend(CancelledError):
    """The call ends here; the run goes on later. Never catch it for good: clean up and let it pass.

    To asyncio a suspended branch is a cancelled one, so nothing reports its task as failed.
    """


class Replay:
    """The memory of one call: results that are known, steps that are pending, names that were used.

    ``now`` is the moment in milliseconds when the latest result that the code has seen became known, ``gained`` is
    whether one did so during this call. ``astray`` is whether code that does one thing at a time has asked for another
    step than the next one that is remembered: it has changed then, or there are branches after all.
    """

    __slots__ = (
        "_asked",
        "_counts",
        "_latest",
        "_open",
        "_places",
        "_stack",
        "astray",
        "drift",
        "fresh",
        "gained",
        "memos",
        "now",
        "pending",
        "seen",
    )

    def __init__(
        self, memos: Mapping[str, Memo], pending: Mapping[str, Pending], stack: Sequence[str], started_at: int
    ) -> None:
        self.memos = memos
        self.pending = pending
        self.now = started_at
        self.seen = 0
        self.fresh = False
        self.gained = False
        self.drift: str | None = None
        self.astray = False
        self._latest = -1
        self._stack = stack
        self._places: dict[str, int] | None = None
        self._counts: dict[str, int] = {}
        self._open: set[str] = set()
        self._asked: set[str] = set()

    @property
    def replaying(self) -> bool:
        """Is the code still on ground that an earlier call has covered?"""
        return not self.fresh and self.unreached > 0

    @property
    def unreached(self) -> int:
        """How many steps that are remembered, with a result or without, the code has not asked for."""
        return len(self.memos) + len(self.pending) - self.seen

    def is_owed(self, now: int) -> bool:
        """Is a pending step due that the code has not asked for?"""
        return any(
            pending.due is not None and pending.due <= now and step_id not in self._asked
            for step_id, pending in self.pending.items()
        )

    def begin(self, name: str) -> tuple[str, int]:
        """The hashed id of the next step of this name, and how often the name was used before (protocol §7.1).

        A step that is not over at once is to be held until it is.

        Raises ``ConfigurationError`` if the name is empty, or if a step of this name is still under way: then its
        repetitions would be counted in an order that the next call need not repeat.
        """
        if not name or not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _nameless(name)
        counts = self._counts
        repeat = counts.get(name, 0)
        if repeat:
            if name in self._open:
                raise _doubled(name)
            # The second "a" is hashed as "a:1", and so is a step that the user calls "a:1": who comes later moves on.
            while f"{name}:{repeat}" in counts:
                repeat += 1
            counts[f"{name}:{repeat}"] = 1
        counts[name] = repeat + 1
        return _hashed(name, repeat), repeat

    def hold(self, name: str) -> None:
        """The step is under way: its name must not be used again meanwhile."""
        self._open.add(name)

    def end(self, name: str) -> None:
        """The step is done: its name may be used again."""
        self._open.discard(name)

    def recall(self, step_id: str, *, alone: bool = False) -> Memo | None:
        """What is remembered of the step. ``None`` says that it has no result yet.

        ``alone`` is whether the code does one thing at a time: then steps come in the order of their results, unless it
        has changed, which ``drift`` tells.
        """
        memo = self.memos.get(step_id)
        if memo is None:
            if step_id in self.pending:
                self.seen += 1
                self._asked.add(step_id)
            else:
                self.fresh = True
                if alone and self.unreached:
                    self.astray = True
                    self.drift = self.drift or "a new step comes before some that are remembered"
            return None
        self.seen += 1
        if alone:
            place = self.place(step_id)
            if place != self._latest + 1:
                self.astray = True
                if place < self._latest:
                    self.drift = self.drift or "steps come in another order than before"
            self._latest = place
        if memo.at > self.now:
            self.now = memo.at
        return memo

    def learn(self, at: int) -> None:
        """A result became known during the call."""
        self.gained = True
        if at > self.now:
            self.now = at

    def place(self, step_id: str) -> int:
        """Where the step's result stands among all in the order in which they became known; fresh ones come last."""
        if self._places is None:
            self._places = {step_id: place for place, step_id in enumerate(self._stack)}
        return self._places.get(step_id, len(self._stack))


def _doubled(name: str) -> ConfigurationError:
    return ConfigurationError(
        what=f"a second step {name!r} begins while the first is under way",
        why="a repeated id is told apart by its turn, and parallel branches take turns in no fixed order",
        fix=f'give each branch an id of its own, such as f"{name}-{{item.id}}"',
    )


def _nameless(name: object) -> ConfigurationError:
    return ConfigurationError(
        what="a step has an empty id" if name == "" else f"{name!r} is not the id of a step",
        why="a step is remembered by its id",
        fix='name it, as in ctx.step.run("charge-card", …)',
    )
