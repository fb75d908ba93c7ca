"""``ctx.step.ai``: models, asked by the engine or by a body of yours."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.protocol.messages import AI_GATEWAY
from stepwell.sdk import execution as kinds
from stepwell.sdk.codec import decode_any, encode
from stepwell.sdk.group import Awaited

if TYPE_CHECKING:
    from stepwell.sdk.bridge import Bridge
    from stepwell.sdk.drive import AsyncDrive

P = ParamSpec("P")
T = TypeVar("T")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a provider: where it is asked, and in which form. ``stepwell.ai`` has a function for each provider.

    ``format`` decides where the key stands and where tokens are counted. Without ``api_key`` it is that of the
    environment ``variable`` at the moment of the request; ``""`` is for a server that wants none. ``key_header`` is a
    header for the key beside the one that the format has. ``defaults`` are members of the body unless it has them.
    """

    provider: str
    url: str
    format: str
    api_key: str | None = None
    variable: str = ""
    headers: dict[str, str] = {}
    key_header: str | None = None
    defaults: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Model(provider={self.provider!r}, url={self.url!r})"

    def key(self) -> str:
        """The key, as it is now. Raises ``ConfigurationError``."""
        key = os.environ.get(self.variable, "") if self.api_key is None and self.variable else self.api_key or ""
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what=f"the key for {self.provider} is of type {type(key).__name__}",
                why="it is sent as text",
                fix=f'give text, as in api_key="…", or set {self.variable}',
            )
        key = key.strip()
        if not key and self.api_key is None:
            raise ConfigurationError(
                what=f"there is no key for {self.provider}",
                why="its models answer nobody else; it is looked for when the step is reached",
                fix=f'set {self.variable} in the environment of the app, or give api_key="…"',
            )
        if not key.isprintable() or not key.isascii():
            raise ConfigurationError(
                what=f"the key for {self.provider} has characters in it that no header may have",
                why="it is sent in a header",
                fix="copy it once more, without line breaks",
            )
        return key

    def opts(self, body: Mapping[str, Any]) -> bytes:
        """The request to it as the wire has it (protocol §6.5). Raises ``ConfigurationError`` and ``InvalidOutput``."""
        if not isinstance(body, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what=f"the body of a request to {self.provider} is of type {type(body).__name__}",
                why="it is what the provider's API calls the request: an object",
                fix='give a dict, as in body={"messages": [{"role": "user", "content": "…"}]}',
            )
        key = self.key()
        own = {self.key_header: key} if self.key_header and key else {}
        return encode(
            {
                "url": self.url,
                "auth_key": key,
                "format": self.format,
                "headers": {**own, **self.headers},
                "body": {**self.defaults, **body},
            },
            "request",
        )


class AI:
    """The steps of an ``async def`` function that ask models."""

    __slots__ = ("_drive",)

    def __init__(self, drive: AsyncDrive) -> None:
        self._drive = drive

    def infer(self, id: str, /, *, model: Model, body: Mapping[str, Any]) -> Awaited[dict[str, Any]]:
        """Let the engine ask a model, and give what its provider answers. The run holds no process meanwhile.

        ``model`` is what a function of ``stepwell.ai`` gives, ``body`` what the provider's API wants. It is tried again
        as the body of a step is, also when the provider answers with an error; then ``StepError`` is raised with what
        the provider said. The key is in no trace and no log. Raises ``ConfigurationError`` if there is no key.
        """
        if not isinstance(model, Model):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what=f"the model is {model!r:.80}",
                why="it says where to ask, and in which form",
                fix='give what stepwell.ai has for its provider, as in model=ai.openai("gpt-4o")',
            )
        return self._infer(id, model, body)

    @overload
    def wrap(
        self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaited[T]: ...
    @overload
    def wrap(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[T]: ...
    def wrap(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaited[Any]:
        """``ctx.step.run`` for a call of a model by a library of yours: its arguments are shown in the trace.

        So give it no keys. What is no JSON is shown by its type.
        """
        return self._drive.body(id, fn, args, kwargs, None, kinds.AI_WRAP)

    async def _infer(self, id: str, model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
        memo = await self._drive.rest(id, kinds.AI_INFER, AI_GATEWAY, lambda: model.opts(body))
        found: dict[str, Any] = self._drive.value(memo, decode_any, id)
        return found


class SyncAI:
    """The steps of a ``def`` function that ask models. What each does is said at ``AI``."""

    __slots__ = ("_ai", "_bridge")

    def __init__(self, ai: AI, bridge: Bridge) -> None:
        self._ai = ai
        self._bridge = bridge

    def infer(self, id: str, /, *, model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
        """Let the engine ask a model, and give what its provider answers. The run holds no thread meanwhile."""
        return self._bridge.call(self._ai.infer(id, model=model, body=body))

    @overload
    def wrap(self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def wrap(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def wrap(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """``ctx.step.run`` for a call of a model by a library of yours: its arguments are shown in the trace."""
        return self._bridge.call(self._ai.wrap(id, fn, *args, **kwargs))
