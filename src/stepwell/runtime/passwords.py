"""Passwords, as they are kept: by scrypt (RFC 7914), with its parameters beside the hash, so that they may grow.

One takes 32 MiB and about a tenth of a second, off the event loop, and no more than two are worked on at once: whoever
tries passwords is slow, and takes no room from the runs.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import scrypt
from hmac import compare_digest
from typing import Final, NamedTuple

from stepwell.ids import secret

_SALT_BITS: Final = 128
_BYTES: Final = 32
_AT_ONCE: Final = 2


class Cost(NamedTuple):
    """Of scrypt: 2 ** ``log_n`` blocks, each of ``r`` times 128 bytes, ``p`` times."""

    log_n: int
    r: int
    p: int


COST: Final = Cost(15, 8, 1)


class Passwords:
    """Makes hashes, and compares with them."""

    def __init__(self, cost: Cost = COST) -> None:
        self._cost = cost
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._nobody = f"{_written(cost, bytes(16), bytes(_BYTES))}"

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        salt = bytes.fromhex(secret(_SALT_BITS))
        async with self._room:
            found = await asyncio.to_thread(partial(_hash, password, salt, self._cost))
        return _written(self._cost, salt, found)

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the one that is kept. ``None``, for a user that there is not, takes as long."""
        cost, salt, wanted = _read(kept if kept is not None else self._nobody)
        async with self._room:
            found = await asyncio.to_thread(partial(_hash, password, salt, cost))
        return compare_digest(found, wanted) and kept is not None


def _hash(password: str, salt: bytes, cost: Cost) -> bytes:
    n = 1 << cost.log_n
    memory = 128 * cost.r * (n + cost.p + 2)
    return scrypt(
        password.encode(errors="surrogatepass"), salt=salt, n=n, r=cost.r, p=cost.p, maxmem=memory, dklen=_BYTES
    )


def _written(cost: Cost, salt: bytes, hash: bytes) -> str:
    return f"scrypt${cost.log_n}${cost.r}${cost.p}${salt.hex()}${hash.hex()}"


def _read(kept: str) -> tuple[Cost, bytes, bytes]:
    kind, log_n, r, p, salt, hash = kept.split("$")
    assert kind == "scrypt", "nothing else was ever written"
    return Cost(int(log_n), int(r), int(p)), bytes.fromhex(salt), bytes.fromhex(hash)
