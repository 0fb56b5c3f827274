"""What listens: the socket, TLS, and uvicorn with our connections."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from recsys.errors import InvalidValueError
from serving.api.client_connection import ClientConnection
from serving.certificate import certificate_warning, tls_context

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
    """How an application that `serving.server.build` made is served."""
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
