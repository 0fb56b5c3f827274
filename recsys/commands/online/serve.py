"""`recsys serve`: the HTTP server, over what training has published."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from recsys import wiring
from recsys.commands.online.ray_serving import serve_by_ray
from recsys.commands.output.log_lines import log_to_stderr
from recsys.config.file import load
from recsys.config.schema import Config
from serving.listening.http_server import tls_of
from serving.process_settings import Settings
from serving.processes.siblings import Siblings
from serving.processes.supervisor import Supervisor
from serving.server import run as run_server
from serving.server import run_as, url_of
from streaming.log.event_log import EventLog


def run(path: Path, host: str | None, port: int | None, processes: int | None, ray: str | None) -> None:
    config = load(path)
    settings = _settings(config, host, port)
    count = processes or settings.processes
    if ray is not None:
        serve_by_ray(path, settings, ray, count, lambda: _announce(url_of(settings, settings.port), count))
    elif count > 1:
        tls_of(settings.certificate, settings.private_key)  # what is wrong with it is said once
        serve = Supervisor(partial(_serve, path, host, logging.getLogger().level), count, settings.host, settings.port)
        serve.run(lambda found: _announce(url_of(settings, found), count))
    else:
        with _log(config) as log:
            run_server(settings, log, wiring.open_scorer(config), ready=_announce)


def _serve(path: Path, host: str | None, level: int, siblings: Siblings, port: int, alive: Callable[[], None]) -> None:
    """In one of several processes, which logs from this level on."""
    log_to_stderr(level)
    config = load(path)
    with _log(config) as log:
        run_as(siblings, _settings(config, host, port), log, wiring.open_scorer(config), alive)


@contextmanager
def _log(config: Config) -> Iterator[EventLog]:
    """For as long as the process serves."""
    log = wiring.event_log(config)
    try:
        yield log
    finally:
        log.close()
        gc.freeze()  # the process ends: the interpreter's last collections would walk everything for half a second


def _settings(config: Config, host: str | None, port: int | None) -> Settings:
    settings = wiring.server(config)
    return replace(settings, host=host or settings.host, port=settings.port if port is None else port)


def _announce(url: str, processes: int = 1) -> None:
    by = f", by {processes} processes" if processes > 1 else ""
    click.echo(f"Serving on {url}{by}, described at {url}/docs, shown at {url}/console. Ctrl-C stops it.")
