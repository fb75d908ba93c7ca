"""The options that the commands share which are a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from stepwell.cli.options import not_empty
from stepwell.errors import ConfigurationError, InvalidDuration
from stepwell.limits import (
    CALLS_MAX,
    ENDPOINT_SILENCE,
    EVENT_BYTES_CEILING,
    EVENT_BYTES_MAX,
    STEPS_PER_RUN_CEILING,
    STEPS_PER_RUN_MAX,
)
from stepwell.model.duration import to_ms
from stepwell.protocol.config import checked_url
from stepwell.runtime.reach import Network, parse_network

F = TypeVar("F", bound=Callable[..., Any])


def serving(*, db: str, grace: str) -> Callable[[F], F]:
    """How an engine is to run, and which apps it calls; ``db`` and ``grace`` are the defaults."""
    options = (
        click.option(
            "--db",
            default=db,
            show_default=True,
            callback=not_empty,
            help="The SQLite file; :memory: keeps nothing.",
        ),
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
            "--concurrency", type=click.IntRange(1), default=CALLS_MAX, show_default=True, help="Calls in flight."
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
            "--grace", type=Length(), default=grace, show_default=True, help="What calls get to finish at a stop."
        ),
        click.option("--json-logs", is_flag=True, help="One JSON object for each line of the log."),
        click.option("--allow-host", multiple=True, metavar="NAME", help="A further name the server may be called by."),
    )

    def decorated(command: F) -> F:
        for option in reversed(options):
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
            self.fail(f"{error.what}: {error.fix}", param, ctx)


class Retention(Length):
    """A length of time, or ``forever``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "forever":
            return -1
        ms = super().convert(value, param, ctx)
        if ms == 0:
            self.fail("0 keeps nothing: give a length such as 30d, or 'forever'", param, ctx)
        return ms


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
