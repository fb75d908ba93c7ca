"""What code has logged, over REST and by ``stepwell logs`` (ADR 0050)."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest

from tests import on_postgres
from tests.edge.conftest import STEPWELL, Dev, command, environment, eventually

APP = """
import asyncio
import logging
import time
from pathlib import Path

from stepwell import Context, Stepwell

app = Stepwell("shop")
bank = logging.getLogger("bank")
bank.setLevel(logging.INFO)
HERE = Path(__file__).parent


@app.create_function(id="bill", trigger="shop/ordered", retries=1)
async def bill(ctx: Context[dict]) -> None:
    ctx.logger.info("billing\\nin two lines")

    def charge() -> None:
        bank.info("called")
        if ctx.attempt == 0:
            ctx.logger.error("no \\x1b[31mline")
            raise OSError("no line")
        for number in range(502):
            ctx.logger.info("part %d", number)

    await ctx.step.run("charge", charge)
    ctx.logger.info("billed")


@app.create_function(id="slow", trigger="shop/slow")
async def slow(ctx: Context[dict]) -> None:
    async def gate() -> None:
        while not (HERE / "open").exists():
            await asyncio.sleep(0.01)

    await ctx.step.run("first", lambda: ctx.logger.info("begun"))
    await ctx.step.run("gate", gate)
    ctx.logger.info("open")


@app.create_function(id="long", trigger="shop/long")
async def long(ctx: Context[dict]) -> None:
    def in_thread() -> None:
        bank.info("in a thread")
        while not (HERE / "open").exists():
            time.sleep(0.01)
        bank.info("and on")

    async def on_loop() -> None:
        bank.info("on the loop")
        while not (HERE / "open").exists():
            await asyncio.sleep(0.01)

    ctx.logger.info("begins")
    await asyncio.gather(ctx.step.run("thread", in_thread), ctx.step.run("loop", on_loop))
    ctx.logger.info("ends")


@app.create_function(id="quiet", trigger="shop/quiet")
async def quiet(ctx: Context[dict]) -> None:
    logging.getLogger("bank").warning("not in a step, but in the run")
"""


@pytest.fixture
def logging_dev(start_dev: Callable[..., Dev]) -> Dev:
    return start_dev("--retry-interval", "10ms", app=APP)


@pytest.fixture
def billed(logging_dev: Dev) -> Iterator[tuple[Dev, str]]:
    run_id = logging_dev.start("shop/ordered")
    logging_dev.ended(run_id)
    yield logging_dev, run_id


def said(found: dict[str, Any]) -> list[tuple[str | None, int | None, str, str, str]]:
    return [(one["step"], one["attempt"], one["level"], one["logger"], one["text"]) for one in found["lines"]]


def told(dev: Dev, *args: str) -> list[str]:
    return command("logs", *args, cwd=dev.folder).out.splitlines()


def test_the_lines_of_a_run_are_told_with_their_step_and_attempt(billed: tuple[Dev, str]) -> None:
    dev, run_id = billed

    found = dev.get(f"/v2/runs/{run_id}/logs")

    lines = said(found)
    assert lines[:4] == [
        (None, None, "info", "stepwell.shop", "billing\nin two lines"),
        ("charge", 0, "info", "bank", "called"),
        ("charge", 0, "error", "stepwell.shop", "no \x1b[31mline"),
        ("charge", 1, "info", "bank", "called"),
    ]
    assert lines[-1] == (None, None, "info", "stepwell.shop", "billed")
    assert (len(lines), found["dropped"]) == (3 + 500 + 1, 3)
    assert [one["at"] for one in found["lines"]] == sorted(one["at"] for one in found["lines"])
    assert found["lines"][1]["stepId"] == dev.get(f"/v2/runs/{run_id}/trace")["steps"][0]["id"]


def test_they_are_asked_for_by_level_and_step(billed: tuple[Dev, str]) -> None:
    dev, run_id = billed

    worse = dev.get(f"/v2/runs/{run_id}/logs?level=warning")
    of_step = dev.get(f"/v2/runs/{run_id}/logs?step=charge&level=info")
    by_id = dev.get(f"/v2/runs/{run_id}/logs?step={of_step['lines'][0]['stepId']}")

    assert said(worse) == [("charge", 0, "error", "stepwell.shop", "no \x1b[31mline")]
    assert {one["step"] for one in of_step["lines"]} == {"charge"}
    assert by_id == of_step
    assert dev.get(f"/v2/runs/{run_id}/logs?step=nothing")["lines"] == []
    assert dev.http("GET", f"/v2/runs/{run_id}/logs?level=loud").status == 400
    assert dev.http("GET", "/v2/runs/01HF7YAT00000000000000000A/logs").status == 404


def test_the_command_shows_them_without_orders_to_the_terminal(billed: tuple[Dev, str]) -> None:
    dev, run_id = billed

    lines = told(dev, run_id)

    assert [line.split("Z  ")[-1] for line in lines[:5]] == [
        "info      billing",
        "    in two lines",
        "info      charge: called",
        "error     charge: no [31mline",
        "info      charge #2: called",
    ]
    assert lines[-2].endswith("info      billed")
    assert lines[-1] == "3 more lines are in the app's own log only"
    assert [line.split("  ")[-1].strip() for line in told(dev, run_id, "--level", "error")] == [
        "charge: no [31mline",
        "3 more lines are in the app's own log only",
    ]
    of_step = command("logs", "last", "--step", "charge", "--json", cwd=dev.folder).json
    assert of_step == dev.get(f"/v2/runs/{run_id}/logs?step=charge")


def test_a_run_that_has_logged_nothing_says_so_and_what_does_not_go_together_is_refused(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/quiet")
    logging_dev.ended(run_id)

    assert told(logging_dev, run_id, "--level", "error") == ["Nothing like that was logged."]
    refused = command("logs", run_id, "--follow", "--json", cwd=logging_dev.folder)
    assert (refused.code, "--follow" in refused.err) == (2, True)


def test_a_run_is_followed_to_its_end(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/slow")
    eventually(lambda: logging_dev.get(f"/v2/runs/{run_id}/logs")["lines"])
    done: list[list[str]] = []
    follower = Thread(target=lambda: done.append(told(logging_dev, run_id, "--follow")), daemon=True)
    follower.start()

    (logging_dev.folder / "open").touch()
    follower.join(30)

    assert [line.split("Z  ")[-1] for line in done[0]] == ["info      first: begun", "info      open"]


def test_lines_of_bodies_that_run_on_are_told_meanwhile_and_once(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/long")
    path = f"/v2/runs/{run_id}/logs"
    eventually(lambda: len(logging_dev.get(path)["lines"]) == 3)

    meanwhile = [(one["step"], one["attempt"], one["text"]) for one in logging_dev.get(path)["lines"]]
    assert meanwhile[0] == (None, None, "begins")
    assert sorted(meanwhile[1:]) == [("loop", 0, "on the loop"), ("thread", 0, "in a thread")]
    assert logging_dev.get(f"/v2/runs/{run_id}/trace")["steps"] != []  # they run, and have no result
    assert [line.split("info      ")[-1] for line in told(logging_dev, run_id, "--step", "thread")] == [
        "thread: in a thread"
    ]

    (logging_dev.folder / "open").touch()
    logging_dev.ended(run_id)
    texts = [one["text"] for one in logging_dev.get(path)["lines"]]
    assert sorted(texts) == ["and on", "begins", "ends", "in a thread", "on the loop"]
    assert (texts[0], texts[-1]) == ("begins", "ends")


def test_a_run_that_is_watched_shows_what_it_logs_beside_its_tree(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/long")
    watching = [*STEPWELL, *on_postgres.asking(logging_dev.folder, ("run", run_id, "--watch"))]
    with subprocess.Popen(
        watching, cwd=logging_dev.folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stderr is not None
        early = [watcher.stderr.readline() for _ in range(3)]  # while the bodies run, which nothing else would end
        (logging_dev.folder / "open").touch()
        tree, rest = watcher.communicate(timeout=30)

    assert early[0].endswith("info      begins\n")
    assert sorted(line.split("info      ")[-1] for line in early[1:]) == [
        "loop: on the loop\n",
        "thread: in a thread\n",
    ]
    assert [line.split("info      ")[-1] for line in rest.splitlines()] == ["thread: and on", "ends"]
    assert (watcher.returncode, "thread" in tree, "in a thread" in tree) == (0, True, False)

    alone = command("run", run_id, "--watch", "--json", cwd=logging_dev.folder)
    assert (alone.err, alone.json["run"]["status"]) == ("", "COMPLETED")


def test_what_is_logged_has_lines_of_its_own_above_the_tree_in_a_terminal(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/long")
    watching = [*STEPWELL, *on_postgres.asking(logging_dev.folder, ("run", run_id, "--watch"))]
    shown, terminal = pty.openpty()
    with subprocess.Popen(
        watching, cwd=logging_dev.folder, env={**environment(), "TERM": "xterm"}, stdout=terminal, stderr=terminal
    ) as watcher:
        os.close(terminal)
        text = b""
        while b"in a thread" not in text:
            text += os.read(shown, 65_536)
        (logging_dev.folder / "open").touch()
        with suppress(OSError):  # it has ended
            while more := os.read(shown, 65_536):
                text += more
    os.close(shown)

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    moments = [found.start() for found in re.finditer(r"\d{4}-\d\d-\d\dT", plain)]
    assert (len(moments), {plain[at - 1] for at in moments} - {"\r", "\n"}) == (5, set())
    assert watcher.returncode == 0
    assert plain.index("info      ends") < plain.rindex("COMPLETED")


def test_what_the_app_logs_without_a_handler_is_shown_as_before_and_kept(logging_dev: Dev) -> None:
    run_id = logging_dev.start("shop/quiet")
    logging_dev.ended(run_id)

    assert said(logging_dev.get(f"/v2/runs/{run_id}/logs")) == [
        (None, None, "warning", "bank", "not in a step, but in the run")
    ]
    eventually(lambda: "not in a step, but in the run" in logging_dev.output)
