"""Apps that are served at an address: how they come to be known, and are asked again what they have (protocol §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from stepwell.errors import ConfigurationError, NotRunning
from stepwell.limits import APP_PAUSE_MAX
from stepwell.model.app import App
from stepwell.model.changes import Decision, DropApp
from stepwell.model.questions import ListApps
from stepwell.protocol.config import checked_url, warnings
from stepwell.protocol.registration import (
    CONNECTED_URL,
    Registration,
    is_connected,
    read_registration,
    same_address,
    without_our_query,
)
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Loop
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, UNREACHABLE, Reply, Unreachable
from stepwell.runtime.signed import Signed, is_from_sdk
from stepwell.runtime.workers import Workers, WorkerState
from stepwell.server.replies import Refused

POLL_MS: Final = 5_000
_ASK_PAUSE_MS_MAX: Final = APP_PAUSE_MAX // timedelta(milliseconds=1)
_SYNC_S_MAX: Final = 10.0
_PROBE_S_MAX: Final = 2.0
_DISCOVER_MS: Final = 5_000
_PORTS: Final = (80, 443, *range(3000, 3011), 4321, 5000, 5173, 8000, 8080, 8081, 8787, 8888, *range(8910, 8916))
_PATHS: Final = ("/api/inngest", "/x/inngest", "/.netlify/functions/inngest", "/.redwood/functions/inngest")
_CODES: Final = {401: "unauthorized", 403: "forbidden", 404: "url_not_found", 500: "internal_server_error"}
_INVALID: Final = "invalid_function"
_IN_BAND: Final = "in_band"
_UNSIGNED: Final = (
    "what the app says of itself is not signed with our key; one in development mode signs nothing: set INNGEST_DEV=0"
)
_encode: Final = msgspec.json.Encoder().encode


class Attached(msgspec.Struct):
    """An address that is asked for its functions. ``error`` is why it could not be, ``code`` the protocol's word for
    it; ``synced_at`` is in milliseconds. An app whose workers connect is never asked: ``workers`` are those there are
    now."""

    url: str
    app_id: str | None = None
    code: str | None = None
    error: str | None = None
    synced_at: int | None = None
    workers: list[WorkerState] = []


class _Trouble(msgspec.Struct):
    """How often in a row an app could not be synced, and when it is asked again."""

    failures: int
    ask_at: int


class Gate(msgspec.Struct, frozen=True):
    """Where workers connect: a port of this machine, or ``url`` if they reach it by another name."""

    workers: Workers
    port: int
    url: str | None = None


class _Refusal(msgspec.Struct):
    message: str | None = None
    error: str | None = None


_refusal: Final = msgspec.json.Decoder(_Refusal).decode


class Apps:
    """The apps of a server. ``urls`` are to be synced from the beginning; every ``poll_ms`` all are asked again, or
    only those that failed if it is ``None``. With ``discovers`` the usual ports of this machine are looked at. Workers
    may connect at ``gate``, if there is one.

    An app that fails and is not of ``urls`` is asked less and less often (limits.APP_PAUSE_MAX); at once if it
    registers, or listens on a usual port again. One that was found on such a port and never registered is forgotten
    when nobody is there any more."""

    def __init__(
        self,
        engine: Engine,
        calls: Signed,
        *,
        urls: Sequence[str] = (),
        poll_ms: int | None = POLL_MS,
        discovers: bool = False,
        own_ports: Sequence[int] = (),
        gate: Gate | None = None,
    ) -> None:
        self.gate = gate
        self._connected: dict[str, Attached] = {}
        self._engine = engine
        self._calls = calls
        self._poll_ms = poll_ms
        self._own_ports = frozenset(own_ports)
        self._attached: dict[str, Attached] = {}
        self._polled: dict[str, Attached] = {}  # those that are being asked because it is time to, by their place
        self._named: list[str] = []  # and those that somebody wants to be asked
        self._moving = asyncio.Lock()  # of an app from an address to workers, or back
        self._trouble: dict[str, _Trouble] = {}
        self._listening: set[int] = set()  # the usual ports where somebody was when they were looked at last
        for url in urls:
            self._attach(checked_url(url))
        self._given = frozenset(self._attached)  # these are asked again and again, however often that fails
        self._poll = Loop("apps", self._ask_all, engine.clock, engine.timers)
        self._look = Loop("discovery", self._discover, engine.clock, engine.timers) if discovers else None

    async def start(self) -> None:
        """Begin to ask. The server must be able to answer by now: apps register while they are asked."""
        for app in await self._engine.store.read(ListApps()):
            found = self._connect(app.id) if is_connected(app.url) else self._attach(app.url)
            found.app_id, found.synced_at = app.id, app.synced_at
        self._poll.start()
        if self._look is not None:
            self._look.start()

    async def stop(self) -> None:
        await self._poll.stop()
        if self._look is not None:
            await self._look.stop()

    def attached(self) -> list[Attached]:
        """All addresses, in the order in which they became known, and the apps whose workers connect."""
        if self.gate is not None:
            for app_id, app in self._connected.items():
                app.workers = self.gate.workers.of(app_id)
        return [*self._attached.values(), *self._connected.values()]

    async def register(self, body: bytes, expected_kind: str = "") -> tuple[Registration, bool]:
        """An app says what it has. Returns whether anything is new. Raises ``ConfigurationError``."""
        if expected_kind and expected_kind != self._calls.kind:
            raise ConfigurationError(
                f"the app expects a server of kind {expected_kind!r}, and this one is {self._calls.kind!r}",
                "in one of the two calls are signed, in the other they are not",
                "set INNGEST_DEV=1 in the app for a development server, and unset it for production",
            )
        found = read_registration(body)
        try:
            return found, await self._accept(found, polled=self._is_polled(found))
        except ConfigurationError as error:
            known = self._attached.get(same_address(found.url))
            if known is not None:  # whoever looks at the app sees it, whoever has made it register
                self._refuse(known, error)
            raise

    async def connect(self, found: Registration) -> bool:
        """A worker says what an app has, which is called by its workers from now on. Returns whether anything is new.
        Raises ``ConfigurationError``."""
        async with self._moving:
            modified = await self._save(found)
            self._connect(found.app_id).synced_at = self._engine.clock.now_ms()
        return modified

    async def resync(self, app_id: str, known: Sequence[Registration]) -> None:
        """A worker of an app has gone. What counts is what one of those has that are still there, the newest first:
        the one that has gone may have been of an older deployment, and connected again in the middle of the next."""
        async with self._moving:
            app = await self._known(app_id)
            if app is None or not is_connected(app.url) or not known:
                return
            if all(each.checksum != app.checksum for each in known):
                await self._save(known[-1])

    async def sync(self, url: str) -> Attached:
        """Ask an app what it has, and wait until it has said so. Raises ``ConfigurationError`` for no address.

        An address that nobody knew is kept only if that succeeds: whoever mistypes one does not want it asked for ever.
        """
        place = same_address(checked_url(url))
        attached = self._attached.get(place) or Attached(without_our_query(url))
        self._named.append(place)
        try:
            await self._ask(attached)
        finally:
            self._named.remove(place)
        if attached.error is None:
            attached = self._attached.setdefault(place, attached)  # the app may have registered there meanwhile
        return attached

    async def remove(self, url: str, app_id: str | None = None) -> Attached | None:
        """Ask no more, and start no more runs of the functions that are called there. ``None`` if it is not known.

        Apps whose workers connect have one address in common, so ``app_id`` says which. Raises ``Refused`` while
        workers of it are connected: with the next of them it would be back.
        """
        async with self._moving:
            return await (self._remove_connected(app_id) if is_connected(url) else self._remove_address(url))

    async def _remove_address(self, url: str) -> Attached | None:
        try:
            place = same_address(url)
        except ValueError:  # it is no address
            return None
        attached = self._attached.pop(place, None)
        self._trouble.pop(place, None)
        if attached is not None and attached.app_id is not None:
            app = await self._known(attached.app_id)
            if app is not None and not is_connected(app.url) and same_address(app.url) == place:
                await self._drop(app.id)
        return attached

    async def _remove_connected(self, app_id: str | None) -> Attached | None:
        if app_id is None and len(self._connected) > 1:
            why = f"several have workers that connect: {', '.join(self._connected)}"
            raise Refused(400, "invalid-query", "which app is to be removed is not said", why, "name it: app=ID")
        attached = self._connected.get(app_id) if app_id else next(iter(self._connected.values()), None)
        if attached is None or attached.app_id is None:
            return None
        if not self._engine.leads:
            what, why = "this process does not know who is connected", "another process runs the functions"
            raise NotRunning(what, why, "ask that one")
        if self._workers_of(attached.app_id):
            raise Refused(
                409,
                "workers-connected",
                f"workers of app {attached.app_id!r} are connected",
                "they would list its functions again when they connect the next time",
                "stop them first; or pause the functions: stepwell pause",
            )
        await self._drop(attached.app_id)
        return self._connected.pop(attached.app_id, None)

    async def _drop(self, app_id: str) -> None:
        await self._engine.register(app_id, [])
        await self._engine.store.commit(Decision((DropApp(app_id),)))

    async def _known(self, app_id: str) -> App | None:
        return next((app for app in await self._engine.store.read(ListApps()) if app.id == app_id), None)

    def _workers_of(self, app_id: str) -> list[WorkerState]:
        return [] if self.gate is None else self.gate.workers.of(app_id)

    # Asking -----------------------------------------------------------------------------------------------------------

    def _attach(self, url: str) -> Attached:
        return self._attached.setdefault(same_address(url), Attached(without_our_query(url)))

    def _connect(self, app_id: str) -> Attached:
        return self._connected.setdefault(app_id, Attached(CONNECTED_URL, app_id))

    async def check(self, url: str) -> None:
        """Raises ``ConfigurationError`` if what is at this address may not be called (S15)."""
        try:
            await self._calls.check(url)
        except Unreachable as error:
            if error.code == ADDRESS_NOT_ALLOWED:
                raise ConfigurationError(
                    f"the app cannot be called at {url}",
                    str(error),
                    "start the server with --allow-private or --allow-network NETWORK, or serve the app elsewhere",
                ) from None
            # A name that nobody knows yet may be known by the time of the first call.

    async def _accept(self, found: Registration, *, polled: bool) -> bool:
        await self.check(found.url)
        modified = False
        async with self._moving:
            if polled and self._attached.keys().isdisjoint(self._polled_for(found)):
                return False  # its address was removed while it was asked there
            if not (polled and await self._is_with_workers(found.app_id)):
                modified = await self._save(found)
                self._connected.pop(found.app_id, None)
            attached = self._attach(found.url)
            attached.app_id, attached.synced_at = found.app_id, self._engine.clock.now_ms()
            attached.code = attached.error = None
            self._trouble.pop(same_address(found.url), None)
        return modified

    def _is_polled(self, found: Registration) -> bool:
        """Does an app register because it was time to ask it, and not because anybody wanted it to?"""
        return same_address(found.url) not in self._named and bool(self._polled_for(found))

    def _polled_for(self, found: Registration) -> list[str]:
        """The places that are asked now, and for which it may be the answer."""
        place = same_address(found.url)
        return [at for at, each in self._polled.items() if at == place or each.app_id == found.app_id]

    async def _is_with_workers(self, app_id: str) -> bool:
        """Are workers connected to which an app has moved? Where they may be connected to another process nobody knows,
        and leaves that alone."""
        app = await self._known(app_id)
        if app is None or not is_connected(app.url):
            return False
        return not self._engine.alone or bool(self._workers_of(app_id))

    def _refuse(self, attached: Attached, error: ConfigurationError) -> None:
        attached.code, attached.error = _INVALID, f"{error.what}: {error.why}"

    async def _save(self, found: Registration) -> bool:
        app = App(
            id=found.app_id,
            url=found.url,
            sdk=found.sdk,
            framework=found.framework,
            version=found.version,
            checksum=found.checksum,
            synced_at=self._engine.clock.now_ms(),
        )
        modified = await self._engine.register(found.app_id, found.functions, app)
        if modified:
            log.info("app synced", app=app.id, url=app.url, sdk=app.sdk, functions=len(found.functions))
            for config in found.functions:
                for warning in warnings(config):
                    log.warning(warning, function=str(config.get("id")))
        return modified

    async def _ask_all(self, now: int) -> int | None:
        every, pause = self._poll_ms is not None, POLL_MS if self._poll_ms is None else self._poll_ms
        asked = {
            place: each
            for place, each in self._attached.items()
            if (every or each.synced_at is None or each.error) and self._may_ask(place, now)
        }
        await asyncio.gather(*map(self._poll_one, asked.values()))
        for place, each in asked.items():
            self._remember(place, each, now, pause)
        return now + pause

    def _may_ask(self, place: str, now: int) -> bool:
        trouble = self._trouble.get(place)
        return trouble is None or trouble.ask_at <= now

    def _remember(self, place: str, attached: Attached, now: int, pause: int) -> None:
        if attached.error is None:
            self._trouble.pop(place, None)
        elif place not in self._given and place in self._attached:
            if attached.app_id is None and attached.code == UNREACHABLE:
                del self._attached[place]
                return
            trouble = self._trouble.setdefault(place, _Trouble(0, 0))
            trouble.failures += 1
            trouble.ask_at = now + max(pause, min(pause << min(trouble.failures - 1, 20), _ASK_PAUSE_MS_MAX))

    async def _poll_one(self, attached: Attached) -> None:
        place = same_address(attached.url)
        self._polled[place] = attached
        try:
            await self._ask(attached)
        finally:
            del self._polled[place]

    async def _ask(self, attached: Attached) -> None:
        before = attached.synced_at, attached.error
        try:
            reply = await self._put(attached.url)
        except Unreachable as error:
            attached.code, attached.error = error.code, str(error)
        else:
            await self._understand(attached, reply)
        if attached.error is not None and attached.error != before[1]:
            log.warning("app cannot be synced", url=attached.url, code=attached.code, error=attached.error)
        elif attached.error is None and before[1] is not None:
            log.info("app is synced again", url=attached.url)

    async def _put(self, url: str) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self._calls.keys:
            headers["X-Inngest-Sync-Kind"] = _IN_BAND
        return await self._calls.request("PUT", url, headers, _encode({"url": url}), seconds=_SYNC_S_MAX)

    async def _understand(self, attached: Attached, reply: Reply) -> None:
        """What came of it. Whether an app registered we know by ourselves; its answer says why it did not."""
        if reply.status == 200 and reply.headers.get("x-inngest-sync-kind") == _IN_BAND:
            if not (self._calls.keys and self._calls.is_signed(reply)):  # who may sync has to show a key (S7)
                attached.code, attached.error = "unauthorized", _UNSIGNED
                return
            try:
                found = read_registration(reply.body)
                await self._accept(found, polled=self._is_polled(found))
            except ConfigurationError as error:
                self._refuse(attached, error)
            else:
                attached.app_id = found.app_id
                self._done(attached)
            return
        refused = _Refusal()
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            refused = _refusal(reply.body)
        text = refused.error or refused.message
        if 300 <= reply.status < 400:
            attached.code = "url_not_found"
            attached.error = f"it redirects to {reply.headers.get('location', 'nowhere')}: name that address instead"
        elif text is not None and (attached.code, attached.error) == (_INVALID, text):
            pass  # it says what we have told it when it registered
        elif reply.status >= 300 or refused.error:
            attached.code = _CODES.get(reply.status, "sync_failed")
            attached.error = text or f"the app answered with status {reply.status}"
        elif not is_from_sdk(reply):
            attached.code, attached.error = "url_not_found", "what answers there is not an app"
        else:
            self._done(attached)

    def _done(self, attached: Attached) -> None:
        """It is synced, perhaps as the app of another address: apps say themselves where they are to be called."""
        attached.code = attached.error = None
        attached.synced_at = attached.synced_at or self._engine.clock.now_ms()

    # Discovery --------------------------------------------------------------------------------------------------------

    async def _discover(self, now: int) -> int | None:
        ports = [port for port in _PORTS if port not in self._own_ports]
        found = await asyncio.gather(*(self._is_open(port) for port in ports))
        listening = {port for port, is_open in zip(ports, found, strict=True) if is_open}
        new, self._listening = listening - self._listening, listening
        for port in sorted(listening):
            await self._look_at(port, back=port in new)
        return now + _DISCOVER_MS

    async def _look_at(self, port: int, *, back: bool) -> None:
        """Find the app that listens there. With ``back`` nobody did a moment ago: what failed may work now."""
        for path in _PATHS:
            url = f"{'https' if port == 443 else 'http'}://localhost:{port}{path}"
            place = same_address(url)
            known = self._attached.get(place)
            if known is not None:
                if back and self._trouble.pop(place, None) is not None:
                    self._poll.wake()
                if known.error is None:
                    return
            elif await self._is_app(url):
                self._attach(url)
                self._poll.wake()
                return

    async def _is_open(self, port: int) -> bool:
        try:
            async with asyncio.timeout(_PROBE_S_MAX):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    async def _is_app(self, url: str) -> bool:
        try:
            reply = await self._calls.request("GET", url, {}, seconds=_PROBE_S_MAX)
        except Unreachable:
            return False
        return "x-inngest-sdk" in reply.headers


def app_uuid(app_id: str) -> str:
    """The id by which SDKs know an app on the server."""
    return str(uuid5(NAMESPACE_URL, f"stepwell:app:{app_id}"))


def attaching(apps: Apps | None) -> Apps:
    """The apps of this process. Raises ``NotRunning`` if it attaches none."""
    if apps is None:
        raise NotRunning("no apps are attached to this process", "it only reads a file", "ask a server")
    return apps
