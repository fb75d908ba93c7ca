"""What an op may look at, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from stepwell.model.changes import Change
from stepwell.model.event import Event
from stepwell.model.failure import Failure
from stepwell.model.function import Function
from stepwell.model.questions import Question
from stepwell.model.run import Run
from stepwell.model.step import Step


class Turn(msgspec.Struct, kw_only=True):
    """All an op may look at: the run it belongs to, what is known of its steps, the moment, a chance in [0, 1).

    ``position`` is that of the next result of the run. ``defers`` is what it has put off until its end.
    ``answer`` is that to the question the op asked, if it asked one.
    """

    run: Run
    function: Function
    event: Event
    steps: Mapping[str, Step]
    position: int
    now: int
    chance: float
    function_of: Callable[[str], Function | None]
    retry_ms: int | None = None
    defers: Mapping[str, Step] = {}
    answer: Any = None


class Invocation(msgspec.Struct, frozen=True):
    """Please start this function on behalf of the step, for an event with these members. ``key`` is its public id."""

    function: Function
    data: bytes
    key: str | None = None
    ts: int = 0
    v: str | None = None
    user: bytes | None = None
    meta: bytes | None = None


class Effect(msgspec.Struct, frozen=True):
    """What an op does: the step as it now is, further changes, a child run to start, or the end of the run."""

    step: Step | None = None
    changes: tuple[Change, ...] = ()
    invoke: Invocation | None = None
    failure: Failure | None = None


class Op(Protocol):
    """One instruction of a function. ``id`` is the hashed step id, ``name`` and ``repeat`` what the user wrote.

    ``parallel`` is that of the step (``model/step.py``), if the app has found several at once.
    """

    @property
    def id(self) -> str: ...

    @property
    def parallel(self) -> str | None: ...

    def ask(self, turn: Turn) -> Question[Any] | None:
        """What must be read before this can be decided."""
        ...

    def decide(self, turn: Turn) -> Effect: ...
