"""What apps say about themselves when they are synced (protocol §4.4).

The golden messages are what SDKs really sent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepwell.protocol.config import parse_function, warnings
from stepwell.protocol.registration import read_registration

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
