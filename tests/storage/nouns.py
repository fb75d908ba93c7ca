"""Nouns with everything filled in that a test does not care about, and the shortest ways to write and read them."""

from __future__ import annotations

from typing import Any

from stepwell.model.audit import AuditEntry
from stepwell.model.changes import Change, Decision, Enqueue, Grant
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Note, Outcome
from stepwell.model.item import Item, Lease
from stepwell.model.log import Logged
from stepwell.model.order import Order, Wanted
from stepwell.model.questions import GetItem, Question
from stepwell.model.request import Request
from stepwell.model.run import Run
from stepwell.model.step import Attempt, Step
from stepwell.model.user import Session, User
from stepwell.model.wait import Wait
from stepwell.storage.interface import Store, Verdict

TOKEN = 7
LEASE = Lease("r1", TOKEN)
PLACE = 3  # of what is named by a key


def near(name: str) -> str:
    """An id at that place, of a run or an event. They sort as their names do, which are of one length."""
    return f"{name:0>24}03"


async def write(store: Store, *changes: Change, holds: Lease | None = None) -> Verdict:
    return await store.commit(Decision(changes, holds))


async def leased(store: Store, item_id: str = "r1", token: int = TOKEN, **more: Any) -> Lease:
    """An item that somebody holds."""
    await write(store, Enqueue(item(item_id, **more)), Grant(item_id, token, 1_000))
    return Lease(item_id, token)


async def count(store: Store, question: Question[Any]) -> int:
    """How many rows answer a question."""
    return len(await store.read(question))


async def item_of(store: Store, item_id: str = "r1") -> Item:
    found = await store.read(GetItem(item_id))
    assert found is not None
    return found


def event(id: str = "e1", name: str = "shop/ordered", at: int = 10, **more: Any) -> Event:
    return Event(id=id, name=name, ts=at, received_at=at, **more)


def function(id: str = "shop-bill", **more: Any) -> Function:
    return Function(id=id, app_id="shop", name="Bill", **more)


def run(id: str = "r1", event_id: str = "e1", function_id: str = "shop-bill", at: int = 10, **more: Any) -> Run:
    return Run(id=id, function_id=function_id, event_id=event_id, queued_at=at, scheduled_at=at, **more)


def step(id: str = "s1", run_id: str = "r1", status: str = "COMPLETED", **more: Any) -> Step:
    ended = {"ended_at": 20} if status in {"COMPLETED", "FAILED", "TIMED_OUT"} else {}
    return Step(run_id=run_id, id=id, name="charge", kind="step", status=status, **(ended | more))


def attempt(number: int = 0, run_id: str = "r1", step_id: str = "s1", **more: Any) -> Attempt:
    values: dict[str, Any] = {"started_at": 10 + number, "ended_at": 20 + number, "error": b"{}"}
    return Attempt(run_id=run_id, step_id=step_id, attempt=number, **(values | more))


def item(id: str = "r1", at: int | None = 10, kind: str = "run", run_id: str | None = "", **more: Any) -> Item:
    return Item(id=id, kind=kind, function_id="shop-bill", at=at, run_id=id if run_id == "" else run_id, **more)


def wait(id: str = "w1", run_id: str = "r1", event_name: str = "paid", **more: Any) -> Wait:
    values: dict[str, Any] = {"kind": "event", "since": 10, "expires_at": 1_000}
    return Wait(run_id=run_id, id=id, event_name=event_name, **(values | more))


def request(step_id: str = "s1", run_id: str = "r1", content: bytes = b"{}") -> Request:
    return Request(run_id=run_id, step_id=step_id, content=content)


def cell(key: str = "c1", value: str = "v", expires_at: int = 1_000) -> Cell:
    return Cell(key=key, value=value, expires_at=expires_at)


def order(id: str = "c1", kind: str = "cancel", **more: Any) -> Order:
    what = Wanted(app_id="shop", functions=("shop-bill",), statuses=("QUEUED",), created_before=10)
    return Order(id=id, kind=kind, created_at=10, what=what, **more)


def note(text: str = "it was so", run_id: str = "r1", at: int = 10) -> Note:
    return Note(run_id=run_id, at=at, kind="lease-lost", text=text)


def logged(at: int = 10, run_id: str = "r1", **more: Any) -> Logged:
    values: dict[str, Any] = {"token": 7, "step_id": "s1", "attempt": 0, "position": 1, "lines": b'[[10,20,"a","b"]]'}
    return Logged(run_id=run_id, at=at, **(values | more))


def outcome(event_id: str = "e1", function_id: str = "shop-bill", **more: Any) -> Outcome:
    values: dict[str, Any] = {"kind": "idempotent", "at": 10, "reason": "seen before", "run_id": "r0"}
    return Outcome(event_id=event_id, function_id=function_id, **(values | more))


def user(name: str = "ada", role: str = "viewer", **more: Any) -> User:
    return User(name=name, role=role, **({"password": "hash", "created_at": 10, "changed_at": 10} | more))


def session(id: str = "s1", who: str = "ada", begun_at: int = 10, **more: Any) -> Session:
    values: dict[str, Any] = {"seen_at": begun_at, "expires_at": 1_000, "agent": "Firefox"}
    return Session(id=id, who=who, begun_at=begun_at, **(values | more))


def audit(id: str = "a1", at: int = 10, **more: Any) -> AuditEntry:
    values: dict[str, Any] = {"who": "ada", "via": "dashboard", "action": "cancel", "target": "r1"}
    return AuditEntry(id=id, at=at, **(values | more))
