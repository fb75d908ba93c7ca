"""The HTTP requests that an engine makes for steps (protocol §6.5): what is sent, and what an answer means. Pure.

A request has keys of others in it. Nothing that is made here for people has: neither what is told of a request, nor an
error, whatever the other side puts into it.
"""

from __future__ import annotations

import re
from codecs import lookup
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from stepwell.limits import FETCH_ERROR_BYTES_MAX, FETCH_URL_CHARS_MAX, STEP_BYTES_MAX
from stepwell.model.failure import Failure, request_too_large, request_unusable
from stepwell.protocol.moments import read_retry_after
from stepwell.protocol.surrogates import without_lone_surrogates

AI_GATEWAY_ERROR: Final = "AIGatewayError"
GATEWAY_ERROR: Final = "GatewayError"

_GEMINI: Final = "gemini"
_ANTHROPIC: Final = "anthropic"
_BEDROCK: Final = "bedrock"
_ANTHROPIC_VERSION: Final = "2023-06-01"  # the API refuses requests that name none
_AGENT: Final = "stepwell"  # some servers refuse requests that name none
_OK_MAX: Final = 299
_SECRET_CHARS_MIN: Final = 6  # what is shorter is no key, and would be cut out of words
_HIDDEN: Final = "[key]"
_MESSAGE_CHARS_MAX: Final = 2_000
_GOOGLES: Final = {
    "prompt_count": "promptTokenCount",
    "candidates_count": "candidatesTokenCount",
    "total_count": "totalTokenCount",
}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,255}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHARSET: Final = re.compile(r"charset=\"?([A-Za-z0-9._-]{1,40})", re.ASCII)
# Codecs of Python that are none of the web: some raise on any text, some make halves of surrogate pairs of it, and
# punycode takes quadratic time, so that a megabyte of it would stop the process.
_NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
# Those of one connection, which is ours, and what decides how the answer is packed, which we unpack.
_NOT_PASSED_ON: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Place(msgspec.Struct, frozen=True):
    """Where in realtime whoever listens hears the answer, too (protocol §6.5)."""

    channel: str
    topic: str


class Outgoing(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. ``format`` is that of a model's provider, and ``None`` for any other request.

    ``secret`` is the key in it, wherever that stands.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: str | None = None
    format: str | None = None
    secret: str = ""
    publish: Place | None = None

    def __repr__(self) -> str:
        return f"Outgoing({self.method!r}, {shown_url(self.url)!r})"

    @property
    def error_name(self) -> str:
        return GATEWAY_ERROR if self.format is None else AI_GATEWAY_ERROR


class Told(msgspec.Struct, omit_defaults=True):
    """What people see of a request: nothing secret. ``ms`` is how long the answer took."""

    method: str
    url: str
    model: str | None = None
    status: int | None = None
    ms: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None

    def json(self) -> bytes:
        return _encode(self)

    def fields(self) -> dict[str, Any]:
        """What is known of them."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class Good(NamedTuple):
    """The step has its result, as JSON text. ``text`` is what was answered."""

    output: bytes
    told: Told
    text: str = ""


class Bad(NamedTuple):
    """The attempt has failed. ``retry_at`` is the moment that the other side has asked for; ``final`` that no other
    attempt would help."""

    failure: Failure
    told: Told
    retry_at: int | None = None
    final: bool = False


def model_request(url: str, key: str, format: str, headers: Mapping[str, str], body: bytes) -> Outgoing:
    """A request to a model: always a POST of JSON, with the key where its provider looks for it."""
    own = {"Content-Type": "application/json"}
    if format == _GEMINI:
        url = _with_key(url, key)
    elif format == _ANTHROPIC:
        own |= {"x-api-key": key, "anthropic-version": _ANTHROPIC_VERSION}
    elif key:
        own["Authorization"] = key if format == _BEDROCK else f"Bearer {key}"
    return Outgoing("POST", url, _merged(own, headers), body.decode(errors="replace"), format, key)


def fetch_request(url: str, method: str, headers: Mapping[str, str], body: str | None) -> Outgoing:
    """Any other request."""
    return Outgoing(method.upper(), url, _merged({}, headers), body)


def encode_request(request: Outgoing) -> bytes:
    return _encode(request)


def decode_request(content: bytes) -> Outgoing:
    return _decode_request(content)


def refusal(request: Outgoing, content: bytes) -> Failure | None:
    """Why this can never be sent, if it cannot (invariants S16)."""
    name = request.error_name
    if len(content) > STEP_BYTES_MAX:
        return request_too_large(name, len(content), STEP_BYTES_MAX)
    if not _TOKEN.fullmatch(request.method) or request.method in ("CONNECT", "TRACE"):
        return request_unusable(name, f"{request.method[:40]!r} is no method for a request")
    what = _unusable_url(request.url)
    if what is not None:
        return request_unusable(name, what)
    for header, value in request.headers.items():
        if not _TOKEN.fullmatch(header) or _CONTROL.search(value):
            return request_unusable(name, f"the header {header[:80]!r} cannot be sent")
    return None


def told(request: Outgoing) -> Told:
    """What people may know before there is an answer."""
    return Told(request.method, shown_url(request.url), _read(request.body or "").model if request.format else None)


def shown_url(url: str) -> str:
    """An address without what may be secret in it: the values of its query, and a password."""
    try:
        parts = urlsplit(url)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(no address)"
    query = "&".join(f"{quote(name, safe='')}=…" for name in names)
    return parts._replace(netloc=host, query=query, fragment="").geturl()[:_MESSAGE_CHARS_MAX]


def answered(
    request: Outgoing, status: int, headers: Mapping[str, str], body: bytes, *, now: int, started_at: int
) -> Good | Bad:
    """What an answer means. To a model's provider only a good status is one, for others each is (checklist 68, 69).

    ``headers`` have names in lower case. Moments are milliseconds. Whatever the other side sends, nothing is raised: a
    request of which no answer can be kept would be made again for ever.
    """
    about = told(request)
    about.status, about.ms = status, now - started_at
    text = _text(headers, body)
    if request.format is None:
        known = {_writable(name): _writable(value) for name, value in headers.items()}
        fetched = {"url": _writable(request.url), "headers": known, "body": text, "status_code": status}
        return Good(_encode(fetched), about, text)
    text = _hide(request, text)
    if status > _OK_MAX:
        retry_at = read_retry_after(headers.get("retry-after", ""), now)
        what = f"{_host(request)} answered with status {status}: {_message(text)}"
        return Bad(_failure(request, what, text), about, retry_at)
    output = _json(text)
    if output is None:
        return Bad(_failure(request, f"{_host(request)} answered with something that is not JSON", text), about)
    said = _read(output)
    about.model = said.model or said.model_version or about.model
    about.input_tokens, about.output_tokens, about.total_tokens = said.tokens()
    return Good(output, about, text)


def unanswered(request: Outgoing, why: str, *, now: int, started_at: int, final: bool = False) -> Bad:
    """There is no answer."""
    about = told(request)
    about.ms = now - started_at
    return Bad(Failure(request.error_name, _hide(request, why)), about, final=final)


def lost(kind: str) -> Failure:
    """What was to be sent is not there any more."""
    return _ours(kind, "what was to be sent is not known any more")


def unwritten(kind: str, error: Exception) -> Failure:
    """Something of ours went wrong while the request was made, or what came of it written down."""
    return _ours(kind, f"{type(error).__name__} in the server")  # its text may have a key in it


def _ours(kind: str, message: str) -> Failure:
    return Failure(GATEWAY_ERROR if kind == "fetch" else AI_GATEWAY_ERROR, message)


def _merged(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    found = {"user-agent": ("User-Agent", _AGENT)} | {name.lower(): (name, value) for name, value in own.items()}
    found |= {name.lower(): (name, value) for name, value in given.items() if name.lower() not in _NOT_PASSED_ON}
    return dict(found.values())


def _with_key(url: str, key: str) -> str:
    """JavaScript has put the key there already."""
    address, mark, fragment = url.partition("#")
    path, _, query = address.partition("?")
    kept = [each for each in query.split("&") if each and each.partition("=")[0] != "key"]
    kept += [f"key={quote(key, safe='')}"] if key else []
    return path + ("?" + "&".join(kept) if kept else "") + mark + fragment


def _unusable_url(url: str) -> str | None:
    shown = shown_url(url)[:200]
    if len(url) > FETCH_URL_CHARS_MAX:
        return f"its address has {len(url):,} characters; the limit is {FETCH_URL_CHARS_MAX:,}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{shown!r} is no address: {error}"
    if parts.scheme not in ("http", "https") or not host:
        return f"{shown!r} is no address of the web, which begins with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return f"there is a name or a password in the address {shown!r}: send them in a header"
    return None


def _text(headers: Mapping[str, str], body: bytes) -> str:
    """The text of a body, in the encoding that it says it has."""
    found = _CHARSET.search(headers.get("content-type", ""))
    if found is not None:
        try:
            codec = lookup(found[1]).name
            if codec not in _NO_CHARSETS:
                return _writable(body.decode(codec, errors="replace"))
        except (LookupError, UnicodeError):
            pass
    return body.decode(errors="replace")


def _writable(text: str) -> str:
    """The same, where there are halves of surrogate pairs without them: as UTF-8 they cannot be written."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _json(text: str) -> bytes | None:
    body = text.strip().encode(errors="replace")
    for candidate in (body, without_lone_surrogates(body)):
        try:
            _decode(candidate)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        return candidate
    return None


def _hide(request: Outgoing, text: str) -> str:
    """Some providers repeat the key that they refuse."""
    secret = request.secret
    if len(secret) < _SECRET_CHARS_MIN:
        return text
    written = _encode(secret)[1:-1].decode()  # in JSON, where some escape slashes
    for form in {secret, quote(secret, safe=""), quote(secret), written, written.replace("/", "\\/")}:
        text = text.replace(form, _HIDDEN)
    return text


def _failure(request: Outgoing, what: str, text: str) -> Failure:
    size = len(text.encode(errors="replace"))
    data = _json(text) if size <= FETCH_ERROR_BYTES_MAX else None
    stack = text if size <= FETCH_ERROR_BYTES_MAX else text[: FETCH_ERROR_BYTES_MAX // 4]
    return Failure(request.error_name, what, stack, data=msgspec.Raw(data if data is not None else _encode(stack)))


def _message(text: str) -> str:
    """The sentence in what a provider says of an error."""
    try:
        found: Any = _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    for name in ("error", "message"):
        if isinstance(found, dict) and name in found:
            found = found[name]  # pyright: ignore[reportUnknownVariableType]
    said = found if isinstance(found, str) else text
    return said[:_MESSAGE_CHARS_MAX] or "(empty)"


def _host(request: Outgoing) -> str:
    return urlsplit(request.url).hostname or ""


class _Usage(msgspec.Struct, rename=_GOOGLES.get):
    """How providers count tokens: those of OpenAI's older form, those of its newer and Anthropic's, those of Google."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_count: int | None = None
    candidates_count: int | None = None
    total_count: int | None = None


class _Said(msgspec.Struct, rename={"model_version": "modelVersion", "usage_metadata": "usageMetadata"}):
    model: str | None = None
    model_version: str | None = None
    usage: _Usage | None = None
    usage_metadata: _Usage | None = None

    def tokens(self) -> tuple[int | None, int | None, int | None]:
        usage = self.usage or self.usage_metadata or _Usage()
        asked = _first(usage.input_tokens, usage.prompt_tokens, usage.prompt_count)
        given = _first(usage.output_tokens, usage.completion_tokens, usage.candidates_count)
        total = _first(usage.total_tokens, usage.total_count)
        return asked, given, asked + given if total is None and asked is not None and given is not None else total


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)


def _read(text: str | bytes) -> _Said:
    try:
        return _decode_said(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Said()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_said: Final = msgspec.json.Decoder(_Said).decode
_decode_request: Final = msgspec.json.Decoder(Outgoing).decode
