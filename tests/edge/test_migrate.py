"""``stepwell migrate``, on a file and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from stepwell.cli import cli
from stepwell.storage.migrations import migrations
from tests import postgres

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as made:
        yield made


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(cli, ["migrate", *arguments], env=env)


def test_a_new_database_gets_its_tables_once(url: str):
    first, second = run("--store", url, "--shards", "4"), run("--store", url)

    assert first.exit_code == second.exit_code == 0, first.output
    assert first.output.startswith("applied      0001_initial.sql\n")
    assert second.output.startswith("was there    0001_initial.sql\n")
    assert second.output.endswith(f"is up to date: schema {migrations('postgres')[-1].number}, 4 shards\n")


def test_programs_read_what_was_done_and_no_password(url: str):
    done = msgspec.json.decode(run("--json", STEPWELL_STORE=url).stdout)

    assert (done["shards"], done["applied"], done["already"]) == (16, [m.name for m in migrations("postgres")], [])
    assert done["store"] == f"{url.partition('?')[0].rpartition('/')[2]} at {url.partition('host=')[2]}"
    assert (done["dryRun"], done["sql"], done["distributed"]) == (False, None, None)


def test_a_dry_run_prints_the_sql_and_changes_nothing(url: str):
    said = run("--store", url, "--shards", "8", "--dry-run")

    assert said.exit_code == 0, said.output
    assert "CREATE SCHEMA IF NOT EXISTS stepwell;" in said.output
    assert "generate_series(0, 8 - 1)" in said.output
    assert postgres.ask(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'stepwell'") == [(0,)]
    postgres.administrate(said.output, url)
    assert run("--store", url, "--dry-run").output.endswith("is up to date: schema 1\n")


def test_citus_is_refused_where_it_is_not_before_anything_is_made(url: str):
    said = run("--store", url, "--citus")

    assert said.exit_code == 1
    assert "there is no extension citus" in said.stderr
    assert postgres.ask(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'stepwell'") == [(0,)]


def test_a_number_of_shards_that_differs_is_refused(url: str):
    run("--store", url, "--shards", "4")

    said = run("--store", url, "--shards", "8")

    assert said.exit_code == 1
    assert "has 4 shards, and 8 were asked for" in said.stderr


def test_a_server_that_is_not_there_is_named_without_its_password():
    said = run("--store", "postgresql://ann:secret@127.0.0.1:1/shop?connect_timeout=1")

    assert said.exit_code == 1
    assert "the database shop at 127.0.0.1:1 does not answer" in said.stderr
    assert "secret" not in said.output


@pytest.mark.parametrize(
    "url", ["postgresql://[::1/shop", "postgresql://h:port/shop", "postgresql://ann:pa55/word@h/shop"]
)
def test_a_url_that_means_nothing_is_an_error_and_no_traceback(url: str):
    said = run("--store", url)

    assert said.exit_code == 1
    assert "error:" in said.stderr
    assert isinstance(said.exception, SystemExit)
    assert "pa55" not in said.output


def test_a_file_is_made_and_brought_up_to_date(tmp_path: Path):
    path = str(tmp_path / "s.db")

    dry, first, second = (run("--store", path, *more) for more in (("--dry-run",), (), ("--json",)))

    assert "CREATE TABLE runs" in dry.output
    assert first.output == f"applied      0001_initial.sql\n{path} is up to date: schema 1, 1 shard\n"
    assert msgspec.json.decode(second.stdout)["already"] == ["0001_initial.sql"]


def test_a_file_has_no_shards(tmp_path: Path):
    said = run("--store", str(tmp_path / "s.db"), "--shards", "4")

    assert said.exit_code == 1
    assert "one file is one shard" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_store_has_to_be_named():
    assert run(STEPWELL_STORE="").exit_code == 2
