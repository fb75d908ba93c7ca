"""The options that the commands share which are a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from stepwell.cli.elsewhere import elsewhere
from stepwell.cli.options import not_empty
from stepwell.errors import ConfigurationError, InvalidDuration
from stepwell.limits import (
    CALLS_MAX,
    CONNECT_LEASE,
    CONNECT_LEASE_MIN,
    ENDPOINT_SILENCE,
    EVENT_BYTES_CEILING,
    EVENT_BYTES_MAX,
    LEASE,
    LEASE_SETTING_MAX,
    LEASE_SETTING_MIN,
    POOL_DEFAULT,
    POOL_MIN,
    RUN_CHAIN_CEILING,
    RUN_CHAIN_MAX,
    SHARDS_DEFAULT,
    SHARDS_MAX,
    STEPS_PER_RUN_CEILING,
    STEPS_PER_RUN_MAX,
)
from stepwell.model.duration import to_ms
from stepwell.protocol.config import checked_url
from stepwell.protocol.connect import PATH
from stepwell.runtime.reach import Network, parse_network

F = TypeVar("F", bound=Callable[..., Any])


def serving(*, db: str, grace: str, environment: bool = False) -> Callable[[F], F]:
    """How an engine is to run, and which apps it calls; ``db`` and ``grace`` are the defaults. ``environment`` says
    whether the store may be set there, under the name by which all commands know it."""
    options = (
        click.option(
            "--db",
            "--store",
            "db",
            default=db,
            show_default=True,
            envvar=["STEPWELL_STORE", "STEPWELL_DB"] if environment else None,
            callback=not_empty,
            metavar="FILE|URL",
            help="The SQLite file (:memory: keeps nothing), or a database: postgresql://…",
        ),
        click.option(
            "--pool",
            type=click.IntRange(POOL_MIN),
            default=POOL_DEFAULT,
            show_default=True,
            help="Connections of this process to a database.",
        ),
        click.option(
            "--shards",
            type=click.IntRange(1, SHARDS_MAX),
            help=f"How many shards a new database gets, for ever; default {SHARDS_DEFAULT}.",
        ),
        click.option(
            "--lease",
            type=HolderLease(),
            default=f"{LEASE.total_seconds():g}s",
            show_default=True,
            help="After how long without a sign of life another process takes over what one was doing.",
        ),
        click.option("--ui/--no-ui", default=True, show_default=True, help="Pages for people, at the same port."),
        click.option("-u", "--sdk-url", type=Address(), multiple=True, help="An app that serves its functions there."),
        click.option(
            "--retry-interval", type=Length(), help="One pause for all retries, such as 1s, in place of back-off."
        ),
        click.option(
            "--endpoint-silence",
            type=Length(),
            default=f"{ENDPOINT_SILENCE.total_seconds():g}s",
            show_default=True,
            help="How long a durable endpoint may report nothing before it is called again.",
        ),
        click.option(
            "--durability",
            type=click.Choice(["full", "normal"]),
            default="full",
            show_default=True,
            help="What survives a power failure: everything, or all but the last moments.",
        ),
        click.option(
            "--retention", type=Retention(), default="30d", show_default=True, help="How long to keep; or forever."
        ),
        click.option(
            "--concurrency",
            "--queue-workers",
            type=click.IntRange(1),
            default=CALLS_MAX,
            show_default=True,
            help="Calls in flight.",
        ),
        click.option(
            "--max-event-bytes",
            type=click.IntRange(1, EVENT_BYTES_CEILING),
            default=EVENT_BYTES_MAX,
            show_default=True,
            help="How large one event may be.",
        ),
        click.option(
            "--max-steps",
            type=click.IntRange(1, STEPS_PER_RUN_CEILING),
            default=STEPS_PER_RUN_MAX,
            show_default=True,
            help="How many steps one run may have.",
        ),
        click.option(
            "--max-chain",
            type=click.IntRange(0, RUN_CHAIN_CEILING),
            default=RUN_CHAIN_MAX,
            show_default=True,
            help="How many runs may start one another in a chain; 0 is no limit.",
        ),
        click.option(
            "--grace", type=Length(), default=grace, show_default=True, help="What calls get to finish at a stop."
        ),
        click.option(
            "--connect-gateway-port",
            type=click.IntRange(0, 65535),
            help="Where workers connect; by default the port after the other one, or any if that is in use.",
        ),
        click.option(
            "--connect-url", type=Gateway(), help="Where workers connect, if they reach it by another name: wss://…"
        ),
        click.option(
            "--worker-lease",
            type=Lease(),
            default=f"{CONNECT_LEASE.total_seconds():g}s",
            show_default=True,
            help="How long a worker may say nothing about a call before another gets it.",
        ),
        click.option("--json-logs", is_flag=True, help="One JSON object for each line of the log."),
        click.option("--allow-host", multiple=True, metavar="NAME", help="A further name the server may be called by."),
    )

    def decorated(command: F) -> F:
        for option in reversed((*options, *elsewhere())):
            command = option(command)
        return command

    return decorated


class Length(click.ParamType[int]):
    """A length of time in milliseconds; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        try:
            return int(text) * 1000 if text.isascii() and text.isdigit() else to_ms(text)
        except InvalidDuration as error:
            self.fail(f"{error.what}: write it like 500ms, 90s, 1h30m or 7d; a bare number is seconds", param, ctx)


class Retention(Length):
    """A length of time, or ``forever``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "forever":
            return -1
        ms = super().convert(value, param, ctx)
        if ms == 0:
            self.fail("0 keeps nothing: give a length such as 30d, or 'forever'", param, ctx)
        return ms


class HolderLease(Length):
    """A length of time within which a process can say several times that it goes on."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        ms = super().convert(value, param, ctx)
        least, most = LEASE_SETTING_MIN.total_seconds(), LEASE_SETTING_MAX.total_seconds()
        if not least * 1000 <= ms <= most * 1000:
            self.fail(
                f"a process that is busy for a moment is not to lose its work: {least:g}s to {most:g}s", param, ctx
            )
        return ms


class Lease(Length):
    """A length of time within which workers can say several times that they go on."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        ms = super().convert(value, param, ctx)
        if ms < CONNECT_LEASE_MIN.total_seconds() * 1000:
            least = f"{CONNECT_LEASE_MIN.total_seconds():g}s"
            self.fail(f"workers say every few seconds that they go on: give at least {least}", param, ctx)
        return ms


class Gateway(click.ParamType[str]):
    """Where workers connect."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        parts = urlsplit(text)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            self.fail(f"{text[:80]!r} is no ws or wss URL, such as wss://connect.example.com{PATH}", param, ctx)
        return text


class Address(click.ParamType[str]):
    """Where an app serves its functions."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return checked_url(str(value))
        except ConfigurationError as error:
            self.fail(f"{error.what}: {error.fix}", param, ctx)


class Within(click.ParamType[Network]):
    """A network of addresses."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        try:
            return parse_network(str(value))
        except ConfigurationError as error:
            self.fail(f"{error.what}: {error.why}", param, ctx)
