"""What the holder of a lease knows. It is true exactly while the item still carries the token (hot-path.md §3.3)."""

from __future__ import annotations

import msgspec

from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.item import Lease
from stepwell.model.run import Run
from stepwell.model.step import DEFER, Step


class Leased(msgspec.Struct, kw_only=True):
    """A run in the hands of one caller. ``steps`` grows with what the caller itself made durable.

    ``position`` is that of the next result.
    ``promised`` are the steps on their way to the disk, with the bytes of their results: the limits count them too.
    ``width`` is how many slots of each of the run's keys it holds: as many step bodies may run at one moment.
    ``defers`` is what the run has put off until its end, apart from the steps: nothing waits for it.
    ``unheard`` counts what was asked to be written and whose outcome did not come back to the call.
    ``logged`` is how many bytes of what it logs are kept, once that matters; what others keep meanwhile is not counted.
    """

    run: Run
    lease: Lease
    until: int
    attempt: int
    function: Function
    events: tuple[Event, ...]
    steps: dict[str, Step]
    defers: dict[str, Step] = {}
    state_bytes: int = 0
    width: int = 1
    position: int = 1
    promised: dict[str, int] = {}
    unheard: int = 0
    logged: int | None = None

    @property
    def event(self) -> Event:
        return self.events[0]

    def steps_besides(self, step_id: str) -> int:
        """How many steps the run has or is about to have, without this one."""
        alone = step_id in self.promised and step_id not in self.steps
        return len(self.steps) + len(self.promised) - len(self._told_twice()) - alone

    def bytes_besides(self, step_id: str) -> int:
        """How much the results of these steps take."""
        besides = sum(self.promised.values()) - self.promised.get(step_id, 0)
        return self.state_bytes + besides - sum(self.promised[id] for id in self._told_twice() if id != step_id)

    def _told_twice(self) -> set[str]:
        """The steps that were read from the store before whoever saved them heard that they are there. Costs as much as
        there are of the fewer, which on the hot path is none: subtracting these views would go through all steps."""
        return self.promised.keys() & self.steps.keys()

    def learn(self, step: Step) -> None:
        """A step of this run is now known to be so."""
        if step.kind == DEFER:
            self.defers[step.id] = step
            return
        known = self.steps.get(step.id)
        if known is not None and not known.open:
            return
        self.steps[step.id] = step
        if step.position >= self.position:
            self.position = step.position + 1
        if step.output is not None:
            self.state_bytes += len(step.output)

    def gain(self, step: Step) -> None:
        """A step moved while the call goes on. The code after a result has all its attempts (semantics §6.1)."""
        self.learn(step)
        if not step.open and step.kind != DEFER:
            self.attempt = 0

    def next_due(self) -> int | None:
        """The earliest moment at which an open step moves by itself."""
        dues = [step.due for step in self.steps.values() if step.ended_at is None and step.due is not None]
        return min(dues) if dues else None
