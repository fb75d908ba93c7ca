"""Settings in a file: the options of a command, which flags and the environment go before."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

import click

from stepwell.errors import ConfigurationError

CONFIG: Final = "config"


def take_file(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The callback of ``--config``. What the file says holds wherever nothing else does."""
    if value is not None:
        ctx.default_map = read_settings(Path(value), ctx.command)
    return value


def read_settings(path: Path, command: click.Command) -> dict[str, Any]:
    """The settings by the names of the command's parameters. Raises ``ConfigurationError``."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"the settings in {path} cannot be read", str(error.strerror).lower(), "check the path given as --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML", str(error), "write lines like port = 8288") from None
    return settings_of(found, command, str(path))


def settings_of(found: Mapping[str, object], command: click.Command, where: str) -> dict[str, Any]:
    """Checks the members of a file. A name that is not known is refused: it was meant to have an effect."""
    options = {
        name.lstrip("-"): each
        for each in command.params
        if isinstance(each, click.Option) and each.name not in (CONFIG, "help")
        for name in each.opts
        if name.startswith("--")
    }
    settings: dict[str, Any] = {}
    for name, value in found.items():
        option = options.get(name.replace("_", "-"))
        if option is None:
            here = sorted(name for name, each in options.items() if not each.hidden)
            near = get_close_matches(name.replace("_", "-"), here, 1)
            fix = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(here)}"
            raise ConfigurationError(f"{where} has a setting {name!r}", "nothing has that name", fix)
        values = cast("list[object]", value) if isinstance(value, list) else [value]
        kinds = (bool,) if option.is_flag else (str, int)
        fits = all(isinstance(each, kinds) and isinstance(each, bool) == option.is_flag for each in values)
        if not fits or (isinstance(value, list) and not option.multiple):
            expected = "true or false" if option.is_flag else "a text or a number"
            several = ", or an array of such" if option.multiple else ""
            # Not the value itself: it may be a key.
            raise ConfigurationError(f"{where} has a wrong {name}", f"it is {expected}{several}", "correct it")
        settings[option.name] = [str(each) for each in values] if option.multiple else value
    return settings
