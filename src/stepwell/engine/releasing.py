"""All that waits in a backlog goes, however much it is: a bounded number in each decision (ADR 0029).

The decision that lets it go releases the first of them. The rest is owed by an item, so that other work goes on in
between, and a crash forgets nothing. Each is released once, in its order: one that is put aside again stays so.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final

import msgspec

from stepwell.engine.admission import remember, remembered
from stepwell.engine.draft import Draft
from stepwell.engine.ending import places
from stepwell.flow import GRANT, RunConcurrency, Throttle
from stepwell.flow.limit import is_shared, pairs
from stepwell.flow.window import ALWAYS
from stepwell.model.changes import Drop, ReleaseItem, Schedule
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import (
    Backlog,
    BacklogItems,
    CountSlots,
    DueItems,
    GetItem,
    GetRun,
    Lock,
    NextBacklog,
    ask,
)

ITEMS_PER_DECISION_MAX: Final = 100  # they are claimed in one decision too, which is what holds up others
BACKLOGS_PER_DECISION_MAX: Final = 100
_PAUSE_MS: Final = 10  # others have the writer for at least as long as this has
_CROWDED_MS: Final = 100  # a process without room may have none for hours, and each look is a write
_CROWDED_MS_MAX: Final = 1_000
_APART: Final = frozenset({"ready", "paused", "pressure"})  # no limit holds these up

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[int, str] | None).decode


def let_go(draft: Draft, backlog: str, place: int = EVERYWHERE) -> Generator[Any, Any, None]:
    """All that waits in this backlog now is due, a part of it at once and the rest soon. Runs that wait for what the
    function as a whole lacks may do so anywhere: then nobody is to join them until this is decided, and where there are
    more of them, those of each shard go on by themselves."""
    if place == EVERYWHERE:
        yield from ask(Lock((EVERYWHERE,)))
    yield from _go_on(draft, backlog, None, place)


def let_go_all(draft: Draft, backlogs: Iterable[str]) -> Generator[Any, Any, None]:
    """As ``let_go``, for many backlogs everywhere. Costs a look for each that is not empty, and one more: nobody may
    write anything meanwhile, so it must not cost one for each function."""
    yield from ask(Lock((EVERYWHERE,)))
    wanted = sorted(backlogs, reverse=True)
    last = ""
    while wanted:
        last = max(last, wanted[-1][:-1])  # this comes before it, and next to nothing comes between
        found = yield from ask(NextBacklog(last, EVERYWHERE))
        if found is None:
            return
        last = found
        while wanted and wanted[-1] < last:
            wanted.pop()
        if wanted and wanted[-1] == last:
            yield from let_go(draft, wanted.pop())


def go_on(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The next of a backlog that was let go."""
    # They are not to pile up before what others have to do: first those that were released are to be gone.
    due = yield from ask(DueItems(draft.now, ITEMS_PER_DECISION_MAX, item.home))
    if sum(one.kind == ItemKind.RUN for one in due) == ITEMS_PER_DECISION_MAX:
        looked = msgspec.structs.replace(item, attempt=item.attempt + 1)
        _call(draft, looked, min(_CROWDED_MS << min(item.attempt, 10), _CROWDED_MS_MAX))
        return
    cell = yield from remembered(draft, item.id, item.home)
    last = _decode(cell.value) if cell is not None else None
    yield from _go_on(draft, item.id.removeprefix(_item_id("")), last, item.home)
    if item.id not in draft.cells:
        draft.add(Drop(item.id, item.place))
        remember(draft, Cell(key=item.id, value="", expires_at=0), item.home)


def _go_on(draft: Draft, backlog: str, after: tuple[int, str] | None, place: int) -> Generator[Any, Any, None]:
    room = max(0, ITEMS_PER_DECISION_MAX - draft.released)
    waiting = yield from ask(Backlog(backlog, room + 1, place, after))
    released = waiting[:room]
    draft.freed.add(backlog)
    for _, item_id in released:
        draft.add(ReleaseItem(item_id, draft.now))
        draft.due(draft.now)
    draft.released += len(released)
    if len(waiting) > room:
        item_id = _item_id(backlog)
        last = released[-1] if released else after
        remember(draft, Cell(key=item_id, value=_encode(last).decode(), expires_at=ALWAYS), place)
        _call(draft, Item(id=item_id, kind=ItemKind.RELEASE, function_id="", at=None, place=place))


def review(draft: Draft, app_id: str) -> None:
    """The limits of this app's functions may have changed: whoever waits by them is asked by those that hold now."""
    item = Item(
        id=_review_id(app_id),
        kind=ItemKind.REVIEW,
        function_id="",
        at=draft.now,
        place=EVERYWHERE,  # each shard has backlogs of its own
        queued_at=draft.now,
    )
    remember(draft, Cell(key=item.id, value="", expires_at=ALWAYS), item.home)
    draft.add(Schedule(item))
    draft.due(draft.now)


def review_more(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The next backlogs of a review. Costs what there are of them, not what is in them."""
    app_id = item.id.removeprefix(_review_id(""))
    cell = yield from remembered(draft, item.id, item.home)
    last = cell.value if cell is not None else ""
    if last and (yield from ask(GetItem(_item_id(last), item.place))) is not None:
        _call(draft, item)  # all of the last one goes: one after the other
        return
    for _ in range(BACKLOGS_PER_DECISION_MAX):
        if draft.released >= ITEMS_PER_DECISION_MAX:
            break
        name = yield from ask(NextBacklog(last, item.home))
        if name is None:
            remember(draft, Cell(key=item.id, value="", expires_at=0), item.home)
            draft.add(Drop(item.id, item.place))
            return
        last = name
        if name.partition("/")[0] not in _APART:
            yield from _ask_anew(draft, app_id, name, item.home)
    remember(draft, Cell(key=item.id, value=last, expires_at=ALWAYS), item.home)
    _call(draft, item)


def _ask_anew(draft: Draft, app_id: str, backlog: str, place: int) -> Generator[Any, Any, None]:
    """As many of a backlog as there is room for by now."""
    if is_shared(backlog):
        yield from let_go(draft, backlog, place)
        return
    first = (yield from ask(BacklogItems(backlog, 1, place)))[0]
    function = draft.registry.of_run(first.function_id)
    if function is None or function.app_id != app_id:
        return
    if backlog.startswith("throttle/") and any(isinstance(control, Throttle) for control in function.controls):
        draft.add(
            Schedule(
                Item(
                    id=backlog,
                    kind=ItemKind.THROTTLE,
                    function_id=function.id,
                    at=draft.now,
                    place=place,
                    queued_at=draft.now,
                )
            )
        )
        draft.due(draft.now)
        return
    limit = yield from _limit(function, first, backlog)
    if limit is None:
        yield from let_go(draft, backlog, place)
        return
    room = limit - (yield from ask(CountSlots(backlog, place)))
    if room > ITEMS_PER_DECISION_MAX:
        yield from let_go(draft, backlog, place)
    elif room > 0:
        draft.add(draft.room(backlog, room, place))
        draft.released += room


def _limit(function: Function, item: Item, backlog: str) -> Generator[Any, Any, int | None]:
    """How many may have a slot of the key that this item waits for; ``None`` if nothing limits it any more."""
    run = yield from ask(GetRun(item.id))
    if run is None:
        return None
    for keys, kinds in ((run.slots, GRANT), (places(run), RunConcurrency)):
        if backlog in keys:
            limits = [control for control in function.controls if isinstance(control, kinds)]
            control = dict(pairs(keys, limits, function.id)).get(backlog)
            return control.limit or None if control is not None else None
    return None


def _call(draft: Draft, item: Item, after_ms: int = _PAUSE_MS) -> None:
    at = draft.now + after_ms
    draft.add(Schedule(msgspec.structs.replace(item, at=at, queued_at=at)))
    draft.due(at)


def _item_id(backlog: str) -> str:
    return f"release/{backlog}"


def _review_id(app_id: str) -> str:
    return f"review/{app_id}"
