"""``/queue``: what functions are owed, what holds it back, and who works at what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.views.queues.backlogs import all_queues, function_queue
from stepwell.views.queues.leases import leases
from stepwell.views.queues.shapes import AllQueuesView, AmountView, BacklogView, LeaseView, QueueView

_BACKLOGS: Final = 12  # each costs some questions more: who holds its slots, who is first
_LEASES: Final = 30
STATES: Final = (
    ("due", "Due", "May go on at once"),
    ("running", "Running", "A call is under way"),
    ("blocked", "Blocked", "By a concurrency limit"),
    ("throttled", "Throttled", "Wait for their turn, or until what they call may be called again"),
    ("paused", "Paused", "Until the function is resumed"),
    ("unserved", "Unserved", "No process has the function"),
    ("later", "Later", "At a moment: they sleep, are retried, or start in the future"),
)
BY: Final = {
    "concurrency": "Concurrency",
    "run-concurrency": "Runs under way",
    "throttle": "Throttle",
    "back-pressure": "Back-pressure",
    "paused": "Paused",
    "unserved": "Not served",
    "room": "Room in the process",
    "other": "Something else",
}
TONES: Final = {"paused": "warn", "unserved": "bad", "room": "busy", "back-pressure": "warn"}


class Total(NamedTuple):
    """How many of all functions are in this state."""

    word: str
    says: str
    amount: AmountView


class QueueShown(NamedTuple):
    """What is owed. ``idle`` is how many functions are owed nothing, ``oldest`` since when the longest waits. Of
    ``backlogs`` there are ``keys``; ``more_leases`` is whether there are more than the ``leases``."""

    function: str
    rows: Sequence[QueueView]
    idle: int
    totals: Sequence[Total]
    oldest: str | None
    backlogs: Sequence[BacklogView]
    keys: AmountView
    leases: Sequence[LeaseView]
    more_leases: bool
    functions: Sequence[str]
    states: Sequence[tuple[str, str, str]]
    by: dict[str, str]
    tones: dict[str, str]


async def show(visit: Visit) -> Shown:
    reader, registry, situation = visit.source.reader, visit.source.registry(), visit.source.situation()
    function = visit.query.get("function", "")
    if function:
        one = await function_queue(reader, registry, function, situation, _BACKLOGS)
        found = AllQueuesView(functions=[one], keys=one.keys, backlogs=one.backlogs)
    else:
        found = await visit.source.queues.get(lambda: all_queues(reader, registry, situation, _BACKLOGS))
    under_way, more = await leases(reader, situation, _LEASES, function or None)
    busy = [each for each in found.functions if function or any(_amounts(each))]
    view = QueueShown(
        function=function,
        rows=sorted(busy, key=lambda each: (each.oldest_since or "~", each.function_id)),
        idle=len(found.functions) - len(busy),
        totals=_totals(found.functions),
        oldest=min((each.oldest_since for each in busy if each.oldest_since), default=None),
        backlogs=found.backlogs,
        keys=found.keys,
        leases=under_way,
        more_leases=more,
        functions=sorted({*registry.functions, *registry.departed, *([function] if function else ())}),
        states=STATES,
        by=BY,
        tones=TONES,
    )
    return Shown(
        title="Queue",
        view=view,
        topics=("queue", "functions"),
        address=address(visit.address, {"function": function}),
    )


def _amounts(queue: QueueView) -> list[int]:
    """How many are in each state; a number that is not known is one."""
    found: list[AmountView] = [getattr(queue, state) for state, _, _ in STATES]
    return [amount.count or int(amount.more) for amount in found]


def _totals(queues: Sequence[QueueView]) -> list[Total]:
    found: list[Total] = []
    for state, word, says in STATES:
        amounts: list[AmountView] = [getattr(each, state) for each in queues]
        total = AmountView(count=sum(each.count for each in amounts), more=any(each.more for each in amounts))
        found.append(Total(word, says, total))
    return found


PAGE: Final = Page(path="/queue", show=show, section="queue", template="queue.html", parts=("results",))
