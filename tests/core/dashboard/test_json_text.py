"""JSON as a page shows it."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from stepwell.dashboard.json_text import json_text
from stepwell.dashboard.linking import with_links
from stepwell.limits import JSON_SHOWN_BYTES_MAX

RUN = "01HF7YAT00000000000000000A"


def bare(marked: str) -> str:
    return html.unescape(re.sub(r'<span class="j-[ksnw]">|</span>', "", marked))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_marks_add_nothing_to_a_text_and_nothing_of_it_is_markup(text: bytes):
    shown = json_text(text)

    assert bare(shown.html) == shown.plain
    assert re.sub(r'<span class="j-[ksnw]">|</span>', "", shown.html).count("<") == 0


def test_the_parts_of_json_are_marked():
    assert json_text(b'{"a":[1,null,"x"]}').html.split() == [
        "{",
        "<span",
        'class="j-k">&#34;a&#34;</span>:',
        "[",
        "<span",
        'class="j-n">1</span>,',
        "<span",
        'class="j-w">null</span>,',
        "<span",
        'class="j-s">&#34;x&#34;</span>',
        "]",
        "}",
    ]


def test_what_is_too_long_is_cut_and_says_so():
    text = b'"' + b"x" * JSON_SHOWN_BYTES_MAX + b'"'

    assert (json_text(text).more, len(json_text(text).plain)) == (True, JSON_SHOWN_BYTES_MAX)
    assert json_text(text, whole=True).more is False


def test_what_a_sentence_names_is_a_link_and_the_rest_is_text():
    assert with_links(f"Held by run {RUN} <b>.") == f'Held by run <a href="/runs/{RUN}">{RUN}</a> &lt;b&gt;.'
    told = with_links(f"The event 'a/b' {RUN} came.")
    assert told == f'The event &#39;a/b&#39; <a href="/events/{RUN}">{RUN}</a> came.'


def test_what_an_sdk_has_encrypted_is_shown_as_locked():
    secret = '{"__ENCRYPTED__": true, "__STRATEGY__": "inngest/libsodium", "data": "aGVsbG8="}'
    shown = json_text(f'{{"order": 1, "card": {secret}, "text": "{{\\"__ENCRYPTED__\\": true}}"}}'.encode())

    assert "aGVsbG8=" not in shown.html
    assert shown.html.count("encrypted, ") == 1
    assert '<span class="j-n">1</span>' in shown.html
    assert "aGVsbG8=" in shown.plain, "who copies it gets what there is"
