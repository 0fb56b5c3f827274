"""The OpenAPI document, made from the types that requests and answers are decoded with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from serving.api.schemas import (
    ErrorResponse,
    EventsResponse,
    ExperimentsResponse,
    RankRequest,
    RankResponse,
    RecommendRequest,
)
from streaming.events.schema import Event

_TYPES = (RankRequest, RecommendRequest, RankResponse, Event, EventsResponse, ExperimentsResponse, ErrorResponse)


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


OPERATIONS = (
    Operation(
        "post",
        "/v1/rank",
        "Put given items in order for a user",
        "Always answers 200 for a valid request; `degraded` names what was missing.",
        RankResponse,
        RankRequest,
        {"user": "u1", "items": ["a", "b", "c"], "features": {}},
    ),
    Operation(
        "post",
        "/v1/recommend",
        "Find items for a user and put them in order",
        "Candidates are popular and recent items.",
        RankResponse,
        RecommendRequest,
        {"user": "u1", "count": 10},
    ),
    Operation(
        "post",
        "/v1/events",
        "Store events",
        "One event, a JSON array of events, or one event a line. Answers when they survive a crash of the server.",
        EventsResponse,
        Event,
        {"type": "interaction", "time": 1700000000000, "impression": "id of an answer", "item": "a", "action": "click"},
    ),
    Operation("get", "/v1/experiments", "What the running experiments show", "", ExperimentsResponse),
    Operation("get", "/healthz", "Whether the process lives", ""),
    Operation("get", "/readyz", "Whether models are loaded", "503 while a model that an arm needs was never loaded."),
    Operation("get", "/metrics", "Counters for Prometheus", ""),
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
        "components": {"schemas": components},
    }


def _operation(operation: Operation, template: str) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": operation.summary, "description": operation.description}
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if operation.response is not None:
        content = {"application/json": {"schema": _schema(operation.response, template)}}
    made["responses"] = {"200": {"description": "The answer.", "content": content}}
    if operation.request is not None:
        body = {"schema": _schema(operation.request, template), "example": operation.example}
        made["requestBody"] = {"required": True, "content": {"application/json": body}}
        problem = {"application/json": {"schema": _schema(ErrorResponse, template)}}
        for status, what in (("400", "Not JSON."), ("413", "Too large."), ("422", "A field is wrong.")):
            made["responses"][status] = {"description": what, "content": problem}
    return made


def _schema(kind: Any, template: str) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components((kind,), ref_template=template)
    return schema
