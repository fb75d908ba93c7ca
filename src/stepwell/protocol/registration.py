"""What an app says about itself when it is synced (protocol §4.3, §4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from stepwell.errors import ConfigurationError
from stepwell.model.function import Function
from stepwell.protocol.config import checked_url, parse_function
from stepwell.protocol.connect import AppConfiguration, WorkerConnect

FUNCTIONS_MAX: Final = 10_000
CONNECTED_URL: Final = "wss://connect"
"""In place of the address of an app whose workers connect: it has none (protocol §4.5)."""

_OUR_QUERY: Final = frozenset({"fnId", "stepId", "deployId"})
_NOT_COMPARED: Final = frozenset({"featureobservations", "deployid", "inspection"})
_TOLD_MAX: Final = 20  # functions in one message
_FIX: Final = "sync the app with one of the SDKs"

_decode: Final = msgspec.json.Decoder(dict[str, object]).decode
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Registration(msgspec.Struct, frozen=True):
    """An app as it says it is. ``functions`` are configurations for ``protocol/config.py``; ``checksum`` is that of all
    that matters, so that the same again is known as that."""

    app_id: str
    url: str
    sdk: str
    framework: str | None
    version: str | None
    functions: Sequence[Mapping[str, Any]]
    checksum: str


def read_registration(body: bytes) -> Registration:
    """The body of ``POST /fn/register``, or of the answer to an in-band sync. Raises ``ConfigurationError``.

    SDKs differ in the case of the members, and some write an underscore (protocol §15, 1).
    """
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError("the registration cannot be read", str(error), _FIX) from None
    fields = {name.lower().replace("_", ""): value for name, value in found.items()}
    app_id = _text(fields, "appname") or _text(fields, "appid")
    if not app_id:
        raise ConfigurationError("the app has no id", "its functions are filed under it", "give the client an id")
    functions = fields.get("functions")
    if not isinstance(functions, list) or not all(isinstance(each, dict) for each in cast("list[object]", functions)):
        raise ConfigurationError(f"app {app_id!r} has no list of functions", "it is what a sync is for", _FIX)
    listed = cast("list[Mapping[str, Any]]", functions)
    _check_count(app_id, listed)
    language, version = _text(fields, "sdklanguage"), _text(fields, "sdkversion")
    compared = {name: value for name, value in fields.items() if name not in _NOT_COMPARED}
    return Registration(
        app_id=app_id,
        url=without_our_query(checked_url(_text(fields, "url") or "")),
        sdk=_text(fields, "sdk") or (f"{language}:v{version}" if language else ""),
        framework=_text(fields, "framework"),
        version=_text(fields, "appversion"),
        functions=listed,
        checksum=sha256(_encode(compared)).hexdigest(),
    )


def read_functions(app_id: str, configs: Iterable[Mapping[str, Any]]) -> list[Function]:
    """All functions of an app, or none: raises ``ConfigurationError`` that lists what is wrong with each of them, so
    that one refused sync is enough to set all of it right (semantics §9.8)."""
    found: list[Function] = []
    wrong: list[ConfigurationError] = []
    for config in configs:
        try:
            found.append(parse_function(config, app_id))
        except ConfigurationError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        told = wrong[:_TOLD_MAX]
        more = f"\nand {len(wrong) - len(told)} more" if len(wrong) > len(told) else ""
        raise ConfigurationError(
            what=f"{len(wrong)} functions of app {app_id!r} cannot be accepted",
            why="".join(f"\n{error.what}: {error.why}" for error in told) + more,
            fix="".join(f"\n{error.fix}" for error in told if error.fix),
        )
    return found


def read_worker(app: AppConfiguration, worker: WorkerConnect) -> Registration:
    """An app as one of its workers says it is. Raises ``ConfigurationError``."""
    if not app.app_name:
        raise ConfigurationError("the app has no id", "its functions are filed under it", "give the client an id")
    try:
        functions = _decode_functions(app.functions)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        what = f"app {app.app_name!r} has no list of functions"
        raise ConfigurationError(what, str(error), "connect with one of the SDKs") from None
    _check_count(app.app_name, functions)
    language = _LANGUAGES.get(worker.sdk_language, worker.sdk_language)
    version = worker.sdk_version.removeprefix("v")
    compared = {
        "app": app.app_name,
        "version": app.app_version,
        "sdk": [language, version],
        "framework": worker.framework,
        "functions": functions,
    }
    return Registration(
        app_id=app.app_name,
        url=CONNECTED_URL,
        sdk=f"{language}:v{version}" if language else "",
        framework=worker.framework or None,
        version=app.app_version or None,
        functions=functions,
        checksum=sha256(_encode(compared)).hexdigest(),
    )


def is_connected(url: str) -> bool:
    """Is it in place of the address of an app whose workers connect?"""
    return url.startswith(("ws://", "wss://"))


_LANGUAGES: Final = {"typescript": "js", "javascript": "js"}
_decode_functions: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


def _check_count(app_id: str, functions: Sequence[object]) -> None:
    if len(functions) > FUNCTIONS_MAX:
        what = f"app {app_id!r} has {len(functions):,} functions"
        raise ConfigurationError(what, f"the limit is {FUNCTIONS_MAX:,}", "divide it into several")


def without_our_query(url: str) -> str:
    """The address of an app without what we add for each call (protocol §4.4)."""
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in _OUR_QUERY]
    return f"{base}?{'&'.join(kept)}" if kept else base


def same_address(url: str) -> str:
    """What two addresses of one app have in common: this machine has several names, and ports may be left out."""
    parts = urlsplit(without_our_query(url))
    host = (parts.hostname or "").lower()
    if host in _THIS_MACHINE:
        host = "localhost"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}:{port}{parts.path or '/'}{query}"


_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r:.80}", "it is a text", _FIX)
    return value
