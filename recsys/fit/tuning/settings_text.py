"""Found settings as text of `recsys.toml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def settings_text(model: str, settings: Mapping[str, Any]) -> str:
    """Tables with the settings, which replace those of the configuration.

    >>> print(settings_text("fm", {"training.dense_lr": 0.002, "model.mlp": [8], "features.dim": 16}))
    [training]
    dense_lr = 0.002
    <BLANKLINE>
    [model]
    name = "fm"
    mlp = [8]
    <BLANKLINE>
    [features]
    dim = 16
    <BLANKLINE>
    """
    tables: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        tables.setdefault(section, {"name": model} if section == "model" else {})[key] = value
    tables.setdefault("model", {"name": model})
    # Numbers, text, true, false and lists of them are written in TOML as in JSON.
    return "\n".join(
        f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
        for section, own in tables.items()
    )
