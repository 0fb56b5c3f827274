"""What listens: the socket, TLS, and uvicorn with our connections."""

from __future__ import annotations

import errno
import gc
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from recsys.errors import InvalidValueError
from serving.api.gate.client_connection import ClientConnection
from serving.listening.certificate import certificate_warning, tls_context
from serving.listening.end_signals import handled_by

_logger = logging.getLogger(__name__)
_PORT_REMEDY = "choose another port with [serving] port or --port, or stop what uses it"


def tls_of(certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
    """What the server speaks TLS with, if at all; a certificate that clients will refuse is warned of."""
    if certificate is None or private_key is None:
        return None
    context = tls_context(certificate, private_key)
    if warning := certificate_warning(context, certificate):
        _logger.warning(warning)
    return context


def http_server(app: ASGIApp, tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    """How an application that `serving.assembly.build` made is served."""
    config = uvicorn.Config(
        app,
        http=ClientConnection,
        ws="none",
        access_log=False,
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    config.load()
    config.ssl = tls
    return config


def listening(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to. Raises InvalidValueError when the port is in use or the host not here."""
    here = "give serving.host (or --host) a name or an IPv4 address of this machine, such as 127.0.0.1 or 0.0.0.0"
    try:
        address = socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise InvalidValueError(f"the host {host!r} cannot be resolved ({error}); {here}") from error
    try:
        return socket.create_server((address, port), backlog=2048)
    except OSError as error:
        remedy = here if error.errno == errno.EADDRNOTAVAIL else _PORT_REMEDY
        raise InvalidValueError(f"cannot listen on {host}:{port} ({error}); {remedy}") from error


def serve(
    config: uvicorn.Config,
    listener: socket.socket,
    ready: Callable[[], None] = lambda: None,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM; then answer open requests, and return.

    `ready` is called when it listens; `alive` then, and about once a second while it answers.
    """
    server = _Server(config, ready, alive)
    # Signals end it also before it listens for them itself, and nothing more when it raises them again after shutting
    # down: their previous handlers would end the process before the caller can close what it opened.
    with handled_by(server.handle_exit), _rare_collection():
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], alive: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._alive = ready, alive

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            self._alive()
        return await super().on_tick(counter)


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Collect cyclic garbage rarely: requests create almost none, and each pass walks all cached features."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
