"""The configuration of a recommender, as programs give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from recsys.config.file import load
from recsys.config.messages import problems
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError


def configuration(config: str | Path | Config | Mapping[str, Any], folder: str | Path | None) -> Config:
    """The configuration with absolute paths: those of a file begin at its own folder, all others at `folder`.

    Raises ConfigError with every problem, InvalidValueError for a `folder` that would have no effect.
    """
    if isinstance(config, str | Path):
        if folder is not None:
            raise InvalidValueError("folder: the paths of a file are relative to the file's own folder")
        return load(Path(config))
    made = config if isinstance(config, Config) else _made(config)
    return made.rooted(Path(folder or ".").resolve())


def invalid(given: Any, found: Sequence[ErrorDetails]) -> str:
    """The errors of settings that a program gave, in the words that are for a file, without its lines."""
    return "\n".join(str(replace(problem, line=0)) for problem in problems("", given, found))


def _made(tables: Mapping[str, Any]) -> Config:
    if not isinstance(tables, Mapping) or not all(isinstance(name, str) for name in tables):
        raise ConfigError(
            f"{tables!r} is no configuration: give a path, the tables of recsys.toml as a dict, or Config"
        )
    try:
        return Config.model_validate(dict(tables))
    except ValidationError as error:
        raise ConfigError(invalid(dict(tables), error.errors())) from None
