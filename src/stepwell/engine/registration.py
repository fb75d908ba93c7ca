"""An app says which functions it has."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import msgspec

from stepwell.engine.admission import unserved
from stepwell.engine.draft import Draft
from stepwell.engine.due import arm_crons, cron_item_id
from stepwell.engine.registry import cron_triggers
from stepwell.engine.releasing import let_go_all, review
from stepwell.errors import ConfigurationError
from stepwell.flow import Concurrency, Throttle
from stepwell.model.app import App
from stepwell.model.changes import ArchiveFunction, Drop, Plan, SaveApp, SaveFunction
from stepwell.model.function import Function
from stepwell.model.item import ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import FunctionItems, ListApps, ListFunctions, ListStandingOrders, Lock, ask
from stepwell.model.standing import Orders, StandingKind


def register(draft: Draft, app_id: str, functions: Sequence[Function], app: App | None = None) -> Plan:
    """Replace the functions of an app. The value is true if anything changed. ``app`` is where it is served, if it is.

    A function whose configuration differs gets the next version. One that is missing is archived: it starts no more
    runs, those it has go on. Crons that are new are armed from now; those that exist keep their tick, so that a sync
    never skips or repeats one (semantics §9.6, §9.8, design D10). What a person has archived stays so, whatever its app
    lists. Raises ``ConfigurationError`` if another app has a function of the same id.
    """
    yield from ask(Lock((EVERYWHERE,)))
    known_ones = yield from ask(ListFunctions(archived=True))
    taken = {known.id: known.app_id for known in known_ones if known.app_id != app_id and known.archived_at is None}
    for function in functions:
        if function.id in taken:
            raise ConfigurationError(
                what=f"there is a function {function.id!r} already, of app {taken[function.id]!r}",
                why="a function is known by its app's id, a dash and its own id, and both apps come to the same",
                fix=f"give the function of app {app_id!r}, or that app, another id",
            )
    versions = {known.id: known for known in known_ones}  # they go on also where another app had it
    stored = {known.id: known for known in known_ones if known.app_id == app_id}
    orders = Orders((yield from ask(ListStandingOrders())))
    changed = limits_changed = False
    if app is not None:
        before = {each.id: each for each in (yield from ask(ListApps()))}.get(app_id)
        changed = before is None or before.checksum != app.checksum
        draft.add(SaveApp(app))
    for function in functions:
        known = stored.pop(function.id, None)
        if known is None or known.config != function.config or known.archived_at is not None:
            last = versions.get(function.id)
            version = 1 if last is None else last.version + (last.config != function.config)
            named = msgspec.structs.replace(function, version=version)
            sdk, app_version = (None, None) if app is None else (app.sdk or None, app.version)
            draft.add(SaveFunction(named, draft.now, sdk, app_version))
            changed = True
            yield from _drop_crons(draft, function)
        limits_changed |= known is not None and _limits(known.config) != _limits(function.config)
        if orders.find(StandingKind.ARCHIVE, function.id, app_id) is None:
            arm_crons(draft, function)
    yield from let_go_all(draft, (unserved(function.id) for function in functions))
    for missing in stored.values():
        if missing.archived_at is None:
            draft.add(ArchiveFunction(missing.id, draft.now))
            changed = True
    if limits_changed:
        review(draft, app_id)  # a new limit applies at once to what waits for room
    draft.due(draft.now)
    return draft.decision(changed)


def serve(draft: Draft, function_ids: Iterable[str]) -> Plan:
    """Somebody has come who has these functions: what waits for that goes on."""
    yield from let_go_all(draft, map(unserved, function_ids))
    draft.due(draft.now)
    return draft.decision()


def _drop_crons(draft: Draft, function: Function) -> Generator[Any, Any, None]:
    """Those that it had and has no more."""
    kept = {cron_item_id(function.id, cron) for cron in cron_triggers(function)}
    for item in (yield from ask(FunctionItems(function.id))):
        if item.kind == ItemKind.CRON and item.id not in kept:
            draft.add(Drop(item.id, item.place))


def _limits(config: bytes) -> list[object]:
    try:
        fields = msgspec.json.decode(config, type=dict[str, object])
    except msgspec.DecodeError:
        fields = {}  # written by a version that we cannot read: what it limited is asked anew
    return [fields.get(control.keyword) for control in (Throttle, Concurrency)]
