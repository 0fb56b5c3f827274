"""The published contract is the one that the code keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given

from streaming.events.json_schema import schema
from streaming.events.schema import Event
from streaming.ingest.codec import decode_lines
from tests.streaming.strategies import NOW, events

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", (DOCS / "events.md").read_text(), re.DOTALL)]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def test_the_schema_in_the_docs_is_current() -> None:
    published = json.loads((DOCS / "events.schema.json").read_text())
    assert published == schema(), "run: python -m streaming.events.json_schema > docs/events.schema.json"
    jsonschema.Draft202012Validator.check_schema(published)


def test_the_examples_in_the_docs_are_events_of_every_kind() -> None:
    assert [example["type"] for example in EXAMPLES] == ["impression", "interaction", "user", "item", "item"]
    for example in EXAMPLES:
        VALIDATOR.validate(example)
    batch, rejects = decode_lines([json.dumps(example).encode() for example in EXAMPLES], NOW)
    assert rejects == []
    assert batch.num_rows == len(EXAMPLES)


@given(events)
def test_every_event_fits_the_schema(event: Event) -> None:
    VALIDATOR.validate(json.loads(msgspec.json.encode(event)))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "view"}, {"user": ""}, {"user": None}, {"time": -1}, {"time": "now"}, {"items": []},
        {"items": ["a", "a"]}, {"itmes": []}, {"propensities": [0, 1, 1]}, {"features": {"a": {}}},
        {"features": {"a": [0.5]}}, {"id": "x" * 513},
    ],
)  # fmt: skip
def test_what_the_edge_refuses_the_schema_refuses(change: dict[str, Any]) -> None:
    example = EXAMPLES[0] | change
    assert not VALIDATOR.is_valid(example)
    assert len(decode_lines([json.dumps(example).encode()], NOW)[1]) == 1
