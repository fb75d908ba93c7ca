"""What people ask to be done about many runs: cancel them, start them again, and hear how far that is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from stepwell.engine import bulk
from stepwell.errors import ConfigurationError, NotFound
from stepwell.expressions import compile_expression
from stepwell.flow import HOLD
from stepwell.ids import ulid
from stepwell.limits import REPLAY_NAME_CHARS_MAX
from stepwell.model.duration import to_ms
from stepwell.model.order import Order, OrderKind, Wanted
from stepwell.model.questions import GetOrder, Question
from stepwell.model.run import Run, RunStatus
from stepwell.runtime.engine import Engine
from stepwell.storage.interface import Store

_SLACK_MS: Final = 5_000  # the clock of whoever asks may be ahead of ours (semantics §8.3)
_IDS_SLACK_MS: Final = 3_600_000  # ids never go back in time, clocks may
REPLAYED: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.SKIPPED)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are meant: of this function, created in this span of time, for whose event ``condition`` is true.

    Moments are milliseconds, both included; without ``started_before`` it is all until now.
    """

    app_id: str
    function_id: str
    started_before: int | None = None
    started_after: int | None = None
    condition: str | None = None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started again: runs of this function, or of all of the app without one, in one of these states
    (``REPLAYED``, in any case; by default those that failed), created in this span of time, for whose event
    ``condition`` is true.

    ``SKIPPED`` stands for events that a pause or a drain kept from starting a run, at a moment in this span. Moments
    are milliseconds, both included; without ``created_before`` it is all until now. ``rate`` is how many are started in
    which time, such as ``"10/s"``, ``"100/m"`` or ``"1/30s"``; ``name`` is for people.
    """

    app_id: str
    function_id: str | None = None
    created_before: int | None = None
    created_after: int | None = None
    statuses: Sequence[str] = (RunStatus.FAILED,)
    condition: str | None = None
    rate: str | None = None
    name: str = ""


async def cancel_many(engine: Engine, selection: Selection, *, key: str | None = None) -> Order:
    """Order all these runs to be cancelled; it is durable, and worked off by the process that leads.

    With a ``key`` a second request within 24 hours gets the order of the first. Raises ``ConfigurationError`` for a
    selection that cannot be one.
    """
    engine.refuse_if_stopping()
    wanted = _cancelled(selection, engine.clock.now_ms())
    verdict = await engine.commit(lambda draft: bulk.begin(draft, OrderKind.CANCEL, wanted, key))
    found: Order = verdict.result.value
    return found


async def count_many(engine: Engine, selection: Selection) -> int:
    """How many runs it would cancel now. Looks at all that is live, some at a time. Raises ``ConfigurationError``."""
    now = engine.clock.now_ms()
    return await _count(engine, OrderKind.CANCEL, _cancelled(selection, now), now)


async def end_cancellation(engine: Engine, order_id: str) -> None:
    """Cancel no more runs for this order, and forget it. Raises ``NotFound``."""
    await find_cancellation(engine, order_id)
    await engine.commit(lambda draft: bulk.forget(draft, order_id))


async def find_cancellation(engine: Engine, order_id: str) -> Order:
    """An order, and how far it has come. Raises ``NotFound``."""
    found = await engine.store.read(GetOrder(order_id))
    if found is None or found.kind != OrderKind.CANCEL:
        raise NotFound(
            f"there is no cancellation {order_id}",
            "it was never there, was ended, or retention has removed it",
            "list them: stepwell cancellations",
        )
    return found


async def replay_many(engine: Engine, replay: Replay, *, key: str | None = None, dry_run: bool = False) -> Order:
    """Order all these runs to be started again; it is durable, and worked off by the process that leads.

    They are counted first, some at a time. With ``dry_run`` that is all: the order has no id and is not written down.
    With a ``key`` a second request within 24 hours gets the order of the first. Raises ``ConfigurationError`` for what
    cannot be replayed, ``NotFound`` for a function that is not there.
    """
    now = engine.clock.now_ms()
    wanted = _replayed(engine, replay, now)
    matched = await _count(engine, OrderKind.REPLAY, wanted, now)
    wanted = msgspec.structs.replace(wanted, matched=matched)
    if dry_run:
        return Order(id="", kind=OrderKind.REPLAY, created_at=now, what=wanted)
    engine.refuse_if_stopping()
    verdict = await engine.commit(lambda draft: bulk.begin(draft, OrderKind.REPLAY, wanted, key))
    found: Order = verdict.result.value
    return found


async def abort_replay(engine: Engine, order_id: str) -> Order:
    """Start no more runs for this order; those that there are go on. The order as it now is. Raises ``NotFound``."""
    await find_replay(engine, order_id)
    verdict = await engine.commit(lambda draft: bulk.abort(draft, order_id))
    found: Order | None = verdict.result.value
    return found if found is not None else await find_replay(engine, order_id)


async def stop(engine: Engine, order: Order) -> None:
    """Do no more for this order, whatever it is. What it has done stays so, and it is remembered."""
    await engine.commit(lambda draft: bulk.abort(draft, order.id))


async def find_replay(engine: Engine, order_id: str) -> Order:
    """A replay, and how far it has come. Raises ``NotFound``."""
    found = await engine.store.read(GetOrder(order_id))
    if found is None or found.kind != OrderKind.REPLAY:
        raise NotFound(
            f"there is no replay {order_id}",
            "it was never there, or retention has removed it",
            "list them: stepwell replays",
        )
    return found


def _cancelled(selection: Selection, now: int) -> Wanted:
    before = _until(selection.started_before, selection.started_after, now)
    if selection.condition is not None:
        compile_expression(selection.condition, boolean=True)
    wanted = bulk.live_runs(selection.app_id, selection.function_id, before)
    return msgspec.structs.replace(wanted, created_after=selection.started_after, condition=selection.condition)


def _replayed(engine: Engine, replay: Replay, now: int) -> Wanted:
    before = _until(replay.created_before, replay.created_after, now)
    if replay.condition is not None:
        compile_expression(replay.condition, boolean=True)
    if len(replay.name) > REPLAY_NAME_CHARS_MAX or not (replay.name.isprintable() or not replay.name):
        raise ConfigurationError(
            f"the name {replay.name!r:.40} cannot be kept",
            f"it is one line of up to {REPLAY_NAME_CHARS_MAX} characters, for people who look at it",
            "write less",
        )
    functions = [
        function
        for function in engine.registry.functions.values()
        if function.app_id == replay.app_id and replay.function_id in (None, function.id)
    ]
    gone = sorted(
        function.id
        for function in engine.registry.departed.values()
        if function.app_id == replay.app_id and replay.function_id in (None, function.id)
    )
    if gone and not functions:
        raise NotFound(
            f"{gone[0]} cannot be replayed",
            "its app does not list it any more, or it is archived",
            "register it again, or bring it back with stepwell unarchive, then repeat this",
        )
    if not functions:
        missing = f"function {replay.function_id!r}" if replay.function_id else f"app {replay.app_id!r}"
        raise NotFound(f"there is no {missing}", "nothing of it is registered", "list them: stepwell functions")
    after = replay.created_after
    # The id of a run for which events were held back is as old as the first of them.
    held = any(isinstance(control, HOLD) for function in functions for control in function.controls)
    limit, period_ms = parse_rate(replay.rate) if replay.rate is not None else (None, None)
    return Wanted(
        app_id=replay.app_id,
        functions=tuple(sorted(function.id for function in functions)),
        statuses=_statuses(replay.statuses),
        created_before=before,
        created_after=after,
        ended_before=now,
        condition=replay.condition,
        first_id="" if after is None or held else ulid(max(0, after - _IDS_SLACK_MS), 0),
        last_id=ulid(before + _IDS_SLACK_MS, 0),
        limit=limit,
        period_ms=period_ms,
        name=replay.name,
    )


def parse_rate(text: str) -> tuple[int, int]:
    """``"10/s"`` as how many, and in how many milliseconds. Raises ``ConfigurationError``."""
    number, sign, period = text.partition("/")
    period = period.strip()
    try:
        limit, period_ms = int(number), to_ms(period if period[:1].isdigit() else f"1{period}")
    except (ValueError, ConfigurationError):
        limit = period_ms = 0
    if not sign or limit < 1 or period_ms < 1:
        raise ConfigurationError(
            f"the rate is {text!r:.40}", "it is how many are started in which time", 'write it like "10/s" or "100/m"'
        )
    return limit, period_ms


def _statuses(given: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(status.upper() for status in given))
    strange = [status for status in found if status not in REPLAYED]
    if strange or not found:
        raise ConfigurationError(
            f"the status {strange[0]!r:.40} is none that can be replayed" if strange else "no status is given",
            "what has not ended goes on by itself",
            f"choose among {', '.join(status.lower() for status in REPLAYED)}",
        )
    return found


def _until(before: int | None, after: int | None, now: int) -> int:
    """The moment until which runs are meant."""
    before = before if before is not None else now
    if before > now + _SLACK_MS:
        raise ConfigurationError(
            "runs are meant that were created before a moment in the future",
            "those of the future are not there yet, and nothing is done about them",
            "give a moment that has passed, or none for now",
        )
    if after is not None and after > before:
        raise ConfigurationError(
            "no run can have been created in that time", "it ends before it begins", "exchange the two moments"
        )
    return min(before, now)


async def _count(engine: Engine, kind: OrderKind, wanted: Wanted, now: int) -> int:
    looking: Order | None = Order(id="\x7f", kind=kind, created_at=now, what=wanted)  # its id is after every id
    found = set[str]()  # a run that begins meanwhile is met in both states
    count = 0
    while looking is not None:
        page: Sequence[bulk.Found] = await engine.store.read(bulk.next_page(looking))
        for one in page:
            if not await _answered(engine.store, bulk.fits(looking, one, now)):
                continue
            if isinstance(one, Run) and not one.ended:
                found.add(one.id)
            else:
                count += 1
        looking = bulk.after(looking, page)
    return count + len(found)


async def _answered(store: Store, asking: Generator[Question[Any], Any, bool]) -> bool:
    """What a plan asks for, outside of a transaction."""
    answer: Any = None
    while True:
        try:
            question = asking.send(answer)
        except StopIteration as done:
            return bool(done.value)
        answer = await store.read(question)
