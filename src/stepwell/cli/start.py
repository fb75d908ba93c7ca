"""``stepwell start``: the server for production, to which apps are attached over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from stepwell import __version__
from stepwell.cli.address import PORT, prepare_folder
from stepwell.cli.elsewhere import without_effect
from stepwell.cli.hosting import Engineering, Host, Serving, engineering
from stepwell.cli.in_force import in_force
from stepwell.cli.live import LiveLog, wants_colour
from stepwell.cli.running import EVERYWHERE, Running, address_of, log_through, run_to_end
from stepwell.cli.serving import Length, Within, serving
from stepwell.cli.settings import take_file
from stepwell.clock import SystemClock
from stepwell.errors import ConfigurationError
from stepwell.protocol.signing import SigningKey, signing_key
from stepwell.runtime.reach import Network, Reach
from stepwell.server.guard import Guard, Keys
from stepwell.server.run import Stop, bind, bind_beside, leave
from stepwell.storage.address import is_postgres
from stepwell.views.wording import count

DB: Final = "stepwell.db"


@click.command(context_settings={"auto_envvar_prefix": "STEPWELL"})
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=take_file,
    help="A TOML file with these options by their names. Flags and the environment go before it.",
)
@click.option(
    "--signing-key",
    multiple=True,
    metavar="KEY",
    envvar=["STEPWELL_SIGNING_KEY", "INNGEST_SIGNING_KEY"],
    help="The key that apps share with this server; of several the first signs, the others are accepted.",
)
@click.option(
    "--signing-key-fallback",
    multiple=True,
    metavar="KEY",
    envvar=["STEPWELL_SIGNING_KEY_FALLBACK", "INNGEST_SIGNING_KEY_FALLBACK"],
    help="A key that is accepted as well while keys are changed.",
)
@click.option(
    "--event-key",
    multiple=True,
    metavar="KEY",
    envvar=["STEPWELL_EVENT_KEY", "INNGEST_EVENT_KEY"],
    help="A key with which events may be sent; may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any.")
@serving(db=DB, grace="10s", environment=True)
@click.option("--poll-interval", type=Length(), help="Ask apps this often what they have; by default they say it.")
@click.option("--no-poll", is_flag=True, help="Do not, whatever the settings say.")
@click.option("--allow-private", is_flag=True, help="Apps, and what they let us ask, may be in private networks.")
@click.option(
    "--allow-network",
    type=Within(),
    multiple=True,
    metavar="CIDR",
    help="Apps, and what they let us ask, may be in this network.",
)
def command(
    signing_key: tuple[str, ...],
    signing_key_fallback: tuple[str, ...],
    event_key: tuple[str, ...],
    host: str,
    port: int,
    poll_interval: int | None,
    no_poll: bool,
    allow_private: bool,
    allow_network: tuple[Network, ...],
    json_logs: bool,
    allow_host: tuple[str, ...],
    connect_gateway_port: int | None,
    ui: bool,
    **options: Any,
) -> None:
    """Run the server for production: engine and HTTP, for apps that serve their functions over HTTP.

    It needs a signing key and an event key: make them with 'stepwell keys'. All options can be set in the environment,
    as STEPWELL_ and their name in capitals (STEPWELL_RETRY_INTERVAL; several values with spaces between them), and
    the keys under the names that SDKs read.
    """
    signing = _signing_keys(signing_key, signing_key_fallback)
    if not event_key:
        raise ConfigurationError(
            what="there is no event key",
            why="without one anybody could send events, or nobody",
            fix="make one with 'stepwell keys' and give it as INNGEST_EVENT_KEY or --event-key",
        )
    keys = Keys(signing, event_key)
    apps = Serving(
        poll_ms=None if no_poll else poll_interval,
        keys=signing,
        reach=Reach(private=allow_private, networks=allow_network),
    )
    settings = engineering(apps, **options)
    guard = Guard(frozenset({*allow_host, host, *settings.names}), any_address=host in EVERYWHERE, keys=keys)
    sockets = bind(host, port)
    gate = bind_beside(sockets, connect_gateway_port)
    if not is_postgres(settings.path):
        prepare_folder(Path(settings.path).parent)
    live = LiveLog(SystemClock(), for_programs=json_logs)
    start = Start(
        Host(settings, sockets, guard, gate, ui=ui, in_force=in_force()), live, settings, address_of(sockets[0])
    )
    run_to_end(live, start.run())
    leave(0)


class Start:
    """The process, from its first request until a signal."""

    def __init__(self, host: Host, live: LiveLog, settings: Engineering, address: str) -> None:
        self._host = host
        self._live = live
        self._settings = settings
        self._address = address
        self._running = Running(host, live, settings)

    async def run(self) -> str:
        """Runs until it is to stop. Returns why."""
        stop = Stop()
        stop.on_signals(lambda: os._exit(1))
        log_through(self._live)
        await self._host.start(None, self._live.follow)
        self._greet()
        for text in without_effect():
            self._live.notice(text, "yellow")
        await self._tell_the_first()
        self._running.tell_who_leads()
        reason = await stop.wait()
        await self._running.stop()
        self._running.take_leave(reason)
        await self._host.stop()
        return reason

    async def _tell_the_first(self) -> None:
        """Where nobody can log in yet: the link with which the first admin is made."""
        token = await self._host.setup_token()
        if token is not None:
            self._live.notice(f"nobody can log in yet: make the first admin at {self._address}/setup?token={token}")

    def _greet(self) -> None:
        kept, apps = self._settings.kept, self._settings.apps
        if self._live.for_programs:
            self._live.notice(f"Stepwell {__version__} at {self._address}, {kept}")
            return
        lines = [
            f"{click.style('Stepwell', bold=True)} {__version__}  {click.style(self._address, fg='cyan')}",
            "",
            f"  apps       {', '.join(apps.urls) or 'those that register'}",
            f"  keys       {count(len(apps.keys), 'signing key')}",
            f"  database   {kept}",
            "",
        ]
        text = "\n".join(lines)
        self._live.say(text if wants_colour() else click.unstyle(text))


def _signing_keys(first: Sequence[str], others: Sequence[str]) -> tuple[SigningKey, ...]:
    if not first:
        raise ConfigurationError(
            what="there is no signing key",
            why="calls to apps are signed with it, and apps show with it who they are",
            fix="make one with 'stepwell keys' and give it as INNGEST_SIGNING_KEY or --signing-key",
        )
    return tuple(dict.fromkeys(map(signing_key, (*first, *others))))
