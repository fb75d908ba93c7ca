"""The OpenAPI document, and the table of who may use what: both written from the operations of the router."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec

from stepwell.server.access import Access, access
from stepwell.server.operations import Opaque, Operation, Style, Written
from stepwell.server.parameters import Parameter

_TEMPLATE: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_TWICE: Final = "/api/v2"  # the same operations under another prefix, which a document names once
_SECURITY: Final[dict[Access, list[dict[str, list[str]]]]] = {
    Access.PUBLIC: [],
    Access.EVENT_KEY: [],  # it is in the address
    Access.TOKEN: [],  # so is this
    Access.TOKEN_OR_KEY: [{}, {"signingKey": []}],
    Access.SIGNING_KEY: [{"signingKey": []}],
    Access.DEVELOPMENT: [{"signingKey": []}],
}


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is refused with: why, and mostly how to correct it."""

    error: str
    status: int
    fix: str | msgspec.UnsetType = msgspec.UNSET


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One error of REST v2."""

    code: str
    message: str
    why: str | msgspec.UnsetType = msgspec.UNSET
    fix: str | msgspec.UnsetType = msgspec.UNSET


class ErrorsAnswer(msgspec.Struct, frozen=True):
    """What a request to REST v2 is refused with."""

    errors: list[Told]


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    """Where a list goes on: ``cursor`` is what to ask for next."""

    limit: int
    has_more: bool
    cursor: str | None


class _Fetched(msgspec.Struct, frozen=True):
    """When an answer was made."""

    fetched_at: str
    cached_until: None


class _FetchedAt(msgspec.Struct, frozen=True, rename="camel"):
    """When an answer was made."""

    fetched_at: str
    cached_until: None


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The API as an OpenAPI 3.1 document."""
    types: list[Any] = [ErrorAnswer, ErrorsAnswer, _Page, _Fetched, _FetchedAt]
    named = [each for each in operations if not each.path.startswith(_TWICE)]
    types += [each.answer for each in named if each.answer is not None and not isinstance(each.answer, Written)]
    types += [each.body for each in named if isinstance(each.body, type)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for each in named:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stepwell",
            "version": version("stepwell"),
            "description": "What is below `/v2` is below `/api/v2` as well.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "signingKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A signing key of a production server, or its SHA-256; the token of one for "
                    "development, if it has one.",
                }
            },
        },
    }


class Row(NamedTuple):
    """A method of an address, and who may use it."""

    method: str
    path: str
    access: Access
    says: str
    query: tuple[str, ...]


def matrix(operations: Iterable[Operation]) -> list[Row]:
    """Who may use each method of each address, by address."""
    found = {
        (each.path, each.method): Row(
            each.method, each.path, access(each.path), each.says, tuple(parameter.name for parameter in each.query)
        )
        for each in operations
    }
    return [found[key] for key in sorted(found)]


def table(operations: Iterable[Operation]) -> str:
    """The same for people: Markdown for the reference."""
    lines = ["| request | in production | what it does |", "| --- | --- | --- |"]
    for row in matrix(operations):
        if not row.path.startswith(_TWICE):
            query = f"; {', '.join(f'`{name}`' for name in row.query)}" if row.query else ""
            lines.append(f"| `{row.method} {row.path}` | {row.access} | {row.says}{query} |")
    return "\n".join(lines)


def _operation(op: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": op.says,
        "operationId": _id(op),
        "security": _SECURITY[access(op.path)],
        "parameters": [
            *(_parameter(each, "path", required=True) for each in op.in_path),
            *(_parameter(each, "query", required=each.required) for each in op.query),
        ],
        "responses": {
            _status(op): _answer(op, schema_of),
            **{str(status): _error(op, status, schema_of) for status in _statuses(op)},
        },
    }
    if op.body is not None:
        described["requestBody"] = _body(op.body, schema_of)
    return described


def _status(op: Operation) -> str:
    """That of success, or the word for any."""
    return "default" if op.answer == Written() else str(op.status)


def _statuses(op: Operation) -> list[int]:
    """With which errors it can answer, besides success."""
    found = {400, 401, 403, 405, 503, *op.refuses}
    if op.in_path:
        found.add(404)
    if op.body is not None:
        found.add(408)
    return sorted(found - {op.status})


def _answer(op: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": HTTPStatus(op.status).phrase}
    if op.answer is None:
        return told
    if op.answer == Written():
        return {"description": "what was answered elsewhere"}
    if isinstance(op.answer, Written):
        return {**told, "content": {media: {} for media in op.answer.types}}
    schema = schema_of[_key(op.answer)]
    if op.style is not Style.PLAIN:
        fetched = schema_of[_key(_Fetched if op.style is Style.V1 else _FetchedAt)]
        wrapped: dict[str, Any] = {"data": schema, "metadata": fetched}
        if op.paged:
            wrapped["page"] = schema_of[_key(_Page)]
        schema = {"type": "object", "required": list(wrapped), "properties": wrapped}
    return {**told, "content": {_JSON: {"schema": schema}}}


def _error(op: Operation, status: int, schema_of: dict[str, Any]) -> dict[str, Any]:
    kind = ErrorsAnswer if op.style is Style.V2 else ErrorAnswer
    schema = schema_of[_key(kind)]
    if status == 503 and op.path == "/health":
        schema = schema_of[_key(op.answer)]
    return {"description": HTTPStatus(status).phrase, "content": {_JSON: {"schema": schema}}}


def _body(body: type[msgspec.Struct] | Opaque, schema_of: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(body, Opaque):
        required = any(field.required for field in msgspec.structs.fields(body))
        return {"required": required, "content": {_JSON: {"schema": schema_of[_key(body)]}}}
    schema: dict[str, Any] = {} if body.schema is None else {"schema": body.schema}
    return {"required": body.required, "content": dict.fromkeys(body.types, schema)}


def _parameter(parameter: Parameter, where: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": where,
        "required": required,
        "description": parameter.says,
        "schema": parameter.schema,
    }


def _id(op: Operation) -> str:
    part = {Style.V1: "v1", Style.V2: "v2", Style.PLAIN: op.path.split("/")[1].replace(".", "_")}[op.style]
    words = re.sub(r"\{(\w+)\}", r"\1", op.path).replace(".", "/").split("/")[1:]
    return "_".join([op.method.lower(), *(words if words[0] == part else [part, *words])])


def _key(kind: Any) -> str:
    return repr(kind)
