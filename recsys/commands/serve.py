"""`recsys serve`: the HTTP server, over what training has published."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from recsys import wiring
from recsys.config.file import load
from serving.model.scorer import load_scorer
from serving.server import run as run_server


def run(path: Path, host: str | None, port: int | None) -> None:
    config = load(path)
    settings = wiring.server(config)
    settings = replace(settings, host=host or settings.host, port=settings.port if port is None else port)
    open_scorer = partial(load_scorer, engine=config.serving.engine, threads=config.serving.threads)
    log = wiring.event_log(config)
    try:
        run_server(settings, log, open_scorer, ready=_announce)
    finally:
        log.close()


def _announce(url: str) -> None:
    click.echo(f"Serving on {url}, described at {url}/docs. Ctrl-C ends it.")
