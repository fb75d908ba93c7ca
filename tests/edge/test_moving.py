"""Export, import and backup of installations whose runs are in every state."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stepwell.server.moving import export, import_file
from stepwell.testing.audit import audit_file
from tests.edge import moved_app
from tests.edge.moved_app import begin, bodies, end, results, shop

pytestmark = pytest.mark.slow


def silent(done: int, rows: int) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], tuple[str, object]]:
    """What becomes of the runs where nothing is moved."""
    folder = tmp_path_factory.mktemp("golden")

    async def run() -> None:
        app = shop(folder)
        async with app.embedded(folder / "a.db") as engine:
            await begin(app, engine, folder / "a.db")
            await end(app, engine, folder, folder / "a.db")

    asyncio.run(run())
    return results(folder / "a.db")


async def test_runs_of_every_state_go_on_where_they_were_imported(
    tmp_path: Path, golden: dict[tuple[str, int], tuple[str, object]]
) -> None:
    app, first, second = shop(tmp_path), tmp_path / "a.db", tmp_path / "b.db"
    async with app.embedded(first, grace=0) as engine:
        await begin(app, engine, first)
    before = bodies(tmp_path)

    exported = await export(str(first), str(tmp_path / "all.gz"), silent)
    imported = await import_file(str(tmp_path / "all.gz"), str(second), silent)
    async with app.embedded(second) as engine:
        await end(app, engine, tmp_path, second)

    assert exported.rows == imported.rows == imported.written
    assert results(second) == golden
    assert len(golden) == moved_app.RUNS + 2
    assert set(bodies(tmp_path).values()) == {1}
    assert before <= bodies(tmp_path)
    assert audit_file(second) == []
