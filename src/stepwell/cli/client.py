"""How commands talk to a server, or to a database file that no server has open: the same paths, the same answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec

from stepwell import __version__
from stepwell.cli.address import URL_DEFAULT, server_url
from stepwell.errors import ConfigurationError, InvalidEvent, NotFound, NotRunning, StepwellError, StorageError
from stepwell.storage.address import is_postgres

_TIMEOUT_S: Final = 30
_TRIES: Final = 3
_LOGIN: Final = "/login"  # where there are pages, everybody may look at this one
_ERRORS: Final[dict[int, type[StepwellError]]] = {400: InvalidEvent, 404: NotFound, 503: NotRunning}


class Api(Protocol):
    """Answers requests to ``/v2``. Raises ``StepwellError`` for whatever is not a success."""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes: ...

    def post(self, path: str, body: bytes = b"", *, seed: str | None = None) -> bytes: ...

    def delete(self, path: str, query: Mapping[str, str]) -> bytes: ...

    def page(self, path: str) -> str | None:
        """Where people see this in a browser, if there are pages for them."""
        ...

    def close(self) -> None: ...


class Page(msgspec.Struct, rename="camel"):
    limit: int
    has_more: bool
    cursor: str | None


class Envelope(msgspec.Struct):
    """An answer of REST v2."""

    data: msgspec.Raw
    page: Page | None = None


_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode


def opened(body: bytes) -> Envelope:
    """Raises ``StorageError`` if this is no answer of ours."""
    try:
        return _decode_envelope(body)
    except msgspec.MsgspecError as error:
        raise _strange(str(error)) from None


def data(body: bytes, kind: Any) -> Any:
    """The ``data`` of an answer as this type. Raises ``StorageError``."""
    return decoded(opened(body).data, kind)


def decoded(text: bytes | msgspec.Raw, kind: Any) -> Any:
    """JSON as this type. Raises ``StorageError``."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise _strange(str(error)) from None


class Server:
    """Talks to a running server."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if token is not None and not (token.isascii() and token.isprintable()):
            why = "it has characters that no header can carry"
            raise ConfigurationError("the token is not one", why, "copy it anew")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ConfigurationError(
                f"{url!r} is not the address of a server", "it has no host that can be called", f"use {URL_DEFAULT}"
            )
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        try:
            port = parts.port
        except ValueError:
            raise ConfigurationError(f"{url!r} has a wrong port", "", f"use {URL_DEFAULT}") from None
        self._connection = kind(parts.hostname, port, timeout=_TIMEOUT_S)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._headers = {"User-Agent": f"stepwell-cli/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {_shown(token)}"

    def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def post(self, path: str, body: bytes = b"", *, seed: str | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        if seed:
            headers["X-Inngest-Event-Id-Seed"] = seed
        return self._ask("POST", path, body, headers)

    def delete(self, path: str, query: Mapping[str, str]) -> bytes:
        return self._ask("DELETE", f"{path}?{urlencode(query)}", None, {})

    def page(self, path: str) -> str | None:
        return self._url + path if self._has_pages() else None

    def close(self) -> None:
        self._connection.close()

    def _has_pages(self) -> bool:
        """A server may have none, or may be behind what lets nobody to them."""
        try:
            self._connection.request("HEAD", _LOGIN, headers={"Accept": "text/html"})
            response = self._connection.getresponse()
            response.read()
        except (OSError, HTTPException):
            self._connection.close()
            return False
        return response.status < 400

    def _ask(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        # What we send can be sent again: reading changes nothing, cancelling is done once, events carry a seed.
        for tries_left in reversed(range(_TRIES)):
            try:
                self._connection.request(method, target, body, {**self._headers, **headers})
                response = self._connection.getresponse()
                text = response.read()
                break
            except ConnectionRefusedError:
                raise self._nobody("nothing listens there") from None
            except (OSError, HTTPException) as error:
                self._connection.close()
                if not tries_left or isinstance(error, TimeoutError):
                    raise self._nobody(str(error) or type(error).__name__) from None
        else:
            raise AssertionError
        if response.status >= 300:
            raise _error(response.status, text, self._url)
        return text

    def _nobody(self, why: str) -> NotRunning:
        return NotRunning(
            f"no server answers at {self._url}",
            why,
            "start one with 'stepwell dev app.py', name another with --url, or read its file with --db",
        )


class File:
    """Answers from a database, mostly a file, in this process, without running anything."""

    def __init__(self, path: str) -> None:
        from stepwell.cli.offline import Offline

        if not is_postgres(path):
            self._check(path)
        self._runner = asyncio.Runner()
        self._offline = self._runner.run(Offline.open(path))

    def _check(self, path: str) -> None:
        try:
            regular = S_ISREG(Path(path).stat().st_mode)
        except OSError as error:
            raise StorageError(
                f"there is no database {path} here", str(error.strerror).lower(), "check the path given as --db"
            ) from None
        if not regular:
            raise StorageError(f"{path} is no file", "a database is one file on a disk", "check the path given as --db")

    def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        return self._ask("GET", path, urlencode(query or {}), b"")

    def post(self, path: str, body: bytes = b"", *, seed: str | None = None) -> bytes:
        raise _only_read()

    def delete(self, path: str, query: Mapping[str, str]) -> bytes:
        raise _only_read()

    def page(self, path: str) -> str | None:
        return None

    def close(self) -> None:
        self._runner.run(self._offline.close())
        self._runner.close()

    def _ask(self, method: str, path: str, query: str, body: bytes) -> bytes:
        status, text = self._runner.run(self._offline.ask(method, path, query, body))
        if status >= 300:
            raise _error(status, text, "the database")
        return text


def _only_read() -> NotRunning:
    return NotRunning("a database can only be read here", "nobody would act on it", "start a server on it")


def _shown(token: str) -> str:
    """Whoever has the signing key shows its hash: the key itself need not travel (protocol §3.4)."""
    if not token.startswith("signkey-"):
        return token
    from stepwell.protocol.signing import signing_key

    return signing_key(token).bearer


def connect(url: str | None, db: str | None, token: str | None) -> Api:
    """The server or file that the options name."""
    if db:
        return File(db)
    known = (os.environ.get(name) for name in ("STEPWELL_TOKEN", "INNGEST_SIGNING_KEY"))
    return Server(server_url(url), token or next(filter(None, known), None))


def posted(path: str, body: bytes = b"", *, url: str | None, token: str | None) -> bytes:
    """One request that changes something, to a server: a file that nobody serves cannot be asked for that."""
    with closing(connect(url, None, token)) as api:
        return api.post(path, body)


def _strange(why: str) -> StorageError:
    return StorageError("the answer cannot be read", why, "is the server of the same version as this command?")


class _Told(msgspec.Struct):
    message: str = ""
    why: str = ""
    fix: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Told]


def _error(status: int, text: bytes, where: str) -> StepwellError:
    try:
        told = msgspec.json.decode(text, type=_Errors).errors[0]
    except (msgspec.MsgspecError, IndexError):
        return StorageError(
            f"{where} answered {status}, which is not how Stepwell answers",
            "another program may be listening there",
            "name the right server with --url",
        )
    return _ERRORS.get(status, StepwellError)(told.message, told.why, told.fix)
