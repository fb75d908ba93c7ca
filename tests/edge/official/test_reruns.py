"""Runs of official SDKs that begin with a step of another run, with what people have changed (semantics §9.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edge.official.conftest import Both, Sdk
from tests.edge.provider import Provider

pytestmark = pytest.mark.slow


def again(both: Both, run: Any, **body: Any) -> Any:
    reply = both.dev.http("POST", f"/v2/runs/{run['id']}/rerun", body)
    assert reply.status == 200, reply
    return both.dev.ended(reply.json["data"]["id"])


def test_results_before_the_step_are_taken_over(sdk: Sdk) -> None:
    first = sdk.run("loop", times=4)
    steps = sdk.trace(first["id"])["steps"]
    sdk.app.forget()

    outputs = {steps[0]["id"]: "mine"}
    run = again(sdk, first, fromStep={"stepId": steps[2]["id"]}, outputs=outputs)

    assert run["output"] == ["mine", 1, 2, 3]
    assert sdk.app.did("turn") == 2


def test_a_run_begins_with_the_step_that_failed_and_goes_another_way(sdk: Sdk) -> None:
    first = sdk.run("rolls-back")
    assert first["status"] == "FAILED"
    sdk.app.forget()

    again(sdk, first, fromStep={"stepId": "charge"}, outputs={"charge": True})
    assert sdk.app.ledger() == []

    again(sdk, first, fromStep={"stepId": "charge"})
    assert [line["what"] for line in sdk.app.ledger()] == ["charge", "cancel hotel", "cancel flight"]


def test_other_arguments_reach_the_body(sdk: Sdk) -> None:
    """Protocol §5.3. The Python SDK would take them for the result of the step, so it is told nothing."""
    first = sdk.run("adds")
    assert first["output"] == 5

    if sdk.language == "js":
        run = again(sdk, first, fromStep={"stepId": "add", "input": [20, 22]})
        assert (run["output"], run["inputReplaced"]) == (42, True)
    else:
        body = {"fromStep": {"stepId": "add", "input": [20, 22]}}
        reply = sdk.dev.http("POST", f"/v2/runs/{first['id']}/rerun", body)
        assert (reply.status, "Inngest's SDK for Python" in reply.json["errors"][0]["why"]) == (400, True)


def test_a_call_that_javascript_wraps_is_made_with_another_prompt(javascript: Both) -> None:
    run = again(javascript, javascript.run("js/wraps"), fromStep={"stepId": "wrapped", "input": ["bye"]})

    assert run["output"] == "BYE"
    (step,) = javascript.trace(run["id"])["steps"]
    assert step["details"] == {"input": ["bye"]}


def test_a_model_is_sent_another_body(javascript: Both, provider: Provider) -> None:
    name = f"js-again-{javascript.version}"
    first = javascript.run("js/infers", url=f"{provider.url}/{name}/v1/")

    again(javascript, first, fromStep={"stepId": "openai", "input": [{"messages": ["edited"]}]})

    bodies = [asked.json for asked in provider.asked(name) if asked.path.endswith("/chat/completions")]
    assert bodies == [{"messages": [], "model": "m"}, {"messages": ["edited"], "model": "m"}]
    assert javascript.app.did("before") == 1


def test_a_model_that_the_python_sdk_asks_is_sent_another_body(python: Both, provider: Provider) -> None:
    name = f"py-again-{python.app.port}"
    first = python.run("py/infers", url=f"{provider.url}/{name}/v1/")
    step = python.trace(first["id"])["steps"][1]

    again(python, first, fromStep={"stepId": step["id"], "input": [{"messages": ["edited"]}]})

    bodies = [asked.json for asked in provider.asked(name) if asked.path.endswith("/chat/completions")]
    assert [body["messages"] for body in bodies] == [[], ["edited"]]


def test_our_own_sdk_gets_other_arguments_over_http(own: Both) -> None:
    first = own.run("own/steps")
    own.app.forget()

    run = again(own, first, fromStep={"stepId": "s3", "input": ["other"]})

    assert run["status"] == "COMPLETED"
    assert [line["what"] for line in own.app.ledger() if line["what"] != "call"] == ["other", "s4"]
