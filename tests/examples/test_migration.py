"""All 25,000 records arrive or are refused, each batch once, also when the process dies in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from examples.migration import BATCH, RECORDS, MigrationRequested, make_legacy_database, migrate
from stepwell.testing import Harness
from tests.meta.sources import ROOT

BATCHES = RECORDS // BATCH


def tries(home: Path) -> list[int]:
    """The batches that were copied, by the id they begin after, in order: one that was copied twice is there twice."""
    with closing(sqlite3.connect(home / "customers.db")) as db:
        return [row[0] for row in db.execute("SELECT after_id FROM log WHERE records > 0 ORDER BY number")]


def difference(home: Path) -> list[tuple[int]]:
    """Records of the old database that the new one knows nothing of."""
    with closing(sqlite3.connect(home / "customers.db")) as db:
        db.execute("ATTACH ? AS old", [str(home / "legacy.db")])
        return db.execute(
            "SELECT id FROM old.kunden EXCEPT SELECT id FROM customers EXCEPT SELECT id FROM refused"
        ).fetchall()


@pytest.mark.slow
def test_all_records_are_copied_or_refused(t: Harness, home: Path):
    make_legacy_database()
    t.send(MigrationRequested("customers"))
    t.advance("1d")

    report = t.run(migrate).output
    assert report == {"copied": RECORDS - 152, "refused": 152, "batches": BATCHES}
    assert difference(home) == []
    with closing(sqlite3.connect(home / "customers.db")) as db:
        assert db.execute("SELECT count(*) FROM customers WHERE name GLOB '*[A-Z][A-Z]*'").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM customers WHERE since NOT GLOB '????-??-??'").fetchone() == (0,)


@pytest.mark.slow
def test_after_a_crash_it_goes_on_behind_the_last_batch(t: Harness, home: Path):
    make_legacy_database()
    t.send(MigrationRequested("customers"))
    t.advance("55m")
    before = tries(home)
    t.crash()
    t.advance("1d")

    assert 0 < len(before) < BATCHES
    assert tries(home) == [after * 2 for after in range(0, RECORDS, BATCH)]
    assert t.run(migrate).status == "COMPLETED"


@pytest.mark.slow
def test_it_is_done_once_however_often_it_is_asked_for(t: Harness):
    make_legacy_database()
    t.send(MigrationRequested("customers"))
    t.send(MigrationRequested("customers"))

    assert len(t.runs(migrate)) == 1


@pytest.mark.slow
def test_a_killed_process_is_followed_by_one_that_finishes_the_work(home: Path):
    command = [sys.executable, "-m", "examples", "migration"]
    slow = os.environ | {"DEMO_HOME": str(home), "DEMO_SPEED": "4000"}  # 150 ms of rest after each batch
    with subprocess.Popen(command, cwd=ROOT, env=slow, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        seen = next(int(line.split()[0]) for line in first.stdout if int(line.split()[0]) >= 3 * BATCH)
        first.send_signal(signal.SIGKILL)
    assert seen < RECORDS
    before = tries(home)

    fast = os.environ | {"DEMO_HOME": str(home), "DEMO_SPEED": "1000000"}
    second = subprocess.run(command, cwd=ROOT, env=fast, capture_output=True, text=True, timeout=60, check=True)

    assert second.stdout.splitlines()[-1] == f"{RECORDS} of {RECORDS} records"
    assert difference(home) == []
    # The batch under way when the process died may have been written without being remembered: that one, and no other.
    again = tries(home)[len(before) :]
    assert again[0] in (before[-1], before[-1] + 2 * BATCH)
    assert again == list(range(again[0], 2 * RECORDS, 2 * BATCH))
