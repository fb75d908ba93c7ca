"""An order: something that is to be done about many runs, worked off some at a time."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class OrderKind(StrEnum):
    CANCEL = "cancel"
    REPLAY = "replay"


class OrderStatus(StrEnum):
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which runs are meant, and how it is to be done. Moments are milliseconds.

    Runs of these functions of the app in one of these states that were created at ``created_before`` or earlier, at
    ``created_after`` or later if that is given, that had ended by ``ended_before`` if that is, and for whose event
    ``condition`` is true if there is one. The state ``SKIPPED`` stands for events that were kept from starting a run,
    and for when that was. ``first_id`` and ``last_id`` bound the ids of such runs, both exclusive, so that no others
    need to be looked at; an order itself bounds them as well. At most ``limit`` are done in ``period_ms``, spread over
    that time, if that is given. ``matched`` is how many there were when it was ordered, if they were counted; ``name``
    is for people. ``who`` has ordered it, as the audit log calls them: nobody, where nobody has to say.
    """

    app_id: str
    functions: tuple[str, ...]
    statuses: tuple[str, ...]
    created_before: int
    created_after: int | None = None
    ended_before: int | None = None
    condition: str | None = None
    first_id: str = ""
    last_id: str | None = None
    limit: int | None = None
    period_ms: int | None = None
    matched: int | None = None
    name: str = ""
    who: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and how far that has come (semantics §8.3, §9.4).

    A run that was created after the order is never touched: its id is greater than that of the order.

    ``stage`` and ``position`` say how far it has come (``engine/bulk.py``). ``examined`` counts what was looked at of
    these functions, ``done`` the runs that were cancelled or started, ``skipped`` those that fitted and for which that
    could not be done. ``ended_at`` is when it was over, ``aborted`` whether a person has ended it.
    """

    id: str
    kind: str
    created_at: int
    what: Wanted
    stage: int = 0
    position: str = ""
    examined: int = 0
    done: int = 0
    skipped: int = 0
    ended_at: int | None = None
    aborted: bool = False

    @property
    def status(self) -> OrderStatus:
        if self.ended_at is None:
            return OrderStatus.RUNNING
        return OrderStatus.ABORTED if self.aborted else OrderStatus.COMPLETED
