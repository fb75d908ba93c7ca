"""What apps say about themselves when they are synced (protocol §4.4).

The golden messages are what SDKs really sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.errors import ConfigurationError
from stepwell.protocol.config import parse_function, warnings
from stepwell.protocol.registration import read_functions, read_registration

GOLDEN = {path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("golden/register-*"))}
golden = pytest.mark.parametrize("message", GOLDEN.values(), ids=GOLDEN)


def body(message: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps({**message["wire"], **changed}).encode()


@golden
def test_an_app_is_known_by_what_it_says(message: dict[str, Any]) -> None:
    """Checklist 17."""
    found = read_registration(body(message))

    assert (found.app_id, found.url, found.framework) == ("js", "http://127.0.0.1:3000/api/inngest", "nodejs")
    assert found.sdk in message["headers"]["x-inngest-sdk"].replace("inngest-", "")
    assert len(found.functions) == len(message["wire"]["functions"])


@golden
def test_all_that_it_says_of_its_functions_is_understood(message: dict[str, Any]) -> None:
    functions = {each["id"]: each for each in read_registration(body(message)).functions}

    assert [warning for each in functions.values() for warning in warnings(each)] == []
    parsed = {id: parse_function(each, "js") for id, each in functions.items()}
    assert (parsed["js-final"].retries, parsed["js-final-failure"].retries, parsed["js-steps"].retries) == (3, 1, 4)
    assert parsed["js-told"].url == "http://127.0.0.1:3000/api/inngest?fnId=js-told&stepId=step"


@golden
def test_what_an_sdk_observes_about_itself_is_no_change_of_the_app(message: dict[str, Any]) -> None:
    """Checklist 18."""
    known = read_registration(body(message))

    observed = {"sendEvents": {"readinessReason": "ANOTHER"}}
    assert read_registration(body(message, featureObservations=observed, deployId="7")).checksum == known.checksum
    assert read_registration(body(message, functions=[])).checksum != known.checksum


# Refusals -------------------------------------------------------------------------------------------------------------


def _bad(number: int) -> dict[str, Any]:
    return {"id": f"shop-{number}", "triggers": [{"cron": "never"}], "retries": number, "concurrency": -1}


def test_what_is_wrong_with_each_function_is_told_at_once() -> None:
    good = {"id": "shop-good", "triggers": [{"event": "shop/go"}]}

    with pytest.raises(ConfigurationError) as caught:
        read_functions("shop", [_bad(1), good, _bad(2)])

    assert caught.value.what == "2 functions of app 'shop' cannot be accepted"
    for number in (1, 2):
        assert f"function 'shop-{number}' has 2 problems" in caught.value.why
    assert caught.value.why.count("the limit of a concurrency is -1") == 2
    assert caught.value.fix is not None
    assert caught.value.fix.count("give a whole number") == 2


def test_one_that_is_wrong_is_told_as_it_is() -> None:
    with pytest.raises(ConfigurationError, match="function 'shop-1' has 2 problems"):
        read_functions("shop", [_bad(1)])


def test_a_message_names_no_more_functions_than_can_be_read() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_functions("shop", [_bad(number) for number in range(100)])

    assert caught.value.what.startswith("100 functions")
    assert caught.value.why.count("has 2 problems") == 20
    assert caught.value.why.endswith("and 80 more")
