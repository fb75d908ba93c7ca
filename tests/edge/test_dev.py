"""``stepwell dev`` from its start to its stop: what it loads, reloads, survives and leaves behind."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.conftest import APP, Dev, command, eventually

pytestmark = pytest.mark.slow

Start = Callable[..., Dev]


def edit(dev: Dev, before: str, after: str) -> None:
    """Change the app, once it runs, as an editor does: a new file in the place of the old one."""
    assert dev.url
    text = (dev.folder / "app.py").read_text()
    assert before in text
    draft = dev.folder / "app.py.draft"
    draft.write_text(text.replace(before, after))
    draft.replace(dev.folder / "app.py")


def outcome(dev: Dev, name: str) -> object:
    return dev.ended(dev.start(name))["output"]


def test_the_log_tells_what_happens_to_events_runs_and_steps(start_dev: Start) -> None:
    dev = start_dev()
    dev.ended(dev.start("shop/ordered"))

    log = dev.said("completed")

    assert "shop, 7 functions (app.py, reloaded when it changes)" in log
    for told in ("→ shop/ordered", "started  01", "✓ shop-bill", "charge  ", "sleeps until", "slept", "■ shop-bill"):
        assert told in log


def test_the_log_can_be_read_by_programs(start_dev: Start) -> None:
    dev = start_dev("--json-logs", "--retry-interval", "50ms")
    run_id = dev.start("shop/failing")
    dev.ended(run_id)
    dev.said('"kind":"ended"')

    lines = [json.loads(line) for line in dev.output.splitlines()]

    (end,) = [line for line in lines if line["kind"] == "ended"]
    assert (end["run"], end["function"], end["status"]) == (run_id, "shop-fail", "FAILED")
    assert end["error"] == "ValueError: card declined"


def test_changed_code_is_taken_up(start_dev: Start) -> None:
    dev = start_dev()
    assert outcome(dev, "shop/ordered") == "billed"

    edit(dev, 'return "billed"', 'return "billed anew"')
    dev.said("app.py changed, reloaded: 7 functions")

    assert outcome(dev, "shop/ordered") == "billed anew"


def test_a_changed_module_that_the_app_imports_is_taken_up_too(start_dev: Start, tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text("PRICE = 1\n")
    dev = start_dev(
        app=APP.replace("import asyncio", "import asyncio\nimport prices").replace('"billed"', "prices.PRICE")
    )
    assert outcome(dev, "shop/ordered") == 1

    (tmp_path / "prices.py").write_text("PRICE = 2\n")
    dev.said("prices.py changed, reloaded")

    assert outcome(dev, "shop/ordered") == 2


def test_a_run_goes_on_across_a_reload_and_repeats_no_step(start_dev: Start) -> None:
    dev = start_dev("--grace", "100ms")
    run_id = dev.start("shop/exported", user="u1", gate="across")
    waiting = dev.start("shop/requested", id=5)
    dev.why(run_id, "executing")

    edit(dev, 'return "approved" if found', 'return "approved by new code" if found')
    dev.said("app.py changed, reloaded")
    dev.open_gate("across")
    dev.send("shop/approved", id=5)

    assert dev.ended(run_id)["output"] == "across"
    assert dev.ended(waiting)["output"] == "approved by new code"
    assert dev.get(f"/v2/runs/{run_id}/trace")["notes"] == []


def test_code_that_is_no_python_does_not_replace_code_that_is(start_dev: Start) -> None:
    dev = start_dev()

    edit(dev, "def decline():", "def decline(:")
    dev.said("the version from before goes on running")

    assert "app.py:" in dev.output and "def decline(:" in dev.output
    assert outcome(dev, "shop/ordered") == "billed"
    edit(dev, "def decline(:", "def decline():")
    edit(dev, '"billed"', '"billed again"')
    dev.said("app.py changed, reloaded")
    assert outcome(dev, "shop/ordered") == "billed again"


def test_an_app_that_does_not_load_leaves_its_runs_waiting_until_it_does(start_dev: Start) -> None:
    dev = start_dev()
    dev.get("/v2/functions")

    edit(dev, "HERE =", 'raise RuntimeError("no database")\nHERE =')
    log = dev.said("runs of the functions known from before wait")
    run_id = dev.start("shop/ordered")
    gate = dev.why(run_id, "unserved")

    assert "RuntimeError: no database" in log and "importlib" not in log
    assert gate["registered"] is True
    edit(dev, 'raise RuntimeError("no database")\n', "")
    assert dev.ended(run_id)["output"] == "billed"


def test_an_app_that_never_loaded_is_waited_for(start_dev: Start) -> None:
    dev = start_dev(app="import nothing_of_this_name\n")
    dev.said("No module named 'nothing_of_this_name'")

    (dev.folder / "app.py").write_text(APP)

    dev.said("reloaded: 7 functions")
    assert outcome(dev, "shop/ordered") == "billed"


def test_a_wrong_declaration_is_explained_and_waited_for(start_dev: Start) -> None:
    dev = start_dev(app=APP.replace("retries=1", 'retries="many"'))

    log = dev.said("start nothing, because no function is known yet")

    assert "retries" in log and "'many'" in log


def test_nobody_is_refused_while_it_reloads(start_dev: Start) -> None:
    dev = start_dev()
    dev.get("/v2/health")

    edit(dev, 'return "billed"', 'return "billed anew"')
    sent = 0
    while "changed, reloaded" not in dev.output:
        dev.send("shop/unheard")
        sent += 1

    assert sent > 0
    assert len(dev.get("/v2/events?name=shop/unheard&limit=1000")) == sent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_middle_of_a_run_loses_nothing(start_dev: Start, number: signal.Signals) -> None:
    first = start_dev("--grace", "50ms")
    run_id = first.start("shop/exported", user="u1", gate="after-the-stop")
    first.why(run_id, "executing")

    first.signal(number)
    code = first.exit_code()
    second = start_dev("--no-reload")
    second.open_gate("after-the-stop")

    assert code == 0
    assert f"{number.name}: stopping, waiting up to 50ms for 1 call" in first.output
    assert second.ended(run_id)["output"] == "after-the-stop"
    assert second.get(f"/v2/runs/{run_id}/trace")["notes"] == []


def test_a_stop_lets_calls_finish_within_their_grace(start_dev: Start) -> None:
    dev = start_dev("--grace", "20s")
    run_id = dev.start("shop/exported", user="u1", gate="within")
    dev.why(run_id, "executing")

    dev.signal(signal.SIGTERM)
    dev.said("stopping, waiting")
    dev.open_gate("within")

    assert dev.exit_code() == 0
    assert (
        f'"id":"{run_id}"'
        in command("runs", "--status", "completed", "--db", ".stepwell/dev.db", "--json", cwd=dev.folder).out
    )


def test_a_second_signal_does_not_wait(start_dev: Start) -> None:
    dev = start_dev("--grace", "60s")
    run_id = dev.start("shop/exported", user="u1", gate="never")
    dev.why(run_id, "executing")

    dev.signal(signal.SIGTERM)
    dev.said("stopping, waiting")
    dev.signal(signal.SIGTERM)

    assert dev.exit_code() == 1


def test_a_killed_server_is_followed_by_one_that_goes_on(start_dev: Start) -> None:
    first = start_dev()
    run_id = first.start("shop/exported", user="u1", gate="after-the-kill")
    first.why(run_id, "executing")

    first.signal(signal.SIGKILL)
    first.exit_code()
    second = start_dev("--no-reload")
    second.open_gate("after-the-kill")

    assert second.ended(run_id)["output"] == "after-the-kill"


@pytest.mark.sqlite("one process leads on a file, and another takes over; on PostgreSQL all are peers")
def test_a_second_server_on_the_same_database_sends_and_reads_and_takes_over(start_dev: Start) -> None:
    first, second = start_dev("--no-reload"), None
    first.get("/v2/health")
    second = start_dev("--no-reload")
    second.said("another process runs what is in .stepwell/dev.db")

    run_id = second.start("shop/ordered")
    assert second.ended(run_id)["output"] == "billed"
    first.signal(signal.SIGKILL)

    assert second.ended(second.start("shop/ordered"))["output"] == "billed"


def test_a_port_that_was_asked_for_and_is_in_use_is_not_replaced(start_dev: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        dev = start_dev("--port", str(port))

        assert dev.exit_code() == 1
    assert f"port {port} is in use" in dev.output
    assert "--port" in dev.output


@pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process from outside")
def test_a_full_disk_refuses_events_and_recovers_by_itself(start_dev: Start) -> None:
    dev = start_dev("--no-reload")
    dev.ended(dev.start("shop/ordered"))
    unlimited = resource.RLIM_INFINITY

    resource.prlimit(dev.process.pid, resource.RLIMIT_FSIZE, (0, unlimited))
    refused = dev.http("POST", "/e/k", {"name": "shop/ordered", "id": "while-full"})
    read = dev.http("GET", "/v2/runs")
    ill = dev.http("GET", "/health")
    resource.prlimit(dev.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))

    assert (refused.status, refused.json["status"], refused.json["ids"]) == (503, 503, [])
    assert refused.headers["retry-after"] == "1"
    assert read.status == 200
    assert ill.status == 503
    assert "nothing can be written" in ill.json["message"]
    accepted = eventually(lambda: dev.http("POST", "/e/k", {"name": "shop/ordered", "id": "while-full"}).json["ids"])
    (run,) = dev.get(f"/v2/events/{accepted[0]}/runs")["runs"]
    assert dev.ended(run["id"])["output"] == "billed"
    assert dev.http("GET", "/health").status == 200


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["dev", "missing.py"], "there is no file missing.py"),
        (["dev", "missing_module"], "there is no module 'missing_module'"),
        (["dev", "app.py", "--host", "0.0.0.0"], "--token"),
        (["dev", "app.py", "--retry-interval", "soon"], "not a length of time: write it like 500ms, 90s"),
        (["dev", "app.py", "--retention", "long"], "not a length of time"),
        (["dev", "app.py", "--retention", "0"], "0 keeps nothing"),
        (["dev", "app.py", "--retention", "-1d"], "not a length of time"),
        (["dev", "app.py", "--grace", "-1"], "not a length of time"),
    ],
)
def test_wrong_usage_is_explained(tmp_path: Path, args: list[str], word: str) -> None:
    (tmp_path / "app.py").write_text(APP)

    done = command(*args, cwd=tmp_path)

    assert done.code == 2
    assert word in done.err


@pytest.mark.parametrize(
    ("target", "text", "word"),
    [
        ("app.py", "x = 1\n", "app.py has no app"),
        ("app.py:shop", APP, "'shop' does not exist"),
        ("app.py:charge", APP, "'charge' is not a Stepwell app"),
        ("app.py", APP.replace("app = ", "one = two = ").replace("@app", "@one") + 'two = Stepwell("b")\n', "2 apps"),
        ("app.py", "raise SystemExit(3)\n", "calls exit(3)"),
    ],
)
def test_without_reload_an_app_that_cannot_be_found_ends_it(
    start_dev: Start, target: str, text: str, word: str
) -> None:
    dev = start_dev("--no-reload", app=text, target=target)

    assert dev.exit_code() == 1
    assert word in dev.output


@pytest.mark.parametrize("target", ["app", "app.py:app", "pack.age:app", "pack/age.py"])
def test_an_app_is_named_by_file_or_module(start_dev: Start, tmp_path: Path, target: str) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "age.py").write_text(APP)

    dev = start_dev("--no-reload", target=target)

    assert len(dev.get("/v2/functions")) == 7


def test_code_that_ends_the_process_is_named_before_it_ends(start_dev: Start) -> None:
    app = """
from stepwell import Stepwell

app = Stepwell("shop")


@app.create_function(id="bill", trigger="shop/ordered")
async def bill(ctx):
    async def charge():
        raise KeyboardInterrupt

    await ctx.step.run("charge", charge)
"""
    dev = start_dev("--no-reload", app=app)

    dev.cli("send", "shop/ordered")  # which may not live to hear the answer

    assert dev.exit_code() == 1
    assert re.search(r"KeyboardInterrupt\(\).* function='shop-bill' run='[0-9A-Z]{26}'", dev.output)


def test_it_leaves_nothing_behind_but_its_database(start_dev: Start) -> None:
    dev = start_dev("--no-reload")
    dev.get("/v2/health")
    eventually((dev.folder / ".stepwell" / "url").exists)

    dev.signal(signal.SIGTERM)
    dev.exit_code()

    left = {path.name for path in (dev.folder / ".stepwell").iterdir()}
    assert "url" not in left
    assert left <= {".gitignore", "dev.db", "dev.db-leader", "dev.db-gate"}


def test_nothing_is_kept_in_memory_only(start_dev: Start) -> None:
    dev = start_dev("--no-reload", "--db", ":memory:")
    assert outcome(dev, "shop/ordered") == "billed"

    assert not (dev.folder / ".stepwell" / "dev.db").exists()
