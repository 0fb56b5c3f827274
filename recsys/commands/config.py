"""`recsys init` and `recsys check`."""

from __future__ import annotations

from pathlib import Path

import click

from recsys.config import Config
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
    for name in _idle_fallbacks(config):
        click.echo(
            f"{name}: every id gets a row at once, so multiplexed rows learn nothing; set admission and threshold."
        )


def _idle_fallbacks(config: Config) -> list[str]:
    """Sections whose shared rows have no id to learn from, short of a full table."""
    sections = {"features.defaults": config.features.defaults}
    sections |= {f"features.tables.{name}": section for name, section in config.features.tables.items()}
    return [
        name
        for name, section in sections.items()
        if section.fallback == "multiplexed"
        and (section.admission == "always" or (section.admission, section.threshold) == ("count", 1))
    ]
