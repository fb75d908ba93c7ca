"""Requests to apps that both sides sign, and how keys are changed without losing one of them (protocol §3, S3-S6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from stepwell.clock import Clock
from stepwell.limits import CALL_TIME_MAX
from stepwell.protocol.codec import signature_within
from stepwell.protocol.signing import HEADER, SigningKey, sign, verified
from stepwell.runtime.outbound import Outbound, Reply

_CALL_S_MAX: Final = CALL_TIME_MAX.total_seconds()
_REFUSED: Final = 401
_UNSIGNED: Final = frozenset({401, 403, 404})  # what an app or a proxy says that never looked at the signature
_STREAMED: Final = 201
_VERDICTS: Final = frozenset({"x-inngest-no-retry", "retry-after"})
_ADDRESSES_MAX: Final = 10_000


class Signed:
    """A way to make requests of a server of this kind, signed if it has keys. Redirects are not followed.

    While keys are being changed, an app may know only one of them. Whoever does not know the first says so before it
    does anything, and is asked again with the next, which is then tried first at that address.
    """

    def __init__(self, outbound: Outbound, clock: Clock, *, kind: str = "dev", keys: Sequence[SigningKey] = ()) -> None:
        self.kind = kind
        self.keys = tuple(keys)
        self._outbound = outbound
        self._clock = clock
        self._liked: dict[str, SigningKey] = {}

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        signed: bytes | None = None,
        seconds: float = _CALL_S_MAX,
    ) -> Reply:
        """``signed`` is the text that is signed in place of the body. Raises ``Unreachable``."""
        headers = {**headers, "X-Inngest-Server-Kind": self.kind}
        if not self.keys:
            return await self._outbound.request(method, url, headers, body, seconds=seconds)
        place = url.partition("?")[0]
        first, *others = self._in_order(place)
        text = body if signed is None else signed
        reply = await self._signed(first, text, method, url, headers, body, seconds)
        for key in others:
            if reply.status != _REFUSED:
                break
            reply = await self._signed(key, text, method, url, headers, body, seconds)
            if reply.status != _REFUSED:
                self._remember(place, key)
        return reply

    async def check(self, url: str) -> None:
        """Raises ``Unreachable`` if what is at this address may not be called."""
        await self._outbound.check(url)

    def believable(self, reply: Reply) -> Reply | None:
        """What of a reply may be believed; ``None`` if it could be from somebody between us and the app (S3).

        Who refuses to be called need not sign it, and then cannot say that it is for good. A streamed answer has its
        signature inside, if at all: Python cannot sign one, and is believed (protocol §3.3).
        """
        if not self.keys or self.is_signed(reply):
            return reply
        if reply.status in _UNSIGNED:
            return reply._replace(
                headers={name: value for name, value in reply.headers.items() if name not in _VERDICTS}
            )
        if reply.status == _STREAMED:
            signature, signed = signature_within(reply.body)
            return reply if signature is None or self._knows(signature, signed) else None
        return None if is_from_sdk(reply) else reply

    def is_signed(self, reply: Reply) -> bool:
        return self._knows(reply.headers.get(HEADER.lower(), ""), reply.body)

    def _knows(self, signature: str, body: bytes) -> bool:
        return verified(self.keys, body, signature, self._clock.now_ms() // 1000) is not None

    async def _signed(
        self,
        key: SigningKey,
        text: bytes,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
    ) -> Reply:
        headers = {**headers, HEADER: sign(key, text, self._clock.now_ms() // 1000)}
        return await self._outbound.request(method, url, headers, body, seconds=seconds)

    def _in_order(self, place: str) -> list[SigningKey]:
        first = self._liked.get(place, self.keys[0])
        return [first, *(key for key in self.keys if key is not first)]

    def _remember(self, place: str, key: SigningKey) -> None:
        if key is self.keys[0]:
            self._liked.pop(place, None)
        elif len(self._liked) < _ADDRESSES_MAX:
            self._liked[place] = key


def is_from_sdk(reply: Reply) -> bool:
    """Does it say that an SDK gave it? Others are no answers, whatever is in them (protocol §2)."""
    return "x-inngest-sdk" in reply.headers or "x-inngest-sdk-handled" in reply.headers
