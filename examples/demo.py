"""All examples at once, days in seconds, to watch: what ``scripts/demo`` runs.

An engine, the functions, and an HTTP server in one process, as ``stepwell dev`` has them. When everything has ended it
says what was produced, and goes on serving, so that one can look around. ``--exit`` ends instead, as does ``CI=true``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from examples import ai_analysis, batch_processing, document_pipeline, fallback, migration, onboarding, order
from examples import weekly_report as weekly
from examples.app import EXAMPLES, app
from examples.base import MARK, SPEED, database, home
from examples.shop import shop
from stepwell import Function
from stepwell.cli.address import PORT, publish, withdraw
from stepwell.cli.hosting import Engineering, Host
from stepwell.cli.story import Line, Story
from stepwell.model.changes import Change
from stepwell.runtime.engine import Engine
from stepwell.server.guard import Guard
from stepwell.server.run import PortInUse, Stop, bind, leave, new_event_loop

A_DAY_S = 86_400 / SPEED
LINES_SHOWN = 10

# How a run looks in the table, by what was last heard of it.
LOOKS = {
    "queued": ("○", "dim"),
    "running": ("▶", "cyan"),
    "resting": ("◷", "blue"),
    "COMPLETED": ("✓", "green"),
    "FAILED": ("✗", "red"),
    "CANCELLED": ("⊘", "yellow"),
}
LOUD = ("red", "yellow")
RESTING = ("SLEEPING", "WAITING", "INVOKING", "ERRORED")


class Board:
    """What is shown: a row for each example, and below it the latest of what happened."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps = 0
        self.retries = 0
        self._story = Story(lambda run_id: None)  # the database is new: no run is older than we are
        self._began = time.monotonic()
        self._examples = {id: _title(module.__name__) for module in EXAMPLES for id in _functions(vars(module))}
        self._runs: dict[str, dict[str, str]] = {title: {} for title in dict.fromkeys(self._examples.values())}
        self._now: dict[str, str] = {}
        self._latest: deque[Text] = deque(maxlen=LINES_SHOWN)
        self.live: Live | None = None

    @property
    def ends(self) -> Counter[str]:
        """How many runs are in which state."""
        return Counter(state for runs in self._runs.values() for state in runs.values())

    def follow(self, engine: Engine) -> None:
        engine.observers.append(self._observe)

    def say(self, text: Text) -> None:
        """A line that stays. What is said again and again is shown once."""
        if self._latest and self._latest[-1] == text:
            return
        self._latest.append(text)
        if self.live is None:
            self.console.print(text, soft_wrap=True)

    async def animate(self) -> None:
        """Draw, until cancelled. A terminal gets the table; a pipe gets the lines and nothing that moves."""
        if not self.console.is_terminal:
            await asyncio.Event().wait()
        with Live(console=self.console, auto_refresh=False) as self.live:
            try:
                while True:
                    self.live.update(self._picture(), refresh=True)
                    await asyncio.sleep(0.1)
            finally:
                self.live.update(self._picture(), refresh=True)
                self.live = None

    def _observe(self, changes: Sequence[Change]) -> None:
        for line in self._story.lines(changes, int(time.time() * 1000)):
            self._note(line)
            if line.kind in ("event", "ended", "outcome") or (line.colour in LOUD and line.kind != "held"):
                self.say(_written(line))

    def _note(self, line: Line) -> None:
        title = self._examples.get(line.function.removesuffix("-failure"))
        if title is None:
            return
        if line.kind == "ended":
            self._runs[title][line.run] = line.status or ""
        elif line.kind == "queued":
            self._runs[title][line.run] = "queued"
        else:
            self._runs[title][line.run] = "resting" if line.status in RESTING else "running"
        if line.kind == "step":
            self.steps += line.status not in RESTING
            self.retries += line.status == "ERRORED"
        self._now[title] = line.text

    def _picture(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
        table.add_column("example", style="bold", no_wrap=True)
        table.add_column("runs", no_wrap=True)
        table.add_column("latest", ratio=1, no_wrap=True, style="dim")
        for title, runs in self._runs.items():
            marks = Text.assemble(*(LOOKS.get(state, ("?", "")) for state in runs.values()))
            table.add_row(title, marks, self._now.get(title, ""))
        days = (time.monotonic() - self._began) / A_DAY_S
        clock = Text(f"day {int(days) + 1}, {int(days % 1 * 24):02}:00", style="bold")
        clock.append(f"   a day takes {A_DAY_S:.0f} s here", style="not bold dim")
        return Group(clock, Text(), table, Text(), *self._latest)


class LogLines(logging.Handler):
    """Shows what the functions log among the rest."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def emit(self, record: logging.LogRecord) -> None:
        self._board.say(Text(f"  ! {self.format(record)}", style="yellow"))


async def scenario(host: Host) -> None:
    """What happens: three people, four orders, a folder of documents, and whatever else fills a few days."""
    migration.make_legacy_database()
    await app.send(
        [
            *(onboarding.SignedUp(f"u{n}", name, f"{name.lower()}@example.com") for n, name in enumerate(PEOPLE, 1)),
            document_pipeline.FolderFilled(str(document_pipeline.DOCUMENTS)),
            batch_processing.ReadingsUploaded(str(batch_processing.READINGS), "weather@example.com"),
            ai_analysis.AnalysisRequested("a-1", str(ai_analysis.TEXT)),
            migration.MigrationRequested("customers"),
            weekly.WeekRequested("2026-W02"),
            fallback.QuoteRequested("q-1", 129_00, "CHF"),
            fallback.QuoteRequested("q-2", 48_50, "DKK"),
            *(order.OrderPlaced(f"n-{n}", "mug", n, country) for n, country in enumerate(COUNTRIES, 1)),
        ]
    )
    await onboarding.create_project("u3", "Garden")
    await asyncio.sleep(A_DAY_S / 4)
    await app.send([order.PaymentReceived("n-1", 14_50), order.PaymentReceived("n-4", 58_00)])
    await asyncio.sleep(A_DAY_S / 4)
    await app.send(order.OrderCancelled("n-3", "found it elsewhere"))
    await asyncio.sleep(A_DAY_S)
    await onboarding.create_project("u2", "Shed")
    while (totals := (await host.engine.health()).totals) is None or totals.live_runs:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


MY_DATA = '{"user_id": "me", "name": "Me", "email": "me@example.com"}'
PEOPLE = ("Ada", "Bo", "Cleo")
COUNTRIES = ("FR", "DE", "NL", "AQ")  # the fourth is where the carrier does not go


def produced() -> Iterator[tuple[str, str]]:
    """What there is now that was not there before, asked of the files and tables themselves."""
    files = Counter(path.relative_to(home()).parts[0] for path in home().rglob("*.*") if path.parent != home())
    outcomes = Counter("rejected" if x.startswith("rejected") else x for x in document_pipeline.processed().values())
    with shop() as db:
        orders = db.execute("SELECT order_id, status FROM orders WHERE order_id LIKE 'n-%' ORDER BY 1").fetchall()
    with database("customers.db") as db:
        customers, refused = db.execute(
            "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM refused)"
        ).fetchone()
    yield "outbox/*.eml", f"{files['outbox']} e-mails"
    yield "app.db, documents", ", ".join(f"{count} {kind}" for kind, count in sorted(outcomes.items()))
    yield "trays/*/*.note", f"{files['trays']} notes"
    yield "weather/*.json", f"{files['weather']} table of eight stations"
    yield "shop.db, orders", ", ".join(f"{row['order_id']} {row['status']}" for row in orders)
    yield "analyses/*.md", f"{files['analyses']} analysis"
    yield "customers.db", f"{customers:,} customers in 25 batches, {refused} records refused"
    yield "reports/*", f"{files['reports']} files for week 2026-W02"
    yield "quotes/*.txt", f"{files['quotes']} quotes"


def show_results(board: Board, seconds: float) -> None:
    console, ends = board.console, board.ends
    told = (
        f"\n[bold]{ends.total()} runs[/] ended after {seconds:.0f} s: {ends['COMPLETED']} completed, {ends['FAILED']} "
        f"failed and {ends['CANCELLED']} was cancelled, as they should; {board.steps} steps, {board.retries} retries."
    )
    console.print(told, highlight=False, soft_wrap=True)
    console.print(f"What they made is in [cyan]{_shown(home())}[/]:\n", highlight=False, soft_wrap=True)
    for place, what in produced():
        console.print(Text(f"  {place:<20}", style="cyan"), what, highlight=False, soft_wrap=True)


def show_hints(console: Console, address: str) -> None:
    command = _shown(Path(sys.executable).with_name("stepwell"))
    console.print(f"\n[bold]The server is still here: [cyan]{address}[/][/]  Ctrl-C ends it.")
    console.print("In another terminal:\n")
    for text, why in [
        ("runs", "all runs, the newest first"),
        ("run last", "the latest: its steps, attempts and times"),
        ("runs --status failed", "the two documents that nobody can read"),
        ("why last", "why it waits, or why it failed"),
        (f"send app/user.signed-up --data '{MY_DATA}'", "an event of yours"),
    ]:
        console.print(f"  {command} {text:<88}", Text(why, style="dim"), highlight=False, soft_wrap=True)
    console.print()


async def demo(board: Board, host: Host, address: str, *, serve: bool) -> int:
    """Run the scenario, show what came of it, and serve. Returns the exit code."""
    stop = Stop()
    stop.on_signals(lambda: os._exit(1))
    await host.start(app, board.follow)
    publish(address)
    board.console.print(f"[bold]Stepwell demo[/]  [cyan]{address}[/]  {len(app.functions)} functions\n")
    began = time.monotonic()
    picture = asyncio.create_task(board.animate())
    story = asyncio.create_task(scenario(host))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([story, stopped], return_when=asyncio.FIRST_COMPLETED)
        picture.cancel()
        await asyncio.wait([picture])
        if story.done():
            story.result()
            await asyncio.to_thread(show_results, board, time.monotonic() - began)
            if serve:
                show_hints(board.console, address)
                await stopped
        if stopped.done():
            board.console.print(f"{stop.reason}: stopped; what is unfinished would go on at the next start")
        return 0
    finally:
        story.cancel()
        await host.stop()
        withdraw()


def clean_home() -> None:
    """Begin with nothing. Only a folder that the examples have made themselves is deleted."""
    mark = home() / ".gitignore"
    if mark.exists() and mark.read_text() == MARK:
        shutil.rmtree(home())
    elif any(home().iterdir()):
        raise SystemExit(f"demo: {home()} holds something else; choose a new folder with DEMO_HOME")
    home()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number up to 65535, or 0 for any free one")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="All examples at once, days in seconds.")
    parser.add_argument("--exit", action="store_true", help="end when everything is done, as CI=true does")
    parser.add_argument("--port", type=_port, help=f"default {PORT}, or any free one")
    options = parser.parse_args()
    clean_home()
    try:
        sockets = bind("127.0.0.1", PORT if options.port is None else options.port)
    except PortInUse as error:
        if options.port is not None:
            raise SystemExit(f"demo: {error}") from None
        sockets = bind("127.0.0.1", 0)
    settings = Engineering(
        path=str(home() / "demo.db"),
        durability="full",
        concurrency=100,
        retention_ms=None,
        grace_ms=3_000,
    )
    board = Board(Console())
    logger = logging.getLogger("stepwell")
    logger.addHandler(LogLines(board))
    logger.propagate = False
    host = Host(settings, sockets, Guard(frozenset({"127.0.0.1"}), any_address=False, token=None))
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    port = sockets[0].getsockname()[1]
    serve = not (options.exit or os.environ.get("CI", "").lower() in ("1", "true"))
    leave(loop.run_until_complete(demo(board, host, f"http://127.0.0.1:{port}", serve=serve)))


def _functions(names: dict[str, object]) -> Iterator[str]:
    for value in names.values():
        if isinstance(value, Function):
            yield value.id


def _title(module: str) -> str:
    return module.rpartition(".")[2].replace("_", " ")


def _written(line: Line) -> Text:
    text = Text(f"  {line.mark} ", style=line.colour or "")
    if line.kind == "event":
        return text.append(f"{'event':<17} ", style="dim").append(line.text.partition("  ")[0])
    text.append(f"{line.function.removeprefix('examples-'):<17} ", style="dim")
    return text.append(line.text, style=line.colour if line.colour == "red" else "default")


def _shown(path: Path) -> Path:
    """As short as it can be written from here."""
    path = path.absolute()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    main()
