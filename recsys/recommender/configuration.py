"""The configuration of a recommender, as programs give it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError


def configuration(config: str | Path | Config | Mapping[str, Any], folder: str | Path | None) -> Config:
    """The configuration with absolute paths: those of a file begin at its own folder, all others at `folder`.

    Raises ConfigError with every problem, InvalidValueError for a `folder` that would have no effect or is no path.
    """
    if folder is not None and not isinstance(folder, str | Path):
        raise InvalidValueError(f"folder is {folder!r}, write the path of a folder")
    if isinstance(config, str | Path):
        if folder is not None:
            raise InvalidValueError("folder: the paths of a file are relative to the file's own folder")
        return load(Path(config))
    made = config if isinstance(config, Config) else _made(config)
    return made.rooted(Path(folder or ".").resolve())


def _made(tables: Mapping[str, Any]) -> Config:
    if not isinstance(tables, Mapping) or not all(isinstance(name, str) for name in tables):
        raise ConfigError(
            f"{tables!r} is no configuration: give a path, the tables of recsys.toml as a dict, or Config"
        )
    return Config.model_validate(dict(tables))
