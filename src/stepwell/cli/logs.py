"""``stepwell logs``: what the code of a run has logged, once or until the run has ended."""

from __future__ import annotations

from collections import Counter
from threading import Event
from typing import TYPE_CHECKING, Final

import click

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reading
from stepwell.views.logs import LEVELS, LineView, LogsView
from stepwell.views.nouns import RunView
from stepwell.views.wording import count, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOOK_S: Final = 0.5
_COLORS: Final = {"warning": "yellow", "error": "red", "critical": "red"}


@click.command()
@click.argument("id")
@click.option("--step", help="Only what was logged in the body of this step.")
@click.option("--level", type=click.Choice(list(LEVELS)), help="Only lines of this level, and worse.")
@click.option("--follow", "-f", is_flag=True, help="Stay until the run has ended, and show what comes.")
@reading
def command(
    id: str,
    step: str | None,
    level: str | None,
    follow: bool,
    as_json: bool,
    url: str | None,
    db: str | None,
    token: str | None,
) -> None:
    """Show what the code of a run has logged, by ctx.logger or a LogHandler.

    ID is a run's id, the last characters of it (4 or more), or 'last'. Lines of a step that runs are there within two
    seconds.
    """
    if follow and as_json:
        raise click.UsageError("--follow writes lines as they come, --json one document: use one of them.")
    query = {name: value for name, value in (("step", step), ("level", level)) if value}
    api = connect(url, db, token)
    try:
        found = run_id(api, id)
        path = f"/v2/runs/{found}/logs"
        if as_json:
            print_json(bytes(opened(api.get(path, query)).data))
        elif follow:
            _follow(api, found, query)
        else:
            logs: LogsView = data(api.get(path, query), LogsView)
            if not logs.lines and not logs.dropped:
                click.echo("Nothing was logged." if not query else "Nothing like that was logged.")
            show(logs.lines)
            _tell_dropped(logs)
    finally:
        api.close()


def show(lines: Sequence[LineView], say: Callable[[str], None] = click.echo) -> None:
    """Each line with its moment, its level, and the step it belongs to."""
    for line in lines:
        where = (line.step or line.step_id or "") + (f" #{line.attempt + 1}" if line.attempt else "")
        begin = click.style(f"{line.at}  ", dim=True) + click.style(f"{line.level:<8}  ", fg=_COLORS.get(line.level))
        text = printable(f"{where}: {line.text}" if where else line.text)
        say(begin + text.replace("\n", "\n    "))


class Following:
    """Shows what a run has logged since it was looked at last.

    Lines come with the result of their step, or a while after they were said, so that their order is not that of their
    coming.
    """

    def __init__(
        self, api: Api, run: str, query: dict[str, str] | None = None, say: Callable[[str], None] = click.echo
    ) -> None:
        self._api = api
        self._path = f"/v2/runs/{run}/logs"
        self._query = query or {}
        self._say = say
        self._seen = Counter[LineView]()

    def look(self, *, last: bool) -> None:
        """``last`` is whether the run had ended before: then it is also said how much is not kept."""
        logs: LogsView = data(self._api.get(self._path, self._query), LogsView)
        known = self._seen.copy()
        show([line for line in logs.lines if not _takes(known, line)], self._say)
        self._seen = Counter(logs.lines)
        if last:
            _tell_dropped(logs, self._say)


def _follow(api: Api, run: str, query: dict[str, str]) -> None:
    pause, following = Event(), Following(api, run, query)
    while True:
        view: RunView = data(api.get(f"/v2/runs/{run}"), RunView)
        following.look(last=view.ended_at is not None)
        if view.ended_at is not None:
            return
        pause.wait(_LOOK_S)


def _takes(known: Counter[LineView], line: LineView) -> bool:
    """Whether this one is known; then it is not the next time, as the same may have been said twice."""
    known[line] -= 1
    return known[line] >= 0


def _tell_dropped(logs: LogsView, say: Callable[[str], None] = click.echo) -> None:
    if logs.dropped:
        said = f"{count(logs.dropped, 'more line is', 'more lines are')} in the app's own log only"
        say(click.style(said, dim=True))
