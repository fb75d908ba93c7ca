"""What the benchmarks say of a machine can be trusted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
import uvloop

from benchmarks import compare, deep, embedded, floors, history, orders, waits, windows
from benchmarks.figures import FIGURES, GROUPS, Found, Group, Setting, bar, compared
from stepwell.model.questions import GetSteps, ListRuns
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.storage.sqlite import SqliteStore

OF_BACKLOGS = {*deep.BLOCKED, *deep.DRAINED, *orders.ORDERED, *waits.WAITING, *windows.WINDOWS, *windows.TURNS}

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdb /tmp/a\\040disk xfs rw 0 0
ramfs /over ramfs rw 0 0
/dev/vdc /over ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/user", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/below", "tmpfs"),
        ("/tmpfoo", "ext4"),
        ("/tmp/a disk/below", "xfs"),
        ("/over", "ext4"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_innermost_mount(folder: str, kind: str):
    assert floors.filesystem(Path(folder), MOUNTS) == kind


def test_where_no_mounts_are_listed_the_file_system_is_unknown():
    assert floors.filesystem(Path("/tmp"), "") == "unknown"


def test_a_temporary_folder_in_memory_is_not_written_to(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STEPWELL_BENCH_DIR", raising=False)
    monkeypatch.setattr(floors.tempfile, "gettempdir", lambda: "/memory")
    monkeypatch.setattr(floors, "_mounts", lambda: "tmpfs /memory tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\n")
    floors._scratch.cache_clear()
    try:
        assert floors.scratch().endswith("build/bench")
        assert floors.scratch_text().endswith("(ext4), because /memory is a RAM disk")
    finally:
        floors._scratch.cache_clear()


def test_every_figure_that_was_promised_has_a_name_that_stays():
    promised = {
        "sequential_step_ms",
        "sqlite_full_commit_ms",
        "steps_per_s",
        "steps_per_s_2kb",
        "step_ms_with_cpu_hog",
        "runs_per_s",
        "start_ms_p50",
        "start_ms_p99",
        "parallel_200_ms",
        "kib_per_sleeping_run",
        "wake_late_ms_p50",
        "wake_late_ms_p99",
        "events_per_s_1",
        "events_per_s_100",
        "idle_cpu_pct",
        "rss_mib",
        "ready_s",
    }

    assert promised <= set(FIGURES)
    assert sorted(name for group in GROUPS for name in group.names) == sorted(FIGURES)


def test_every_figure_with_a_bar_is_measured_with_a_past_but_those_without_a_file_and_those_of_one():
    barred = {name for name in FIGURES if bar(name, {"sqlite_full_commit_ms": 0.2}) is not None}
    barred = {name for name in barred if not name.startswith(("postgres_", "dashboard_"))}  # they bring their own past

    apart = barred - {name for group in GROUPS for name in compared(group)}

    assert {name for name in apart if name not in OF_BACKLOGS} == {
        "virtual_30_days_ms",
        "virtual_year_of_hourly_cron_s",
    }


@pytest.mark.parametrize(
    ("name", "before", "after", "is_worse"),
    [
        ("steps_per_s", 17_000.0, 10_100.0, True),  # the bar of 10,000 does not excuse it
        ("steps_per_s", 17_000.0, 13_000.0, False),
        ("steps_per_s", 8_000.0, 8_000.0, False),  # short of its bar, but not because of a past
        ("sequential_step_ms", 0.3, 0.5, True),
        ("start_ms_p99", 2.0, 3.5, False),
        ("start_ms_p99", 2.0, 4.5, True),
        ("idle_cpu_pct", 0.0, 0.6, False),  # what measuring cannot tell from nothing
        ("idle_cpu_pct", 0.0, 0.8, True),
    ],
)
def test_a_figure_is_worse_by_what_it_was_without_a_past(name: str, before: float, after: float, is_worse: bool):
    assert compare.worse(name, FIGURES[name].ratio(before, after)) is is_worse


@pytest.mark.parametrize(
    ("again", "ratio", "is_worse"),
    [([1.6, 1.1, 1.2], 1.2, False), ([1.1, 1.6, 1.5], 1.5, True)],
)
def test_before_a_figure_is_called_worse_both_are_measured_in_turn(again: list[float], ratio: float, is_worse: bool):
    taken: list[str | None] = []
    dear = iter([2.0, *again])

    def measure(setting: Setting) -> Found:
        taken.append(setting.path)
        return {"start_ms_p50": 0.3 * (next(dear) if setting.path else 1)}

    found = compare.compare(Group(("start_ms_p50",), measure), {"start_ms_p50": 0.3}, Setting(True, "past"))

    assert taken == ["past", *(None, "past") * 3]
    assert found["start_ms_p50"].ratio == pytest.approx(ratio)
    assert compare.worse("start_ms_p50", found["start_ms_p50"].ratio) is is_worse


def test_what_limits_block_is_released_one_by_one_and_the_rest_stays_blocked(tmp_path: Path):
    path = tmp_path / "past.db"

    history.block(path, one=400, keys=3, each=5)
    uvloop.run(embedded.run_all(lambda bench: embedded.limited(bench, 10), str(path)))

    db = apsw.Connection(str(path))
    blocked = dict(db.execute("SELECT function_id, count(*) FROM items WHERE backlog IS NOT NULL GROUP BY 1"))
    ended = db.execute("SELECT count(*) FROM runs WHERE ended_at IS NOT NULL").fetchall()[0][0]
    db.close()
    assert ended == 10
    assert 399 <= int(str(blocked["bench-limited"])) <= 400  # ten more were sent
    assert 12 <= int(str(blocked["bench-keyed"])) <= 15


def test_the_runs_of_a_past_are_runs_as_ours(tmp_path: Path):
    """They are written past the engine, because there are a million."""
    history.finish(tmp_path / "past.db", 20)

    async def look() -> tuple[list[Run], list[Step]]:
        store = SqliteStore.open(tmp_path / "past.db", leader=False)
        runs = await store.read(ListRuns(limit=100, output=True))
        steps = await store.read(GetSteps(runs[0].id))
        await store.close()
        return runs, steps

    runs, steps = asyncio.run(look())

    assert len(runs) == 20
    assert (runs[0].status, runs[0].output, runs[0].execution_version) == ("COMPLETED", b"null", -1)
    assert [step.status for step in steps] == ["COMPLETED"]


def test_a_backlog_is_made_of_runs_that_wait_as_if_they_had_been_sent(tmp_path: Path):
    path = tmp_path / "deep.db"

    deep.hold(path, keys=3, each=5)

    db = apsw.Connection(str(path))
    waiting = db.execute(
        "SELECT runs.locks, backlog, count(*) FROM items JOIN runs ON runs.id = run_id"
        " WHERE backlog IS NOT NULL AND runs.status = 'QUEUED' GROUP BY backlog"
    ).fetchall()
    total = db.execute("SELECT count(*) FROM runs").fetchall()
    db.close()
    assert [(locks, count) for locks, _, count in waiting] == [(f'["{backlog}"]', 5) for _, backlog, _ in waiting]
    assert (len(waiting), total) == (3, [(18,)])


def test_a_key_that_is_passed_over_shows():
    fair = [(n / 1000, f"u-{n % 10}") for n in range(5000)]
    unfair = [(n / 1000, "u-0" if n % 3 == 0 else f"u-{n % 10}") for n in range(5000)]

    assert deep.spread(fair) < 1.1
    assert deep.spread(unfair) > 4
    assert deep.spread([(n / 1000, f"u-{n}") for n in range(5000)]) == 1.0


def test_copies_of_runs_that_wait_wait_for_other_values(tmp_path: Path):
    path = tmp_path / "waits.db"

    waits.wait(path, 300)

    db = apsw.Connection(str(path))
    counts = db.execute("SELECT count(*), count(DISTINCT value), count(DISTINCT condition), min(path) FROM waits")
    found = counts.fetchall()
    last = db.execute("SELECT value, condition FROM waits WHERE value LIKE '%u-7-2'").fetchall()
    db.close()
    assert found == [(300, 300, 300, "data.user")]
    assert last == [("s:u-7-2", 'async.data.user == "u-7-2"')]
