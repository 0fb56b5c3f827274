"""Reading `recsys.toml`: every problem with its line and a remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from recsys.config.messages import SettingProblem, problems
from recsys.config.schema import Config
from recsys.config.syntax import not_toml
from recsys.errors import ConfigError

_validated = TypeAdapter(Config).validate_python  # its errors keep their places, which `Config` tells without lines


def load(path: Path) -> Config:
    """Read the configuration in `path`; its paths are made absolute.

    Raises ConfigError with every problem, also if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "write one with `recsys init`, or name another with --config"
        raise _error(path, [SettingProblem(0, "", f"cannot be read ({error.strerror}); {remedy}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(path, [SettingProblem(line, "", "is not UTF-8 text; save it as UTF-8")]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Read the configuration in `text`, as if it were the content of `path`. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _error(path, [not_toml(text, str(error))]) from None
    try:
        return _validated(raw).rooted(path.parent.resolve())
    except ValidationError as error:
        raise _error(path, problems(text, raw, error.errors())) from None


def _error(path: Path, found: Iterable[SettingProblem]) -> ConfigError:
    return ConfigError("\n".join(f"{path}: {problem}" for problem in found))
