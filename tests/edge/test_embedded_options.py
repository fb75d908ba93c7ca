"""Options of an embedded engine that cannot be: refused at once, with what to write instead."""

from __future__ import annotations

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
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        app.embedded(":memory:", **options)
