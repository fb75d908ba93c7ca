"""Requests to apps: the one place where this process calls others over HTTP (design D14, invariants S15-S17)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from stepwell.limits import CALL_TIME_MAX
from stepwell.runtime.reach import EVERYWHERE, Reach

if TYPE_CHECKING:
    from stepwell.runtime.http_client import Client

_CALL_S_MAX: Final = CALL_TIME_MAX.total_seconds()
ADDRESS_NOT_ALLOWED: Final = "address_not_allowed"
UNREACHABLE: Final = "unreachable"


class Reply(NamedTuple):
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreachable(Exception):
    """No answer, or none that can be used. ``code`` is the word for it of protocol §4.2."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class Outbound(Protocol):
    """A way to make requests. Redirects are not followed; bodies are decoded."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = _CALL_S_MAX
    ) -> Reply:
        """Raises ``Unreachable``."""
        ...

    async def check(self, url: str) -> None:
        """Raises ``Unreachable`` if what is at this address may not be called, whoever asks."""
        ...


class NowhereOutbound:
    """For an engine that calls nobody over HTTP."""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = _CALL_S_MAX
    ) -> Reply:
        raise Unreachable(UNREACHABLE, "this engine makes no requests")

    async def check(self, url: str) -> None:
        raise Unreachable(UNREACHABLE, "this engine makes no requests")


class HttpOutbound:
    """Connections that are kept for the next request, to where ``reach`` goes."""

    def __init__(self, reach: Reach = EVERYWHERE) -> None:
        self._reach = reach
        self._client: Client | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, seconds: float = _CALL_S_MAX
    ) -> Reply:
        """Raises ``Unreachable``."""
        return await self._opened().request(method, url, headers, body, seconds)

    async def check(self, url: str) -> None:
        """Raises ``Unreachable`` if what is at this address may not be called."""
        if not self._reach.anything:
            await self._opened().check(url)

    def _opened(self) -> Client:
        if self._client is None:
            from stepwell.runtime.http_client import Client

            self._client = Client(self._reach)
        return self._client
