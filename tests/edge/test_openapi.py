"""The OpenAPI document and the servers agree: whatever it allows is answered as it says, and nothing breaks them.

Requests are made up by schemathesis from the document, the same ones each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from stepwell.server.access import CHECKED_BY_ROUTE, Access, access
from tests.edge.conftest import Dev, eventually
from tests.edge.started import EVENT_KEY, NEW_KEY, Start

pytestmark = pytest.mark.slow

schemathesis.openapi.media_type("application/protobuf", st.binary(max_size=200))

EXAMPLES: Final = 3
CHECKS: Final = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FUZZ: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running = Start(tmp_path_factory.mktemp("start"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def operations(server: Dev) -> list[Any]:
    document = server.http("GET", "/openapi.json").json
    # Credentials are what the tests give, and the matrix of test_access.py is about what happens without them.
    for methods in document["paths"].values():
        for described in methods.values():
            del described["security"]
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


def fuzz(
    server: Dev, operation: Any, mode: GenerationMode, headers: dict[str, str], known: dict[str, str] | None = None
) -> set[int]:
    """Ask what the document allows (or does not), see that the answers are as it says. Returns their statuses."""
    statuses = set[int]()
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    names = {parameter.name for parameter in operation.path_parameters}
    path = {name: value for name, value in (known or {}).items() if name in names}

    @FUZZ
    @given(case=operation.as_strategy(mode, **({"path_parameters": path} if path else {})))
    def ask(case: Case) -> None:
        assume("" not in (case.query or {}).values())  # an empty parameter is one that was left out
        response = case.call(base_url=server.url, headers=headers)
        case.validate_response(response, checks=checks, headers=headers)
        statuses.add(response.status_code)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # it takes nothing that could be wrong
    return statuses


def everything(server: Dev) -> Any:
    """What a write would change."""
    return [
        server.http("GET", path).json["data"]
        for path in (
            *("/v2/apps", "/v2/functions?archived=true", "/v2/events?internal=true"),
            *("/v2/runs", "/v2/cancellations"),
        )
    ]


def test_dev(dev: Dev) -> None:
    event_id = dev.send("shop/ordered")
    run_id = dev.get(f"/v2/events/{event_id}/runs")["runs"][0]["id"]
    order = dev.http("POST", "/v2/cancellations", {"functionId": "large"}).json["data"]["id"]
    known = {
        "run_id": run_id,
        "event_id": event_id,
        "cancellation_id": order,
        "app_id": "shop",
        "function_id": "shop-bill",
        "slug": "shop-bill",
        "key": "any",
    }
    statuses = set[int]()
    for operation in operations(dev):
        for mode in GenerationMode:
            statuses |= fuzz(dev, operation, mode, {})
        if operation.path_parameters:
            statuses |= fuzz(dev, operation, GenerationMode.POSITIVE, {}, known)
    assert statuses >= {200, 400, 404, 409}  # it is not that all is refused for the same reason
    assert dev.http("GET", "/health").status == 200


def test_a_run_that_an_app_begins_is_answered_as_the_document_says(dev: Dev) -> None:
    """What is made up has no address that may be called, so it begins none."""
    found = {operation.label: operation for operation in operations(dev)}
    run_id = "01HF7YAT00000000000000000B"
    page = {"domain": "http://127.0.0.1:9", "method": "POST", "path": "/pay", "fn": "pay"}
    done = {"op": "RunComplete", "id": "end", "data": {"status": 418, "headers": {"x-tea": "yes"}, "body": "short"}}

    def ask(label: str, **parts: Any) -> Any:
        case = found[label].Case(media_type="application/json" if "body" in parts else None, **parts)
        return case.call_and_validate(base_url=dev.url, checks=CHECKS)

    event = {"name": "inngest/http.request", "data": page}
    begun = ask("POST /v1/checkpoint", body={"run_id": run_id, "event": event, "steps": []})
    path = {"run_id": run_id}
    reported = ask("POST /v1/checkpoint/{run_id}/steps", path_parameters=path, body={"run_id": run_id, "steps": [done]})
    token = begun.json()["data"]["token"]
    answer = ask("GET /v1/http/runs/{run_id}/output", path_parameters=path, query={"token": token})

    assert (begun.status_code, reported.status_code) == (200, 200)
    assert (answer.status_code, answer.headers["x-tea"], answer.content) == (418, ["yes"], b"short")


def test_production_with_its_keys(production: Start) -> None:
    bearer = {"Authorization": f"Bearer {NEW_KEY.bearer}"}
    event_id = production.send("shop/ordered")
    statuses = set[int]()
    for operation in operations(production):
        if operation.path != "/dev":  # there is none
            statuses |= fuzz(production, operation, GenerationMode.POSITIVE, bearer, {"key": EVENT_KEY})
            statuses |= fuzz(production, operation, GenerationMode.NEGATIVE, bearer, {"event_id": event_id})
    assert statuses >= {200, 400, 404}
    assert production.http("GET", "/health").status == 200


def test_production_without_keys_writes_nothing(production: Start) -> None:
    before = everything(production)

    for operation in operations(production):
        if operation.path != "/dev":
            statuses = fuzz(production, operation, GenerationMode.POSITIVE, {})
            who = access(operation.path.replace("{run_id}", "any"))
            refused = {400, 401, 404} if who in CHECKED_BY_ROUTE else {401}
            assert statuses <= ({200} if who is Access.PUBLIC else refused), operation.label

    assert everything(production) == before
