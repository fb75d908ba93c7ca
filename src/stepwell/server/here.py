"""What this process tells the dashboard of itself."""

from __future__ import annotations

from collections.abc import Sequence
from platform import python_version

from stepwell.dashboard.source import About, AddressHere, Here, Key, Pulse, WorkerHere
from stepwell.model.duration import format_duration
from stepwell.model.settings import Setting
from stepwell.protocol.messages import Transport
from stepwell.runtime.engine import Engine
from stepwell.runtime.health import health_of
from stepwell.runtime.workers import WorkerState
from stepwell.server.apps import Apps, Attached
from stepwell.server.guard import Guard
from stepwell.server.wiring import Both


def here(engine: Engine, apps: Apps | None, guard: Guard, settings: Sequence[Setting]) -> Here:
    async def health() -> Pulse:
        found = await health_of(engine, count=False)
        return Pulse(found.healthy, found.why)

    return Here(
        health,
        lambda: [] if apps is None else [_address(each) for each in apps.attached()],
        lambda function_id: _own(engine).serves(function_id),
        lambda: _about(engine, guard, settings),
    )


def _about(engine: Engine, guard: Guard, settings: Sequence[Setting]) -> About:
    signing, events = guard.keys.fingerprints() if guard.keys is not None else ([], [])
    keys = [Key(f"signing key {number}", each) for number, each in enumerate(signing, 1)]
    keys += [Key(f"event key {number}", each) for number, each in enumerate(events, 1)]
    if engine.peers:
        part = "runs functions, as all others do"
    else:
        part = "runs functions" if engine.leads else "sends and reads"
    return About(
        python=python_version(),
        part=part,
        shards=engine.store.shards,
        kept="ever" if engine.retention_ms is None else format_duration(engine.retention_ms),
        keys=keys,
        token=guard.keys is None and bool(guard.lasting_keys),
        settings=settings,
    )


def _own(engine: Engine) -> Transport:
    """What calls the code that this process has."""
    transport = engine.caller.transport
    return transport.here if isinstance(transport, Both) else transport


def _address(attached: Attached) -> AddressHere:
    workers = [_worker(each) for each in attached.workers]
    return AddressHere(attached.url, attached.app_id, attached.code, attached.error, attached.synced_at, workers)


def _worker(state: WorkerState) -> WorkerHere:
    return WorkerHere(
        id=state.connection_id,
        instance=state.instance_id,
        status=state.status,
        calls=state.in_flight,
        calls_max=state.max_concurrency,
        connected_at=state.connected_at,
        heard_at=state.heard_at,
        sdk=state.sdk,
        version=state.version,
    )
