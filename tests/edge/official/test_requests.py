"""Models and APIs that the server asks for apps of each SDK, over real HTTP. Numbers are those of the checklist."""

from __future__ import annotations

import json

import pytest

from tests.edge.official.conftest import Both
from tests.edge.provider import Provider

pytestmark = pytest.mark.slow


def shown(both: Both, run_id: str) -> str:
    """All that anybody is shown of a run, and what the server has written to its terminal."""
    return json.dumps([both.trace(run_id), both.dev.get(f"/v2/runs/{run_id}"), both.dev.output])


def test_68_the_python_sdk_asks_models(python: Both, provider: Provider) -> None:
    run = python.run("py/infers", url=f"{provider.url}/py-good/v1/")

    assert [each["model"] for each in run["output"]] == ["m-1", "m-1"]
    openai, anthropic = provider.asked("py-good")[-2:]
    assert (openai.path, openai.headers["authorization"]) == (
        "/py-good/v1/chat/completions",
        "Bearer sk-planted-in-python",
    )
    assert openai.json == {"messages": [], "max_tokens": 9, "model": "m"}
    assert (anthropic.path, anthropic.headers["x-api-key"]) == ("/py-good/v1/messages", "sk-planted-in-python")
    assert python.app.did("before") == 1
    step = python.trace(run["id"])["steps"][1]
    assert (step["kind"], step["details"]["status"], step["details"]["input_tokens"]) == ("aiInfer", 200, 3)
    assert "sk-planted" not in shown(python, run["id"])


def test_68_a_500_is_tried_again_and_the_python_sdk_catches_the_last(python: Both, provider: Provider) -> None:
    name = f"py-bad-{python.app.port}"
    run = python.run("py/infers", url=f"{provider.url}/{name}/fails/2")

    assert run["output"][0]["model"] == "m-1"
    assert len(provider.asked(name)) == 6  # two that fail and one that does not, each
    attempts = [attempt["status"] for attempt in python.trace(run["id"])["steps"][1]["attempts"]]
    assert attempts == ["ERRORED", "ERRORED", "COMPLETED"]

    worse = python.run("py/infers", url=f"{provider.url}/{name}-worse/fails/9")
    assert worse["output"][0]["name"] == "AIGatewayError"
    assert worse["output"][0]["message"] == "127.0.0.1 answered with status 500: no: Bearer [key]"
    assert "sk-planted" not in shown(python, worse["id"])


def test_68_the_javascript_sdk_asks_models(javascript: Both, provider: Provider) -> None:
    name = f"js-good-{javascript.version}"
    run = javascript.run("js/infers", url=f"{provider.url}/{name}/v1/")

    assert [each["model"] for each in run["output"]] == ["m-1", "m-1"]
    openai, gemini = provider.asked(name)
    assert (openai.headers["authorization"], openai.json["model"]) == ("Bearer sk-planted-in-javascript", "m")
    assert gemini.path == f"/{name}/v1/models/m:generateContent?key=sk-planted-in-javascript"
    assert javascript.app.did("before") == 1
    assert [step["kind"] for step in javascript.trace(run["id"])["steps"]] == ["run", "aiInfer", "aiInfer"]
    assert run["output"][1]["asked"].endswith("?key=[key]")  # which the provider has repeated
    assert "sk-planted" not in shown(javascript, run["id"])


def test_68_a_500_is_tried_again_and_the_javascript_sdk_catches_the_last(javascript: Both, provider: Provider) -> None:
    name = f"js-bad-{javascript.version}"
    run = javascript.run("js/infers", url=f"{provider.url}/{name}/fails/9")

    assert run["output"][0]["message"] == "127.0.0.1 answered with status 500: no: Bearer [key]"
    assert len(provider.asked(name)) == 6
    assert javascript.app.did("before") == 1
    assert "sk-planted" not in shown(javascript, run["id"])


def test_a_call_that_javascript_wraps_runs_in_the_app(javascript: Both) -> None:
    run = javascript.run("js/wraps")

    assert run["output"] == "HELLO"
    (step,) = javascript.trace(run["id"])["steps"]
    assert (step["kind"], javascript.app.did("wrapped")) == ("aiWrap", 1)
    assert step["details"] == {"input": ["hello"]}


@pytest.mark.parametrize("status", [200, 404, 503])
def test_69_to_fetch_of_javascript_every_status_is_a_result(javascript: Both, provider: Provider, status: int) -> None:
    url = f"{provider.url}/js-fetch/status/{status}?token=sk-planted-in-url"
    run = javascript.run("js/fetches", url=url, method="PUT", body="text")

    assert run["output"] == {"status": status, "body": "as you like", "more": "1"}
    asked = provider.asked("js-fetch")[-1]
    assert (asked.method, asked.text, asked.headers["authorization"]) == ("PUT", "text", "Bearer sk-planted-in-fetch")
    (step,) = javascript.trace(run["id"])["steps"]
    assert (step["kind"], step["details"]["url"]) == ("fetch", url.replace("sk-planted-in-url", "…"))
    assert "sk-planted-in-fetch" not in shown(javascript, run["id"])
    assert javascript.app.did("call") == 2  # the app is not waiting meanwhile


def test_69_a_fetch_of_javascript_that_breaks_is_made_again(javascript: Both, provider: Provider) -> None:
    name = f"js-breaks-{javascript.version}"
    run = javascript.run("js/fetches", url=f"{provider.url}/{name}/breaks/1", method="GET")
    assert run["output"]["status"] == 200
    assert len(provider.asked(name)) == 2

    worse = javascript.run("js/fetches", url=f"{provider.url}/{name}-worse/breaks/9", method="GET")
    assert "the connection broke" in worse["output"]["message"]


def test_fetches_of_javascript_go_side_by_side(javascript: Both, provider: Provider) -> None:
    run = javascript.run("js/fetches-at-once", url=f"{provider.url}/js-many/")

    assert run["output"] == [200, 200, "three"]


def test_68_our_own_sdk_asks_models(own: Both, provider: Provider) -> None:
    name = f"own-{own.app.port}"
    run = own.run("own/infers", url=f"{provider.url}/{name}/fails/2")

    assert run["output"]["model"] == "m-1"
    assert (len(provider.asked(name)), own.app.did("before")) == (3, 1)
    assert "sk-planted" not in shown(own, run["id"])


def test_69_our_own_sdk_fetches(own: Both, provider: Provider) -> None:
    run = own.run("own/fetches", url=f"{provider.url}/own-fetch/")

    assert run["output"] == [200, "/own-fetch/a", "b"]
    assert own.app.did("b") == 1
    assert "sk-planted" not in shown(own, run["id"])
