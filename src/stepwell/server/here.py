"""What this process tells the dashboard of itself."""

from __future__ import annotations

from stepwell.dashboard.source import AddressHere, Here, Pulse, WorkerHere
from stepwell.protocol.messages import Transport
from stepwell.runtime.engine import Engine
from stepwell.runtime.health import health_of
from stepwell.runtime.workers import WorkerState
from stepwell.server.apps import Apps, Attached
from stepwell.server.wiring import Both


def here(engine: Engine, apps: Apps | None) -> Here:
    async def health() -> Pulse:
        found = await health_of(engine, count=False)
        return Pulse(found.healthy, found.why)

    return Here(
        health,
        lambda: [] if apps is None else [_address(each) for each in apps.attached()],
        lambda function_id: _own(engine).serves(function_id),
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
