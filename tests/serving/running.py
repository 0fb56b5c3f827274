"""An application in a real HTTP server, in a thread of the test's process."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp

from serving.listening.http_server import http_server


@contextmanager
def running(
    app: ASGIApp, tls: ssl.SSLContext | None = None, trusted: ssl.SSLContext | None = None
) -> Iterator[httpx.Client]:
    """A client of the application, which starts and ends with the block; through `tls` if it is given.

    It trusts as `trusted` says.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(http_server(app, tls))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=120, verify=trusted or False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
