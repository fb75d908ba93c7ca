"""Options of the Inngest server: scripts that were written for it either work here or are told what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

from stepwell.errors import InvalidDuration
from stepwell.model.duration import to_ms

_NO_POLLING: Final = "nothing is polled here, each item is taken when it is due"
_WITHOUT_EFFECT: Final = {
    "tick": _NO_POLLING,
    "persist": "everything is kept anyway, in the file named with --db",
}
"""By the names of the parameters: why an option changes nothing."""

_ONE_DATABASE: Final = "Events, runs and queues are in one database: name its file with --db."
_ONE_GATEWAY: Final = "Workers connect at one port, and nothing else has one: choose it with --connect-gateway-port."
_REFUSED: Final = {
    "--sqlite-dir": _ONE_DATABASE,
    "--postgres-uri": _ONE_DATABASE,
    "--redis-uri": _ONE_DATABASE,
    "--connect-gateway-grpc-port": _ONE_GATEWAY,
    "--connect-executor-grpc-port": _ONE_GATEWAY,
}
"""What to do instead."""


class Tick(click.ParamType[int]):
    """A length of time in milliseconds, as is a bare number."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        try:
            return int(text) if text.isascii() and text.isdigit() else to_ms(text)
        except InvalidDuration as error:
            self.fail(f"{error.what}: write it like 10ms or 1s; a bare number is milliseconds", param, ctx)


def elsewhere() -> tuple[Callable[[Any], Any], ...]:
    """The options. None is passed to the command."""
    accepted = (
        click.option("--tick", type=Tick(), expose_value=False, help=f"Without effect: {_NO_POLLING}."),
        click.option("--persist", is_flag=True, hidden=True, expose_value=False),
    )
    refused = (click.option(name, hidden=True, expose_value=False, callback=_refuse) for name in _REFUSED)
    return (*accepted, *refused)


def without_effect() -> list[str]:
    """What to tell whoever gave the options of the present command, if some of them change nothing."""
    ctx = click.get_current_context()
    unset = (None, ParameterSource.DEFAULT)
    return [
        f"--{name.replace('_', '-')} has no effect: {why}"
        for name, why in _WITHOUT_EFFECT.items()
        if ctx.get_parameter_source(name) not in unset
    ]


def _refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value is not None:
        name = param.opts[0]
        raise click.UsageError(f"There is no {name} here. {_REFUSED[name]}", ctx)
