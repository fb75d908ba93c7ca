"""Signatures of calls and answers, and the tokens of SDKs (protocol §3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac
from typing import Final

import msgspec

from stepwell.errors import ConfigurationError

HEADER: Final = "X-Inngest-Signature"
AGE_S_MAX: Final = 300  # an older signature may be a copy (invariants S4)
AHEAD_S_MAX: Final = 30
KEY_BITS_MIN: Final = 128

_PREFIX: Final = re.compile(r"^signkey-\w+-", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)
_FORM: Final = re.compile(r"t=([0-9]{1,12})&s=([0-9a-f]{64})", re.ASCII)


class SigningKey(msgspec.Struct, frozen=True):
    """A key that both sides know. ``text`` is what is signed with; with ``bearer`` SDKs prove that they have it."""

    text: str
    bearer: str

    def __repr__(self) -> str:
        return f"SigningKey({self.bearer[:6]}…)"  # never the key: this ends up in logs (S34)


def signing_key(text: str) -> SigningKey:
    """The key in ``signkey-<env>-<hex>`` or bare hex. Raises ``ConfigurationError``."""
    key = _PREFIX.sub("", text.strip())
    if not _HEX.fullmatch(key):
        raise ConfigurationError(
            what="a signing key is not one",
            why="after 'signkey-<environment>-' it has an even number of hexadecimal digits",
            fix="make one: python3 -c \"import secrets; print('signkey-prod-' + secrets.token_hex(32))\"",
        )
    raw = bytes.fromhex(key)
    if len(raw) * 8 < KEY_BITS_MIN:
        raise ConfigurationError(
            what=f"a signing key has {len(raw) * 8} bits",
            why=f"fewer than {KEY_BITS_MIN} can be guessed",
            fix="make one: python3 -c \"import secrets; print('signkey-prod-' + secrets.token_hex(32))\"",
        )
    return SigningKey(key, sha256(raw).hexdigest())


def sign(key: SigningKey, body: bytes, at_s: int) -> str:
    """The value of the signature's header for this body, at this second since 1970 (protocol §3.2).

    What a call carries is signed as canonical JSON, what an answer carries as the bytes it is.
    """
    return f"t={at_s}&s={_digest(key, body, str(at_s))}"


def verified(keys: Iterable[SigningKey], body: bytes, header: str, now_s: int) -> SigningKey | None:
    """The key with which this header was made for this body, not long ago; ``None`` if with none of them."""
    form = _FORM.fullmatch(header)
    if form is None:
        return None
    at, given = form[1], form[2]
    if not -AHEAD_S_MAX <= now_s - int(at) <= AGE_S_MAX:
        return None
    return next((key for key in keys if compare_digest(_digest(key, body, at), given)), None)


def knows(keys: Iterable[SigningKey], token: str) -> bool:
    """Does a token show that whoever sends it has one of these keys (protocol §3.4)? Its prefix says nothing."""
    bare = _PREFIX.sub("", token.strip()).encode("utf-8", "replace")
    found = False
    for key in keys:  # all of them, so that the time it takes does not tell which
        found |= compare_digest(bare, key.bearer.encode()) | compare_digest(bare, key.text.encode())
    return found


def _digest(key: SigningKey, body: bytes, at: str) -> str:
    return hmac(key.text.encode("ascii"), body + at.encode("ascii"), sha256).hexdigest()
