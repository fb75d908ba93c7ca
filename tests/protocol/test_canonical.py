"""The one form of JSON that both sides sign (RFC 8785; protocol §3.2)."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import InvalidOutput
from stepwell.protocol.canonical import canonical

# The samples of RFC 8785, appendix B: bits of a double, and what JavaScript writes for it.
NUMBERS = {
    0x0000000000000000: "0",
    0x8000000000000000: "0",
    0x0000000000000001: "5e-324",
    0x8000000000000001: "-5e-324",
    0x7FEFFFFFFFFFFFFF: "1.7976931348623157e+308",
    0xFFEFFFFFFFFFFFFF: "-1.7976931348623157e+308",
    0x4340000000000000: "9007199254740992",
    0xC340000000000000: "-9007199254740992",
    0x4430000000000000: "295147905179352830000",
    0x44B52D02C7E14AF5: "9.999999999999997e+22",
    0x44B52D02C7E14AF6: "1e+23",
    0x44B52D02C7E14AF7: "1.0000000000000001e+23",
    0x444B1AE4D6E2EF4E: "999999999999999700000",
    0x444B1AE4D6E2EF4F: "999999999999999900000",
    0x444B1AE4D6E2EF50: "1e+21",
    0x3EB0C6F7A0B5ED8C: "9.999999999999997e-7",
    0x3EB0C6F7A0B5ED8D: "0.000001",
    0x41B3DE4355555553: "333333333.3333332",
    0x41B3DE4355555554: "333333333.33333325",
    0x41B3DE4355555555: "333333333.3333333",
    0x41B3DE4355555556: "333333333.3333334",
    0x41B3DE4355555557: "333333333.33333343",
    0xBECBF647612F3696: "-0.0000033333333333333333",
    0x43143FF3C1CB0959: "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_javascript_writes_them(bits: int, text: str) -> None:
    (number,) = struct.unpack(">d", bits.to_bytes(8))

    assert canonical(repr(number).encode()) == text.encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.0", "1"), ("-0", "0"), ("1e2", "100"), ("9007199254740993", "9007199254740992"), ("1E-3", "0.001")],
)
def test_03_one_number_has_one_form(text: str, expected: str) -> None:
    assert canonical(text.encode()) == expected.encode()


def test_the_sample_of_the_rfc_is_reproduced() -> None:
    sample = rb"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""

    assert canonical(sample).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )


def test_03_keys_are_sorted_by_utf_16_units() -> None:
    sample = rb'{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}'

    assert list(json.loads(canonical(sample)).values()) == [2, 4, 6, 7, 1, 5, 3]


def test_empty_containers_have_no_space() -> None:
    assert canonical(b' { "a" : [ ] , "b" : { } } ') == b'{"a":[],"b":{}}'


@pytest.mark.parametrize("text", ["1" + "0" * 400, "[" * 9_000 + "]" * 9_000])
def test_what_has_no_canonical_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidOutput, match="cannot be signed"):
        canonical(text.encode())


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_the_canonical_form_says_the_same_to_javascript_and_is_its_own(value: object) -> None:
    sample = json.dumps(value)

    text = canonical(sample.encode())

    assert json.loads(text, parse_int=float) == json.loads(sample, parse_int=float)
    assert canonical(text) == text
