"""``stepwell audit``: what people did, and who they were."""

from __future__ import annotations

from contextlib import closing

import click

from stepwell.cli.client import connect, data, opened
from stepwell.cli.moments import moment
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.access import AuditView


@click.command()
@click.option("--who", help="Only what this user did, or the holder of this key.")
@click.option("--via", type=click.Choice(["dashboard", "api", "cli"]), help="Only what came this way.")
@click.option("--action", help="Only this action, such as cancel.")
@click.option("--target", help="Only about this: a run, a function, an app, a user.")
@click.option("--since", metavar="MOMENT", help="Only at this moment or later, such as 2h or 2026-01-02T03:04:05Z.")
@click.option("--until", metavar="MOMENT", help="Only before this moment.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@reading
def command(
    who: str | None,
    via: str | None,
    action: str | None,
    target: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    db: str | None,
    token: str | None,
) -> None:
    """Show what people did, newest first: in the dashboard, with a key of the server, at a command line."""
    now = SystemClock().now_ms()
    given = {
        "who": who,
        "via": via,
        "action": action,
        "target": target,
        "limit": str(limit),
        "since": moment("--since", since, now),
        "until": moment("--until", until, now),
    }
    with closing(connect(url, db, token)) as api:
        body = api.get("/v2/audit", {name: value for name, value in given.items() if value})
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import audit_table, console

    found: list[AuditView] = data(body, list[AuditView])
    out = console()
    if found:
        out.print(audit_table(found, now, out.width))
    else:
        out.print("Nobody did anything of that kind.")
