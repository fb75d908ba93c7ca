"""What a store should do, in dictionaries: slow, obvious, and one shard only."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from stepwell.model import changes as c
from stepwell.model.history import Cell
from stepwell.model.item import Item, Lease
from stepwell.model.request import Request
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.model.wait import Wait


class Model:
    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.runs: dict[str, Run] = {}
        self.steps: dict[tuple[str, str], Step] = {}
        self.waits: dict[tuple[str, str], Wait] = {}
        self.requests: dict[tuple[str, str], Request] = {}
        self.cells: dict[str, Cell] = {}
        self.slots: set[tuple[str, str]] = set()

    def apply(self, decision: c.Decision) -> bool:
        first = decision.changes[0] if decision.changes else None
        lease = decision.holds or getattr(first, "lease", None)
        if lease is not None and not self._held(lease):
            return False
        for change in decision.changes:
            self._write(change)
        return True

    def _held(self, lease: Lease) -> bool:
        item = self.items.get(lease.item_id)
        return item is not None and item.lease == lease.token

    def _write(self, change: c.Change) -> None:
        match change:
            case c.CreateRun(run):
                self.runs.setdefault(run.id, run)
            case c.StartRun(run_id, at) if run_id in self.runs and self.runs[run_id].status == "QUEUED":
                self.runs[run_id] = replace(self.runs[run_id], status="RUNNING", started_at=at)
            case c.SetExecutionVersion(run_id, version) if run_id in self.runs:
                if self.runs[run_id].execution_version == -1:
                    self.runs[run_id] = replace(self.runs[run_id], execution_version=version)
            case c.FinishRun(run_id, status, at, output) if run_id in self.runs and not self.runs[run_id].ended:
                self.runs[run_id] = replace(self.runs[run_id], status=status, ended_at=at, output=output)
            case c.SaveStep(step) if self._open(step.run_id, step.id, absent=True):
                self.steps[step.run_id, step.id] = step
            case c.SettleStep(run_id, id, status, at, output, position=position) if self._open(run_id, id):
                last = max(step.position for step in self.steps.values() if step.run_id == run_id)
                position = last + 1 if position is None else position
                values = {"status": status, "ended_at": at, "output": output, "position": position}
                self.steps[run_id, id] = replace(self.steps[run_id, id], **values)
            case c.OpenWait(wait):
                self.waits.setdefault((wait.run_id, wait.id), wait)
            case c.CloseWait(run_id, id):
                self.waits.pop((run_id, id), None)
            case c.CloseWaits(run_id):
                self.waits = {key: wait for key, wait in self.waits.items() if key[0] != run_id}
            case c.SaveRequest(request):
                self.requests.setdefault((request.run_id, request.step_id), request)
            case c.DropRequest(run_id, id):
                self.requests.pop((run_id, id), None)
            case c.DropRequests(run_id):
                self.requests = {key: found for key, found in self.requests.items() if key[0] != run_id}
            case c.PutCell(cell):
                self.cells[cell.key] = cell
            case c.TakeSlots(keys, holder):
                self.slots |= {(key, holder) for key in keys}
            case c.FreeSlots(holder):
                self.slots = {slot for slot in self.slots if not _belongs(slot[1], holder)}
            case c.Enqueue(item):
                self.items.setdefault(item.id, item)
            case c.Schedule(item):
                self.items[item.id] = item
            case c.Drop(id):
                self.items.pop(id, None)
            case c.DropRunItems(run_id):
                self.items = {id: item for id, item in self.items.items() if not _belongs(id, run_id)}
            case c.Park(lease, at, now, attempt) if self._held(lease):
                at = now if self.items[lease.item_id].poked and attempt == 0 else at
                self._set(lease.item_id, at=at, lease=0, attempt=attempt, poked=False, losses=0, mark=0)
            case c.Extend(lease, until) if self._held(lease):
                self._set(lease.item_id, at=until)
            case c.Retry(lease, attempt) if self._held(lease):
                self._set(lease.item_id, attempt=attempt)
            case c.Grant(id, token, until, losses, mark):
                self._set(id, at=until, lease=token, backlog=None, poked=False, losses=losses, mark=mark)
            case c.Postpone(id, at, losses, mark):
                self._set(id, at=at, lease=0, backlog=None, poked=False, losses=losses, mark=mark)
            case c.Block(id, backlog, losses, mark):
                self._set(id, at=None, backlog=backlog, lease=0, poked=False, losses=losses, mark=mark)
            case c.Wake(id, at) if id in self.items and self.items[id].backlog is None:
                item = self.items[id]
                if item.lease:
                    self._set(id, poked=True)
                elif item.at is None or not (item.attempt or item.losses):
                    self._set(id, at=at if item.at is None else min(at, item.at))
            case c.Release(backlog, now, count):
                blocked = sorted(self.blocked(backlog), key=lambda item: (item.queued_at, item.id))
                for item in blocked[:count]:
                    self._set(item.id, at=now, backlog=None)
            case c.ReleaseShared(backlog, now, count, _, only):
                blocked = sorted(self.blocked(backlog), key=lambda item: (item.queued_at, item.id))
                for function_id in {item.function_id for item in blocked} if only is None else {only}:
                    for item in [item for item in blocked if item.function_id == function_id][:count]:
                        self._set(item.id, at=now, backlog=None)
            case c.ReleaseItem(id, now) if id in self.items and self.items[id].backlog is not None:
                self._set(id, at=now, backlog=None)
            case c.LapseLeases(token, now):
                for item in list(self.items.values()):
                    if 0 < item.lease < token:
                        self._set(item.id, at=now)
            case _:
                pass

    def blocked(self, backlog: str) -> list[Item]:
        return [item for item in self.items.values() if item.backlog == backlog]

    def _set(self, id: str, **fields: Any) -> None:
        if id in self.items:
            self.items[id] = replace(self.items[id], **fields)

    def _open(self, run_id: str, id: str, *, absent: bool = False) -> bool:
        step = self.steps.get((run_id, id))
        return absent if step is None else step.open


def _belongs(id: str, run_id: str) -> bool:
    return id == run_id or id.startswith(f"{run_id}/")
