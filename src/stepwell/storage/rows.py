"""Nouns as rows and rows as nouns, in one order of columns for every SQL backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from stepwell.model.app import App
from stepwell.model.audit import AuditEntry
from stepwell.model.changes import SaveFunction
from stepwell.model.event import Event
from stepwell.model.function import FunctionVersion
from stepwell.model.history import Cell, Note, Outcome
from stepwell.model.item import Item
from stepwell.model.log import Logged
from stepwell.model.metadata import Metadata
from stepwell.model.order import Order, Wanted
from stepwell.model.pause import Pause
from stepwell.model.questions import StoredFunction
from stepwell.model.realtime import Posting
from stepwell.model.request import Request
from stepwell.model.run import Rerun, Run
from stepwell.model.standing import StandingOrder
from stepwell.model.step import Attempt, Step
from stepwell.model.user import Session, User
from stepwell.model.wait import Wait

Row = Sequence[Any]

app_row: Callable[[App], tuple[Any, ...]] = astuple
user_row: Callable[[User], tuple[Any, ...]] = astuple
session_row: Callable[[Session], tuple[Any, ...]] = astuple

_encode = msgspec.json.Encoder().encode
_decode_slots = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_wanted = msgspec.json.Decoder(Wanted).decode
_decode_rerun = msgspec.json.Decoder(Rerun).decode
_decode_pause = msgspec.json.Decoder(Pause).decode


def event_row(event: Event, shard: int, *, copied: bool) -> tuple[Any, ...]:
    return (shard, copied, *astuple(event))


def step_row(step: Step, shard: int, *lease: str | int) -> tuple[Any, ...]:
    """With the item and the token of a lease, where the row is to be written only if that holds."""
    return (shard, *astuple(step), *lease)


def wait_row(wait: Wait, shard: int) -> tuple[Any, ...]:
    return (shard, *astuple(wait))


def request_row(request: Request, shard: int) -> tuple[Any, ...]:
    return (shard, *astuple(request))


def run_row(run: Run, shard: int) -> tuple[Any, ...]:
    return (
        shard,
        run.id,
        run.function_id,
        run.event_id,
        run.queued_at,
        run.scheduled_at,
        run.function_version,
        run.status,
        run.started_at,
        run.ended_at,
        run.output,
        run.reason,
        run.parent,
        run.parent_step,
        run.depth,
        _encode(run.slots).decode() if run.slots else None,
        run.guarded,
        run.cron,
        run.original,
        run.execution_version,
        run.throttle,
        _encode(run.locks).decode() if run.locks else None,
        run.batch,
        _encode(run.rerun) if run.rerun is not None else None,
    )


def item_row(item: Item, shard: int) -> tuple[Any, ...]:
    return (
        shard,
        item.id,
        item.kind,
        item.function_id,
        item.at,
        item.run_id,
        item.lease,
        item.attempt,
        item.backlog,
        item.queued_at,
        item.poked,
        item.losses,
        item.mark,
    )


def event(row: Row) -> Event:
    return Event(
        id=row[0],
        name=row[1],
        ts=row[2],
        received_at=row[3],
        data=row[4],
        key=row[5],
        v=row[6],
        user=row[7],
        meta=row[8],
        source=row[9],
        depth=row[10],
        sent_by=row[11],
    )


def run(row: Row) -> Run:
    return Run(
        id=row[0],
        function_id=row[1],
        event_id=row[2],
        queued_at=row[3],
        scheduled_at=row[4],
        function_version=row[5],
        status=row[6],
        started_at=row[7],
        ended_at=row[8],
        output=row[9],
        reason=row[10],
        parent=row[11],
        parent_step=row[12],
        depth=row[13],
        slots=_decode_slots(row[14]) if row[14] else (),
        guarded=bool(row[15]),
        cron=row[16],
        original=row[17],
        execution_version=row[18],
        throttle=row[19],
        locks=_decode_slots(row[20]) if row[20] else (),
        batch=row[21],
        rerun=_decode_rerun(row[22]) if row[22] is not None else None,
    )


def request(row: Row) -> Request:
    return Request(run_id=row[0], step_id=row[1], content=row[2])


def step(row: Row) -> Step:
    return Step(
        run_id=row[0],
        id=row[1],
        name=row[2],
        kind=row[3],
        status=row[4],
        repeat=row[5],
        position=row[6],
        attempt=row[7],
        started_at=row[8],
        ended_at=row[9],
        due=row[10],
        output=row[11],
        details=row[12],
        parallel=row[13],
    )


def attempt(row: Row) -> Attempt:
    return Attempt(
        run_id=row[0],
        step_id=row[1],
        attempt=row[2],
        started_at=row[3],
        ended_at=row[4],
        error=row[5],
        retry_at=row[6],
    )


def item(row: Row) -> Item:
    return Item(
        place=row[0] if row[5] is None else None,
        id=row[1],
        kind=row[2],
        function_id=row[3],
        at=row[4],
        run_id=row[5],
        lease=row[6],
        attempt=row[7],
        backlog=row[8],
        queued_at=row[9],
        poked=bool(row[10]),
        losses=row[11],
        mark=row[12],
    )


def wait(row: Row) -> Wait:
    return Wait(
        run_id=row[0],
        id=row[1],
        kind=row[2],
        event_name=row[3],
        since=row[4],
        expires_at=row[5],
        condition=row[6],
        path=row[7],
        value=row[8],
    )


def cell(row: Row) -> Cell:
    return Cell(key=row[0], value=row[1], expires_at=row[2])


def outcome(row: Row) -> Outcome:
    return Outcome(event_id=row[0], function_id=row[1], kind=row[2], at=row[3], reason=row[4], run_id=row[5])


def note(row: Row) -> Note:
    return Note(run_id=row[0], at=row[1], kind=row[2], text=row[3])


def metadata(row: Row) -> Metadata:
    return Metadata(
        run_id=row[0],
        kind=row[1],
        values=row[2],
        updated_at=row[3],
        step_id=row[4],
        attempt=row[5],
    )


def metadata_row(one: Metadata, shard: int) -> tuple[Any, ...]:
    return (shard, one.run_id, one.step_id, one.attempt, one.kind, one.values, one.updated_at)


def logged(row: Row) -> Logged:
    return Logged(
        run_id=row[0],
        at=row[1],
        token=row[2],
        step_id=row[3],
        attempt=row[4],
        position=row[5],
        name=row[6],
        lines=row[7],
        dropped=row[8],
    )


def logged_row(one: Logged, shard: int) -> tuple[Any, ...]:
    return (shard, *astuple(one))


def function_row(change: SaveFunction) -> tuple[Any, ...]:
    f = change.function
    return (f.id, f.app_id, f.config, f.version, change.at)


def version_row(change: SaveFunction) -> tuple[Any, ...]:
    f = change.function
    return (f.id, f.version, f.config, change.at, change.sdk, change.app_version)


def function_version(row: Row) -> FunctionVersion:
    return FunctionVersion(
        function_id=row[0], version=row[1], config=row[2], registered_at=row[3], sdk=row[4], app_version=row[5]
    )


def app(row: Row) -> App:
    return App(id=row[0], url=row[1], sdk=row[2], framework=row[3], version=row[4], checksum=row[5], synced_at=row[6])


def order(row: Row) -> Order:
    return Order(
        id=row[0],
        kind=row[1],
        created_at=row[2],
        what=_decode_wanted(row[3]),
        stage=row[4],
        position=row[5],
        examined=row[6],
        done=row[7],
        skipped=row[8],
        ended_at=row[9],
        aborted=bool(row[10]),
    )


def order_row(order: Order, shard: int) -> tuple[Any, ...]:
    row = list(astuple(order))
    row[3] = _encode(order.what)
    return (shard, *row)


def function(row: Row) -> StoredFunction:
    return StoredFunction(
        id=row[0],
        app_id=row[1],
        config=row[2],
        version=row[3],
        updated_at=row[4],
        archived_at=row[5],
        pause=_decode_pause(row[6]) if row[6] is not None else None,
    )


def pause_text(pause: Pause | None) -> bytes | None:
    return _encode(pause) if pause is not None else None


def standing_order_row(order: StandingOrder) -> tuple[Any, ...]:
    return (order.kind, order.target, order.since, order.reason, pause_text(order.pause))


def standing_order(row: Row) -> StandingOrder:
    return StandingOrder(
        kind=row[0],
        target=row[1],
        since=row[2],
        reason=row[3],
        pause=_decode_pause(row[4]) if row[4] is not None else None,
    )


def posting(row: Row) -> Posting:
    return Posting(
        id=row[0], origin=row[1], channel=row[2], topic=row[3], body=row[4], raw=bool(row[5]), expires_at=row[6]
    )


def user(row: Row) -> User:
    return User(*row)


def session(row: Row) -> Session:
    return Session(*row)


def audit_row(entry: AuditEntry, shard: int) -> tuple[Any, ...]:
    return (shard, *astuple(entry))


def audit_entry(row: Row) -> AuditEntry:
    return AuditEntry(*row)
