"""Spans of requests, at a collector that listens on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from recsys.errors import InvalidValueError
from serving.api.monitoring.request_spans import RequestSpans
from tests.serving.api.asking import Start, rank, ready
from tests.serving.waiting import until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """What was sent to it; it answers while it may go on."""

    def __init__(self) -> None:
        self.resources: list[dict[str, str]] = []
        self.spans: list[Any] = []
        self.asked, self.go_on = Event(), Event()
        self.go_on.set()

    def take(self, body: bytes) -> None:
        self.asked.set()
        assert self.go_on.wait(120)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            self.resources.append(attributes)
            self.spans += [span for scope in of_resource.scope_spans for span in scope.spans]

    def requests(self) -> list[Any]:
        return [span for span in self.spans if span.name.startswith("POST")]


@contextmanager
def collecting(found: Collector) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is the library's
            assert self.path == "/v1/traces"
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        found.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    with collecting(found) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield found


@pytest.fixture
def app(start: Start, publish: Any, collector: Collector) -> httpx.Client:
    publish({"a": 0.5, "b": 0.4})
    return ready(start(tracing=True))


def test_a_request_is_a_span_in_the_trace_of_its_caller(app: httpx.Client, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    answer = app.post("/v1/rank", json={"user": "ada-1815", "items": ["a", "b"]}, headers=headers)
    assert answer.status_code == 200
    until(collector.requests)
    (span,) = collector.requests()
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("POST /v1/rank", TRACE, CALLER)
    assert {one.key for one in span.attributes} == {"http.request.method", "http.route", "http.response.status_code"}
    inside = [one for one in collector.spans if one.parent_span_id == span.span_id]
    assert {"parse", "encode", "rows", "score", "order", "log", "respond"} <= {one.name for one in inside}
    for one in inside:
        assert one.trace_id == span.trace_id
        assert span.start_time_unix_nano <= one.start_time_unix_nano <= one.end_time_unix_nano
        assert one.end_time_unix_nano <= span.end_time_unix_nano
    assert collector.resources[0].items() >= {("service.name", "recsys"), ("recommender.project", "recsys")}
    assert "ada-1815" not in str(collector.spans)


def test_a_caller_without_a_trace_begins_one(app: httpx.Client, collector: Collector) -> None:
    rank(app, "a", "b")
    until(collector.requests)
    (span,) = collector.requests()
    assert span.parent_span_id == b""
    assert len(span.trace_id) == 16


def test_a_caller_that_is_not_traced_is_left_so(app: httpx.Client, collector: Collector) -> None:
    body = {"user": "u", "items": ["a"]}
    app.post("/v1/rank", json=body, headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    app.post("/v1/recommend", json={"user": "u"})
    until(collector.requests)
    assert [span.name for span in collector.requests()] == ["POST /v1/recommend"]


def test_degraded_answers_and_refused_requests_say_so(start: Start, collector: Collector) -> None:
    app = start(tracing=True)
    rank(app, "a")
    app.post("/v1/rank", content=b"{")
    until(lambda: len(collector.requests()) == 2)
    attributes = [{one.key: one.value for one in span.attributes} for span in collector.requests()]
    assert [one.string_value for one in attributes[0]["recommender.degraded"].array_value.values] == ["no_model"]
    assert [one["http.response.status_code"].int_value for one in attributes] == [200, 400]


def test_spans_that_wait_are_sent_at_the_end(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ranking")
    spans = RequestSpans("recsys", "1", lambda: 0.0)
    scope = {"method": "GET", "headers": [], "traces": []}
    spans.record(scope, "/healthz", 200, 0.0)
    assert not collector.spans
    spans.close()
    assert [span.name for span in collector.spans] == ["GET /healthz"]
    assert collector.resources[0]["service.name"] == "ranking"


def test_a_collector_that_does_not_answer_does_not_keep_the_server_from_ending(collector: Collector) -> None:
    collector.go_on.clear()
    spans = RequestSpans("recsys", "1", lambda: 0.0)
    spans.record({"method": "GET", "headers": [], "traces": []}, "/healthz", 200, 0.0)
    assert collector.asked.wait(120)
    spans.close()
    assert not collector.spans


@pytest.mark.slow
def test_without_it_no_exporter_is_loaded() -> None:
    check = "import sys, serving.server; print([name for name in sys.modules if '.otlp' in name])"
    assert subprocess.check_output([sys.executable, "-c", check], text=True) == "[]\n"


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InvalidValueError, match=r"pip install 'recsys\[tracing\]'"):
        RequestSpans("recsys", "1", lambda: 0.0)
