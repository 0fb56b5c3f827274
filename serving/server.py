"""A server process: it binds its port, serves the application, and shuts down cleanly."""

from __future__ import annotations

from collections.abc import Callable

from serving.assembly import build
from serving.listening.http_server import http_server, listening, serve, tls_of
from serving.model.loaded_model import OpenScorer
from serving.process_settings import Settings
from serving.processes.siblings import Siblings
from streaming.log.event_log import EventLog


def run(
    settings: Settings, log: EventLog, open_scorer: OpenScorer, ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGINT or SIGTERM; then answer open requests, store waiting events, and return.

    `ready` is called with the URL once it answers. Raises InvalidValueError when the port is in use, the host is
    not an address of this machine, or the certificate cannot be used.
    """
    tls = tls_of(settings.certificate, settings.private_key)
    with listening(settings.host, settings.port) as listener:
        url = url_of(settings, listener.getsockname()[1])
        serve(http_server(build(settings, log, open_scorer), tls), listener, lambda: ready(url))


def run_as(
    siblings: Siblings, settings: Settings, log: EventLog, open_scorer: OpenScorer, alive: Callable[[], None]
) -> None:
    """As `run`, in one of several processes, with its share of what the settings allow. `alive` is called when it
    answers, and about once a second while it does.
    """
    tls = tls_of(settings.certificate, settings.private_key)
    settings = settings.shared(siblings.count)
    with siblings.listener(settings.host, settings.port) as listener:
        serve(http_server(build(settings, log, open_scorer, siblings), tls), listener, alive=alive)


def url_of(settings: Settings, port: int) -> str:
    """Where clients reach the server."""
    return f"{'https' if settings.certificate else 'http'}://{settings.host}:{port}"
