"""`recsys init` and `recsys check`."""

from __future__ import annotations

from pathlib import Path

import click

from recsys.config.file import load
from recsys.errors import InvalidValueError, file_errors

TEMPLATE = Path(__file__).parents[1] / "recsys.toml"


def init(path: Path) -> None:
    with file_errors("the configuration", path):
        if path.is_dir():
            path = path / TEMPLATE.name
        if path.exists():
            raise InvalidValueError(f"{path} already exists; delete it, or choose another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEMPLATE.read_text())
    click.echo(f"Wrote {path}. Describe your events in [features] and [training], then run: recsys check")


def check(path: Path) -> None:
    config = load(path)
    click.echo(f"{path} is valid: {len(config.features.fields)} fields, model {config.model.name}.")
