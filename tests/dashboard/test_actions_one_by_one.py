"""Each action upon runs, steps and functions, by its form over HTTP, and what is in the store after it (ADR 0047)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboard.forms import HTML, Form, act, form, post
from tests.edge.conftest import Dev, eventually

pytestmark = pytest.mark.slow

APP = """
from pathlib import Path

from stepwell import BatchEvents, Context, Debounce, RetryAfterError, Stepwell

app = Stepwell("desk")
HERE = Path(__file__).parent


def when(name, value):
    if not (HERE / name).exists():
        raise RetryAfterError(f"{name} is closed", "1h")
    return value


@app.create_function(id="order", trigger="desk/ordered", retries=2)
async def order(ctx: Context[dict]) -> dict:
    price = await ctx.step.run("price", lambda amount: amount * 2, ctx.event.data["amount"])
    await ctx.step.sleep("cool-off", "3h")
    return {"price": price, "paid": await ctx.step.run("pay", lambda: price)}


@app.create_function(id="knock", trigger="desk/knocked", retries=3)
async def knock(ctx: Context[dict]) -> str:
    return await ctx.step.run("open", when, ctx.event.data["door"], "open")


@app.create_function(id="stumble", trigger="desk/stumbled", retries=3)
async def stumble(ctx: Context[dict]) -> str:
    return when(ctx.event.data["door"], "through")


@app.create_function(id="approve", trigger="desk/requested")
async def approve(ctx: Context[dict]) -> dict:
    return (await ctx.step.wait_for_event("approval", "desk/approved", match="data.id", timeout="3h")).data


@app.create_function(id="sign", trigger="desk/signed")
async def sign(ctx: Context[dict]):
    return await ctx.step.wait_for_signal("signature", f"sign-{ctx.event.data['id']}", timeout="3h")


@app.create_function(id="echo", trigger="desk/called")
async def echo(ctx: Context[dict]) -> dict:
    return ctx.event.data


@app.create_function(id="index", trigger="desk/changed", debounce=Debounce("1h", key="event.data.doc"))
async def index(ctx: Context[dict]) -> int:
    return ctx.event.data["rev"]


@app.create_function(id="mail", trigger="desk/mailed", batch_events=BatchEvents(50, timeout="1h"))
async def mail(ctx: Context[dict]) -> int:
    return len(ctx.events)
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    running = Dev(tmp_path_factory.mktemp("desk"), "--retry-interval", "50ms", "--no-reload", app=APP)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def step_of(desk: Dev, run_id: str, name: str, status: str) -> str:
    """The address of a step, once it is in this state."""

    def look() -> str | None:
        steps = desk.get(f"/v2/runs/{run_id}/trace")["steps"]
        return next((each["id"] for each in steps if (each["name"], each["status"]) == (name, status)), None)

    return f"/runs/{run_id}/steps/{eventually(look)}"


def run_at(desk: Dev, said: dict[str, str]) -> Any:
    """The run that an action leads to."""
    return desk.get(f"/v2{said['address']}")


def refused(desk: Dev, path: str, **changed: str) -> Form:
    reply = post(desk, form(desk, path), **changed)
    assert reply.status == 422, reply
    return Form(reply.text.decode())


# Steps ---------------------------------------------------------------------------------------------------------------


def test_a_run_that_sleeps_goes_on_when_its_sleep_is_skipped(desk: Dev) -> None:
    run_id = desk.start("desk/ordered", amount=4)
    at = step_of(desk, run_id, "cool-off", "SLEEPING")

    act(desk, f"{at}/skip")

    assert desk.ended(run_id)["output"] == {"price": 8, "paid": 8}
    assert "ended the sleep 'cool-off'" in json.dumps(desk.get(f"/v2/runs/{run_id}/trace")["notes"])
    assert desk.http("GET", f"{at}/skip", accept=HTML).status == 404


def test_a_run_goes_again_from_a_step_with_another_input_or_outputs_of_steps(desk: Dev) -> None:
    run_id = desk.start("desk/ordered", amount=4)
    asleep = step_of(desk, run_id, "cool-off", "SLEEPING")
    act(desk, f"{asleep}/skip")
    desk.ended(run_id)
    price, pay = step_of(desk, run_id, "price", "COMPLETED"), step_of(desk, run_id, "pay", "COMPLETED")

    other_input = act(desk, f"{price}/rerun", input="[50]")
    act(desk, f"{step_of(desk, run_at(desk, other_input)['id'], 'cool-off', 'SLEEPING')}/skip")
    outputs = act(desk, f"{pay}/rerun", outputs='{"price": 7}')
    own = act(desk, f"{pay}/rerun", output='"for nothing"')

    assert desk.ended(run_at(desk, other_input)["id"])["output"] == {"price": 100, "paid": 100}
    assert desk.ended(run_at(desk, outputs)["id"])["output"] == {"price": 7, "paid": 7}
    assert desk.ended(run_at(desk, own)["id"])["output"] == {"price": 8, "paid": "for nothing"}
    assert run_at(desk, own)["originalRunId"] == run_id


@pytest.mark.parametrize(
    ("step", "typed", "said"),
    [
        ("price", {"input": "{}"}, "It has to be a JSON array"),
        ("price", {"input": "[1]", "output": "1"}, "With an output it does not run"),
        ("cool-off", {"outputs": '{"nothing": 1}'}, "has no step 'nothing'"),
        ("cool-off", {"outputs": "[1]"}, "It has to be a JSON object, of results by step"),
    ],
)
def test_what_a_step_cannot_begin_with_is_refused_in_its_form(
    desk: Dev, step: str, typed: dict[str, str], said: str
) -> None:
    run_id = desk.start("desk/ordered", amount=1)
    at = step_of(desk, run_id, step, "COMPLETED" if step == "price" else "SLEEPING")

    assert said in refused(desk, f"{at}/rerun", **typed).text


def test_a_step_that_waits_for_its_next_attempt_is_tried_now(desk: Dev) -> None:
    run_id = desk.start("desk/knocked", door="step-door")
    at = step_of(desk, run_id, "open", "ERRORED")
    assert "open, which would be tried in 59m" in form(desk, f"{at}/retry").text

    desk.open_gate("step-door")
    act(desk, f"{at}/retry")

    run = desk.ended(run_id)
    assert (run["status"], run["output"]) == ("COMPLETED", "open")


def test_code_that_waits_for_its_next_attempt_is_tried_now(desk: Dev) -> None:
    run_id = desk.start("desk/stumbled", door="own-door")
    desk.why(run_id, "retrying")

    desk.open_gate("own-door")
    said = act(desk, f"/runs/{run_id}/steps/-/retry")

    assert said["text"] == "It is tried again."
    assert desk.ended(run_id)["output"] == "through"
    assert act(desk, f"/runs/{run_id}/steps/-/retry")["text"] == "Nothing waited to be tried again."


# Waits ---------------------------------------------------------------------------------------------------------------


def test_a_wait_is_answered_by_the_event_that_it_demands(desk: Dev) -> None:
    run_id = desk.start("desk/requested", id="x-1")
    at = step_of(desk, run_id, "approval", "WAITING")
    found = form(desk, f"{at}/answer")
    event = json.loads(found.given["events"])
    assert event == {"name": "desk/approved", "data": {"id": "x-1"}}

    other = post(desk, found, events=json.dumps({**event, "data": {"id": "x-2"}})).json
    assert "still waits" in other["text"]
    said = act(desk, f"{at}/answer", events=json.dumps({**event, "data": {"id": "x-1", "by": "ada"}}))

    assert said["text"] == "The run has its event."
    assert desk.ended(run_id)["output"] == {"id": "x-1", "by": "ada"}
    assert desk.http("GET", f"{at}/answer", accept=HTML).status == 404


def test_signals_reach_the_run_that_waits_for_them_or_nobody(desk: Dev) -> None:
    first, second = desk.start("desk/signed", id=1), desk.start("desk/signed", id=2)
    at = step_of(desk, first, "signature", "WAITING")
    step_of(desk, second, "signature", "WAITING")

    act(desk, f"{at}/answer", data='{"by": "ada"}')
    said = act(desk, "/runs/signal", signal="sign-2", data="")

    assert desk.ended(first)["output"] == {"signal": "sign-1", "data": {"by": "ada"}}
    assert said["address"] == f"/runs/{second}"
    assert desk.ended(second)["output"] == {"signal": "sign-2", "data": None}
    assert "no run waits for signal 'sign-2'" in refused(desk, "/runs/signal", signal="sign-2").text
    assert "Something has to be given here." in refused(desk, "/runs/signal").text


# Functions -----------------------------------------------------------------------------------------------------------


def test_a_function_is_invoked_once_with_the_data_of_its_last_run(desk: Dev) -> None:
    desk.ended(desk.start("desk/called", who="ada"))
    found = form(desk, "/functions/desk-echo/invoke")
    assert json.loads(found.given["data"]) == {"who": "ada"}

    first, second = (post(desk, found, data='{"who": "eve"}').json for _ in range(2))

    assert first == second
    assert desk.ended(run_at(desk, first)["id"])["output"] == {"who": "eve"}
    assert json.loads(form(desk, "/functions/desk-echo/invoke").given["data"]) == {"who": "eve"}
    assert "It has to be a JSON object" in refused(desk, "/functions/desk-echo/invoke", data="[]").text


def test_a_function_is_paused_with_choices_and_resumed(desk: Dev) -> None:
    at = "/functions/desk-echo"
    said = act(desk, f"{at}/pause", events="hold", runs="hold", reason="rates are wrong")
    assert said["address"] == at
    (shown,) = [each for each in desk.get("/v2/orders") if each["functionId"] == "desk-echo"]
    assert (shown["events"], shown["runs"], shown["reason"]) == ("hold", "hold", "rates are wrong")
    run_id = desk.start("desk/called", held=True)
    desk.why(run_id, "paused")

    act(desk, f"{at}/resume")

    assert desk.ended(run_id)["output"] == {"held": True}
    assert "no pause of its own" in act(desk, f"{at}/resume")["text"]
    assert "Choose one of these." in refused(desk, f"{at}/pause", runs="burn").text
    assert "the limit is 500" in refused(desk, f"{at}/pause", reason="x" * 501).text


@pytest.mark.parametrize("of", ["/functions/desk-echo", "/apps/desk"])
@pytest.mark.parametrize(("do", "undo"), [("drain", "undrain"), ("archive", "unarchive")])
def test_what_is_drained_or_archived_starts_nothing_until_that_is_taken_back(
    desk: Dev, of: str, do: str, undo: str
) -> None:
    act(desk, f"{of}/{do}", reason="moving")
    (order,) = desk.get("/v2/orders")
    assert (order["kind"], order["reason"]) == (do, "moving")
    event_id = desk.send("desk/called")
    assert desk.get(f"/v2/events/{event_id}/runs")["runs"] == []

    act(desk, f"{of}/{undo}")

    assert desk.get("/v2/orders") == []
    desk.start("desk/called")
    assert "did not hold" in act(desk, f"{of}/{undo}")["text"]


def test_an_app_is_paused_and_everything_is_drained(desk: Dev) -> None:
    act(desk, "/apps/desk/pause", events="skip", runs="finish")
    act(desk, "/functions/drain")
    assert {(each["kind"], each["appId"]) for each in desk.get("/v2/orders")} == {("pause", "desk"), ("drain", None)}

    act(desk, "/functions/undrain")
    act(desk, "/apps/desk/resume")

    assert desk.get("/v2/orders") == []
    assert desk.http("GET", "/apps/none/pause", accept=HTML).status == 404


# Windows -------------------------------------------------------------------------------------------------------------


def test_what_a_debounce_holds_is_started_or_dropped_by_key(desk: Dev) -> None:
    for doc in ("a/1", "b"):
        desk.send("desk/changed", doc=doc, rev=7)
    at = "/functions/desk-index/windows"
    assert "1 event of a/1 is held back." in form(desk, f"{at}/run?control=debounce&key=a%2F1").text

    started = act(desk, f"{at}/run?control=debounce&key=a%2F1")
    act(desk, f"{at}/drop?control=debounce&key=b")

    assert desk.ended(run_at(desk, started)["id"])["output"] == 7
    assert desk.get("/v2/windows?control=debounce") == []
    assert desk.http("GET", f"{at}/run?control=debounce&key=b", accept=HTML).status == 404
    assert desk.http("GET", f"{at}/run?control=throttle", accept=HTML).status == 404


def test_a_batch_is_started_before_it_is_full(desk: Dev) -> None:
    for number in range(3):
        desk.send("desk/mailed", number=number)

    started = act(desk, "/functions/desk-mail/windows/run?control=batch")

    assert desk.ended(run_at(desk, started)["id"])["output"] == 3


# Many runs -----------------------------------------------------------------------------------------------------------


def asked_again(desk: Dev, path: str, **changed: str) -> Form:
    """What is asked once the runs are counted."""
    reply = post(desk, form(desk, path), **changed)
    assert reply.status == 200, reply
    return Form(reply.text.decode())


def order_text(desk: Dev, address: str, said: str) -> str:
    """The page of an order, once it says this."""

    def look() -> str:
        page = desk.http("GET", address, accept=HTML).text.decode()
        return page if said in page else ""

    return eventually(look)


def test_many_runs_are_counted_and_then_cancelled_as_the_list_was_filtered(desk: Dev) -> None:
    meant = [desk.start("desk/requested", id=number, group="x") for number in range(2)]
    other = desk.start("desk/requested", id=9, group="y")
    path = "/runs/bulk/cancel?function=desk-approve&q=event.data.group+%3D%3D+%22x%22&age=1h"
    counted = asked_again(desk, path)
    assert "Cancel 2 runs of desk-approve?" in counted.text
    late = desk.start("desk/requested", id=10, group="x")

    first, second = (post(desk, counted).json for _ in range(2))

    assert first == second
    assert first["go"] is True
    assert [desk.ended(each)["status"] for each in meant] == ["CANCELLED", "CANCELLED"]
    order_text(desk, first["address"], "It is done.")
    assert [desk.get(f"/v2/runs/{each}")["status"] for each in (other, late)] == ["RUNNING", "RUNNING"]
    assert len(desk.get("/v2/cancellations")) == 1
    assert desk.http("GET", f"{first['address']}/stop", accept=HTML).status == 404


def test_many_runs_go_again_at_a_rate_until_somebody_stops_that(desk: Dev) -> None:
    for number in range(3):
        desk.ended(desk.start("desk/called", many=number))
    path = "/runs/bulk/replay?app=desk&status=completed&q=event.data.many+%3E+0"
    assert form(desk, path).given["function"] == "app:desk"
    counted = asked_again(desk, path, rate="1/h")
    assert "Run 2 runs of the app desk again?" in counted.text

    said = post(desk, counted).json
    order_text(desk, said["address"], '<b class="num">1 run</b> started again of <b class="num">2</b>')
    act(desk, f"{said['address']}/stop")

    assert "Somebody stopped it." in order_text(desk, said["address"], "Somebody")
    (replay,) = desk.get("/v2/replays")
    assert (replay["matched"], replay["id"]) == (2, said["address"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("path", "typed", "said"),
    [
        ("cancel", {}, "Something has to be given here."),
        ("cancel", {"function": "nothing"}, "Choose one of these."),
        ("cancel", {"function": "desk-mail"}, "No run of it that has not ended fits."),
        ("cancel", {"function": "desk-mail", "after": "yesterday"}, "Write a moment like"),
        ("cancel", {"function": "desk-mail", "condition": "event.data."}, "event.data."),
        ("replay", {"function": "desk-mail", "rate": "fast"}, "the rate is 'fast'"),
        ("replay", {"function": "app:none"}, "there is no app 'none'"),
    ],
)
def test_what_cannot_be_done_to_many_is_said_before_anything_is_counted(
    desk: Dev, path: str, typed: dict[str, str], said: str
) -> None:
    found = form(desk, f"/runs/bulk/{path}?function=")
    found.given["function"] = ""

    reply = post(desk, found, **typed)

    assert reply.status == 422
    assert said in Form(reply.text.decode()).text


def test_a_search_that_is_no_condition_is_said_to_be_no_part_of_it(desk: Dev) -> None:
    assert "The search for 'ada' is no part of this" in form(desk, "/runs/bulk/cancel?q=ada").text
