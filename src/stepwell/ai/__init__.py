"""Models of providers, for ``ctx.step.ai.infer``: ``from stepwell import ai``, then ``model=ai.openai("gpt-4o")``.

Each takes the model's name at that provider, and ``api_key``; without one it is that of the environment, read when the
step is reached. ``base_url`` is for servers that speak the same API, ``headers`` are sent besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from stepwell.errors import ConfigurationError
from stepwell.sdk.ai import Model

__all__ = ["Model", "anthropic", "azure_openai", "deepseek", "gemini", "grok", "openai"]

_OPENAI_FORMAT: Final = "openai-chat"


def openai(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str = "https://api.openai.com/v1",
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of OpenAI, or of a server that speaks its chat API (``/chat/completions``). The key of the environment is
    ``OPENAI_API_KEY``; ``api_key=""`` is for a server that wants none."""
    return _chat("OpenAI", model, api_key, "OPENAI_API_KEY", base_url, headers)


def deepseek(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str = "https://api.deepseek.com/v1",
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of DeepSeek. The key of the environment is ``DEEPSEEK_API_KEY``."""
    return _chat("DeepSeek", model, api_key, "DEEPSEEK_API_KEY", base_url, headers)


def grok(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str = "https://api.x.ai/v1",
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of xAI. The key of the environment is ``XAI_API_KEY``."""
    return _chat("xAI", model, api_key, "XAI_API_KEY", base_url, headers)


def anthropic(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str = "https://api.anthropic.com/v1",
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of Anthropic (``/messages``). The key of the environment is ``ANTHROPIC_API_KEY``.

    Its API wants ``max_tokens`` in the body. Another version than 2023-06-01 is asked for by the header
    ``anthropic-version``.
    """
    return Model(
        provider="Anthropic",
        url=_under(base_url, "messages"),
        format="anthropic",
        api_key=api_key,
        variable="ANTHROPIC_API_KEY",
        headers=dict(headers or {}),
        defaults={"model": _named(model, "Anthropic")},
    )


def gemini(
    model: str,
    *,
    api_key: str | None = None,
    base_url: str = "https://generativelanguage.googleapis.com/v1beta",
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of Google (``:generateContent``). The key of the environment is ``GEMINI_API_KEY``."""
    return Model(
        provider="Gemini",
        url=_under(base_url, f"models/{quote(_named(model, 'Gemini'), safe='')}:generateContent"),
        format="gemini",
        api_key=api_key,
        variable="GEMINI_API_KEY",
        headers=dict(headers or {}),
    )


def azure_openai(
    model: str,
    *,
    endpoint: str,
    api_version: str,
    deployment: str | None = None,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Model:
    """A model of OpenAI that Azure runs at ``endpoint``, as ``deployment`` if that is called otherwise than the model.
    The key of the environment is ``AZURE_OPENAI_API_KEY``."""
    place = quote(deployment or _named(model, "Azure OpenAI"), safe="")
    path = f"openai/deployments/{place}/chat/completions?api-version={quote(api_version, safe='')}"
    return Model(
        provider="Azure OpenAI",
        url=_under(endpoint, path),
        format="azure-openai",
        api_key=api_key,
        variable="AZURE_OPENAI_API_KEY",
        headers=dict(headers or {}),
        key_header="api-key",
        defaults={"model": model},
    )


def _chat(
    provider: str, model: str, api_key: str | None, variable: str, base_url: str, headers: Mapping[str, str] | None
) -> Model:
    return Model(
        provider=provider,
        url=_under(base_url, "chat/completions"),
        format=_OPENAI_FORMAT,
        api_key=api_key,
        variable=variable,
        headers=dict(headers or {}),
        defaults={"model": _named(model, provider)},
    )


def _under(base: str, path: str) -> str:
    if not isinstance(base, str) or not base.startswith(("http://", "https://")):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"a model is at {base!r:.80}",
            why="requests go to an address of the web",
            fix='give the address that the API begins with, as in "https://api.openai.com/v1"',
        )
    return f"{base.rstrip('/')}/{path}"


def _named(model: str, provider: str) -> str:
    if not isinstance(model, str) or not model.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"the model of {provider} is {model!r:.80}",
            why="a provider has many",
            fix="name it as the provider does",
        )
    return model
