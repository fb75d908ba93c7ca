"""Many runs are cancelled, or made again: an order that is a row, worked off by an item, a bounded number of runs in
each decision (ADR 0021, 0026)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.engine.admission import Again, admit
from stepwell.engine.again import start_again
from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.expressions import EvaluationError, compile_expression
from stepwell.limits import DEDUPE_WINDOW
from stepwell.model.changes import Drop, DropOrder, DropOutcome, Enqueue, Plan, PutCell, SaveOrder, Schedule
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Outcome
from stepwell.model.item import Item, ItemKind
from stepwell.model.order import Order, OrderKind, Wanted
from stepwell.model.pause import PausedEvents
from stepwell.model.place import place_for, place_of
from stepwell.model.questions import (
    GetCell,
    GetEvent,
    GetOrder,
    Outcomes,
    Question,
    RunsOfFunction,
    RunsOfStatus,
    SkippedEvents,
    ask,
)
from stepwell.model.run import Rerun, Run, RunStatus

_PAUSE_MS: Final = 10  # others have it for longer than that (ADR 0029)
RUNS_PER_DECISION_MAX: Final = 50  # a decision holds the writer for some milliseconds at most
_PACE_MS: Final = 100  # a replay of many starts in each second starts a few at a time
_PAUSED_MS: Final = 5_000  # how soon a replay looks again whether its function may start runs
_DEDUPE_MS: Final = DEDUPE_WINDOW // type(DEDUPE_WINDOW)(milliseconds=1)
LIVE: Final = (RunStatus.QUEUED, RunStatus.RUNNING)

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode

Found = Run | Outcome
Act = Callable[[Draft, Order, Found], Generator[Any, Any, bool]]


class _Stage(msgspec.Struct, frozen=True):
    """What is gone through by one index: runs in this state, ended runs of this function, its skipped events."""

    status: str | None = None
    function_id: str | None = None
    skipped: bool = False


def begin(draft: Draft, kind: OrderKind, wanted: Wanted, key: str | None = None) -> Plan:
    """Order it. The value is the order. With a ``key`` a second request within 24 hours gets the order of the first."""
    cell = f"order/{key}"
    place = place_for(cell)
    if key is not None:
        seen = yield from ask(GetCell(cell, draft.now, place))
        known = None if seen is None else (yield from ask(GetOrder(seen.value)))
        if known is not None:
            return draft.decision(known)
    found = order(draft, kind, wanted, place if key is not None else None)
    if key is not None:
        draft.add(PutCell(Cell(key=cell, value=found.id, expires_at=draft.now + _DEDUPE_MS), place))
    return draft.decision(found)


def order(draft: Draft, kind: OrderKind, wanted: Wanted, place: int | None = None) -> Order:
    """The same as part of a decision: the order is worked off from now on.

    The caller has checked that the condition can be compiled.
    """
    place = place if place is not None else place_for(f"order at {draft.now}")  # wherever it is, it goes through all
    wanted = replace(wanted, who=draft.who)
    found = Order(id=draft.moment.new_id(place), kind=kind, created_at=draft.now, what=wanted)
    draft.add(SaveOrder(found), Enqueue(_item(found, draft.now)))
    draft.due(draft.now)
    return found


def live_runs(app_id: str, function_id: str, created_before: int) -> Wanted:
    """All runs of a function that have not ended."""
    return Wanted(app_id=app_id, functions=(function_id,), statuses=LIVE, created_before=created_before)


def forget(draft: Draft, order_id: str) -> Plan:
    """Do no more for this order, and forget it. The value is false if there is none."""
    found = yield from ask(GetOrder(order_id))
    if found is None:
        return draft.decision(False)
    draft.add(DropOrder(found.id), Drop(_item_id(found.id), place_of(found.id)))
    return draft.decision(True)


def abort(draft: Draft, order_id: str) -> Plan:
    """Do no more for this order. The value is the order as it now is, ``None`` if there is none."""
    found = yield from ask(GetOrder(order_id))
    if found is not None and found.ended_at is None:
        found = replace(found, ended_at=draft.now, aborted=True)
        draft.add(SaveOrder(found), Drop(_item_id(found.id), place_of(found.id)))
    return draft.decision(found)


def go_on(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The next part of an order, and the moment of the one after it.

    How far it has come is written in the decision that does it, so nothing is done twice, however often the process
    dies (I16).
    """
    found = yield from ask(GetOrder(item.id.removeprefix(_item_id(""))))
    if found is None or found.ended_at is not None:
        draft.add(Drop(item.id, item.place))
        return
    page = yield from ask(next_page(found))
    act, most = _ACTS[found.kind], _share(found.what)
    done = skipped = 0
    taken: list[Found] = []
    at = draft.now + _PAUSE_MS if page else draft.now
    for one in page:
        if done == most:
            break
        if found.kind == OrderKind.REPLAY and is_held(draft.registry.get(one.function_id)):
            at = draft.now + _PAUSED_MS
            break
        taken.append(one)
        if (yield from fits(found, one, draft.now)):
            acted = yield from act(draft, found, one)
            done += acted
            skipped += not acted
    if done and found.what.limit is not None and found.what.period_ms is not None:
        at = draft.now - (-done * found.what.period_ms // found.what.limit)
    found = replace(
        found,
        examined=found.examined + sum(one.function_id in found.what.functions for one in taken),
        done=found.done + done,
        skipped=found.skipped + skipped,
    )
    following = after(found, taken, whole=len(taken) == len(page))
    if following is None:
        draft.add(SaveOrder(replace(found, ended_at=draft.now)), Drop(item.id, item.place))
        return
    draft.add(SaveOrder(following), Schedule(_item(following, at)))
    draft.due(at)


# What is gone through ------------------------------------------------------------------------------------------------


def next_page(found: Order) -> Question[Any]:
    """What to look at next: runs, or outcomes."""
    what, stage = found.what, _stages(found.what)[found.stage]
    before = min(found.id, what.last_id or found.id)
    after = max(found.position, what.first_id)
    if stage.skipped:
        assert stage.function_id is not None, "each function has its own"
        last = min(what.created_before, found.created_at)
        at, event_id = _moment(found.position, what.created_after or 0)
        return SkippedEvents(stage.function_id, at, event_id, last, RUNS_PER_DECISION_MAX)
    if stage.function_id is not None:
        return RunsOfFunction(stage.function_id, after, before, RUNS_PER_DECISION_MAX)
    assert stage.status is not None, "a stage goes through something"
    return RunsOfStatus(stage.status, after, before, RUNS_PER_DECISION_MAX)


def after(found: Order, taken: Sequence[Found], *, whole: bool = True) -> Order | None:
    """The order once these, from the answer to ``next_page``, are done with: all of that answer, if ``whole``. ``None``
    after the last."""
    if taken and not (whole and len(taken) < RUNS_PER_DECISION_MAX):
        last = taken[-1]
        return replace(found, position=last.id if isinstance(last, Run) else f"{last.at}/{last.event_id}")
    if not whole:
        return found
    if found.stage + 1 < len(_stages(found.what)):
        return replace(found, stage=found.stage + 1, position="")
    return None


def fits(found: Order, one: Found, now: int) -> Generator[Any, Any, bool]:
    """Whether it is meant. Asks for its event only if there is a condition, or if it was skipped."""
    what = found.what
    least = what.created_after if what.created_after is not None else 0
    if one.function_id not in what.functions:
        return False
    if isinstance(one, Run):
        if one.status not in what.statuses or not least <= one.queued_at <= what.created_before:
            return False
        if one.ended_at is not None and what.ended_before is not None and one.ended_at > what.ended_before:
            return False
    if what.condition is None and isinstance(one, Run):
        return True
    event = yield from ask(GetEvent(one.event_id, one.place if isinstance(one, Run) else None))
    if isinstance(one, Outcome) and event is not None and _is_answered(event):
        return False
    return what.condition is None or (event is not None and _is_true(what.condition, event, now))


def _is_answered(event: Event) -> bool:
    """Whether a run has asked for it by ``step.invoke``: it was told why nothing started, and went on with that."""
    return event.source == "invoke" and event.sent_by is not None


def _stages(what: Wanted) -> list[_Stage]:
    """One after the other. Nearly all runs complete, so those that did are found among the runs of their function, and
    all others that have ended with them; without them each state has an index, which is small.

    Runs that have not begun come before those that have: a run goes from the one state to the other and never back.
    """
    found = [_Stage(status=status) for status in what.statuses if status in LIVE]
    ended = [status for status in what.statuses if status not in (*LIVE, RunStatus.SKIPPED)]
    if RunStatus.COMPLETED in ended:
        found += [_Stage(function_id=function_id) for function_id in what.functions]
    else:
        found += [_Stage(status=status) for status in ended]
    if RunStatus.SKIPPED in what.statuses:
        found += [_Stage(function_id=function_id, skipped=True) for function_id in what.functions]
    return found


def _moment(position: str, least: int) -> tuple[int, str]:
    at, _, event_id = position.partition("/")
    return (int(at), event_id) if at else (least, "")


def _is_true(condition: str, event: Event, now: int) -> bool:
    try:
        return compile_expression(condition, boolean=True).matches({"event": event.fields()}, now_ms=now)
    except EvaluationError:
        return False  # it says nothing about this event, and what is not meant is not touched


# What is done --------------------------------------------------------------------------------------------------------


def _cancel(draft: Draft, found: Order, one: Found) -> Generator[Any, Any, bool]:
    assert isinstance(one, Run), "no others are gone through"
    return (yield from cancel(draft, one.id, f"cancellation {found.id}"))


def _replay(draft: Draft, found: Order, one: Found) -> Generator[Any, Any, bool]:
    """Start it again, or for the first time what was kept from starting, which then is not kept any more."""
    function = draft.registry.get(one.function_id)
    event = yield from ask(GetEvent(one.event_id, one.place if isinstance(one, Run) else None))
    if function is None or event is None:
        return False
    record = Rerun(replay=found.id)
    if isinstance(one, Run):
        started = yield from start_again(draft, one, event, function, record)
        return isinstance(started, Run)
    gone = DropOutcome(one.event_id, one.function_id)
    known = yield from ask(Outcomes(one.event_id))  # it was found without holding it
    if gone in draft.changes or all(each.function_id != one.function_id for each in known):
        return False  # another replay has just started it: this decision does a part of each that is due
    cron = str(_decode(event.data)["cron"]) if event.source == "cron" else None
    started = yield from admit(draft, function, event, event.fields(), cron=cron, again=Again(record=record))
    if isinstance(started, Outcome):
        return False
    draft.add(gone)
    return True


_ACTS: Final[Mapping[str, Act]] = {OrderKind.CANCEL: _cancel, OrderKind.REPLAY: _replay}


def _share(what: Wanted) -> int:
    """How many may be done at one moment, so that they are spread over time."""
    if what.limit is None or what.period_ms is None:
        return RUNS_PER_DECISION_MAX
    return min(RUNS_PER_DECISION_MAX, max(1, _PACE_MS * what.limit // what.period_ms))


def is_held(function: Function | None) -> bool:
    """Whether nothing of it would be started now, though later it may be."""
    if function is None:
        return False
    return function.drain is not None or (function.pause is not None and function.pause.events != PausedEvents.HOLD)


def _item(found: Order, at: int) -> Item:
    # It is of no function: what a function is owed while it has no run are its ticks.
    return Item(
        id=_item_id(found.id),
        kind=ItemKind.ORDER,
        function_id="",
        at=at,
        place=place_of(found.id),
        queued_at=found.created_at,
    )


def _item_id(order_id: str) -> str:
    return f"order/{order_id}"
