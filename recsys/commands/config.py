"""`recsys init` and `recsys check`."""

from __future__ import annotations

from pathlib import Path

import click

from recsys.config_file import load

TEMPLATE = Path(__file__).parents[1] / "recsys.toml"


def init(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} exists already; delete it, or name another file")
    path.write_text(TEMPLATE.read_text())
    click.echo(f"Wrote {path}. Say what your events are in [features] and [training], then: recsys check")


def check(path: Path) -> None:
    config = load(path)
    click.echo(f"{path} is right: {len(config.features.fields)} fields, model {config.model.name}.")
