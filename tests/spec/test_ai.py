"""``step.ai``: models that the engine asks, and calls of models in bodies (semantics §5.7, §5.8)."""

from __future__ import annotations

import pytest

from stepwell import ConfigurationError, Context, StepError, Stepwell, Sync, ai
from stepwell.testing import harness

KEY = "sk-planted-0123456789"
CHAT = "https://api.openai.com/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def asks(app, model, body=None, **options):
    @app.create_function(id="f", trigger="go", **options)
    async def ask(ctx: Context):
        return await ctx.step.ai.infer("ask", model=model, body=body or ASKED)

    return ask


def test_a_model_is_asked_and_what_people_see_of_it_has_no_key(app):
    ask = asks(app, ai.openai("gpt-4o", api_key=KEY))

    with harness(app) as t:
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        t.answer_fetch(CHAT, body={"choices": [], "model": "gpt-4o-2024", "usage": usage}, after="1500ms")
        t.send("go")
        t.run_until_idle()

        run = t.run(ask)
        assert run.output == {"choices": [], "model": "gpt-4o-2024", "usage": usage}
        assert run.steps["ask"].details == {
            "method": "POST",
            "url": CHAT,
            "model": "gpt-4o-2024",
            "status": 200,
            "ms": 1500,
            "input_tokens": 5,
            "output_tokens": 7,
            "total_tokens": 12,
        }
        (made,) = t.fetches
        assert made.headers["authorization"] == f"Bearer {KEY}"
        assert made.json() == {"model": "gpt-4o", **ASKED}
        assert KEY not in str(run.steps["ask"].record)


@pytest.mark.parametrize(
    ("model", "url", "header", "value", "body"),
    [
        (ai.openai("m", api_key=KEY), CHAT, "authorization", f"Bearer {KEY}", {"model": "m"}),
        (
            ai.openai("m", api_key=KEY, base_url="http://localhost:1234/v1/"),
            "http://localhost:1234/v1/chat/completions",
            "authorization",
            f"Bearer {KEY}",
            {"model": "m"},
        ),
        (
            ai.anthropic("m", api_key=KEY),
            "https://api.anthropic.com/v1/messages",
            "x-api-key",
            KEY,
            {"model": "m"},
        ),
        (
            ai.gemini("m 1", api_key=KEY),
            f"https://generativelanguage.googleapis.com/v1beta/models/m%201:generateContent?key={KEY}",
            "content-type",
            "application/json",
            {},
        ),
        (
            ai.grok("m", api_key=KEY),
            "https://api.x.ai/v1/chat/completions",
            "authorization",
            f"Bearer {KEY}",
            {"model": "m"},
        ),
        (
            ai.deepseek("m", api_key=KEY),
            "https://api.deepseek.com/v1/chat/completions",
            "authorization",
            f"Bearer {KEY}",
            {"model": "m"},
        ),
        (
            ai.azure_openai("m", endpoint="https://x.openai.azure.com", api_version="2024-10-21", api_key=KEY),
            "https://x.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
            "api-key",
            KEY,
            {"model": "m"},
        ),
    ],
    ids=["openai", "local", "anthropic", "gemini", "grok", "deepseek", "azure"],
)
def test_each_provider_is_asked_in_its_own_way(app, model, url, header, value, body):
    asks(app, model)

    with harness(app) as t:
        t.answer_fetch(url, body={})
        t.send("go")

        (made,) = t.fetches
        assert (made.url, made.headers[header], made.json()) == (url, value, {**body, **ASKED})
        assert KEY not in repr(model)


def test_anthropics_version_is_sent_and_can_be_another(app):
    model = ai.anthropic("m", api_key=KEY, headers={"anthropic-version": "2030-01-01"})

    @app.create_function(id="f", trigger="go")
    async def ask(ctx: Context):
        await ctx.step.ai.infer("one", model=ai.anthropic("m", api_key=KEY), body={})
        await ctx.step.ai.infer("two", model=model, body={"model": "other"})

    with harness(app) as t:
        t.answer_fetch("https://api.anthropic.com/v1/messages", body={})
        t.send("go")

        assert [made.headers["anthropic-version"] for made in t.fetches] == ["2023-06-01", "2030-01-01"]
        assert [made.json()["model"] for made in t.fetches] == ["m", "other"]


def test_the_key_of_the_environment_is_read_when_the_step_is_reached(app, monkeypatch):
    ask = asks(app, ai.openai("m"))

    with harness(app) as t:
        t.answer_fetch(CHAT, body={})
        monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
        t.send("go")

        t.assert_completed(t.run(ask), {})
        assert t.fetches[0].headers["authorization"] == f"Bearer {KEY}"


def test_without_a_key_it_says_which_is_missing(app, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    ask = asks(app, ai.anthropic("m"))

    with harness(app) as t:
        t.send("go")

        t.assert_failed(t.run(ask), "there is no key for Anthropic")
        assert "set ANTHROPIC_API_KEY" in t.run(ask).error.message
        assert t.run(ask).steps == {}


def test_a_server_that_wants_no_key_gets_none(app, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asks(app, ai.openai("m", api_key="", base_url="http://localhost:11434/v1"))

    with harness(app) as t:
        t.answer_fetch("http://localhost:11434/v1/chat/completions", body={})
        t.send("go")

        assert "authorization" not in t.fetches[0].headers


@pytest.mark.parametrize(
    ("model", "body", "what"),
    [
        ("gpt-4o", {}, "the model is 'gpt-4o'"),
        (ai.openai("m", api_key="a\nb"), {}, "characters in it that no header may have"),
        (ai.openai("m", api_key=KEY), ["x"], "is of type list"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once(app, model, body, what):
    ask = asks(app, model, body, retries=4)

    with harness(app) as t:
        t.send("go")

        t.assert_failed(t.run(ask), what)


def test_adapters_refuse_what_is_no_model_and_no_address():
    with pytest.raises(ConfigurationError, match="the model of OpenAI is ''"):
        ai.openai("")
    with pytest.raises(ConfigurationError, match="a model is at 'localhost'"):
        ai.openai("m", base_url="localhost")


def test_an_error_of_the_provider_is_tried_again_and_then_raised(app):
    @app.create_function(id="f", trigger="go", retries=1)
    def ask(ctx: Context[Sync]):
        try:
            ctx.step.ai.infer("ask", model=ai.openai("m", api_key=KEY), body={})
        except StepError as error:
            return [error.name, error.message]

    with harness(app, retry_interval="1s") as t:
        t.answer_fetch(CHAT, status=400, body={"error": {"message": f"bad key {KEY}", "type": "x"}})
        t.send("go")
        t.advance("1m")

        assert len(t.fetches) == 2
        assert t.run(ask).output == [
            "AIGatewayError",
            "api.openai.com answered with status 400: bad key [key]",
        ]
        assert KEY not in t.run(ask).trace()


def test_a_stub_needs_no_key(app, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask = asks(app, ai.openai("m"))

    with harness(app) as t:
        t.stub("ask", {"choices": [1]})
        t.send("go")

        t.assert_completed(t.run(ask), {"choices": [1]})


def test_a_call_that_is_wrapped_runs_as_a_body_and_its_arguments_are_shown(app):
    class Client:
        pass

    async def complete(client: Client, prompt: str, *, most: int) -> str:
        return prompt * most

    @app.create_function(id="f", trigger="go")
    async def ask(ctx: Context):
        return await ctx.step.ai.wrap("ask", complete, Client(), "a", most=3)

    with harness(app) as t:
        t.send("go")

        step = t.run(ask).steps["ask"]
        assert (t.run(ask).output, step.record.kind) == ("aaa", "aiWrap")
        assert step.details["input"][1:] == ["a", {"most": 3}]
        assert step.details["input"][0].endswith("Client)")


def test_a_wrapped_call_that_fails_keeps_its_arguments_and_its_attempts(app):
    @app.create_function(id="f", trigger="go", retries=1)
    def ask(ctx: Context[Sync]):
        def complete(prompt: str) -> str:
            tried.append(prompt)
            if len(tried) == 1:
                raise ValueError("overloaded")
            return "done"

        return ctx.step.ai.wrap("ask", complete, "p")

    tried: list[str] = []
    with harness(app, retry_interval="1s") as t:
        t.send("go")
        t.advance("1m")

        assert (t.run(ask).output, tried) == ("done", ["p", "p"])
        assert t.run(ask).steps["ask"].details == {"input": ["p"], "max_attempts": 2}
