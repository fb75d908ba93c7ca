"""What people do on pages: the same functions that the REST API and the command line call (ADR 0047)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

import msgspec

from stepwell.dashboard.operations import Deed, Selected
from stepwell.engine.again import FromStep
from stepwell.errors import ConfigurationError, LimitExceeded, NotFound
from stepwell.model.history import Outcome
from stepwell.model.order import Order
from stepwell.model.run import Run
from stepwell.model.standing import StandingKind
from stepwell.protocol.events import parse_events
from stepwell.protocol.signals import checked_signal
from stepwell.runtime import held, operator, orders, standing, users
from stepwell.runtime.acting import Actor, described
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log
from stepwell.runtime.passwords import Passwords
from stepwell.server.apps import Apps, attaching
from stepwell.server.attempts import Attempts
from stepwell.server.desk import find_function
from stepwell.server.replies import Refused
from stepwell.server.rest_v1 import nameless_event, nobody_waits

_ASKED: Final = frozenset({"asked", "refused"})  # nothing was tried: a form was shown again

_encode: Final = msgspec.json.Encoder().encode


class Operating:
    """The operations of an engine, as actions of the dashboard ask for them (``dashboard/operations.py``)."""

    def __init__(self, engine: Engine, passwords: Passwords, attempts: Attempts, apps: Apps | None) -> None:
        self._engine = engine
        self._passwords = passwords
        self._attempts = attempts
        self._apps = apps

    def acting(self, who: str, action: str, target: str, said: Mapping[str, str]) -> AbstractContextManager[object]:
        return Actor(self._engine, who, "dashboard").act(action, target, described(said))

    async def record(self, deed: Deed) -> None:
        """Say who did what."""
        if deed.outcome not in _ASKED:
            log.info("a person acted", action=deed.action, at=deed.address, who=deed.who, outcome=deed.outcome)

    async def send(self, events: bytes, seed: str) -> list[str]:
        found = parse_events(events, bytes_max=self._engine.settings.event_bytes_max)
        return await self._engine.send(found, seed=seed)

    async def cancel(self, run_id: str) -> bool:
        return await self._engine.cancel(run_id)

    async def rerun(
        self, run_id: str, seed: str, *, from_step: FromStep | None = None, data: bytes | None = None
    ) -> Run:
        return await operator.rerun(self._engine, run_id, key=seed or None, from_step=from_step, data=data)

    async def invoke(self, function_id: str, data: bytes, seed: str) -> tuple[str, Run | Outcome]:
        event = nameless_event(self._engine, _encode({"data": msgspec.Raw(data)}))
        return await self._engine.invoke(function_id, event, seed=seed)

    async def signal(self, name: str, data: bytes) -> str:
        signal = checked_signal(name, data, bytes_max=self._engine.settings.event_bytes_max)
        run_id = await self._engine.signal(signal)
        if run_id is None:
            raise nobody_waits(signal.name)
        return run_id

    async def retry_now(self, run_id: str, step_id: str | None) -> bool:
        return (await operator.retry_now(self._engine, run_id, step_id)).any

    async def skip_sleep(self, run_id: str, step_id: str) -> bool:
        return bool(await operator.skip_sleep(self._engine, run_id, step_id))

    async def pause(self, function_id: str, *, events: str, runs: str, reason: str) -> None:
        await operator.pause(self._engine, function_id, events=events, runs=runs, reason=reason)

    async def pause_all(self, target: str, *, events: str, runs: str, reason: str) -> None:
        await standing.pause_all(self._engine, target, events=events, runs=runs, reason=reason)

    async def resume(self, function_id: str) -> bool:
        return await operator.resume(self._engine, function_id) is not None

    async def give(self, kind: StandingKind, target: str, *, reason: str) -> None:
        await standing.give(self._engine, kind, target, reason=reason)

    async def withdraw(self, kind: StandingKind, target: str) -> bool:
        return await standing.withdraw(self._engine, kind, target) is not None

    async def run_window(self, key: str) -> Run | Outcome | None:
        return await held.run_now(self._engine, key)

    async def drop_window(self, key: str) -> bool:
        return await held.discard(self._engine, key)

    async def add_user(self, name: str, role: str, password: str) -> None:
        await users.add_user(self._engine, self._passwords, name, role, password)

    async def change_role(self, name: str, role: str) -> None:
        await users.change_role(self._engine, name, role)

    async def change_password(self, name: str, password: str) -> None:
        await users.change_password(self._engine, self._passwords, name, password)

    async def change_own_password(self, name: str, present: str, password: str) -> None:
        attempt = self._attempts.begin(name, self._engine.clock.now_ms())
        if isinstance(attempt, int):
            raise LimitExceeded(
                "the present password is not looked at",
                "too many that were wrong have been tried, here or to log in",
                f"try again in {attempt} seconds",
            )
        shown = await users.show_password(self._engine, self._passwords, name, present)
        self._attempts.forgive(attempt)
        await users.change_own_password(self._engine, self._passwords, name, shown, password)

    async def remove_user(self, name: str) -> None:
        await users.remove_user(self._engine, name)

    async def end_session(self, session_id: str, who: str | None) -> None:
        await users.end_session(self._engine, session_id, who=who)

    async def sync(self, url: str) -> str | None:
        found = await attaching(self._apps).sync(url)
        if found.error is not None:
            raise ConfigurationError(
                f"the app at {found.url} cannot be synced", found.error, "correct it, and try again"
            )
        return found.app_id

    async def remove_app(self, url: str, app_id: str) -> None:
        try:
            found = await attaching(self._apps).remove(url, app_id)
        except Refused as refused:
            raise ConfigurationError(refused.what, refused.why, refused.fix) from None
        if found is None:
            raise NotFound(f"no app is known at {url}", "it is removed already", "look at the list of apps again")

    async def count_cancelled(self, selected: Selected) -> int:
        return await orders.count_many(self._engine, await self._selection(selected))

    async def cancel_many(self, selected: Selected, seed: str) -> Order:
        return await orders.cancel_many(self._engine, await self._selection(selected), key=seed or None)

    async def replay_many(self, selected: Selected, seed: str, *, dry_run: bool) -> Order:
        function = None if selected.function_id is None else await find_function(self._engine, selected.function_id)
        replay = orders.Replay(
            app_id=selected.app_id or "" if function is None else function.app_id,
            function_id=None if function is None else function.id,
            created_before=selected.before,
            created_after=selected.after,
            statuses=selected.statuses,
            condition=selected.condition,
            rate=selected.rate,
        )
        return await orders.replay_many(self._engine, replay, key=seed or None, dry_run=dry_run)

    async def stop_order(self, order: Order) -> None:
        await orders.stop(self._engine, order)

    async def _selection(self, selected: Selected) -> orders.Selection:
        function = await find_function(self._engine, selected.function_id or "")
        return orders.Selection(
            app_id=function.app_id,
            function_id=function.id,
            started_before=selected.before,
            started_after=selected.after,
            condition=selected.condition,
        )
