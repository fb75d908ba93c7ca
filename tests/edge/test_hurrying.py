"""Retrying now and skipping a sleep over REST and by the command line (semantics §9)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge.conftest import Dev, eventually

NOTHING = "01HF7YAT00000000000000000A"
APP = """
from pathlib import Path

from stepwell import Context, RetryAfterError, Stepwell

app = Stepwell("shop")
HERE = Path(__file__).parent


def when(name):
    if not (HERE / name).exists():
        raise RetryAfterError(f"{name} is closed", "1h")
    return name


@app.create_function(id="knock", trigger="shop/knocked", retries=3)
async def knock(ctx: Context[dict]) -> str:
    return await ctx.step.run("open", when, ctx.event.data["door"])


@app.create_function(id="rest", trigger="shop/rested")
async def rest(ctx: Context[dict]) -> str:
    await ctx.step.sleep("nap", "1h")
    return "awake"
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    found = Dev(tmp_path_factory.mktemp("dev"), "--no-reload", app=APP)
    yield found
    found.close()


def until(dev: Dev, run_id: str, status: str) -> None:
    eventually(lambda: [each["status"] for each in dev.get(f"/v2/runs/{run_id}/trace")["steps"]] == [status])


def test_a_step_is_tried_now_over_rest_and_by_the_command_line(dev: Dev) -> None:
    over_rest, by_command = dev.start("shop/knocked", door="front"), dev.start("shop/knocked", door="back")
    for run_id in (over_rest, by_command):
        until(dev, run_id, "ERRORED")
    for door in ("front", "back"):
        dev.open_gate(door)

    told = dev.http("POST", f"/v2/runs/{over_rest}/retry", {"stepId": "open"}).json["data"]
    said = dev.cli("retry", by_command)

    assert (told["steps"], told["code"], told["run"]["id"]) == (["open"], False, over_rest)
    assert said.out == f"shop-knock {by_command} tries 'open' again.\n"
    assert [dev.ended(each)["output"] for each in (over_rest, by_command)] == ["front", "back"]
    assert dev.cli("retry", by_command).out == f"shop-knock {by_command} waits for no attempt: COMPLETED.\n"
    assert dev.cli("retry", by_command, "--json").json["steps"] == []


def test_a_sleep_is_skipped_over_rest_and_by_the_command_line(dev: Dev) -> None:
    over_rest, by_command = dev.start("shop/rested"), dev.start("shop/rested")
    for run_id in (over_rest, by_command):
        until(dev, run_id, "SLEEPING")

    told = dev.http("POST", f"/v2/runs/{over_rest}/skip-sleep").json["data"]
    said = dev.cli("skip", by_command, "--step", "nap")

    assert told["steps"] == ["nap"]
    assert said.out == f"shop-rest {by_command} goes on: 'nap' is over.\n"
    assert [dev.ended(each)["output"] for each in (over_rest, by_command)] == ["awake", "awake"]
    assert dev.cli("skip", by_command).out == f"shop-rest {by_command} does not sleep: COMPLETED.\n"


@pytest.mark.parametrize("what", ["retry", "skip-sleep"])
def test_what_is_not_there_cannot_be_hurried(dev: Dev, what: str) -> None:
    run_id = dev.start("shop/rested")
    until(dev, run_id, "SLEEPING")

    assert dev.http("POST", f"/v2/runs/{NOTHING}/{what}").status == 404
    assert dev.http("POST", f"/v2/runs/{run_id}/{what}", {"stepId": "other"}).status == 404
    assert dev.http("POST", f"/v2/runs/{run_id}/{what}", {"stepId": 7}).status == 400
