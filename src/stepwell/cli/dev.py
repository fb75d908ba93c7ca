"""``stepwell dev``: an app, an engine and an HTTP listener in one process, restarted when the code changes."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from stepwell import __version__
from stepwell.cli.address import PORT, prepare_folder, publish, withdraw
from stepwell.cli.arguments import begin_again
from stepwell.cli.elsewhere import without_effect
from stepwell.cli.hosting import Engineering, Host, Serving, engineering
from stepwell.cli.in_force import in_force
from stepwell.cli.live import LiveLog, wants_colour
from stepwell.cli.running import EVERYWHERE, Running, address_of, keep_logs, log_through, run_to_end
from stepwell.cli.serving import Length, serving
from stepwell.cli.settings import take_file
from stepwell.cli.target import DoesNotLoad, Target
from stepwell.clock import SystemClock
from stepwell.errors import ConfigurationError, NotFound
from stepwell.sdk.app import Stepwell
from stepwell.sdk.function import Function
from stepwell.server.guard import LOOPBACK, Guard
from stepwell.server.run import PortInUse, Stop, bind, bind_beside, leave
from stepwell.storage.address import is_postgres
from stepwell.views.wording import count

DB: Final = str(Path(".stepwell") / "dev.db")
_RELOADED: Final = "STEPWELL_RELOADED"  # from one image of the process to the next; no setting
_TOKEN_CHARS_MIN: Final = 16


@click.command()
@click.argument("target", required=False)
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=take_file,
    help="A TOML file with these options by their names. Flags go before it.",
)
@click.option("--port", type=click.IntRange(0, 65535), help=f"Default {PORT}, or the next free one; 0 takes any.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--reload/--no-reload", default=True, show_default=True, help="Restart when the code changes.")
@serving(db=DB, grace="3s")
@click.option(
    "--discovery/--no-discovery", default=None, help="Look for apps on the usual ports; default without TARGET."
)
@click.option("--poll/--no-poll", default=True, show_default=True, help="Ask apps again and again what they have.")
@click.option("--poll-interval", type=Length(), default="5s", show_default=True, help="How often.")
@click.option(
    "--token", envvar="STEPWELL_TOKEN", help="What requests must carry; needed to listen beyond this machine."
)
def command(
    target: str | None,
    port: int | None,
    host: str,
    reload: bool,
    discovery: bool | None,
    poll: bool,
    poll_interval: int,
    token: str | None,
    json_logs: bool,
    allow_host: tuple[str, ...],
    connect_gateway_port: int | None,
    ui: bool,
    **options: Any,
) -> None:
    """Run an app here: engine, worker and HTTP in one process.

    TARGET is a file or a module with your app: app.py, app.py:app, shop.app or shop.app:app. Without one, this is a
    server for apps that serve their functions over HTTP with any of the SDKs: it finds those on the usual ports of this
    machine, and asks those named with -u.
    """
    if host not in LOOPBACK and (token is None or len(token) < _TOKEN_CHARS_MIN):
        raise click.UsageError(
            f"Others could reach {host} and act in your name. "
            f"Give a --token of {_TOKEN_CHARS_MIN} or more characters, or listen on 127.0.0.1."
        )
    before = _Before.taken()
    named = None if target is None else Target(target)
    try:
        if named is not None:
            named.check()
    except NotFound as error:
        if before is None:
            raise click.UsageError(str(error)) from None
    apps = Serving(
        poll_ms=poll_interval if poll else None, discovers=discovery if discovery is not None else named is None
    )
    settings = engineering(apps, **options)
    sockets, moved = before.sockets() if before else _listen(host, port)
    gate = bind_beside(sockets, connect_gateway_port)
    if not is_postgres(settings.path):
        prepare_folder(Path(settings.path).parent)
    guard = Guard(frozenset({*allow_host, host, *settings.names}), any_address=host in EVERYWHERE, token=token)
    live = LiveLog(SystemClock(), for_programs=json_logs)
    here = Host(settings, sockets, guard, gate, ui=ui, in_force=in_force())
    dev = Dev(named, here, live, settings, sockets, reload=reload and named is not None, moved=moved)
    reason = run_to_end(live, dev.run(changed=before.changed if before else None))
    if reason.startswith(_RELOAD):
        _reload(sockets, reason.removeprefix(_RELOAD))
    leave(1 if reason == _BROKEN else 0)


_RELOAD: Final = "reload:"
_BROKEN: Final = "broken"
_MEANWHILE: Final = (
    "events are accepted, and runs of the functions known from before wait; correct the code and they go on"
)
_NOT_YET: Final = "events are accepted and start nothing, because no function is known yet; correct the code"


class Dev:
    """One image of the process: from loading the app until a signal, or a change of the code."""

    def __init__(
        self,
        target: Target | None,
        host: Host,
        live: LiveLog,
        settings: Engineering,
        sockets: list[socket.socket],
        *,
        reload: bool,
        moved: bool,
    ) -> None:
        self._target = target
        self._host = host
        self._live = live
        self._settings = settings
        self._address = address_of(sockets[0])
        self._reload = reload
        self._moved = moved
        self._running = Running(host, live, settings)

    async def run(self, *, changed: str | None) -> str:
        """Runs until it is to stop. Returns why: a signal's name, or a file whose change calls for a new start."""
        loop, stop, live = asyncio.get_running_loop(), Stop(), self._live
        stop.on_signals(lambda: os._exit(1))
        began = SystemClock().now_ms()
        app, problem = self._load()
        log_through(live)
        keep_logs()
        wrong = await self._host.start(app, live.follow)
        if wrong is not None:
            app, problem = None, str(wrong)
        self._greet(app, changed)
        if problem is not None:
            self._complain(problem)
        publish(self._address)
        if self._reload and self._target is not None:
            from stepwell.cli.watch import Watcher

            def on_change(file: Path) -> None:
                loop.call_soon_threadsafe(stop.request, f"{_RELOAD}{_shown(file)}")

            Watcher(self._target.folder(), began, on_change, self._unreadable, everything=app is None).start()
        elif app is None and self._target is not None:
            stop.request(_BROKEN)
        reason = await stop.wait()
        await self._running.stop()
        if reason != _BROKEN:
            self._take_leave(reason)
        reloads = reason.startswith(_RELOAD)
        await self._host.stop(handing_over=reloads)
        if not reloads:
            withdraw()
        return reason

    def _load(self) -> tuple[Stepwell | None, str | None]:
        if self._target is None:
            return None, None
        try:
            return self._target.load(changing=self._reload), None
        except DoesNotLoad as error:
            return None, f"{error.where} does not load:\n\n{error.report}\n"
        except ConfigurationError as error:
            return None, str(error)

    def _greet(self, app: Stepwell | None, changed: str | None) -> None:
        live = self._live
        functions = count(len(app.functions), "function") if app is not None else "no functions"
        kept = self._settings.kept
        if changed is not None:
            live.notice(f"{changed} changed, reloaded: {functions}")
        elif live.for_programs:
            live.notice(f"Stepwell {__version__} at {self._address}, {functions}, {kept}")
        else:
            live.say(_banner(self._address, self._target, app, kept, self._settings.apps, reload=self._reload))
        if changed is None:
            for text in without_effect():
                live.notice(text, "yellow")
        if self._moved:
            live.notice(f"port {PORT} is in use, so this is {self._address}", "yellow")
        self._running.tell_who_leads()

    def _complain(self, problem: str) -> None:
        self._live.notice(problem, "red")
        if self._reload:
            known = bool(self._host.engine.registry.functions)
            self._live.notice(_MEANWHILE if known else _NOT_YET, "yellow")

    def _unreadable(self, file: Path, error: SyntaxError) -> None:
        where = f"{_shown(file)}:{error.lineno}"
        code = f"\n\n    {error.text.strip()}\n" if error.text else ""
        self._live.notice(f"{where}: {error.msg}{code}", "red")
        self._live.notice("the version from before goes on running", "yellow")

    def _take_leave(self, reason: str) -> None:
        if not reason.startswith(_RELOAD):
            self._running.take_leave(reason)
        elif busy := self._running.busy():
            self._live.notice(f"{reason.removeprefix(_RELOAD)} changed{busy}")


class _Before(msgspec.Struct):
    """What the process was before it began again: its listening sockets go on, so nobody is refused meanwhile."""

    descriptors: list[int]
    changed: str

    @classmethod
    def taken(cls) -> _Before | None:
        text = os.environ.pop(_RELOADED, None)
        return msgspec.json.decode(text, type=cls) if text else None

    def sockets(self) -> tuple[list[socket.socket], bool]:
        found = [socket.socket(fileno=descriptor) for descriptor in self.descriptors]
        for sock in found:
            sock.set_inheritable(False)
            sock.setblocking(False)
        return found, False


def _reload(sockets: list[socket.socket], changed: str) -> None:
    """The same process with fresh code: nothing of the old modules can be left over."""
    for sock in sockets:
        sock.set_inheritable(True)
    before = _Before([sock.fileno() for sock in sockets], changed)
    os.environ[_RELOADED] = msgspec.json.encode(before).decode()
    begin_again()


def _listen(host: str, port: int | None) -> tuple[list[socket.socket], bool]:
    """Sockets, and whether another port had to do. A port that was asked for is not replaced: somebody relies on it."""
    if port is not None:
        return bind(host, port), False
    for candidate in (PORT, *range(PORT + 2, PORT + 20)):  # 8289 is where SDKs look for the gateway
        try:
            return bind(host, candidate), candidate != PORT
        except PortInUse:
            continue
    return bind(host, 0), True


def _banner(
    address: str, target: Target | None, app: Stepwell | None, kept: str, apps: Serving, *, reload: bool
) -> str:
    lines = [f"{click.style('Stepwell', bold=True)} {__version__}  {click.style(address, fg='cyan')}", ""]
    text = "" if target is None else target.text
    watched = f"{text}, reloaded when it changes" if reload else text
    if target is None:
        looked = "looked for on the usual ports of this machine" if apps.discovers else "none, until one registers"
        lines.append(f"  apps       {', '.join(apps.urls) or looked}")
    elif app is None:
        lines.append(f"  app        {watched}")
    else:
        lines.append(f"  app        {app.app_id}, {count(len(app.functions), 'function')} ({watched})")
    lines.append(f"  database   {kept}")
    events = [trigger for function in app.functions.values() for trigger in _events_of(function)] if app else []
    if events:
        lines.append(f"  try        stepwell send {events[0]} --data '{{}}'")
    text = "\n".join([*lines, ""])
    return text if wants_colour() else click.unstyle(text)


def _events_of(function: Function[Any, Any]) -> list[str]:
    triggers: list[dict[str, str]] = function.config.get("triggers") or []
    return [trigger["event"] for trigger in triggers if "event" in trigger and "*" not in trigger["event"]]


def _shown(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
