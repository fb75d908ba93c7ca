"""The only reader of randomness: event and run ids, lease tokens, jitter.

Ids are ULIDs: 26 characters, sortable by time. Within one millisecond they count up, so ids made by one
process sort in the order they were made.
"""

from __future__ import annotations

import os
import random
import re
from hashlib import sha1
from typing import Protocol

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # ten bits at a time
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def ulid(ms: int, entropy: int) -> str:
    """The ULID of a moment and 80 bits of entropy."""
    n = (ms << 80) | entropy
    p = _PAIRS
    return (
        p[n >> 120]
        + p[n >> 110 & 1023]
        + p[n >> 100 & 1023]
        + p[n >> 90 & 1023]
        + p[n >> 80 & 1023]
        + p[n >> 70 & 1023]
        + p[n >> 60 & 1023]
        + p[n >> 50 & 1023]
        + p[n >> 40 & 1023]
        + p[n >> 30 & 1023]
        + p[n >> 20 & 1023]
        + p[n >> 10 & 1023]
        + p[n & 1023]
    )


def is_ulid(text: str) -> bool:
    return _ULID.fullmatch(text) is not None


def ulid_ms(text: str) -> int:
    """The moment inside a ULID."""
    ms = 0
    for char in text[:10]:
        ms = ms * 32 + _ALPHABET.index(char)
    return ms


def hashed(step_id: str, repeat: int = 0) -> str:
    """The wire's step id: SHA-1 of the id, or of ``id:n`` for its n-th repetition (protocol §7.1)."""
    return sha1((f"{step_id}:{repeat}" if repeat else step_id).encode(), usedforsecurity=False).hexdigest()


class Ids(Protocol):
    """Where ids and chance come from."""

    def ulid(self, ms: int) -> str: ...

    def chance(self) -> float:
        """Uniform in [0, 1)."""
        ...


class RandomIds:
    """Ids from the operating system's randomness, or from a seed in a simulation."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed if seed is not None else os.urandom(16))
        self._ms = 0
        self._entropy = 0

    def ulid(self, ms: int) -> str:
        if ms > self._ms:
            self._ms = ms
            self._entropy = self._random.getrandbits(79)  # one bit free, so counting up cannot overflow
        else:
            self._entropy += 1
        return ulid(self._ms, self._entropy)

    def chance(self) -> float:
        return self._random.random()
