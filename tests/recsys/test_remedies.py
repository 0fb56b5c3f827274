"""A refusal names what to write in `recsys.toml`, and only what there is."""

from __future__ import annotations

import re

import pytest

from recsys import remedies
from recsys.config.sections.log import LogSection, MappingSection
from recsys.remedies import remedy


def test_every_setting_that_is_named_exists() -> None:
    settings = {*MappingSection.model_fields, *LogSection.model_fields}
    named = {name for _, text in remedies._REMEDIES for name in re.findall(r"([a-z_]+) = ", text)}
    assert named >= {"anonymous", "repeated_items", "time_format"}
    assert named - settings == {"id"}  # a field of events, mapped to its columns


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("items: duplicate item 'a'; an interaction could not tell which one it means", 'repeated_items = "first"'),
        ("another impression has this id", "id = ["),
        ("features.color: unknown feature", '[log] unknown_features = "keep"'),
        ("time: \"'1700000000'\" in column 'at' is not a number of seconds", 'quote = "\'"'),
        ("something that only the data can change", ""),
    ],
)
def test_a_reason_has_its_remedy(reason: str, expected: str) -> None:
    assert expected in remedy(reason)
    assert bool(remedy(reason)) == bool(expected)
