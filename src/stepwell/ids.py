"""The only reader of randomness: event and run ids, lease tokens, jitter.

Ids are ULIDs: 26 characters, sortable by time. Within one millisecond they count up, so ids made by one
process sort in the order they were made. The last two characters are the place (``model/place.py``), which says where
the row with this id is; they are below what counts.
"""

from __future__ import annotations

import os
import random
import re
from hashlib import sha1
from typing import Protocol

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # ten bits at a time
_LOW = (1 << 40) - 1
_PLACE_BITS = 10
_NEXT = (1 << _PLACE_BITS) + 619  # 619 of 1,024 is the golden section, so that neighbours in time are far apart
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def ulid(ms: int, entropy: int) -> str:
    """The ULID of a moment and 80 bits of entropy."""
    p, high, low = _PAIRS, entropy >> 40, entropy & _LOW  # numbers of one or two digits are cheaper than one of five
    return (
        f"{p[ms >> 40]}{p[ms >> 30 & 1023]}{p[ms >> 20 & 1023]}{p[ms >> 10 & 1023]}{p[ms & 1023]}"
        f"{p[high >> 30]}{p[high >> 20 & 1023]}{p[high >> 10 & 1023]}{p[high & 1023]}"
        f"{p[low >> 30]}{p[low >> 20 & 1023]}{p[low >> 10 & 1023]}{p[low & 1023]}"
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


def secret(bits: int) -> str:
    """A new secret in hexadecimal digits, from the operating system's randomness."""
    return os.urandom(bits // 8).hex()


class Ids(Protocol):
    """Where ids and chance come from."""

    def ulid(self, ms: int, place: int | None = None) -> str:
        """An id of this millisecond at this place, from 0 to 1023; any place if it does not matter."""
        ...

    def chance(self) -> float:
        """Uniform in [0, 1)."""
        ...


class RandomIds:
    """Ids from the operating system's randomness, or from a seed in a simulation."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed if seed is not None else os.urandom(16))
        self._ms = 0
        self._entropy = 0

    def ulid(self, ms: int, place: int | None = None) -> str:
        if ms > self._ms:
            self._ms = ms
            self._entropy = self._random.getrandbits(79)  # one bit free, so counting up cannot overflow
        else:
            # Above the place, and to another place: an odd step comes by all of them, and is cheaper than a new one.
            self._entropy += _NEXT
        if place is None:
            return ulid(self._ms, self._entropy)
        return ulid(self._ms, self._entropy >> _PLACE_BITS << _PLACE_BITS | place)

    def chance(self) -> float:
        return self._random.random()
