"""Short-lived tokens for whoever has no key: JSON Web Tokens, HS256 only (protocol §8.5, §12.2)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac
from typing import Any, Final

import msgspec

from stepwell.limits import TOKEN_CHARS_MAX

_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
_HEADER: Final = b'{"alg":"HS256","typ":"JWT"}'

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class InvalidToken(Exception):
    """A token is not one of ours, or its time is over."""


def sign(claims: Mapping[str, Any], key: str) -> str:
    """A token that says this. ``exp`` must be among the claims: seconds since 1970, as JSON Web Tokens count."""
    said = f"{_text(_HEADER)}.{_text(_encode(claims))}"
    return f"{said}.{_text(_digest(said, key))}"


def read(token: str, key: str, now: int) -> dict[str, Any]:
    """What a token says that was signed with this key, and is valid at this moment (milliseconds since 1970).

    Raises ``InvalidToken``, whose text is for a log or a person and names nothing of what is inside.
    """
    form = _FORM.fullmatch(token) if len(token) <= TOKEN_CHARS_MAX else None
    if form is None:
        raise InvalidToken("it has not the form of a token")
    if not compare_digest(_text(_digest(token[: form.end(2)], key)), form[3]):
        raise InvalidToken("it was not signed with the key of this server")
    # What it says is read only now. Its header can say nothing else than ours does: there is one algorithm.
    try:
        header, claims = _decode(_bytes(form[1])), _decode(_bytes(form[2]))
    except (ValueError, RecursionError):
        raise InvalidToken("it holds no claims") from None
    expires = claims.get("exp")
    if header.get("alg") != "HS256" or not isinstance(expires, int | float) or isinstance(expires, bool):
        raise InvalidToken("it holds no claims")
    if now >= expires * 1000:
        raise InvalidToken("its time is over")
    return claims


def _digest(said: str, key: str) -> bytes:
    return hmac(key.encode(), said.encode("ascii"), sha256).digest()


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
