"""Starting a run again from a step, or with other data, over REST and by the command line (semantics §9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.conftest import Dev

NOTHING = "01HF7YAT00000000000000000A"
APP = """
from stepwell import Context, Stepwell

app = Stepwell("shop")


@app.create_function(id="pages", trigger="shop/paged")
async def pages(ctx: Context[dict]) -> list:
    return [await ctx.step.run(f"page-{n}", lambda number: number, n) for n in range(ctx.event.data["pages"])]


@app.create_function(id="declined", trigger="shop/declined", retries=0)
async def declined(ctx: Context[dict]) -> object:
    def charge() -> None:
        raise ValueError("declined")

    await ctx.step.run("before", lambda: 1)
    return await ctx.step.run("charge", charge)
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder: Path = tmp_path_factory.mktemp("dev")
    found = Dev(folder, app=APP)
    yield found
    found.close()


def test_a_run_is_started_again_from_a_step_with_other_data_and_says_so(dev: Dev) -> None:
    run_id = dev.start("shop/paged", pages=3)
    dev.ended(run_id)
    body = {"fromStep": {"stepId": "page-2", "input": [7]}, "outputs": {"page-1": "mine"}, "merge": {"more": True}}

    again = dev.http("POST", f"/v2/runs/{run_id}/rerun", body).json["data"]

    run = dev.ended(again["id"])
    assert run["output"] == [0, "mine", 7]
    assert (run["originalRunId"], run["fromStep"], run["copiedSteps"]) == (run_id, "page-2", 2)
    assert (run["inputReplaced"], len(run["overriddenSteps"]), run["eventEdited"]) == (True, 1, True)
    assert dev.get(f"/v2/events/{run['eventId']}")["data"] == {"pages": 3, "more": True}
    assert dev.get(f"/v2/runs/{run_id}")["rerunIds"] == [run["id"]]
    assert [step["copied"] for step in dev.get(f"/v2/runs/{run['id']}/trace")["steps"]] == [True, True, False]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"fromStep": {"stepId": "pag-2"}}, 404, "'page-2'"),
        ({"fromStep": {}}, 400, "stepId"),
        ({"fromStep": {"stepId": "page-2", "input": {}}}, 400, "input"),
        ({"outputs": {"page-1": 1}}, 400, "without a step"),
        ({"data": []}, 400, "data"),
        ({"data": {}, "merge": {}}, 400, "patch"),
        ({"data": {"n": "x" * 3_500_000}}, 400, "max size"),
    ],
)
def test_what_a_run_cannot_begin_with_is_refused(dev: Dev, body: object, status: int, told: str) -> None:
    run_id = dev.start("shop/paged", pages=3)
    dev.ended(run_id)

    reply = dev.http("POST", f"/v2/runs/{run_id}/rerun", body)

    assert (reply.status, told in str(reply.json)) == (status, True), reply.json
    assert dev.get(f"/v2/runs/{run_id}")["rerunIds"] == []


def test_the_command_begins_with_a_step(dev: Dev) -> None:
    run_id = dev.start("shop/paged", pages=3)
    dev.ended(run_id)

    done = dev.cli("rerun", run_id, "--from-step", "page-2", "--input", "[9]", "--output", "page-0=5", "--json")

    run = dev.ended(done.json["id"])
    assert run["output"] == [5, 1, 9]
    why = f"Somebody started run {run_id} again from step 'page-2', with 2 steps of that run: that is this run."
    assert why in dev.cli("why", run["id"]).out
    shown = dev.cli("run", run["id"])
    assert "from step 'page-2', with 2 steps of it, with another input, with 1 output given by hand" in shown.out
    assert shown.out.count("copied") == 2
    assert "from step 'page-2'" in dev.cli("rerun", run_id, "--from-step", "page-2").out


def test_the_command_begins_with_the_step_that_failed(dev: Dev) -> None:
    run_id = dev.start("shop/declined")
    dev.ended(run_id)

    again = dev.cli("rerun", run_id, "--from-failed", "--output", "charge=true", "--json").json["id"]

    assert dev.ended(again)["output"] is True
    other = dev.start("shop/paged", pages=1)
    dev.ended(other)
    assert "no step" in dev.cli("rerun", other, "--from-failed").err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--from-step", "a", "--from-failed"], "one of them"),
        (["--input", "[1]"], "--from-step"),
        (["--from-step", "a", "--input", "1"], "array"),
        (["--from-step", "a", "--input", "["], "not JSON"),
        (["--from-step", "a", "--output", "b"], "STEP=JSON"),
        (["--data", "[]"], "object"),
    ],
)
def test_the_command_says_how_it_is_used(dev: Dev, options: list[str], told: str) -> None:
    done = dev.cli("rerun", NOTHING, *options)

    assert (done.code, told in done.err) == (2, True), done.err
