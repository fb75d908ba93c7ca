"""The commands beside ``dev``, as people and as programs use them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from stepwell.cli.client import data
from stepwell.cli.show import functions_table, runs_table
from stepwell.clock import SystemClock
from stepwell.model.event import rfc3339
from stepwell.views.functions import FunctionView
from stepwell.views.nouns import ListedRun
from tests.edge.conftest import STEPWELL, Dev, command, eventually, ran

pytestmark = pytest.mark.slow

NO_RUN = "01HF7YAT00000000000000000A"


def test_send_says_what_was_started(dev: Dev) -> None:
    done = dev.cli("send", "shop/ordered", "--data", '{"order": 1}')

    assert done.code == 0
    assert re.search(r"^shop/ordered  [0-9A-Z]{26}\n  started shop-bill  [0-9A-Z]{26}\n$", done.out)


def test_send_reads_a_file_or_standard_input_and_takes_every_field(dev: Dev) -> None:
    (dev.folder / "order.json").write_text('{"from": "file"}')

    from_file = dev.cli("send", "cli/sent", "--data", "@order.json", "--json")
    from_input = dev.cli(
        *("send", "cli/sent", "--data", "-", "--id", "k1", "--ts", "2026-01-02T03:04:05Z", "--user", '{"u": 1}'),
        "--json",
        input='{"from": "input"}',
    )

    first, second = (dev.get(f"/v2/events/{done.json['id']}") for done in (from_file, from_input))
    assert first["data"] == {"from": "file"}
    assert (second["data"], second["id"], second["user"]) == ({"from": "input"}, "k1", {"u": 1})
    assert second["ts"] == "2026-01-02T03:04:05.000Z"


def test_send_tells_that_nothing_listens_and_what_was_probably_meant(dev: Dev) -> None:
    done = dev.cli("send", "shop/orderd")

    assert done.code == 0
    assert "0 functions started" in done.out
    assert "Did you mean 'shop/ordered'?" in done.out


def test_send_does_not_claim_that_an_event_did_nothing_where_it_may_have_resumed_a_run(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=24)
    dev.why(run_id, "waiting")

    done = dev.cli("send", "shop/approved", "--data", '{"id": 24}')

    assert "0 functions started" in done.out
    assert "It may still have resumed runs that waited for it, or cancelled runs" in done.out
    assert dev.ended(run_id)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--data", "{order: 1}"], "quotes included"),
        (["--data", "[1]"], "must be a JSON object"),
        (["--data", "@missing.json"], "missing.json cannot be read"),
        (["--ts", "tomorrow"], "not a moment"),
        (["--user", "me"], "not JSON"),
    ],
)
def test_send_refuses_wrong_options_before_it_sends(tmp_path: Path, options: list[str], word: str) -> None:
    done = command("send", "a/b", *options, cwd=tmp_path)

    assert done.code == 2
    assert word in done.err


def test_a_name_the_server_refuses_is_explained(dev: Dev) -> None:
    done = dev.cli("send", "inngest/mine")

    assert done.code == 1
    assert "reserved" in done.err and "fix:" in done.err


def test_a_run_can_be_followed_to_its_end(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")

    done = dev.cli("run", run_id, "--watch")

    assert done.code == 0
    assert f"shop-bill  {run_id}  COMPLETED in" in done.out
    assert re.search(r"✓ charge  \d+ ms", done.out)
    assert re.search(r"✓ cool-off  \d+ ms  slept", done.out)
    assert 'output  "billed"' in done.out


def test_following_a_run_that_fails_fails(dev: Dev) -> None:
    run_id = dev.start("shop/failing")

    done = dev.cli("run", run_id, "--watch")

    assert done.code == 1
    assert re.search(r"✗ attempt 1 of 2  \d\d:\d\d:\d\d  \d+ ms  ValueError: card declined", done.out)
    assert "the same" in done.out
    assert 'raise ValueError("card declined")' in done.out


def test_every_attempt_at_a_step_is_told_to_programs(dev: Dev) -> None:
    run_id = dev.start("shop/refused")
    dev.ended(run_id)

    (step,) = dev.cli("run", run_id, "--json").json["steps"]

    failed, last = step["attempts"]
    assert (step["status"], step["attempt"], step["maxAttempts"]) == ("COMPLETED", 1, 3)
    assert (failed["attempt"], failed["status"], failed["outputBytes"]) == (0, "ERRORED", 0)
    assert failed["error"]["message"] == "card declined"
    assert failed["queuedAt"] == failed["startedAt"] == step["startedAt"]
    assert (last["attempt"], last["status"], last["error"], last["retryAt"]) == (1, "COMPLETED", None, None)
    assert last["queuedAt"] == failed["retryAt"] <= last["startedAt"] <= last["endedAt"] == step["endedAt"]
    assert last["outputBytes"] == step["outputBytes"] == len('{"charged":"o1"}')


def test_a_run_that_waits_says_for_what(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=21)
    dev.why(run_id, "waiting")

    done = dev.cli("run", run_id)

    assert "◷ approval  waits for shop/approved if" in done.out
    assert "It waits in step 'approval' for an event 'shop/approved'" in done.out


def test_runs_are_named_by_the_end_of_their_id_or_as_the_last(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")

    by_end, last = dev.cli("run", run_id[-6:].lower(), "--json"), dev.cli("run", "last", "--json")

    assert by_end.json["run"]["id"] == last.json["run"]["id"] == run_id


def test_runs_lists_and_filters(dev: Dev) -> None:
    run_id = dev.start("shop/failing")
    dev.ended(run_id)

    table = dev.cli("runs", "--function", "shop-fail", "--status", "failed", "--limit", "5")
    listed = dev.cli("runs", "--function", "shop-fail", "--json").json

    assert re.search(rf"FAILED +shop-fail +shop/failing +\d+ ms  {run_id}", table.out)
    assert run_id in {run["id"] for run in listed}


def test_runs_takes_the_id_of_a_function_as_it_is_written_in_code(dev: Dev) -> None:
    run_id = dev.start("shop/ordered")

    listed = dev.cli("runs", "--function", "bill", "--json").json

    assert run_id in {run["id"] for run in listed}
    assert {run["functionId"] for run in listed} == {"shop-bill"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("nope", ""), ("shop-bil", "'shop-bill'"), ("aprove", "'shop-approve'"), ("Fail", "'shop-fail'")],
)
def test_runs_of_a_function_that_does_not_exist_are_an_error_that_names_the_nearest(
    dev: Dev, name: str, meant: str
) -> None:
    done = dev.cli("runs", "--function", name)

    assert (done.code, done.out) == (1, "")
    assert f"there is no function {name!r}" in done.err and "list them: stepwell functions" in done.err
    assert (f"did you mean {meant}?" in done.err) if meant else ("did you mean" not in done.err)


def test_why_explains_runs_and_events(dev: Dev) -> None:
    failed = dev.start("shop/failing")
    dev.ended(failed)
    event_id = dev.send("shop/sold", amount=1)

    of_run, of_event = dev.cli("why", failed), dev.cli("why", event_id)

    assert "Step 'decline' failed after 2 attempts: ValueError: card declined." in of_run.out
    assert "event.data.amount > 100 is not true for it" in of_event.out
    assert dev.cli("why", failed, "--json").json["cause"]["step"] == "decline"
    assert of_run.out.endswith(f"\n{dev.url}/runs/{failed}#step=decline\n")
    assert of_event.out.endswith(f"\n{dev.url}/events/{event_id}\n")
    assert dev.cli("run", failed).out.endswith(f"\n{dev.url}/runs/{failed}\n")


def test_no_page_is_named_where_a_server_has_none(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--no-reload", "--no-ui")
    run_id = server.start("shop/ordered")
    server.ended(run_id)
    event_id = server.get(f"/v2/runs/{run_id}")["eventId"]

    run, why, event = server.cli("run", run_id), server.cli("why", run_id), server.cli("why", event_id)

    assert "charge" in run.out and "shop-bill" in why.out + event.out
    assert "http://" not in run.out + why.out + event.out


def test_cancel_ends_a_run_once(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=22)

    first, second = dev.cli("cancel", run_id), dev.cli("cancel", run_id, "--json")

    assert (first.code, first.out) == (0, f"shop-approve {run_id} is cancelled.\n")
    assert (second.code, second.json["cancelled"]) == (0, False)
    assert dev.get(f"/v2/runs/{run_id}")["status"] == "CANCELLED"


def test_a_cancelled_run_waits_for_nothing_any_more(dev: Dev) -> None:
    waits, sleeps = dev.start("shop/requested", id=23), dev.start("shop/sold", amount=300)
    for run_id, gate in ((waits, "waiting"), (sleeps, "sleeping")):
        dev.why(run_id, gate)
        dev.cli("cancel", run_id)

    waited, slept = dev.cli("run", waits).out, dev.cli("run", sleeps).out

    assert re.search(r"■ approval  .+  cancelled while it waited for shop/approved", waited)
    assert re.search(r"■ think  .+  cancelled while it slept", slept)
    assert "until" not in waited + slept


def test_functions_and_what_starts_them(dev: Dev) -> None:
    table, listed = dev.cli("functions"), dev.cli("functions", "--json").json

    assert re.search(r"shop-large +shop/sold  if event.data.amount > 100", table.out)
    assert "shop-bill" in {function["id"] for function in listed}


@pytest.mark.parametrize("columns", [40, 90, 130])
def test_functions_that_have_left_their_app_are_marked(columns: int) -> None:
    now = 1_767_225_600_000
    live = FunctionView(
        id="shop-bill",
        app_id="shop",
        name="bill",
        version=1,
        triggers=[],
        updated_at=rfc3339(now),
        archived_at=None,
        next_tick=None,
        configuration=msgspec.Raw(b"{}"),
    )
    gone = msgspec.structs.replace(live, id="shop-old", archived_at=rfc3339(now - 3 * 86_400_000))
    screen = StringIO()

    Console(file=screen, width=columns, markup=False).print(functions_table([live, gone], now, columns))

    first, second = screen.getvalue().split("shop-bill")[1].split("shop-old")
    assert "archived" not in first
    assert "archived 3d 0h ago" in second


def test_events_are_listed(dev: Dev) -> None:
    event_id = dev.send("cli/listed", n=7)

    table, listed = dev.cli("events", "--name", "cli/listed"), dev.cli("events", "--limit", "1", "--json").json

    assert event_id in table.out and '{"n": 7}' in table.out
    assert listed[0]["internalId"] == event_id


def test_names_and_data_are_shown_as_they_are(dev: Dev) -> None:
    event_id = dev.send("[red]bold[/red]", list=["[green]", ":smile:"])

    table = dev.cli("events", "--limit", "1").out

    assert event_id in table and "[red]bold[/red]" in table and '["[green]", ":smile:"]' in table


@pytest.mark.parametrize("args", [("run", NO_RUN), ("why", NO_RUN), ("cancel", NO_RUN), ("run", "nonsense!")])
def test_what_is_not_there_is_said(dev: Dev, args: tuple[str, ...]) -> None:
    done = dev.cli(*args)

    assert done.code == 1
    assert args[1] in done.err and "fix:" in done.err


def test_a_server_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    done = command("runs", "--url", "http://127.0.0.1:9", cwd=tmp_path)

    assert done.code == 1
    assert "no server answers at http://127.0.0.1:9" in done.err
    assert "stepwell dev" in done.err


def test_commands_find_the_server_of_their_directory(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--no-reload")
    run_id = dev.start("shop/sold", amount=1000)

    below = dev.folder / "deep" / "down"
    below.mkdir(parents=True)

    assert eventually(lambda: run_id in command("runs", cwd=below).out)


def test_a_database_can_be_read_while_nobody_or_somebody_has_it_open(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--no-reload")
    run_id = dev.start("shop/sold", amount=1000)

    beside = command("runs", "--db", ".stepwell/dev.db", cwd=dev.folder)
    dev.close()
    alone = command("runs", "--db", ".stepwell/dev.db", cwd=dev.folder)
    missing = ran(*STEPWELL, "runs", "--db", "missing.db", cwd=dev.folder)  # a file, whatever the others are

    assert run_id in beside.out and run_id in alone.out
    assert missing.code == 1 and not (dev.folder / "missing.db").exists()


def test_help_and_version_name_the_commands_without_loading_them(tmp_path: Path) -> None:
    help_, version = command("--help", cwd=tmp_path), command("--version", cwd=tmp_path)

    assert version.out == "stepwell 0.1.0\n"
    for name in ("dev", "send", "runs", "run", "why", "cancel", "functions", "apps", "events"):
        assert re.search(rf"^  {name} +\w", help_.out, re.MULTILINE)


@pytest.mark.parametrize(
    "args", [("nothing",), ("runz",), ("runs", "--limit", "0"), ("run",), ("runs", "--watch", "--json")]
)
def test_wrong_usage_is_a_code_of_its_own(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert command(*args, cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("send", b"p/\xff"), "is not text in UTF-8"),
        (("send", "p/x", "--data", b'{"a":"\xff"}'), "is not text in UTF-8"),
        (("runs", "--function", b"\xff"), "is not text in UTF-8"),
        (("runs", "--token", "a\nb"), "the token is not one"),
        pytest.param(
            ("runs", "--db", "app.py/x.db"),
            "not a directory",
            marks=pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does"),
        ),
    ],
)
def test_what_cannot_be_sent_or_read_is_said_in_a_sentence(
    tmp_path: Path, args: tuple[str | bytes, ...], word: str
) -> None:
    (tmp_path / "app.py").touch()

    done = command(*(os.fsdecode(arg) for arg in args), cwd=tmp_path)

    assert done.code in (1, 2)
    assert word in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("target", ["plain.txt", "plain.txt:app", "./plain.txt", "plain"])
def test_a_file_that_is_no_python_is_not_taken_for_a_module(tmp_path: Path, target: str) -> None:
    (tmp_path / "plain.txt").touch()
    (tmp_path / "plain").touch()

    done = command("dev", target, cwd=tmp_path)

    assert done.code == 2
    assert f"{target.partition(':')[0]} is not a .py file" in done.err and "fix:" in done.err


@pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does")
@pytest.mark.parametrize("args", [("dev", "app.py"), ("runs",), ("why", "last")])
def test_an_empty_name_of_a_database_is_said_to_be_empty(tmp_path: Path, args: tuple[str, ...]) -> None:
    (tmp_path / "app.py").touch()

    done = command(*args, "--db", "", cwd=tmp_path)

    assert done.code == 2
    assert "'--db' / '--store': it is empty" in done.err


def test_what_a_server_leaves_beside_its_database_is_not_taken_for_source() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()

    assert {"*.db", "*.db-wal", "*.db-shm", "*.db-leader", "*.db-gate"} <= set(ignored)


def test_a_mistyped_command_is_guessed(tmp_path: Path) -> None:
    assert "Did you mean 'run' or 'runs'?" in command("runz", cwd=tmp_path).err


@pytest.mark.parametrize("columns", [40, 60, 90, 130])
def test_a_list_of_runs_fits_the_terminal_and_never_cuts_an_id(dev: Dev, columns: int) -> None:
    run_id = dev.start("shop/ordered")
    runs = data(dev.http("GET", "/v2/runs?limit=5").text, list[ListedRun])
    screen = StringIO()

    Console(file=screen, width=columns, markup=False).print(runs_table(runs, SystemClock().now_ms(), columns))

    lines = screen.getvalue().splitlines()
    assert any(line.rstrip().endswith(run_id) for line in lines)
    assert max(len(line) for line in lines) <= columns


def test_what_is_rare_among_very_many_is_found_in_several_pages(start_dev: Callable[..., Dev]) -> None:
    """The state has an index, the function too, both together have none: 2,000 runs are looked at for one answer."""
    dev = start_dev(
        app="""
from stepwell import NonRetriableError, Stepwell
app = Stepwell("shop")

@app.create_function(id="rare", trigger="rare")
async def rare(ctx):
    raise NonRetriableError("no")

@app.create_function(id="often", trigger="often")
async def often(ctx):
    raise NonRetriableError("no")
"""
    )
    run_id = dev.start("rare")
    dev.ended(run_id)
    for _ in range(3):
        assert dev.http("POST", f"/e/{dev.event_key}", [{"name": "often", "data": {}}] * 700).status == 200
    eventually(lambda: dev.get("/v2/runs?status=RUNNING") == dev.get("/v2/runs?status=QUEUED") == [])

    first = dev.http("GET", "/v2/runs?function=rare&status=FAILED").json
    listed = dev.cli("runs", "--function", "rare", "--status", "failed", "--json").json

    assert (first["data"], first["page"]["hasMore"]) == ([], True)
    assert [run["id"] for run in listed] == [run_id]
