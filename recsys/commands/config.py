"""`recsys init` and `recsys check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from recsys.config.features import TableSection
from recsys.config.file import load
from recsys.errors import InvalidValueError

TEMPLATE = Path(__file__).parents[1] / "recsys.toml"


def init(path: Path) -> None:
    path = free_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE.read_text())
    click.echo(f"Wrote {path}. Describe your events in [features] and [training], then run: recsys check")


def free_path(path: Path) -> Path:
    """Where the configuration is written: the path, or in it if it is a folder. Raises InvalidValueError if taken."""
    if path.is_dir():
        path = path / TEMPLATE.name
    if path.exists():
        raise InvalidValueError(f"{path} already exists; delete it, or choose another file")
    return path


def check(path: Path) -> None:
    config = load(path)
    click.echo(f"{path} is valid: {len(config.features.fields)} fields, model {config.model.name}.")
    sections = {"features.defaults": config.features.defaults}
    sections |= {f"features.tables.{name}": section for name, section in config.features.tables.items()}
    for name, section in sections.items():
        for note in _of_no_use(section):
            click.echo(f"{name}: {note}")


def _of_no_use(section: TableSection) -> Iterator[str]:
    """Settings that are valid and have no effect."""
    if section.admission == "always" and section.threshold > 1:
        yield "threshold has no effect while admission is always; set admission to count or probabilistic."
    at_once = section.admission == "always" or (section.admission, section.threshold) == ("count", 1)
    if section.fallback == "multiplexed" and at_once:
        yield "every id gets a row at once, so multiplexed rows learn nothing; set admission and threshold."
