"""Pausing and resuming a function over REST, by the command line, in Python, and over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepwell import ConfigurationError, Event, NotFound, Stepwell
from stepwell.model.questions import Outcomes
from tests.edge.conftest import PATIENCE_S, Dev, eventually

HELD = {"events": "hold", "runs": "hold", "reason": "the bank is down"}


def pause(dev: Dev, function: str, **choices: str) -> Any:
    reply = dev.http("POST", f"/v2/functions/{function}/pause", choices)
    assert reply.status == 200, reply
    return reply.json["data"]


def resume(dev: Dev, function: str) -> bool:
    reply = dev.http("POST", f"/v2/functions/{function}/resume")
    assert reply.status == 200, reply
    resumed: bool = reply.json["data"]["resumed"]
    return resumed


def test_a_paused_function_shows_since_when_and_why(dev: Dev) -> None:
    shown = pause(dev, "large", reason="the bank is down")

    assert {**shown["pause"], "since": ""} == {
        "since": "",
        "events": "skip",
        "runs": "finish",
        "reason": "the bank is down",
        "cancellationId": None,
    }
    assert dev.get("/v2/functions/shop-large") == shown
    assert "shop-large  paused" in dev.cli("functions").out
    assert (resume(dev, "large"), resume(dev, "large")) == (True, False)
    assert dev.get("/v2/functions/shop-large")["pause"] is None


def test_who_resumes_a_function_hears_that_its_app_is_paused(dev: Dev) -> None:
    pause(dev, "large")
    paused = dev.cli("pause", "--app", "shop")
    assert paused.code == 0, paused
    said = [dev.cli("resume", "large").out for _ in range(2)]
    dev.cli("resume", "--app", "shop")

    assert said == [
        "shop-large is no longer paused by itself. Its app is: stepwell resume --app shop\n",
        "shop-large was not paused by itself. Its app is: stepwell resume --app shop\n",
    ]
    assert dev.cli("resume", "large").out == "shop-large was not paused.\n"


def test_an_event_that_was_skipped_says_so(dev: Dev) -> None:
    pause(dev, "shop-bill", reason="the bank is down")
    event_id = dev.send("shop/ordered")
    invoked = dev.http("POST", "/v2/apps/shop/functions/bill/invoke", {"data": {}})
    resume(dev, "shop-bill")

    (outcome,) = dev.get(f"/v2/events/{event_id}/runs")["outcomes"]
    assert (outcome["functionId"], outcome["kind"]) == ("shop-bill", "paused")
    assert "It did not start shop-bill, paused: the function has been paused since" in dev.cli("why", event_id).out
    assert (invoked.status, invoked.json["errors"][0]["code"]) == (409, "paused")


def test_a_run_that_is_held_says_so_until_it_goes_on(dev: Dev) -> None:
    pause(dev, "shop-bill", **HELD)
    run_id = dev.start("shop/ordered")

    gate = dev.why(run_id, "paused")
    assert (gate["functionId"], gate["reason"]) == ("shop-bill", "the bank is down")
    said = dev.cli("why", run_id).out
    assert "Its function has been paused since" in said
    assert "stepwell resume shop-bill" in said
    resume(dev, "shop-bill")
    assert dev.ended(run_id)["status"] == "COMPLETED"


def test_the_commands_pause_and_resume(dev: Dev) -> None:
    done = dev.cli("pause", "large", "--events", "hold", "--runs", "cancel", "--reason", "wrong amounts")

    assert (done.code, done.out.splitlines()) == (
        0,
        [
            "shop-large is paused. Events start runs that wait. The runs that there are get cancelled.",
            "Let it go on: stepwell resume shop-large",
        ],
    )
    found = dev.cli("pause", "large", "--json").json["pause"]
    assert (found["events"], found["runs"]) == ("skip", "finish")
    assert dev.cli("resume", "large").out == "shop-large goes on.\n"
    assert dev.cli("resume", "large").out == "shop-large was not paused.\n"
    assert dev.cli("resume", "large", "--json").json["resumed"] is False


def test_runs_that_are_not_wanted_any_more_are_cancelled(dev: Dev) -> None:
    run_id = dev.start("shop/sold", amount=200)
    dev.why(run_id, "sleeping")

    order = pause(dev, "large", runs="cancel")["pause"]["cancellationId"]
    resume(dev, "large")

    assert dev.ended(run_id)["reason"] == f"cancellation {order}"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v2/functions/none/pause", {}, 404, "not-found"),
        ("/v2/functions/none/resume", {}, 404, "not-found"),
        ("/v2/functions/large/pause", {"events": "drop"}, 400, "invalid-body"),
        ("/v2/functions/large/pause", {"runs": "skip"}, 400, "invalid-body"),
        ("/v2/functions/large/pause", {"reason": "x" * 501}, 400, "invalid-body"),
        ("/v2/functions/large/pause", {"reason": "two\nlines"}, 400, "invalid-configuration"),
    ],
)
def test_what_cannot_be_is_refused(dev: Dev, path: str, body: Any, status: int, code: str) -> None:
    reply = dev.http("POST", path, body)

    assert (reply.status, reply.json["errors"][0]["code"]) == (status, code)


def test_a_command_names_what_it_does_not_find(dev: Dev) -> None:
    done = dev.cli("pause", "bil")

    assert done.code == 1
    assert "did you mean 'shop-bill'" in done.err


@pytest.mark.slow
def test_a_pause_outlives_the_process(start_dev: Callable[..., Dev]) -> None:
    first = start_dev()
    eventually(lambda: first.http("GET", "/health").status == 200)
    pause(first, "shop-bill", **HELD)
    waiting = first.start("shop/ordered")
    first.process.kill()
    first.exit_code()

    second = start_dev()
    eventually(lambda: second.http("GET", "/health").status == 200)
    assert second.why(waiting, "paused")["reason"] == "the bank is down"
    later = second.start("shop/ordered")
    second.why(later, "paused")
    resume(second, "shop-bill")
    assert [second.ended(run_id)["status"] for run_id in (waiting, later)] == ["COMPLETED"] * 2


# In Python ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Stepwell:
    app = Stepwell("shop")

    @app.create_function(id="bill", trigger="shop/ordered")
    async def bill(ctx: Any) -> str:
        return "billed"

    return app


@pytest.mark.parametrize("paused", [True, False])
async def test_what_comes_between_the_decision_and_its_answer_knows_of_it(
    app: Stepwell, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """An engine that is alone on its file reads what functions there are only when it has changed them."""
    async with app.embedded(":memory:") as engine:
        if not paused:
            await engine.pause("bill", events="hold")
        load, sent = engine.engine.load, list[str]()

        async def late() -> None:
            if not sent:
                sent.append("on its way")
                sent[:] = await app.send(Event("shop/ordered"))
            await load()

        monkeypatch.setattr(engine.engine, "load", late)
        await (engine.pause("bill") if paused else engine.resume("bill"))

        if paused:
            assert [each.kind for each in await engine.engine.store.read(Outcomes(sent[0]))] == ["paused"]
        else:
            (run,) = await engine.runs(sent[0])
            async with asyncio.timeout(PATIENCE_S):
                assert await engine.wait(run.id) == "billed"


async def test_other_processes_on_the_file_hear_of_it(app: Stepwell, tmp_path: Path) -> None:
    other = Stepwell("shop")
    other.create_function(id="bill", trigger="shop/ordered")(app.functions["shop-bill"].handler)
    async with app.embedded(tmp_path / "one.db") as leader, other.embedded(tmp_path / "one.db") as follower:
        assert (leader.leads, follower.leads) == (True, False)
        await follower.pause("bill", events="hold")
        (event_id,) = await app.send(Event("shop/ordered"))
        (run,) = await leader.runs(event_id)
        assert run.started_at is None

        assert await follower.resume("shop-bill")
        async with asyncio.timeout(PATIENCE_S):
            assert await leader.wait(run.id) == "billed"
        assert not await leader.resume("bill")


async def test_a_function_that_there_is_not_is_refused(app: Stepwell) -> None:
    async with app.embedded(":memory:") as engine:
        for ask in (engine.pause, engine.resume):
            with pytest.raises(NotFound, match="there is no function 'shop-none'"):
                await ask("none")
        with pytest.raises(ConfigurationError, match="choose one of"):
            await engine.pause("bill", runs="skip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
