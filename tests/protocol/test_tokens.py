"""Tokens for whoever has no key (protocol §8.5, §12.2)."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from stepwell.limits import TOKEN_CHARS_MAX
from stepwell.protocol.tokens import InvalidToken, read, sign

KEY = "a key"
NOW = 1_700_000_000_000
CLAIMS = {"sub": "ä", "exp": 1_700_000_060, "topics": [{"channel": "c"}]}


def test_a_token_is_read_as_it_was_signed_until_its_time_is_over():
    token = sign(CLAIMS, KEY)

    assert read(token, KEY, NOW) == CLAIMS
    assert read(token, KEY, 1_700_000_059_999) == CLAIMS
    with pytest.raises(InvalidToken, match="its time is over"):
        read(token, KEY, 1_700_000_060_000)


def test_it_is_a_json_web_token_as_others_read_it():
    """Made by hand from the definition in RFC 7515."""
    token = sign({"exp": 1_700_000_060}, "secret")

    assert token == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE3MDAwMDAwNjB9.mJ9VhTXcQITeiI54U6NFLgq7V6KPngfYzdlhwrnIMIY"
    )


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        sign(CLAIMS, "another key"),
        sign(CLAIMS, KEY)[:-1] + "!",
        sign(CLAIMS, KEY) + "=",
        sign(CLAIMS, KEY) + "\n",
        sign({"x": "y" * TOKEN_CHARS_MAX, "exp": 1_700_000_060}, KEY),
        sign({"sub": "without an end"}, KEY),
        sign({"exp": "1700000060"}, KEY),
        sign({"exp": True}, KEY),
        sign({"exp": None}, KEY),
    ],
)
def test_what_is_no_token_of_this_key_is_refused(token: str):
    with pytest.raises(InvalidToken):
        read(token, KEY, NOW)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_part_of_it_can_be_changed(part: int):
    parts = sign(CLAIMS, KEY).split(".")
    parts[part] = ("A" if parts[part][0] != "A" else "B") + parts[part][1:]

    with pytest.raises(InvalidToken, match="not signed"):
        read(".".join(parts), KEY, NOW)


def test_the_algorithm_cannot_be_chosen_by_the_token():
    header = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    _, claims, signature = sign(CLAIMS, KEY).split(".")

    for token in (f"{header}.{claims}.", f"{header}.{claims}.{signature}"):
        with pytest.raises(InvalidToken):
            read(token, KEY, NOW)
