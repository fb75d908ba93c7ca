"""The options of a command as they hold, and where each was said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

import click
from click.core import ParameterSource

from stepwell.cli.serving import Length
from stepwell.model.duration import format_duration
from stepwell.model.settings import Setting
from stepwell.storage.address import shown

_SECRET: Final = frozenset({"signing_key", "signing_key_fallback", "event_key", "token"})
_WORDS: Final = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}
_WHO: Final = re.compile(r"(?<=://)[^/@]*@")  # of an address: it may be a secret


def in_force() -> list[Setting]:
    """Of the command that runs. Keys are not among them, only how many there are."""
    ctx = click.get_current_context()
    found: list[Setting] = []
    for each in ctx.command.params:
        if isinstance(each, click.Option) and not each.hidden and each.name in ctx.params:
            source = ctx.get_parameter_source(each.name)
            name = next(opt for opt in each.opts if opt.startswith("--")).removeprefix("--")
            found.append(Setting(name, _written(each, ctx.params[each.name]), _WORDS.get(source, "") if source else ""))
    return sorted(found)


def _written(option: click.Option, value: Any) -> str:
    if option.name in _SECRET:
        given = len(cast("Sequence[str]", value)) if isinstance(value, tuple) else int(bool(value))
        return f"{given} given" if given else "none"
    if value is None or value == ():
        return "—"
    if option.name == "db":
        return shown(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(option.type, Length):
        return "forever" if value < 0 else format_duration(value)
    if isinstance(value, tuple):
        return ", ".join(_WHO.sub("", str(one)) for one in cast("Sequence[object]", value))
    return _WHO.sub("", str(value))
