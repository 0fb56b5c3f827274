"""`recsys serve`: the HTTP server, over what training has published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from recsys import wiring
from recsys.config.file import load
from serving.server import run as run_server


def run(path: Path, host: str | None, port: int | None) -> None:
    config = load(path)
    settings = wiring.server(config)
    settings = replace(settings, host=host or settings.host, port=settings.port if port is None else port)
    log = wiring.event_log(config)
    try:
        run_server(settings, log, wiring.open_scorer(config), ready=_announce)
    finally:
        log.close()


def _announce(url: str) -> None:
    click.echo(f"Serving on {url}, described at {url}/docs, shown at {url}/console. Ctrl-C stops it.")
