"""What people are shown of functions and of the apps that have them: the shapes of REST v2."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

import msgspec

from stepwell.model.app import App
from stepwell.model.event import rfc3339
from stepwell.model.pause import Pause
from stepwell.model.questions import FunctionItems, ListStandingOrders, StoredFunction
from stepwell.model.standing import Orders, StandingKind, StandingOrder
from stepwell.views.nouns import Reader, View, moment


class TriggerView(View, frozen=True, omit_defaults=True):
    """What starts a function: an event name, perhaps with a condition, or a schedule."""

    event: str | None = None
    expression: str | None = None
    cron: str | None = None


class PauseView(View, frozen=True):
    """Since when a person holds a function, what they chose for events and runs, and why.

    ``cancellation_id`` is the order by which its runs are cancelled.
    """

    since: str
    events: Literal["skip", "hold"]
    runs: Literal["finish", "hold", "cancel"]
    reason: str
    cancellation_id: str | None


class StandingView(View, frozen=True):
    """Since when an operator has decided so, about what, and why. ``about`` is ``function``, ``app`` or ``all``."""

    since: str
    about: Literal["function", "app", "all"]
    reason: str


class FunctionView(View, frozen=True):
    """Durable code as registered. ``configuration`` is what the app sent; ``next_tick`` is that of its crons, and
    ``pause`` null unless somebody has paused it. ``drained`` and ``archived`` are what an operator has decided about
    it, its app, or all there is; ``archived_at`` is when it left the list of its app."""

    id: str
    app_id: str
    name: str
    version: int
    triggers: list[TriggerView]
    updated_at: str
    archived_at: str | None
    next_tick: str | None
    configuration: msgspec.Raw
    pause: PauseView | None = None
    drained: StandingView | None = None
    archived: StandingView | None = None


class AppView(View, frozen=True):
    """The functions that were registered under one name. Of an app that is served at an address: where, by which SDK,
    when it was synced last, and why that failed since."""

    id: str
    functions: int
    updated_at: str
    url: str | None = None
    sdk: str | None = None
    framework: str | None = None
    version: str | None = None
    synced_at: str | None = None
    error: SyncError | None = None


class SyncError(View, frozen=True):
    """Why an app cannot be asked what it has. ``code`` is the protocol's word for it."""

    code: str
    message: str


class SyncView(View, frozen=True):
    """An address that is asked for its functions: when it last said what it has, and why it has not since."""

    url: str
    app_id: str | None
    synced_at: str | None
    error: SyncError | None


async def function_view(reader: Reader, function: StoredFunction) -> FunctionView:
    ticks = [item.at for item in await reader.read(FunctionItems(function.id)) if item.at is not None]
    config = _decode_config(function.config)
    standing = await reader.read(ListStandingOrders())
    orders = Orders(standing)
    of_app = orders.find(StandingKind.PAUSE, function.id, function.app_id)
    pause = function.pause or (of_app.pause if of_app is not None else None)
    return FunctionView(
        id=function.id,
        app_id=function.app_id,
        name=config.name or function.id,
        version=function.version,
        triggers=[TriggerView(event=t.event, expression=t.expression, cron=t.cron) for t in config.triggers or ()],
        updated_at=rfc3339(function.updated_at),
        archived_at=moment(function.archived_at),
        next_tick=moment(min(ticks, default=None)),
        configuration=msgspec.Raw(function.config),
        pause=pause_view(pause) if pause is not None else None,
        drained=_standing(orders.find(StandingKind.DRAIN, function.id, function.app_id)),
        archived=_standing(orders.find(StandingKind.ARCHIVE, function.id, function.app_id)),
    )


def _standing(order: StandingOrder | None) -> StandingView | None:
    if order is None:
        return None
    about = cast("Literal['function', 'app']", order.target.partition("/")[0]) if order.target else "all"
    return StandingView(since=rfc3339(order.since), about=about, reason=order.reason)


def pause_view(pause: Pause) -> PauseView:
    return PauseView(
        since=rfc3339(pause.since),
        events=cast("Literal['skip', 'hold']", pause.events),
        runs=cast("Literal['finish', 'hold', 'cancel']", pause.runs),
        reason=pause.reason,
        cancellation_id=pause.cancellation,
    )


_NO_ERRORS: Final[Mapping[str, SyncError]] = {}


def app_views(
    functions: Sequence[StoredFunction], served: Sequence[App] = (), errors: Mapping[str, SyncError] = _NO_ERRORS
) -> list[AppView]:
    """The apps that have functions. ``served`` are those at an address; ``errors`` is what was wrong at the last sync,
    by the id of the app."""
    apps: defaultdict[str, list[StoredFunction]] = defaultdict(list)
    for function in functions:
        apps[function.app_id].append(function)
    at = {app.id: app for app in served}
    return [_app_view(id, found, at.get(id), errors.get(id)) for id, found in sorted(apps.items())]


def _app_view(id: str, functions: Sequence[StoredFunction], app: App | None, error: SyncError | None) -> AppView:
    view = AppView(id=id, functions=len(functions), updated_at=rfc3339(max(f.updated_at for f in functions)))
    if app is None:
        return view
    return msgspec.structs.replace(
        view,
        url=app.url,
        sdk=app.sdk,
        framework=app.framework,
        version=app.version,
        synced_at=rfc3339(app.synced_at),
        error=error,
    )


class _Trigger(msgspec.Struct):
    event: str | None = None
    expression: str | None = None
    cron: str | None = None


class _Config(msgspec.Struct):
    name: str | None = None
    triggers: list[_Trigger] | None = None


_decode_config: Final = msgspec.json.Decoder(_Config).decode
