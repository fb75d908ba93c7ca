"""``stepwell keys``: makes the keys that a production server and its apps share."""

from __future__ import annotations

import re

import click

from stepwell.ids import secret

_BITS = 256  # invariants S2


def _environment(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"\w{1,32}", value, re.ASCII):
        raise click.BadParameter("it has 1 to 32 letters, digits and underscores.", ctx, param)
    return value


@click.command()
@click.option("--env", default="prod", show_default=True, callback=_environment, help="What the keys are for.")
def command(env: str) -> None:
    """Make a signing key and an event key.

    They are printed as variables, which 'stepwell start' and all SDKs read from their environment. They are kept
    nowhere: print them once, into the place where your secrets are.
    """
    click.echo(f"INNGEST_SIGNING_KEY=signkey-{env}-{secret(_BITS)}")
    click.echo(f"INNGEST_EVENT_KEY=evtkey-{env}-{secret(_BITS)}")
