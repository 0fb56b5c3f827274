"""Reading `recsys.toml`: every problem with its line and a remedy."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recsys.config.models import SECTIONS
from recsys.config.schema import Config
from recsys.errors import ConfigError

Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in the file."""

    line: int
    """From 1; 0 if the error is of no particular line."""
    key: str
    message: str

    def __str__(self) -> str:
        parts = [f"line {self.line}" if self.line else "", self.key, self.message]
        return ": ".join(part for part in parts if part)


def load(path: Path) -> Config:
    """Read the configuration in `path`; its paths are made absolute.

    Raises ConfigError with every problem, also if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "write one with `recsys init`, or name another with --config"
        raise _error(path, [Problem(0, "", f"cannot be read ({error.strerror}); {remedy}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(path, [Problem(line, "", "is not UTF-8 text; save it as UTF-8")]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Read the configuration in `text`, as if it were the content of `path`. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise _error(path, [Problem(line, "", f"not TOML: {error}")]) from None
    try:
        return Config.model_validate(raw).rooted(path.parent.resolve())
    except ValidationError as error:
        model = raw["model"].get("name", Config().model.name) if isinstance(raw.get("model"), dict) else ""
        raise _error(path, [_problem(text, detail, model) for detail in error.errors()]) from None


def _error(path: Path, problems: list[Problem]) -> ConfigError:
    return ConfigError("\n".join(f"{path}: {problem}" for problem in problems))


def _problem(text: str, detail: ErrorDetails, model: str) -> Problem:
    location = (*detail["loc"], *detail.get("ctx", {}).get("at", ()))
    return Problem(line_of(text, location), ".".join(map(str, location)), _message(detail, location, model))


def _message(detail: ErrorDetails, location: Location, model: str) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return _unknown(location, model)
        case "missing":
            return f"is required; add `{location[-1]} = ...`"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case _:
            return f"{detail['msg']}, not {detail['input']!r}"


def _unknown(location: Location, model: str) -> str:
    of_model = location[0] == "model"
    section = SECTIONS[model] if of_model else _section_at(location[:-1])
    names = sorted(section.model_fields)
    near = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    what = f"model {model!r} has no such option" if of_model else "unknown name"
    owner = "its options" if of_model else "the names here"
    return f"{what}; did you mean `{near[0]}`?" if near else f"{what}; {owner} are {', '.join(names)}"


def _section_at(location: Location) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            found = _models(section.model_fields[part].annotation)
            section = found[0] if found else section
    return section


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models(inner)]


def line_of(text: str, location: Location) -> int:
    """The line (from 1) of a key, of the nearest table that would hold it, or of the first thing in it.

    >>> line_of("[log]\\npartitions = 0\\n", ("log", "partitions"))
    2
    """
    best, best_line = -1, 1
    for path, number in _paths(text):
        depth = _common(path, location)
        if depth in (len(path), len(location)) and depth > best:
            best, best_line = depth, number
    return best_line


def _common(path: Location, wanted: Location) -> int:
    depth = 0
    for a, b in zip(path, wanted, strict=False):
        if a != b:
            break
        depth += 1
    return depth


def _paths(text: str) -> list[tuple[Location, int]]:
    """Every table header and key with its line."""
    found: list[tuple[Location, int]] = []
    arrays: Counter[str] = Counter()
    table: Location = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]", line):
            names = header[2].replace('"', "").replace("'", "")
            if header[1] == "[[":
                arrays[names] += 1
            table = _indexed(names.split("."), arrays)
            found.append((table, number))
        elif key := re.match(r"\s*([\w.\"-]+)\s*=", line):
            found.append(((*table, *key[1].replace('"', "").split(".")), number))
    return found


def _indexed(names: list[str], arrays: Counter[str]) -> Location:
    path: list[int | str] = []
    for depth, name in enumerate(names, 1):
        path.append(name)
        if count := arrays[".".join(names[:depth])]:
            path.append(count - 1)
    return tuple(path)
