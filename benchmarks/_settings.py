"""A configuration as the text of recsys.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping


def toml(sections: Mapping[str, object]) -> str:
    """Sections by name, of strings, numbers, booleans, lists and mappings.

    >>> print(toml({"training": {"workers": 2}, "features": {"fields": [{"name": "item"}]}}), end="")
    training = {workers = 2}
    features = {fields = [{name = "item"}]}
    """
    return "".join(f"{name} = {_inline(section)}\n" for name, section in sections.items())


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)
