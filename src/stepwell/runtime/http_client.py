"""Requests by aiohttp, which takes a fifth of a second to import and so is imported by the first that needs it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from stepwell.limits import ANSWER_BYTES_MAX, ANSWER_PAUSE_MAX
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, UNREACHABLE, Reply, Unreachable
from stepwell.runtime.reach import Reach

CONNECT_S_MAX: Final = 10.0
_CONNECTIONS_MAX: Final = 0  # calls in flight are bounded by the engine
_KEEP_ALIVE_S: Final = 60.0
_PAUSE_S_MAX: Final = ANSWER_PAUSE_MAX.total_seconds()
_CHUNK: Final = 64 * 1024
_EXCERPT: Final = 200  # characters of nonsense that are shown
_UNPACKED: Final = re.compile("content-encoding", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)


class Client:
    """A pool of connections that are kept for the next request. Those to where ``reach`` does not go are not made.

    No proxy, no cookies, no redirects: each would lead to another place than the one that was checked.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._resolver = Checked(reach)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS_MAX, keepalive_timeout=_KEEP_ALIVE_S, resolver=self._resolver
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    async def check(self, url: str) -> None:
        """Raises ``Unreachable`` if what is at this address may not be called, or nobody knows where it is."""
        host = self._checked(url)
        if not _is_numeric(host):
            try:
                await self._resolver.resolve(host)
            except OSError as error:
                raise Unreachable(UNREACHABLE, f"{host} is not known: {error}") from None

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Reply:
        """Raises ``Unreachable``."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_S_MAX)
        self._checked(url)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body or None, timeout=timeout, allow_redirects=False
            ) as response:
                found = {name.lower(): _writable(value) for name, value in response.headers.items()}
                return Reply(response.status, found, await _bounded(response))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _explained(error, urlsplit(url).netloc, seconds) from None

    def _checked(self, url: str) -> str:
        """The host in a URL. An address is checked here, because only names are resolved.

        Only plain hosts will do: in others, aiohttp might read another host than we.
        """
        host = urlsplit(url).hostname or ""
        if not _HOST.fullmatch(host) or not url.isprintable() or "\\" in url:
            raise Unreachable(UNREACHABLE, f"{url[:80]!r} is no address that can be called")
        if _is_numeric(host):
            _check(self._reach, host, [host])
        return host


class Checked(AbstractResolver):
    """Finds the addresses of names, once for each connection, and refuses names that lead to where we may not go.

    One address of a name that is refused is enough: a name that means a public and a private machine is a trick.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises ``Unreachable``, and ``OSError`` if there is no such name."""
        found = await self._system.resolve(host, port, family)
        _check(self._reach, host, [each["host"] for each in found])
        return found

    async def close(self) -> None:
        await self._system.close()


def _is_numeric(host: str) -> bool:
    """Is it an address and no name? In any notation: the system also takes 127.1 and 2130706433 for addresses."""
    return ":" in host or host.replace(".", "").isdigit()


def _check(reach: Reach, host: str, addresses: list[str]) -> None:
    for address in addresses:
        objection = reach.objection(address)
        if objection is not None:
            where = "" if host == address else f"{host} leads to "
            raise Unreachable(ADDRESS_NOT_ALLOWED, f"{where}{objection}, which this server may not call")


def _explained(error: Exception, place: str, seconds: float) -> Unreachable:
    """What went wrong, in words for somebody who has never heard of our HTTP client."""
    code, what = UNREACHABLE, f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        what = f"no connection to {place} within {CONNECT_S_MAX:g} s"
    elif isinstance(error, TimeoutError):
        what = f"no answer within {seconds:g} s"
    elif isinstance(error, aiohttp.ClientSSLError):
        code, what = "unsupported_protocol", f"no TLS connection to {place}: {error.os_error.strerror}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        what = f"nobody answers at {place}: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        what = f"{error} is no address that can be called"
    elif isinstance(error, aiohttp.ClientResponseError):
        what = f"what answered does not speak HTTP: {' '.join(error.message.split())[:_EXCERPT]}"
    elif isinstance(error, aiohttp.ClientPayloadError) and _UNPACKED.search(str(error)):
        what = "the answer says that it is packed, and cannot be unpacked"
    elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError):
        what = "the connection broke before the answer was there"
    return Unreachable(code, _writable(what))


def _writable(text: str) -> str:
    """Bytes of a header that are not UTF-8 come as halves of surrogate pairs, which nobody could write down."""
    return text if text.isascii() else text.encode(errors="replace").decode()


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, which may not be larger than a run could remember anyway, however well it was packed."""
    parts: list[bytes] = []
    size = 0
    clock = asyncio.get_running_loop().time
    pause = asyncio.timeout(_PAUSE_S_MAX)
    try:
        async with pause:
            async for part in response.content.iter_chunked(_CHUNK):
                pause.reschedule(clock() + _PAUSE_S_MAX)
                size += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise Unreachable("output_too_large", f"the answer is larger than {ANSWER_BYTES_MAX:,} bytes")
                parts.append(part)
    except TimeoutError:
        if pause.expired():
            what = f"the answer stopped in the middle, and nothing more came for {_PAUSE_S_MAX:g} s"
            raise Unreachable(UNREACHABLE, what) from None
        raise
    return b"".join(parts)
