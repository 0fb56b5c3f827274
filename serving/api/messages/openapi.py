"""The OpenAPI document, made from the types that requests and answers are decoded with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.api.messages.operator_schemas import ErasureResponse, ExperimentsResponse, ReadyResponse
from serving.api.messages.schemas import (
    BatchRequest,
    BatchResponse,
    ErrorResponse,
    EventsResponse,
    RankRequest,
    RankResponse,
    RecommendRequest,
)
from serving.api_key import Scope
from streaming.events.schema import ClientEvent

_TYPES = (
    RankRequest,
    RecommendRequest,
    BatchRequest,
    RankResponse,
    BatchResponse,
    ClientEvent,
    EventsResponse,
    ErasureResponse,
    ExperimentsResponse,
    ReadyResponse,
    ErrorResponse,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route, for people and for generated clients. `request` and `response` are types or None for plain text."""

    method: str
    path: str
    summary: str
    description: str
    response: Any = None
    request: Any = None
    example: Any = None
    scope: Scope | None = None
    """That a key must have; None: open to everyone."""


OPERATIONS = (
    Operation(
        "post",
        "/v1/rank",
        "Rank given items for a user",
        "Every valid request is answered with 200; `degraded` lists what was missing. `explain` asks an autoint for "
        "what it attended to; another model answers it with 422.",
        RankResponse,
        RankRequest,
        {"user": "u1", "items": ["a", "b", "c"], "features": {}},
        "rank",
    ),
    Operation(
        "post",
        "/v1/recommend",
        "Retrieve items for a user and rank them",
        "Candidates are of the sources that have a share; `source` says which.",
        RankResponse,
        RecommendRequest,
        {"user": "u1", "count": 10},
        "rank",
    ),
    Operation(
        "post",
        "/v1/recommend/batch",
        "Lists for many users",
        "As /v1/recommend for each of them, one after another, so that other requests come in between. A list that "
        "is not made has an error instead; one that the server was too busy for may be asked for again. With "
        "`log` false a list is to be shown later, such as in a mail.",
        BatchResponse,
        BatchRequest,
        {"requests": [{"user": "u1", "count": 10, "log": False}, {"user": "u2", "count": 10, "log": False}]},
        "rank",
    ),
    Operation(
        "post",
        "/v1/events",
        "Store events",
        "One event, a JSON array of events, or one event per line. They are stored durably before the answer. An event "
        "that came before is a duplicate; with other content under its id it is rejected. An interaction whose action "
        "decides no label is accepted, and `ignored_actions` counts it.",
        EventsResponse,
        ClientEvent,
        {"type": "interaction", "time": 1700000000000, "impression": "id of an answer", "item": "a", "action": "click"},
        "events",
    ),
    Operation("get", "/v1/experiments", "Results of the running experiments", "", ExperimentsResponse, scope="admin"),
    Operation(
        "delete",
        "/v1/users/{user}",
        "Erase a user",
        "From the log, Redis and refused records, while the trainer forgets the user. It reads the whole log, so the "
        "answer may take minutes; without one ask again. Events that come later are of a new user of that name.",
        ErasureResponse,
        scope="admin",
    ),
    Operation("get", "/healthz", "Whether the process is alive", ""),
    Operation(
        "get",
        "/readyz",
        "Whether models are loaded, and the state of their trainers",
        "503 until every model that an arm needs has been loaded once. Where the server has keys, `missing` and "
        "`trainer` are for the scope admin.",
        ReadyResponse,
    ),
    Operation("get", "/metrics", "Counters for Prometheus", "", scope="admin"),
)


def document(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    template = "#/components/schemas/{name}"
    _, components = msgspec.json.schema_components(_TYPES, ref_template=template)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, template)
    return {
        "openapi": "3.1.0",
        "info": {"title": "recsys", "version": version, "description": "Rankings that learn from every click."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(operation: Operation, template: str) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": operation.summary, "description": operation.description}
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if operation.response is not None:
        content = {"application/json": {"schema": _schema(operation.response, template)}}
    made["responses"] = {"200": {"description": "The answer.", "content": content}}
    refusal = {"application/json": {"schema": _schema(ErrorResponse, template)}}
    if operation.scope is not None:
        made["security"] = [{}, {"key": []}]  # a server without keys asks for none
        for status, what in (("401", "No known key."), ("403", "A key without the scope."), ("429", "Too many.")):
            made["responses"][status] = {"description": what, "content": refusal}
    if names := re.findall(r"{(\w+)}", operation.path):
        text = {"in": "path", "required": True, "schema": {"type": "string"}}
        made["parameters"] = [{"name": name, **text} for name in names]
    if operation.request is not None:
        body = {"schema": _schema(operation.request, template), "example": operation.example}
        made["requestBody"] = {"required": True, "content": {"application/json": body}}
        for status, what in (("400", "Not JSON."), ("413", "Too large."), ("422", "A field is wrong.")):
            made["responses"][status] = {"description": what, "content": refusal}
    return made


def _schema(kind: Any, template: str) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=template)
    return schema
