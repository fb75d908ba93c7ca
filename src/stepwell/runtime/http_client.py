"""Requests by aiohttp, which takes a fifth of a second to import and so is imported by the first that needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp

from stepwell.limits import ANSWER_BYTES_MAX
from stepwell.runtime.outbound import Reply, Unreachable

CONNECT_S_MAX: Final = 10.0
_CONNECTIONS_MAX: Final = 0  # calls in flight are bounded by the engine
_KEEP_ALIVE_S: Final = 60.0
_CHUNK: Final = 64 * 1024


class Client:
    """A pool of connections that are kept for the next request."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, keepalive_timeout=_KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )

    async def close(self) -> None:
        await self._session.close()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Reply:
        """Raises ``Unreachable``."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_S_MAX)
        try:
            async with self._session.request(
                method, url, headers=headers, data=body or None, timeout=timeout, allow_redirects=False
            ) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, found, await _bounded(response))
        except TimeoutError:
            raise Unreachable("unreachable", f"no answer within {seconds:g} s") from None
        except aiohttp.ClientSSLError as error:
            raise Unreachable("unsupported_protocol", f"no TLS connection: {error}") from None
        except aiohttp.InvalidURL as error:
            raise Unreachable("unreachable", f"{error} is no address that can be called") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError, aiohttp.ClientPayloadError):
            raise Unreachable("unreachable", "the connection broke before the answer was there") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable("unreachable", f"{type(error).__name__}: {error}") from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, which may not be larger than a run could remember anyway, however well it was packed."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(_CHUNK):
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise Unreachable("output_too_large", f"the answer is larger than {ANSWER_BYTES_MAX:,} bytes")
        parts.append(part)
    return b"".join(parts)
