"""The JSON Schema of an event, made from its types.

Written by `python -m streaming.events.json_schema > docs/events.schema.json`.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec

from streaming.events.schema import ClientEvent


def schema() -> dict[str, Any]:
    """Of one event, which is one line of a JSON lines file."""
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "description": "One line of an event log. Rules that a schema cannot state are in docs/events.md.",
    }
    types = msgspec.json.schema(ClientEvent)
    for definition in types["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return about | types


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
