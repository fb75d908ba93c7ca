"""Options of an embedded engine that cannot be: refused at once, with what to write instead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import Stepwell
from stepwell.errors import ConfigurationError

app = Stepwell("shop")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retension": "1d"}, "for retension write retention"),
        ({"durability": "ful"}, "choose one of 'full', 'normal'"),
        ({"concurrency": 0}, "a whole number of 1 or more"),
        ({"concurrency": True}, "a whole number of 1 or more"),
        ({"concurrency": "10"}, "a whole number of 1 or more"),
        ({"retention": "long"}, "'long' is not a length of time"),
        ({"retry_interval": "-1s"}, "'-1s' is not a length of time"),
        ({"max_event_bytes": 3 * 1024 * 1024 + 1}, "from 1 to 3,145,728"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_steps": 10_001}, "from 1 to 10,000"),
        ({"max_steps": "10"}, "max_steps is '10'"),
        ({"grace": None}, "None is not a length of time"),
        ({"grace": -1}, "grace is -1"),
        ({"grace": timedelta(seconds=-1)}, "cannot be negative"),
        ({"retry_interval": -1}, "retry_interval is -1"),
        ({"retention": -1}, "retention is -1"),
        ({"retention": 0}, "0 keeps nothing"),
        ({"retention": "0s"}, "0 keeps nothing"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        app.embedded(":memory:", **options)


def test_nothing_is_a_length_for_what_may_take_no_time() -> None:
    app.embedded(":memory:", grace=0, retry_interval=0, retention=None)


@pytest.mark.parametrize("path", [None, "", "  ", 7, b"shop.db", "shop\0.db"], ids=repr)
def test_a_path_that_names_no_file_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="the path of the database is") as raised:
        app.embedded(path)

    assert ":memory:" in raised.value.fix
