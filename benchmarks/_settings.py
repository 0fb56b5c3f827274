"""A configuration as the text of recsys.toml."""

from __future__ import annotations

from collections.abc import Mapping

from recsys.proposal.wording.toml_text import toml_value


def toml(sections: Mapping[str, object]) -> str:
    """Sections by name, of strings, numbers, booleans, lists and mappings.

    >>> print(toml({"training": {"workers": 2}, "features": {"fields": [{"name": "item"}]}}), end="")
    training = { workers = 2 }
    features = { fields = [{ name = "item" }] }
    """
    return "".join(f"{name} = {toml_value(section)}\n" for name, section in sections.items())
