"""A migration of 25,000 records in batches of 1,000, with a checkpoint after each.

Kill the process in the middle and start it again: it goes on after the last whole batch. The batch that was under way
is done again, and writes the same rows.

    python -m examples migration
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from dataclasses import dataclass
from datetime import date

from examples.base import app, database, home, paced, quiet
from stepwell import Context, NonRetriableError, Sync, event

RECORDS = 25_000
BATCH = 1_000
# The old database serves its users meanwhile: it gets a rest after each batch.
REST = paced(minutes=10)


@event("migration/requested")
@dataclass(frozen=True)
class MigrationRequested:
    name: str


@dataclass(frozen=True)
class Batch:
    """What one step did. It is the checkpoint too: the next step begins after ``last_id``."""

    last_id: int
    copied: int
    refused: int


@dataclass(frozen=True)
class Report:
    copied: int
    refused: int
    batches: int


@app.create_function(id="migration", trigger=MigrationRequested, concurrency=1, idempotency="event.data.name")
def migrate(ctx: Context[MigrationRequested, Sync]) -> Report:
    """A plain function: no ``await``, and the same steps. It runs in a thread."""
    last_id, copied, refused, batches = 0, 0, 0, 0
    # A run may have 1,000 steps. More batches than that would be a chain of runs, each one sending for the next.
    while (batch := ctx.step.run(f"after {last_id}", copy_batch, last_id)).last_id > last_id:
        last_id = batch.last_id
        copied += batch.copied
        refused += batch.refused
        batches += 1
        ctx.step.sleep(f"rest after {last_id}", REST)
    ctx.step.run("compare", compare, copied, refused)
    return Report(copied, refused, batches)


def copy_batch(after_id: int) -> Batch:
    """Copy the next records. In one transaction, and by key: done twice, it writes the same."""
    with database("legacy.db") as old:
        records = old.execute("SELECT * FROM kunden WHERE id > ? ORDER BY id LIMIT ?", [after_id, BATCH]).fetchall()
    customers: list[tuple[int, str, str, str]] = []
    refused: list[tuple[int, str]] = []
    for record in records:
        try:
            customers.append(transform(record["id"], record["name"], record["telefon"], record["seit"]))
        except ValueError as error:
            refused.append((record["id"], str(error)))
    with database("customers.db") as new:
        create_tables(new)
        new.executemany("INSERT OR REPLACE INTO customers VALUES (?, ?, ?, ?)", customers)
        new.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?)", refused)
        new.execute("INSERT INTO log (after_id, records) VALUES (?, ?)", [after_id, len(records)])
    return Batch(records[-1]["id"] if records else after_id, len(customers), len(refused))


def transform(id: int, name: str, phone: str, since: str) -> tuple[int, str, str, str]:
    """From what the old system allowed to what the new one expects. Raises ``ValueError``."""
    last, comma, first = name.partition(",")
    if not comma:
        raise ValueError(f"{name!r} is not 'last name, first name'")
    digits = "".join(character for character in phone if character.isdigit() or character == "+")
    day, month, year = since.split(".")
    return id, f"{first.strip()} {last.strip().title()}", digits, date(int(year), int(month), int(day)).isoformat()


def compare(copied: int, refused: int) -> None:
    """Do not trust the counting: ask both databases."""
    with database("legacy.db") as old:
        there = old.execute("SELECT count(*) FROM kunden").fetchone()[0]
    with database("customers.db") as new:
        here = new.execute("SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM refused)").fetchone()
    if tuple(here) != (copied, refused) or copied + refused != there:
        raise NonRetriableError(f"{there} records there; {tuple(here)} here, {(copied, refused)} counted")


def create_tables(new: sqlite3.Connection) -> None:
    new.execute("CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, since TEXT)")
    new.execute("CREATE TABLE IF NOT EXISTS refused (id INTEGER PRIMARY KEY, reason TEXT)")
    # What was really done, a row for each try: a migration that was killed shows how little was done twice.
    new.execute("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, after_id INTEGER, records INTEGER)")


def make_legacy_database() -> None:
    """The database that is to be replaced, as such databases are: some of what it holds fits no rule."""
    chance = random.Random(1998)
    firsts = ("Anna", "Bernd", "Carla", "Dieter", "Eva", "Frank", "Gerda", "Heinz", "Ilse", "Jan", "Karin", "Lars")
    lasts = ("ADLER", "BAUM", "CLASSEN", "DORN", "EICH", "FALK", "GRAF", "HAHN", "IHLE", "JUNG", "KERN", "LANG")
    with database("legacy.db") as old:
        if old.execute("SELECT 1 FROM sqlite_master WHERE name = 'kunden'").fetchone() is not None:
            return
        old.execute("CREATE TABLE kunden (id INTEGER PRIMARY KEY, name TEXT, telefon TEXT, seit TEXT)")
        old.executemany(
            "INSERT INTO kunden VALUES (?, ?, ?, ?)",
            (
                (
                    2 * number,  # ids with gaps, as nobody ever promised that there are none
                    f"{chance.choice(lasts)}{', ' if chance.random() > 0.001 else ' '}{chance.choice(firsts)}",
                    f"+49 ({chance.randrange(100, 1000)}) {chance.randrange(10_000, 1_000_000)}",
                    f"{chance.randrange(1, 31):02}.{chance.randrange(1, 13):02}.{chance.randrange(1985, 2026)}",
                )
                for number in range(1, RECORDS + 1)
            ),
        )


async def main() -> None:
    await asyncio.to_thread(make_legacy_database)
    async with app.embedded(str(home() / "migration.db")) as engine:
        await app.send(MigrationRequested("customers"))
        watch = asyncio.create_task(show_progress())
        await quiet(engine)
        watch.cancel()
    print(f"{await asyncio.to_thread(migrated)} of {RECORDS} records")


async def show_progress() -> None:
    seen = 0
    while True:
        if (now := await asyncio.to_thread(migrated)) > seen:
            print(f"{now} of {RECORDS} records", flush=True)
            seen = now
        await asyncio.sleep(0.05)


def migrated() -> int:
    """How many records the new database knows something of."""
    with database("customers.db") as new:
        create_tables(new)
        (count,) = new.execute("SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM refused)").fetchone()
    return int(count)
