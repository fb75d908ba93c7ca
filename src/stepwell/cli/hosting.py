"""Engine, app and listener of a server in one process, from start to drained stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from socket import socket
from threading import Thread
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from stepwell.clock import SystemClock, monotonic_s
from stepwell.embedded import send_payloads, signal_to
from stepwell.errors import ConfigurationError
from stepwell.ids import RandomIds
from stepwell.limits import CONNECT_FRAME_BYTES_MAX, CONNECT_LEASE, LEASE, POOL_DEFAULT
from stepwell.model.questions import ListUsers
from stepwell.model.settings import Setting, Settings
from stepwell.model.user import User
from stepwell.protocol.signing import SigningKey
from stepwell.runtime.engine import Engine
from stepwell.runtime.interpreter import tune
from stepwell.runtime.local import LocalMessages
from stepwell.runtime.loop import LoopTimers
from stepwell.runtime.outbound import HttpOutbound
from stepwell.runtime.reach import EVERYWHERE, Reach
from stepwell.runtime.signed import Signed
from stepwell.runtime.stalls import StallWatch
from stepwell.runtime.workers import Workers
from stepwell.sdk.app import Stepwell
from stepwell.sdk.client import EventPayload
from stepwell.sdk.doing import doing
from stepwell.server.app import App
from stepwell.server.apps import Apps, Gate
from stepwell.server.gateway import Gateway
from stepwell.server.guard import Guard
from stepwell.server.run import Listener
from stepwell.server.setup import setup_token
from stepwell.server.token_keys import TokenKeys
from stepwell.server.wiring import NOBODY, Member, open_store
from stepwell.storage.address import shown

_USUAL: Final = Settings()
_MS: Final = timedelta(milliseconds=1)
_CLOSE_S: Final = 1.0


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How apps that are served at an address come to be known, and may be called. ``poll_ms`` ``None`` asks only those
    that failed. With ``keys`` calls are signed; ``reach`` is where apps may be. Workers connect at
    ``connect_url`` if that is not the gateway's port, and may be silent about a call for ``worker_lease_ms``."""

    urls: tuple[str, ...] = ()
    poll_ms: int | None = 5_000
    discovers: bool = False
    keys: tuple[SigningKey, ...] = ()
    reach: Reach = EVERYWHERE
    connect_url: str | None = None
    worker_lease_ms: int = CONNECT_LEASE // _MS


_ALONE: Final = Serving()


class Engineering(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine is to run. Lengths are milliseconds; ``retention_ms`` ``None`` keeps everything."""

    path: str
    pool: int = POOL_DEFAULT
    shards: int | None = None
    lease_ms: int = LEASE // _MS
    durability: Literal["full", "normal"]
    concurrency: int
    retention_ms: int | None
    rules: Settings = _USUAL
    grace_ms: int
    apps: Serving = _ALONE

    @property
    def kept(self) -> str:
        """Where things are kept, in words."""
        return "nothing is kept" if self.path == ":memory:" else f"kept in {shown(self.path)}"

    @property
    def names(self) -> frozenset[str]:
        """By which the server is known besides: workers say the name in ``connect_url``, which a proxy passes on."""
        name = urlsplit(self.apps.connect_url or "").hostname
        return frozenset({name} if name else ())


def engineering(
    apps: Serving,
    *,
    db: str,
    pool: int,
    shards: int | None,
    lease: int,
    sdk_url: tuple[str, ...],
    retry_interval: int | None,
    endpoint_silence: int,
    durability: Literal["full", "normal"],
    retention: int,
    concurrency: int,
    max_event_bytes: int,
    max_steps: int,
    max_chain: int,
    grace: int,
    connect_url: str | None,
    worker_lease: int,
) -> Engineering:
    """What the options of ``cli/serving.py`` say."""
    return Engineering(
        path=db,
        pool=pool,
        shards=shards,
        lease_ms=lease,
        durability=durability,
        concurrency=concurrency,
        retention_ms=None if retention < 0 else retention,
        rules=Settings(
            retry_ms=retry_interval,
            event_bytes_max=max_event_bytes,
            steps_max=max_steps,
            chain_max=max_chain,
            endpoint_silence_ms=endpoint_silence,
        ),
        grace_ms=grace,
        apps=msgspec.structs.replace(apps, urls=sdk_url, connect_url=connect_url, worker_lease_ms=worker_lease),
    )


class Host:
    """One process of ``stepwell dev`` or ``stepwell start``.

    Without an app, or with one whose functions are wrong, it accepts events and keeps the runs they start until a
    version comes that serves them. Workers connect at the sockets ``gate``, if there are any.
    With ``ui`` there are pages for people, which show the settings ``in_force``.
    """

    def __init__(
        self,
        settings: Engineering,
        sockets: Sequence[socket],
        guard: Guard,
        gate: Sequence[socket] = (),
        *,
        ui: bool = True,
        in_force: Sequence[Setting] = (),
    ) -> None:
        self._ui = ui
        self._in_force = in_force
        self._settings = settings
        self._sockets = sockets
        self._gate = gate
        self._guard = guard
        self._app: Stepwell | None = None
        self._member: Member | None = None
        self._listener: Listener | None = None
        serving = settings.apps
        self._outbound = HttpOutbound(serving.reach)
        self._calls = Signed(self._outbound, SystemClock(), kind=guard.kind, keys=serving.keys)
        self._apps: Apps | None = None
        clock = SystemClock()
        self._workers = Workers(clock, LoopTimers(clock), RandomIds(), lease_ms=serving.worker_lease_ms)
        self._gateway: Gateway | None = None
        self._gateway_listener: Listener | None = None
        self._stalls = StallWatch(doing)

    @property
    def leads(self) -> bool:
        return self._member is not None and self._member.leads

    async def start(self, app: Stepwell | None, follow: Callable[[Engine], None]) -> ConfigurationError | None:
        """Run what is owed, then answer requests. Returns what is wrong with the app. Raises ``StorageError``."""
        tune()
        self._stalls.start()
        problem: ConfigurationError | None = None
        if app is not None:
            try:
                await self._open(app, follow)
            except ConfigurationError as error:
                problem = error
        if self._member is None:
            await self._open(None, follow)
        engine = self.engine
        serving = self._settings.apps
        gate = Gate(self._workers, self._gate[0].getsockname()[1], serving.connect_url) if self._gate else None
        self._apps = Apps(
            engine,
            self._calls,
            urls=serving.urls,
            poll_ms=serving.poll_ms,
            discovers=serving.discovers,
            own_ports=[sock.getsockname()[1] for sock in (*self._sockets, *self._gate)],
            gate=gate,
        )
        http = App(engine, self._guard, self._apps, ui=self._ui, settings=self._in_force)
        headers = [("x-inngest-server-kind", self._guard.kind)]
        self._listener = Listener(http, self._sockets, engine.clock, engine.timers, headers)
        await self._listener.start()
        if gate is not None:
            await self._open_gateway(Gateway(engine, self._apps, gate, self._guard), headers)
        await self._apps.start()
        Thread(target=http.warm, name="stepwell-warm", daemon=True).start()
        return problem

    @property
    def engine(self) -> Engine:
        assert self._member is not None
        return self._member.engine

    async def setup_token(self) -> str | None:
        """With what the first admin is made, if there are pages and nobody who can log in to them."""
        users: list[User] = await self.engine.store.read(ListUsers(1))
        if users or not self._ui:
            return None
        return setup_token(self._guard, self.engine.clock.now_ms())

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        """Where the app's own events go."""
        return await send_payloads(self.engine, payloads, seed)

    async def signal(self, name: str, data: bytes) -> str | None:
        """Where the app's own signals go."""
        return await signal_to(self.engine, name, data)

    @property
    def messages(self) -> LocalMessages:
        """Where the app's own messages go."""
        return LocalMessages(self.engine.realtime, self.engine.clock, TokenKeys(self.engine, self._guard).all)

    async def stop(self, *, handing_over: bool = False) -> None:
        """Start nothing more, let the calls in flight finish for the time of grace, close the file.

        Meanwhile apps that have a call go on talking to us: they report steps and fetch what was too large for it.
        Events are refused, and who watches over the process hears that it is stopping. With ``handing_over`` another
        process answers from now on what comes in at the same sockets.
        """
        ends = monotonic_s() + self._settings.grace_ms / 1000
        self._stalls.stop()
        if self._apps is not None:
            await self._apps.stop()
        if self._member is not None:
            self.engine.hints.close()
            self.engine.realtime.close_subscribers()  # they would keep the listener waiting
            self._workers.closing = True
            self.engine.closing = True  # who waits for a result would keep the listener waiting
        if handing_over:
            await self._close_listener(ends)
        if self._member is not None:

            async def drained() -> None:
                await self._close_gateway()  # workers may answer until the last call has ended
                await self._close_listener(ends)

            await self._member.stop(self._settings.grace_ms, drained)
        else:
            await self._close_listener(ends)
        await self._outbound.close()
        if self._app is not None:
            self._app.bind(None)

    async def _close_listener(self, ends: float) -> None:
        if self._listener is not None:
            await self._listener.stop(ends - monotonic_s())
            self._listener = None

    async def _open_gateway(self, gateway: Gateway, headers: Sequence[tuple[str, str]]) -> None:
        self._gateway = gateway
        self._gateway_listener = Listener(
            gateway,
            self._gate,
            self.engine.clock,
            self.engine.timers,
            headers,
            frame_bytes_max=CONNECT_FRAME_BYTES_MAX,
            pings=False,  # workers say by themselves that they are there
        )
        await self._gateway_listener.start()

    async def _close_gateway(self) -> None:
        if self._gateway is not None and self._gateway_listener is not None:
            await self._gateway.close()
            await self._gateway_listener.stop(_CLOSE_S)

    async def _open(self, app: Stepwell | None, follow: Callable[[Engine], None]) -> None:
        settings = self._settings
        member = await open_store(
            settings.path,
            app.transport(SystemClock()) if app else NOBODY,
            {app.app_id: app.configs()} if app else {},
            durability=settings.durability,
            pool=settings.pool,
            shards=settings.shards,
            lease_ms=settings.lease_ms,
            calls_max=settings.concurrency,
            settings=settings.rules,
            retention_ms=settings.retention_ms,
            calls=self._calls,
            outbound=self._outbound,
            workers=self._workers,
        )
        follow(member.engine)
        self._member, self._app = member, app
        try:
            if app is not None:
                app.bind(self)
            await member.start()
        except BaseException:
            self._member = self._app = None
            if app is not None:
                app.bind(None)
            raise
