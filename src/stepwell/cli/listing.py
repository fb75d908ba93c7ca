"""A command that lists things, with others beneath it that act on them."""

from __future__ import annotations

import click

_LIST = "list"


class Listing(click.Group):
    """Its first command is what is meant when no other is named, so that ``stepwell limits bill`` is a list of one."""

    def lists(self, command: click.Command) -> None:
        """What it does when no other command is named."""
        command.hidden = True
        self.add_command(command, _LIST)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [_LIST, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those of the list, which are its own to whoever reads this."""
        self.commands[_LIST].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*self.commands[_LIST].collect_usage_pieces(ctx), "| COMMAND …"]
