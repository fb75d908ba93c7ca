"""Durable endpoints: what an SDK says of a run that it has begun by itself, and the request with which it is called
again (protocol §8.3-§8.5)."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha1
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from stepwell.errors import ConfigurationError, InvalidOutput
from stepwell.ids import is_ulid
from stepwell.limits import EVENT_BYTES_MAX, ID_CHARS_MAX, RETRIES_DEFAULT, URL_CHARS_MAX
from stepwell.model.event import HTTP_REQUEST
from stepwell.protocol.canonical import canonical
from stepwell.protocol.config import checked_url
from stepwell.protocol.events import parse_events
from stepwell.protocol.messages import Call
from stepwell.protocol.op_codec import Unreadable
from stepwell.protocol.signing import HEADER

OUTPUT: Final = "output"  # what a token of ours is for
STREAM: Final = "$stream"
STREAM_ISSUER: Final = "rt.inngest.com"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)  # what the HTTP client calls
_SDK: Final = re.compile(r"(?:inngest-)?([a-z]{1,20}):")
_PATH_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_QUERY_SAFE: Final = _PATH_SAFE + "?"
_VERSIONS: Final = (1, 2)
# What an answer says about itself. It is given again as coming from this server, so that anything else might be obeyed
# for this origin, for its connection, or by a proxy before it. Such headers become more: hence no list of what to leave
# out.
_REPLAYED: Final = frozenset(
    {
        *("content-type", "content-language", "content-disposition", "location", "retry-after", "allow"),
        *("etag", "last-modified", "expires", "vary", "age"),
    }
)
_OWN: Final = "x-"  # what people make up themselves, without those names of that kind that browsers and proxies obey
_OBEYED: Final = (
    *(
        "x-inngest-",
        "x-stepwell-",
        "x-accel-",
        "x-sendfile",
        "x-lighttpd-",
        "x-litespeed-",
        "x-forwarded-",
        "x-real-ip",
    ),
    *("x-frame-options", "x-xss-protection", "x-content-type-options", "x-content-security-policy", "x-webkit-csp"),
    *("x-dns-prefetch-control", "x-permitted-cross-domain-policies", "x-download-options", "x-robots-tag"),
    *("x-ua-compatible", "x-http-method", "x-original-", "x-rewrite-", "x-reproxy-"),
)


class _HttpRequest(msgspec.Struct):
    domain: str
    method: str
    path: str
    query_params: str | None = None
    content_type: str | None = None
    body: str | None = None
    fn: str | None = None


class _Event(msgspec.Struct):
    data: msgspec.Raw
    name: str = HTTP_REQUEST


class _Creation(msgspec.Struct):
    run_id: str
    event: _Event
    steps: msgspec.Raw = msgspec.Raw(b"[]")
    request_version: int = 2
    retries: int | None = None


class _Steps(msgspec.Struct):
    run_id: str
    steps: msgspec.Raw = msgspec.Raw(b"[]")


class _Response(msgspec.Struct):
    status: int
    headers: dict[str, Any] | None = None
    body: str | None = None


_decode_creation: Final = msgspec.json.Decoder(_Creation).decode
_decode_steps: Final = msgspec.json.Decoder(_Steps).decode
_decode_request: Final = msgspec.json.Decoder(_HttpRequest).decode
_decode_response: Final = msgspec.json.Decoder(_Response).decode
_encode: Final = msgspec.json.Encoder().encode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """A run that an SDK has begun: its id is the SDK's. ``config`` is for ``protocol/config.py``; ``event`` is the data
    of the run's event, and ``ops`` what is reported with it, both as JSON text."""

    run_id: str
    app_id: str
    function_id: str
    config: Mapping[str, Any]
    event: bytes
    ops: bytes
    version: int


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to an app. ``signed`` is the text of which its SDK checks the signature."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    signed: bytes


class Replayed(msgspec.Struct, frozen=True):
    """What an endpoint has answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_creation(body: bytes, *, sdk: str = "", bytes_max: int = EVENT_BYTES_MAX) -> Creation:
    """The body of ``POST /v1/checkpoint``; ``sdk`` is what the SDK says it is, such as ``inngest-js:v4.24.0``.

    The app is the endpoint's domain, and the function its name, or its method and path. Raises ``Unreadable``,
    ``InvalidEvent`` and ``EventTooLarge``.
    """
    try:
        found = _decode_creation(body)
        asked = _decode_request(found.event.data)
    except _UNREADABLE as error:
        raise Unreadable(str(error)) from None
    if not is_ulid(found.run_id):
        raise Unreadable(f"{found.run_id[:80]!r} is not the id of a run")
    if found.event.name != HTTP_REQUEST:
        raise Unreadable(f"its event is {found.event.name[:80]!r}, not {HTTP_REQUEST!r}")
    domain = _domain(asked.domain)
    _check(asked)
    name = (asked.fn or f"{asked.method} {asked.path}").strip()
    written = _encode({"name": "http", "data": found.event.data})
    event = parse_events(written, bytes_max=bytes_max)[0].data
    function_id = _within(f"{domain}-{name}")
    language = _SDK.match(sdk)
    return Creation(
        run_id=found.run_id,
        app_id=domain,
        function_id=function_id,
        config={
            "id": function_id,
            "name": _within(name),
            "triggers": [],
            "steps": {
                "step": {
                    "id": "step",
                    "name": "step",
                    "runtime": {"type": "endpoint", "url": domain, "sdk": language[1] if language else ""},
                    "retries": {"attempts": RETRIES_DEFAULT if found.retries is None else found.retries},
                }
            },
        },
        event=event,
        ops=bytes(found.steps),
        version=found.request_version if found.request_version in _VERSIONS else 2,
    )


def read_steps(body: bytes, run_id: str) -> bytes:
    """The ops of ``POST /v1/checkpoint/{run_id}/steps``, as JSON text. Raises ``Unreadable``."""
    try:
        found = _decode_steps(body)
    except _UNREADABLE as error:
        raise Unreadable(str(error)) from None
    if found.run_id != run_id:
        raise Unreadable("it is about another run")
    return bytes(found.steps)


def reenter(call: Call) -> CallRequest:
    """The request that began the run of an endpoint once more, with what else it has to know in the headers.

    There is no room for memos, which its SDK fetches (protocol §8.4). JavaScript looks at the body of a POST or PUT
    only, and verifies JSON in its canonical form; Go writes bodies in base64. Raises ``Unreadable``.
    """
    try:
        asked = _decode_request(call.events[0].data)
    except _UNREADABLE as error:
        raise Unreadable(f"the event is not that of a durable endpoint: {error}") from None
    _check(asked)
    url = _domain(asked.domain) + quote(asked.path, safe=_PATH_SAFE)
    if asked.query_params:
        url += "?" + quote(asked.query_params, safe=_QUERY_SAFE)
    body = _body(asked.body or "", call.endpoint or "")
    signed = b"" if call.endpoint == "js" and asked.method not in ("POST", "PUT") else body
    try:
        signed = canonical(signed) if signed else signed
    except (*_UNREADABLE, InvalidOutput):
        pass  # it is no JSON, and signed as it is
    headers = {
        **({"Content-Type": asked.content_type} if asked.content_type else {}),
        HEADER: "",  # its presence is how an SDK knows us, also where nothing is signed
        "X-Run-ID": call.run_id,
        "X-Request-ID": call.request_id,
        "X-Inngest-Req-Version": str(call.version),
    }
    if call.step_id != "step":
        headers["X-Inngest-Step-ID"] = call.step_id
    if call.plans_only:
        headers["X-Inngest-Force-Step-Plan"] = "true"
    return CallRequest(method=asked.method, url=url, headers=headers, body=body, signed=signed)


def replay(output: bytes, language: str | None = None) -> Replayed | None:
    """The answer that is kept as a run's output; ``None`` if that is no answer. Go writes its body in base64.

    Of its headers those are left that say something about it, and those that people made up (``X-…``).
    """
    try:
        found = _decode_response(output)
    except _UNREADABLE:
        return None
    if not 200 <= found.status <= 599:
        return None
    headers = {
        name.lower(): value
        for name, value in (found.headers or {}).items()
        if _is_replayed(name.lower()) and _is_field(name, value)
    }
    return Replayed(found.status, headers, _body(found.body or "", language or ""))


def output_claims(run_id: str, *, now_s: int, life_s: int) -> dict[str, Any]:
    """What the token says with which the result of a run can be asked for."""
    return {"iss": "stepwell", "aud": OUTPUT, "sub": run_id, "iat": now_s, "exp": now_s + life_s}


def may_read(claims: Mapping[str, Any], run_id: str) -> bool:
    """Is this the token of this run's result, and not of something else?"""
    return claims.get("aud") == OUTPUT and claims.get("sub") == run_id


def stream_claims(run_id: str, *, token_id: str, now_s: int, life_s: int) -> dict[str, Any]:
    """What the token says with which the stream of a run can be listened to (protocol §12.2, §12.5)."""
    return {
        "iss": STREAM_ISSUER,
        "sub": "",
        "env": "",
        "topics": [{"kind": "run", "channel": run_id, "name": STREAM}],
        "publish": False,
        "iat": now_s,
        "exp": now_s + life_s,
        "jti": token_id,
    }


def _domain(text: str) -> str:
    """The origin of an endpoint: scheme, host and port, and nothing else."""
    try:
        parts = urlsplit(checked_url(text))
    except ConfigurationError as error:
        raise Unreadable(f"its domain cannot be called: {error.what}: {error.why}") from None
    if not _HOST.fullmatch(parts.hostname or ""):
        raise Unreadable(f"its domain cannot be called: {text[:80]!r} has characters that no host has")
    if parts.path.strip("/") or parts.query or parts.fragment or not _PRINTABLE.fullmatch(text):
        raise Unreadable(f"{text[:80]!r} is no domain: it has more than scheme, host and port")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _check(asked: _HttpRequest) -> None:
    if asked.method not in _METHODS:
        raise Unreadable(f"{asked.method[:80]!r} is no method that can be called again")
    if not asked.path.startswith("/") or len(asked.path) + len(asked.query_params or "") > URL_CHARS_MAX:
        raise Unreadable(f"its path does not begin with '/', or has more than {URL_CHARS_MAX:,} characters")
    if not _PRINTABLE.fullmatch(asked.content_type or "") or "\x00" in asked.path:
        raise Unreadable("its path or content type has characters that no request can have")


def _within(text: str) -> str:
    """Ids have an end; what is longer is told apart by its hash."""
    if len(text) <= ID_CHARS_MAX:
        return text
    mark = sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return f"{text[: ID_CHARS_MAX - 1 - len(mark)].rstrip()}~{mark}"


def _body(text: str, language: Literal["go"] | str) -> bytes:
    if language == "go":
        try:
            return b64decode(text, validate=True)
        except (Base64Error, ValueError):
            pass
    return text.encode("utf-8", "replace")


def _is_replayed(name: str) -> bool:
    return name in _REPLAYED or (name.startswith(_OWN) and not name.startswith(_OBEYED))


def _is_field(name: str, value: object) -> bool:
    return isinstance(value, str) and bool(_NAME.fullmatch(name)) and bool(_VALUE.fullmatch(value))


_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
