"""Signatures and tokens (protocol §3, checklist 2, 3, 5, 6)."""

from __future__ import annotations

import pytest

from stepwell.errors import ConfigurationError
from stepwell.protocol.canonical import canonical
from stepwell.protocol.signing import AGE_S_MAX, AHEAD_S_MAX, knows, sign, signing_key, verified

TEXT = "signkey-prod-00112233445566778899aabbccddeeff"
KEY = signing_key(TEXT)
OTHER = signing_key("ffeeddccbbaa99887766554433221100")
BODY = b'{"a":1,"b":"x"}'
NOW = 1_700_000_000


def test_p14_02_the_vectors_of_the_protocol() -> None:
    assert KEY.bearer == "a8faed6abbf35c12a4b26e40f6feb19d736d90045c83b9f9a31f638d323e6811"
    assert sign(KEY, BODY, NOW) == "t=1700000000&s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311"


def test_p14_03_bodies_are_signed_in_their_canonical_form() -> None:
    """K39."""
    assert canonical(b'{ "b": "x", "a": 1.0 }') == BODY


def test_an_empty_body_is_signed_as_nothing() -> None:
    assert verified([KEY], b"", sign(KEY, b"", NOW), NOW) == KEY


def test_the_key_that_fits_is_found() -> None:
    header = sign(KEY, BODY, NOW)

    assert verified([OTHER, KEY], BODY, header, NOW) == KEY
    assert verified([OTHER], BODY, header, NOW) is None
    assert verified([], BODY, header, NOW) is None
    assert verified([KEY], BODY + b" ", header, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "passes"),
    [(0, True), (AGE_S_MAX, True), (AGE_S_MAX + 1, False), (-AHEAD_S_MAX, True), (-AHEAD_S_MAX - 1, False)],
)
def test_p14_05_old_signatures_and_those_from_the_future_count_for_nothing(seconds: int, passes: bool) -> None:
    found = verified([KEY], BODY, sign(KEY, BODY, NOW), NOW + seconds)

    assert (found is not None) == passes


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1700000000",
        "s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311",
        "t=1700000000&s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311&t=1",
        "t=1700000000&t=1700000000&s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311",
        "t=17000000001700000000&s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311",
        "t=+1700000000&s=9228741986a6ce2b7f88c71af477282bf13e6595b859ff59d89db77720006311",
        "t=1700000000&s=" + "ü" * 64,
    ],
)
def test_a_header_of_another_form_counts_for_nothing(header: str) -> None:
    """S4: malformed and repeated fields."""
    assert verified([KEY], BODY, header, NOW) is None


@pytest.mark.parametrize(
    "token",
    [
        KEY.bearer,
        f"signkey-test-{KEY.bearer}",
        f"signkey-prod-{KEY.bearer}",
        TEXT,
        KEY.text,
        OTHER.bearer,
        f" {KEY.bearer} ",
    ],
)
def test_p14_06_every_form_of_a_token_is_known(token: str) -> None:
    assert knows([KEY, OTHER], token)


@pytest.mark.parametrize(
    "token", ["", "undefined", "signkey-prod-", KEY.bearer[:-1], KEY.bearer.upper(), "ü", "\ud800"]
)
def test_what_is_no_token_is_not(token: str) -> None:
    assert not knows([KEY, OTHER], token)


@pytest.mark.parametrize("text", ["", "signkey-prod-", "hunter2", "abc", "signkey-prod-xyz", "aabb"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        signing_key(text)

    assert "secrets.token_hex(32)" in refused.value.fix
    assert "hunter2" not in str(refused.value)


def test_a_key_does_not_show_itself() -> None:
    """S34."""
    assert KEY.text not in repr(KEY)
    assert KEY.text not in f"{KEY}"
