"""``stepwell doctor``: looks whether a database is well, and repairs what can surely be set right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec

from stepwell.cli.options import not_empty, print_json
from stepwell.clock import SystemClock
from stepwell.errors import StorageError
from stepwell.storage.address import is_postgres
from stepwell.storage.checkup import FINDINGS_MAX, MENDED, Check, Finding, State
from stepwell.storage.interface import Store

_SHOWN_MAX: Final = 20
"""Of one kind; JSON has all that were found."""
_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.WRONG: "red"}


class Case(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A finding, and what was done about it. ``repair`` says what a repair does, if there is one."""

    kind: str
    who: tuple[str, ...]
    shard: int
    says: str
    repair: str | None
    repaired: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``well`` is false if a check is wrong or a finding was not repaired."""

    store: str
    well: bool
    checks: list[Check]
    findings: list[Case]


@click.command()
@click.option(
    "--store",
    "--db",
    required=True,
    envvar="STEPWELL_STORE",
    callback=not_empty,
    metavar="FILE|URL",
    help="The database: a SQLite file, or postgresql://….",
)
@click.option("--repair", is_flag=True, help="Set right what surely can be, and name the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(store: str, repair: bool, as_json: bool) -> None:
    """Look whether a database is well: its settings, and whether its rows fit together.

    It may be asked at any time, and while servers run. Nothing is changed without --repair, and then only by decisions
    like those of a server. The exit code is 1 if something is wrong; warnings alone are 0.
    """
    report = _postgres(store, repair) if is_postgres(store) else _sqlite(store, repair)
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        _tell(report, repair)
    if not report.well:
        raise SystemExit(1)


def _sqlite(path: str, repair: bool) -> Report:
    from stepwell.storage.sqlite import SqliteStore
    from stepwell.storage.sqlite.checkup import checks, inconsistencies

    if not Path(path).is_file():
        raise StorageError(
            what=f"there is no database {path}",
            why="a file is looked at as it is, and none is made",
            fix="name the file of a server, such as stepwell.db",
        )
    seen = checks(path)
    if _unreadable(seen):
        return _report(path, seen, [])
    now = SystemClock().now_ms()
    found = inconsistencies(path, now)

    async def mend() -> list[bool]:
        return await _mend(SqliteStore.open(path, leader=False), found, now)

    return _report(path, seen, found, asyncio.run(mend()) if repair and found else ())


def _unreadable(checks: Sequence[Check]) -> bool:
    """Whether the rows cannot be read, or not be trusted."""
    return any(check.state == State.WRONG and check.name in ("schema", "file") for check in checks)


async def _mend(store: Store, found: Sequence[Finding], now: int) -> list[bool]:
    """What each repair did. Closes the store."""
    from stepwell.engine.repair import repair

    done: list[bool] = []
    try:
        for one in found:
            work = partial(repair, one.kind, one.who, one.shard, now)
            done.append(one.kind in MENDED and bool((await store.commit(work)).result))
    finally:
        await store.close()
    return done


def _report(store: str, checks: list[Check], found: Sequence[Finding], repaired: Sequence[bool] = ()) -> Report:
    done = repaired or [False] * len(found)
    cases = [
        Case(kind=one.kind, who=one.who, shard=one.shard, says=one.says, repair=MENDED.get(one.kind), repaired=yes)
        for one, yes in zip(found, done, strict=True)
    ]
    well = all(check.state != State.WRONG for check in checks) and all(case.repaired for case in cases)
    return Report(store=store, well=well, checks=checks, findings=cases)


def _tell(report: Report, repair: bool) -> None:
    from stepwell.views.wording import count, printable

    click.echo(report.store)
    for check in report.checks:
        _line(check.state, check.name, check.says, check.fix)
    told: Counter[str] = Counter()
    for case in report.findings:
        told[case.kind] += 1
        if told[case.kind] > _SHOWN_MAX:
            continue
        _line(State.OK if case.repaired else State.WRONG, case.kind, printable(case.says), "")
    for kind, number in told.items():
        if number > _SHOWN_MAX:
            more = f"{number - _SHOWN_MAX}{' or more' if number >= FINDINGS_MAX else ''}"
            click.echo(f"           {kind}: {more} others; --json has them")
        if kind in MENDED:
            click.echo(f"           {kind}: {'' if repair else '--repair: '}{MENDED[kind]}")
    if not report.findings and all(check.name != "schema" or check.state == State.OK for check in report.checks):
        _line(State.OK, "rows", "they fit together", "")
    wrong = sum(check.state == State.WRONG for check in report.checks)
    wrong += sum(not case.repaired for case in report.findings)
    click.echo("All is well." if report.well else f"{count(wrong, 'thing')} wrong.")


def _line(state: State, name: str, says: str, fix: str) -> None:
    click.echo(f"  {click.style(f'{state.value:<8}', fg=_COLOURS[state])} {name}: {says}")
    if fix and state != State.OK:
        click.echo(f"           fix: {fix}")


def _postgres(url: str, repair: bool) -> Report:
    from stepwell.storage.postgres.direct import connected

    async def examine() -> Report:
        from stepwell.storage.postgres.checkup import checks, inconsistencies
        from stepwell.storage.postgres.store import PostgresStore

        async with connected(url) as (connection, where):
            seen = await checks(connection, where, SystemClock())
            if any(check.state == State.WRONG and check.name in ("schema", "shards", "rights") for check in seen):
                return _report(where, seen, [])
            found, now = await inconsistencies(connection)
        repaired = await _mend(await PostgresStore.open(url), found, now) if repair and found else ()
        return _report(where, seen, found, repaired)

    return asyncio.run(examine())
