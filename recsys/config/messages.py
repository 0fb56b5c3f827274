"""What is wrong in `recsys.toml`, and what to write instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from recsys.config.all_sections import AllSections, ServingSection
from recsys.config.sections.experiments import HoldoutSection
from recsys.config.sections.learning.models import SECTIONS
from recsys.config.setting_lines import Location, line_of
from recsys.errors import ConfigError
from serving.api_key import without_keys
from serving.experiments.traffic import Holdout
from serving.settings import ServingSettings

RENAMED: dict[Location, str] = {
    ("rows",): "redis",
    ("log", "dedup_window"): "deduplication_window",
}
"""Old names, for files from before a setting was renamed."""

ELEMENTS = {
    "fields": "field",
    "mapping": "mapping",
    "experiments": "experiment",
    "arms": "arm",
    "goals": "goal",
    "guardrails": "guardrail",
    "tasks": "task",
    "api_keys": "key",
}
"""What an element of a list is called."""


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One error in the file."""

    line: int
    """From 1; 0 if the error is of no particular line."""
    key: str
    message: str

    def __str__(self) -> str:
        parts = [f"line {self.line}" if self.line else "", self.key, self.message]
        return without_keys(": ".join(part for part in parts if part))


def problems(text: str, raw: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> Iterator[SettingProblem]:
    """The errors of the file `text`, parsed as `raw`; all options of another model make one problem together."""
    model = _model(raw)
    foreign = [str(error["loc"][1]) for error in errors if _of_another_model(error)]
    if foreign:
        yield SettingProblem(line_of(text, ("model", foreign[0])), "model", _options_of_another(foreign, model))
    for error in errors:
        if not _of_another_model(error):
            yield _problem(text, raw, error, model)


def _problem(text: str, raw: Mapping[str, Any], error: ErrorDetails, model: str) -> SettingProblem:
    location = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    key = key_of(raw, location)
    message = _message(error, location, model)
    return SettingProblem(line_of(text, location), key, message.removeprefix(f"{key.rpartition(', ')[2]}: "))


def told(given: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> ConfigError:
    """The errors of settings that a program gave, in the words that are for a file, without its lines."""
    return ConfigError("\n".join(str(replace(problem, line=0)) for problem in problems("", given, errors)))


def key_of(raw: Any, location: Location) -> str:
    """The setting as a person names it: an element of a list by its name, or by its number from 1.

    >>> key_of({"features": {"fields": [{"name": "age"}]}}, ("features", "fields", 0, "kind"))
    "features.fields, field 'age': kind"
    >>> key_of({"model": {"mlp": [64, 0]}}, ("model", "mlp", 1))
    'model.mlp, value 2'
    """
    key = ""
    for before, part in zip(("", *location), location, strict=False):
        raw = _inner(raw, part)
        if isinstance(part, int):
            name = raw.get("name") if isinstance(raw, dict) else None
            key += f", {ELEMENTS.get(str(before), 'value')} {part + 1 if name is None else repr(name)}"
        else:
            key += (": " if isinstance(before, int) else "." if key else "") + part
    return key


def _inner(raw: Any, part: int | str) -> Any:
    try:
        return raw[part]
    except (LookupError, TypeError):
        return None


def _message(error: ErrorDetails, location: Location, model: str) -> str:
    match error["type"]:
        case "extra_forbidden":
            if location == ("log", "folder"):
                return "is a URL now: write url = " + _in_toml(f"file:{error['input']}")
            return _unknown(location, model)
        case "missing":
            return f"is required; add `{location[-1]} = ...`"
        case "value_error":
            return error["msg"].removeprefix("Value error, ")
        case "too_short":
            return "must not be empty"
        case kind:
            wanted = (
                _TYPES.get(kind) or _in_words(kind, location) or error["msg"].replace("Input should be", "must be", 1)
            )
            return f"{wanted}, not {_of_numpy(error['input']) or _in_toml(error['input'])}"


_TYPES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "path_type": "must be a path in quotes",
    "list_type": "must be a list in [ ]",
    "tuple_type": "must be a list in [ ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}


def _in_words(kind: str, location: Location) -> str:
    """What a setting that has to fit a pattern must be, as its description says; empty without one."""
    section = _section_at(location[:-1]).model_fields
    found = section.get(str(location[-1])) if kind == "string_pattern_mismatch" else None
    return f"must be {found.description}" if found is not None and found.description else ""


def _of_numpy(value: Any) -> str:
    """A value of NumPy and what to write for it; empty for any other."""
    if not isinstance(value, np.generic) or isinstance(value, float):  # float64 is one of Python's own, too
        return ""
    return f"{value!r}: write {value.item()!r}, as .item() gives it"


def _in_toml(value: Any) -> str:
    """A value as the file has it."""
    return str(value).lower() if isinstance(value, bool | float) else json.dumps(value, default=str, ensure_ascii=False)


def _unknown(location: Location, model: str) -> str:
    of_model = location[0] == "model"
    names = sorted((SECTIONS[model] if of_model else _section_at(location[:-1])).model_fields)
    what = f"model {model!r} has no such option" if of_model else "unknown name"
    owner = "its options" if of_model else "the names here"
    if better := _meant(location, names):
        return f"{what}; did you mean {better}?"
    return f"{what}; {owner} are {', '.join(names)}"


def _meant(location: Location, names: Sequence[str]) -> str | None:
    """The setting that a wrong name stands for: renamed, of another section, or a typing error."""
    if location in RENAMED:
        return f"`{RENAMED[location]}`"
    name = str(location[-1])
    elsewhere = [section for section in AllSections.model_fields if name in _section_at((section,)).model_fields]
    if elsewhere and len(location) == 2:
        return f"`{name}` of [{elsewhere[0]}]"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"`{near[0]}`" if near else None


def _model(raw: Mapping[str, Any]) -> str:
    default: str = AllSections().model.name
    section = raw.get("model")
    return section.get("name", default) if isinstance(section, dict) else default


def _of_another_model(error: ErrorDetails) -> bool:
    location = error["loc"]
    return (
        error["type"] == "extra_forbidden"
        and location[0] == "model"
        and any(location[1] in section.model_fields for section in SECTIONS.values())
    )


def _options_of_another(names: Sequence[str], model: str) -> str:
    owners = [owner for owner, section in SECTIONS.items() if set(names) <= section.model_fields.keys()]
    owner = " or ".join(owners) or "other models"
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    what = f"{listed} are options" if len(names) > 1 else f"{listed} is an option"
    remedy = f", or write name = {json.dumps(owners[0])}" if owners else ""
    return f"{what} of {owner}, not of {model}: delete {'them' if len(names) > 1 else 'it'}{remedy}"


def _section_at(location: Location) -> type[BaseModel]:
    section: type[BaseModel] = AllSections
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            found = _models(section.model_fields[part].annotation)
            section = found[0] if found else section
    return section


def _models(annotation: Any) -> list[type[BaseModel]]:
    if annotation is ServingSettings:
        return [ServingSection]
    if annotation is Holdout:
        return [HoldoutSection]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models(inner)]
