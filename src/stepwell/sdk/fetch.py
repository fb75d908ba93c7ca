"""``ctx.step.fetch``: what is asked of the engine, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.sdk.codec import encode


class FetchResponse(msgspec.Struct, frozen=True, kw_only=True, rename={"status": "status_code"}):
    """The answer to a request that the engine has made. Names of headers are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: str

    @property
    def ok(self) -> bool:
        """Whether the status is one of success, 200 to 299."""
        return 200 <= self.status <= 299

    def json(self) -> Any:
        """What the body says. Raises ``ValueError`` if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise ValueError(f"what {self.url} answered with status {self.status} is not JSON: {error}") from None


decode_response: Final = msgspec.json.Decoder(FetchResponse).decode


def fetch_opts(url: str, method: str | None, headers: Mapping[str, str] | None, body: object) -> bytes:
    """The request as the wire has it (protocol §6.5). Raises ``ConfigurationError`` and ``InvalidOutput``."""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            what=f"a fetch of {url!r:.80}",
            why="the engine makes the request, and knows no place that the address is relative to",
            fix='give a whole address, as in "https://api.example.com/users"',
        )
    given = dict(headers or {})
    for name, value in cast("dict[object, object]", given).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                what=f"the header {name!r:.80} of a fetch is not text with a text for its value",
                why="that is all that a request can carry",
                fix='give headers as in headers={"Authorization": "Bearer …"}',
            )
    opts: dict[str, Any] = {"url": url, "method": method or ("GET" if body is None else "POST")}
    if body is not None:
        opts["body"] = _text(body)
        if not isinstance(body, str | bytes) and "content-type" not in {name.lower() for name in given}:
            given["Content-Type"] = "application/json"
    return encode({**opts, "headers": given}, "request")


def _text(body: object) -> str:
    if isinstance(body, str):
        return body
    if not isinstance(body, bytes):
        return encode(body, "body").decode()
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            what="the body of a fetch is bytes that are not text",
            why="it is kept as text until there is an answer",
            fix="send binary data from a step of your own: ctx.step.run with an HTTP client",
        ) from None
