"""One client's connection: how long a request may take to come and how large its header may be."""

from __future__ import annotations

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.api.gate.open_connections import OpenConnections
from serving.api.messages.schemas import ErrorDetail, ErrorResponse

_LINGER = 2.0
"""Seconds in which a refused client may read why: closing at once would reset what it has not read yet."""


class _Phase(Enum):
    """What of a request has come."""

    NOTHING = "nothing"
    HEADER = "header"
    BODY = "body"
    WHOLE = "whole"
    REFUSED = "refused"


class ClientConnection(HttpToolsProtocol):
    """uvicorn's connection, which by itself waits for ever and reads a header of any size.

    One timer runs from the begin of each phase, so bytes that trickle in do not lengthen it. It is not the client's
    fault, and not held against it, when we do not read or answer an earlier request. A refused request is answered with
    400 (no HTTP), 408 (too slow), 431 (header too large) or 503 (no room), then the connection closes. The application
    has the `OpenConnections` in the state of its lifespan, as `connections`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all: OpenConnections = self.app_state["connections"]
        self._phase = _Phase.NOTHING
        self._pending = 0
        """Bytes of a header, or around a body, that are not whole yet."""
        self._advanced = False
        """Whether the bytes at hand brought a part of a body, or the end of a request."""
        self._running: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._all.opened(self):
            self._enter(_Phase.NOTHING, self._all.limits.header_seconds)
        else:
            self._end(503, "too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.closed(self)
        self._leave()
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._advanced = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the server speaks one protocol: the request is answered like any other
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400, "malformed", "this is not HTTP/1.1")
            return
        self._pending = 0 if self._advanced else self._pending + len(data)
        if self._pending > self._all.limits.header and self._phase is not _Phase.WHOLE:
            self._refuse_header()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._enter(_Phase.HEADER, self._all.limits.header_seconds)

    def on_headers_complete(self) -> None:
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > self._all.limits.header:
            self._refuse_header()
            raise ValueError("the header is too large")  # ends the parsing
        super().on_headers_complete()
        self._enter(_Phase.BODY, self._all.limits.body_seconds)
        self._pending = 0

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._advanced = True

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._advanced = True
        if self.cycle.response_complete:
            self._enter(_Phase.NOTHING, self.timeout_keep_alive)
        else:
            self._phase = _Phase.WHOLE
            self._stop_timer()
            self._all.goes_on(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.parser is None:
            return
        if self.transport.is_closing():
            self._close()
        elif self._phase is _Phase.WHOLE and self.cycle.response_complete:
            self._enter(_Phase.NOTHING, self.timeout_keep_alive)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None and not self.transport.is_closing():
            self._unread.cancel()
            self._unread = None

    @property
    def _refused(self) -> bool:
        return self._phase is _Phase.REFUSED

    def give_way(self) -> None:
        """Close at once, whatever the client has not sent or not read."""
        self._leave()
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, app)
        self._running = cycle

    def _leave(self) -> None:
        """Tell the request that is being answered that its client is gone: uvicorn tells the latest one alone."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def _enter(self, phase: _Phase, seconds: float) -> None:
        """Wait for the client, `seconds` at most."""
        self._phase = phase
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._late, seconds)
        self._all.waits(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, seconds: float) -> None:
        receiving = self._phase in (_Phase.HEADER, _Phase.BODY)
        if self._earlier_unanswered() or (receiving and self.flow.read_paused):
            self._enter(self._phase, seconds)
        elif receiving:
            self._refuse(408, "slow", f"the {self._phase.value} was not complete after {seconds:g} s")
        else:
            self._close()

    def _earlier_unanswered(self) -> bool:
        """Whether there is a request before the one that is being received, which is not answered yet."""
        if self._phase is _Phase.BODY:
            return bool(self.pipeline)
        return self.cycle is not None and not (self.cycle.response_complete or self.cycle.disconnected)

    def _refuse_header(self) -> None:
        self._refuse(431, "header", f"the header is larger than {self._all.limits.header} bytes")

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._all.refused[reason] += 1
        answered = self._earlier_unanswered()  # an answer now would be taken for that of the earlier request
        if self._phase is _Phase.BODY:
            answered = answered or self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._end(None if answered else status, message)

    def _end(self, status: int | None, message: str) -> None:
        """Answer, if there is a status, read no more, and close soon."""
        if status is not None:
            body = msgspec.json.encode(ErrorResponse(ErrorDetail("", message)))
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self._enter(_Phase.REFUSED, _LINGER)

    def _close(self) -> None:
        """Close when the client has read what was written, or at the latest when it had the time to."""
        self.transport.close()
        self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self._all.limits.body_seconds, self.give_way)
