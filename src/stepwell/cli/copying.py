"""What the commands share that copy a whole database: which one it is, a bar while it goes on, and what was done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import click
import msgspec

from stepwell.cli.options import not_empty, print_json
from stepwell.storage.moving import Copied, Progress

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

STORE: Final = "stepwell.db"
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def store(text: str, *, required: bool = False) -> Callable[[F], F]:
    """``--store``: a database."""
    return click.option(
        "--store",
        envvar="STEPWELL_STORE",
        callback=not_empty,
        required=required,
        default=None if required else STORE,
        show_default=not required,
        metavar="STORE",
        help=text,
    )


def with_progress(label: str, work: Callable[[Progress], Coroutine[Any, Any, T]], *, shown: bool = True) -> T:
    """Run it with a bar on standard error, if that is a terminal."""
    if not (shown and sys.stderr.isatty()):
        return asyncio.run(work(lambda done, rows: None))
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def progress(done: int, rows: int) -> None:
            bar.length = max(rows, 1)
            bar.update(done - bar.pos)

        return asyncio.run(work(progress))


def tell(copied: Copied, text: str, *, as_json: bool, err: bool = False, **more: object) -> None:
    """What was done, for people or for programs. Standard output may be what was written: then ``err``."""
    if as_json:
        document = msgspec.json.encode({"rows": copied.rows, "written": copied.written, **more})
        if err:
            click.echo(document.decode(), err=True)
        else:
            print_json(document)
        return
    before = copied.rows - copied.written
    click.echo(text + (f" {before:,} of them were there already." if before else ""), err=err)
