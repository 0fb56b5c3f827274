"""The ASGI application: routes, errors that name the field, measured requests, and the API's own page at `/docs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.batch_route import BatchRoute
from serving.api.erasure_route import ErasureRoute
from serving.api.gate.access import Access
from serving.api.gate.browser_key import CONSOLE, is_console
from serving.api.gate.open_connections import OpenConnections
from serving.api.messages.error_response import error_response
from serving.api.messages.openapi import OPERATIONS, document
from serving.api.messages.request_errors import ApiError, UnknownRouteError
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.request_spans import TRACES, RequestSpans
from serving.api.routes import Routes

_TEMPLATES = Path(__file__).parent / "templates"
_PACKED = [Middleware(GZipMiddleware, minimum_size=4096, compresslevel=4)]
"""Long answers, for clients that read gzip; not pages, which have secrets beside what was asked for (BREACH)."""


def create_app(
    routes: Routes,
    batches: BatchRoute,
    erasure: ErasureRoute,
    metrics: Metrics,
    access: Access,
    clock: Callable[[], float],
    connections: OpenConnections,
    origins: Sequence[str] = (),
    opened: Callable[[], None] = lambda: None,
    closed: Callable[[], None] = lambda: None,
    console: ASGIApp | None = None,
    beside: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    spans: RequestSpans | None = None,
) -> ASGIApp:
    """The application, with the pages of `console`. `opened` is called when it starts, `closed` after its last answer;
    between them it is within `beside`.

    Web pages of `origins` may ask from browsers. Each `ClientConnection` finds `connections` in the lifespan's state.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        opened()
        try:
            async with beside():
                yield {"connections": connections}
        finally:
            closed()

    app = Starlette(
        routes=[
            Route("/v1/rank", routes.rank, methods=["POST"], middleware=_PACKED),
            Route("/v1/recommend", routes.recommend, methods=["POST"], middleware=_PACKED),
            Route("/v1/recommend/batch", batches.recommend, methods=["POST"], middleware=_PACKED),
            Route("/v1/events", routes.events, methods=["POST"], middleware=_PACKED),
            Route("/v1/experiments", routes.experiments, middleware=_PACKED),
            Route("/v1/users/{user:path}", erasure.delete, methods=["DELETE"]),
            Route("/healthz", routes.health),
            Route("/readyz", routes.ready),
            Route("/metrics", routes.metrics),
            *_documentation(),
            *([] if console is None else [Route(CONSOLE[:-1], _to_console), Mount(CONSOLE[:-1], console)]),
        ],
        exception_handlers={ApiError: _refused, 404: _not_found, 405: _not_found},
        lifespan=lifespan,
        middleware=[*_cross_origin(origins), Middleware(access.guard)],
    )
    return _Measured(app, metrics, clock, spans)


def _cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """What answers browsers before they send a key: CORS (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    if not origins:
        return []
    sent = ["Authorization", "Content-Type"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=sent,
            expose_headers=["Retry-After"],
        )
    ]


def _documentation() -> list[Route]:
    described = document(package_version())
    encoded = msgspec.json.encode(described)
    # Not Swagger's page: it loads scripts from another host, which an offline machine cannot reach.
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    page = environment.get_template("docs.html").render(
        title=described["info"]["title"],
        description=described["info"]["description"],
        paths=described["paths"],
        schemas=described["components"]["schemas"],
    )

    def openapi(_: Request) -> Response:
        return Response(encoded, media_type="application/json")

    def docs(_: Request) -> Response:
        return HTMLResponse(page)

    def home(_: Request) -> Response:
        return RedirectResponse("docs")

    return [Route("/openapi.json", openapi), Route("/docs", docs), Route("/", home)]


def _to_console(_: Request) -> Response:
    return RedirectResponse(CONSOLE[1:])


def package_version() -> str:
    try:
        return version("recsys")
    except PackageNotFoundError:
        return "0"


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return error_response(error)


def _not_found(request: Request, error: Exception) -> Response:
    known = ", ".join(f"{o.method.upper()} {o.path}" for o in OPERATIONS)
    message = f"no {request.method} {request.url.path}; there are {known}; see /docs"
    return error_response(UnknownRouteError(message, getattr(error, "status_code", 404)))


class _Measured:
    """Counts, times and traces requests by route. Unknown paths share one label, which bounds the number of labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float], spans: RequestSpans | None) -> None:
        self._app = app
        self._spans = spans
        self._metrics = metrics
        self._clock = clock
        self._known = frozenset(operation.path for operation in OPERATIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 500
        scope[TRACES] = []

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = self._route(scope["path"])
            self._metrics.request(route, status, self._clock() - began)
            if self._spans is not None:
                self._spans.record(scope, route, status, began)

    def _route(self, path: str) -> str:
        if is_console(path):
            return CONSOLE[:-1]
        return path if path in self._known else "other"
