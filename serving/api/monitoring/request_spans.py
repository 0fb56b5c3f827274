"""Spans of requests for OpenTelemetry, sent by its protocol over HTTP (OTLP)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from starlette.types import Scope

from recsys.errors import InvalidValueError
from serving.ranking.trace import Trace

TRACES = "traces"
"""Where the scope of a request has what happened to its rankings."""
_SERVICE = "recsys"
_SERVER_ERROR = 500
_LAST_SECONDS = 2.0


class RequestSpans:
    """A span for each request, within the caller's trace if it sends a `traceparent` (W3C Trace Context), and within it
    one for each stage of its rankings.

    Where spans go, how many are kept, and how the service is called is said by the variables of OpenTelemetry, such as
    `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER` and `OTEL_SERVICE_NAME`. They are made when the request has
    ended and sent from a thread of their own. They name no user and no item. `clock` is that of traces, in seconds.
    Raises InvalidValueError if OpenTelemetry is not installed.
    """

    def __init__(self, project: str, version: str, clock: Callable[[], float]) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError as error:
            raise InvalidValueError(
                f"tracing: no module named {error.name}: pip install 'recsys[tracing]', or write tracing = false"
            ) from error
        named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", _SERVICE), "service.version": version}
        resource = Resource.create(named | {"recommender.project": project})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_SERVICE, version)
        self._propagator = TraceContextTextMapPropagator()
        self._clock = clock

    def record(self, scope: Scope, route: str, status: int, began: float) -> None:
        """The spans of a request that began then and ends now."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        caller = self._propagator.extract(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        )
        at = self._epoch()
        attributes = {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
        traces: Sequence[Trace] = scope[TRACES]
        if degraded := sorted({reason for trace in traces for reason in trace.degraded}):
            attributes["recommender.degraded"] = degraded
        name = f"{scope['method']} {route}"
        span = self._tracer.start_span(name, caller, SpanKind.SERVER, attributes, start_time=at(began))
        if status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(span)
        for stage in (stage for trace in traces for stage in trace.stages):
            self._tracer.start_span(stage.name, inside, start_time=at(stage.began)).end(at(stage.ended))
        span.end(at(self._clock()))

    def close(self) -> None:
        """Send what is left, for at most two seconds: a collector that is gone must not keep the server from ending."""
        last = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)

    def _epoch(self) -> Callable[[float], int]:
        """From a time of the clock to nanoseconds since the epoch."""
        now, known = time.time_ns(), self._clock()
        return lambda moment: now + round((moment - known) * 1e9)
