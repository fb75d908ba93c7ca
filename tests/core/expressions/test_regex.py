"""``matches()`` takes time linear in the text, and agrees with a backtracking engine where that has an answer."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepwell.expressions.regex import Pattern, compile_pattern

PATTERNS = [
    ("abc", "xxabcxx", True),
    ("^abc$", "abc", True),
    ("^abc$", "abc\n", False),
    ("(?m)^abc$", "x\nabc\ny", True),
    ("a.c", "a\nc", False),
    ("(?s)a.c", "a\nc", True),
    ("(?i)straße", "STRAßE", True),
    ("a(?i)b", "aB", True),
    ("a(?i)b", "AB", False),
    ("(?i:a)b", "Ab", True),
    ("(?i:a)b", "AB", False),
    ("a(?:b|c(?i)d)e", "acDE", False),
    ("(?i)a(?-i)b", "Ab", True),
    ("(?i)a(?-i)b", "AB", False),
    (r"\bfoo\b", "a foo b", True),
    (r"\bfoo\b", "afoo", False),
    (r"\Boo", "foo", True),
    (r"\Aa\z", "a", True),
    (r"\d{3}-\d{4}", "call 555-1234", True),
    (r"\d", "٣", False),
    (r"\w+@\w+\.(com|org)", "me@example.org", True),
    (r"[^\s]+", " \t\n", False),
    (r"[\W]", "a_1", False),
    (r"[]a]", "]", True),
    (r"[^]a]", "]a", False),
    (r"[a-]", "-", True),
    (r"[\]\-\x41\x{1F600}]", "😀", True),
    (r"[[:alpha:]]+[[:^digit:]]", "ab", True),
    (r"a{0}b", "b", True),
    (r"a{2,}", "a", False),
    (r"a{,2}", "a{,2}", True),
    (r"x{", "x{", True),
    (r"\Qa.b\E", "axb", False),
    (r"\Qa.b\E", "a.b", True),
    (r"(?P<name>a)(?<other>b)", "ab", True),
    (r"(|a)+$", "b", True),
    ("", "", True),
    (r"\.", "a", False),
    (r"\t\x41", "\tA", True),
]


@pytest.mark.parametrize(("pattern", "text", "found"), PATTERNS)
def test_the_syntax_is_that_of_re2(pattern: str, text: str, found: bool):
    assert compile_pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "a)",
        "[a",
        "*a",
        "a**",
        "a{2}{3}",
        "(?=a)",
        "(?<!a)b",
        "\\1",
        "\\pL",
        "\\x{110000}",
        "\\x{}",
        "\\xg1",
        "[z-a]",
        "a{1001}",
        "a{3,2}",
        "((a{100}){100}){100}",
        "\\",
        "[[:nope:]]",
        "(?P<1>a)",
        "(?i",
        "\\Qa",
        "(" * 60 + ")" * 60,
    ],
)
def test_a_pattern_that_cannot_be_searched_for_in_linear_time_or_at_all_is_refused(pattern: str):
    with pytest.raises(ValueError, match=r"\w"):
        compile_pattern(pattern)


_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\s", r"\b", r"\B", "^", "$", "c", " "])
_REGEXES = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=500)
@given(_REGEXES, st.text("abc \n_", max_size=8))
@example(r"(?:\b)*a", "a")
@example("(?:(?:^)*b)+", "ab")
def test_it_agrees_with_a_backtracking_engine(pattern: str, text: str):
    # RE2's $ is the end of the text; Python's is also before a last line break.
    twin = re.compile(pattern.replace("$", r"\Z"), re.ASCII)

    # In a text without any character there is no word boundary; Python did not think so before 3.14.
    if text or r"\B" not in pattern:
        assert compile_pattern(pattern).search(text) is (twin.search(text) is not None)


@settings(max_examples=300)
@given(st.text(r"ab\dwx01{}[]()?*+|^$-:,.<>Pim", max_size=20), st.text("ab1", max_size=5))
def test_any_text_is_a_pattern_or_is_refused(pattern: str, text: str):
    try:
        compiled = compile_pattern(pattern)
    except ValueError:
        return
    assert compiled.search(text) in (True, False)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a*)*b", "a*a*a*a*a*b", "(.*)(.*)(.*)(.*)[^a]", "(?:a?){30}a{30}b"]
)
def test_patterns_that_stop_a_backtracking_engine_are_harmless(pattern: str):
    compiled = compile_pattern(pattern)
    started = time.perf_counter()

    compiled.search("a" * 20_000 + "!")

    assert time.perf_counter() - started < 1


def test_what_is_remembered_of_a_pattern_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepwell.expressions.regex._REMEMBERED_MAX", 100)
    compiled = Pattern(compile_pattern("(a|b)*a(a|b){5}c")._program)

    for number in range(256):
        text = format(number, "08b").translate({ord("0"): "a", ord("1"): "b"})
        assert compiled.search(text + "c") is (text[-6] == "a")
        assert compiled._remembered <= 100 + compiled.size
