"""The ``stepwell`` command. One file per command; none is imported before it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from keyword import iskeyword
from typing import Any, Final

import click

from stepwell import __version__
from stepwell.cli.arguments import hide_secrets
from stepwell.errors import StepwellError

# Help is repeated here, so that listing the commands imports none of them.
COMMANDS: Final = {
    "dev": "Run an app here: engine, worker and HTTP in one process.",
    "start": "Run the server for production, for apps that serve their functions over HTTP.",
    "keys": "Make a signing key and an event key.",
    "send": "Send an event.",
    "runs": "List runs, newest first.",
    "run": "Show one run: its steps, attempts, errors and times.",
    "logs": "Show what the code of a run has logged.",
    "why": "Say why a run waits or failed, or what became of an event.",
    "cancel": "Cancel a run, or all runs of a function that fit.",
    "cancellations": "List what is cancelled in bulk; end it.",
    "retry": "Make the next attempt now.",
    "skip": "End a sleep before its time.",
    "rerun": "Start a run again.",
    "replay": "Start many runs again.",
    "replays": "List what is started again in bulk; abort it.",
    "pause": "Pause a function until it is resumed.",
    "resume": "Let a paused function go on.",
    "archive": "Archive a function or an app: nothing starts it any more.",
    "unarchive": "Bring an archived function or app back.",
    "drain": "Let nothing new begin, of a function, an app or everything.",
    "undrain": "Let new runs begin again.",
    "queue": "Show what waits, for what, and when it can move.",
    "limits": "Show the rules of functions and what is in use of them; reset a key.",
    "debounce": "List events held back by a debounce; start or delete them.",
    "batch": "List events collected for a batch; start or delete it.",
    "functions": "List the registered functions.",
    "apps": "List apps and where they are; attach or remove one.",
    "events": "List events, newest first.",
    "users": "List who may log in; add, change or remove somebody.",
    "audit": "Show what people did, newest first.",
    "doctor": "Look whether a database is well; repair what can be.",
    "backup": "Copy the database file while a server runs on it.",
    "export": "Write all that is in a database to a file.",
    "import": "Read such a file into an empty database.",
    "promote": "Make a PostgreSQL deployment of a SQLite file.",
    "migrate": "Bring a database's tables to what this version knows; distribute them.",
    "openapi": "Print the REST API as an OpenAPI document.",
}

EPILOG: Final = "Exit codes: 0 done, 1 it failed, 2 wrong usage."


class Commands(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"stepwell.cli.{_module(cmd_name)}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 2)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StepwellError as error:
            complain(error)
            ctx.exit(1)


def _module(name: str) -> str:
    return f"{name}_" if iskeyword(name) else name


def complain(error: StepwellError) -> None:
    """What, why and fix on standard error."""
    from stepwell.views.wording import printable

    click.echo(f"{click.style('error:', fg='red', bold=True)} {printable(str(error))}", err=True)


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="stepwell %(version)s")
def cli() -> None:
    """Durable workflows in Python."""


def main() -> None:
    """Entry point of the console script."""
    # A terminal that cannot show a character shows another one, and a pipe on Windows gets UTF-8.
    encoding = "utf-8" if sys.platform == "win32" else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="replace")
    for text in sys.argv[1:]:
        if not text.isascii() and text != text.encode(errors="replace").decode():
            click.echo(f"error: {text!a} is not text in UTF-8", err=True)
            sys.exit(2)
    hide_secrets()
    cli(prog_name="stepwell")
