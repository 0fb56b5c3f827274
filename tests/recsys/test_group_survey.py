"""Groups of items that are asked for and that no item is in."""

from __future__ import annotations

import pytest

from recsys.group_survey import group_doubts
from serving.retrieval.item_group import ItemGroup
from streaming.events.schema import ItemUpdate
from streaming.ingest.codec import encode_events
from streaming.log.memory_log import MemoryLog


@pytest.mark.parametrize(
    ("feature", "value", "empty"),
    [
        ("item.maker", "small", False),
        ("item.maker", "large", True),
        ("item.makers", "small", True),
        ("item.tags", "new", False),
        ("item.tags", "newer", True),
    ],
)
def test_a_group_without_an_item_is_named(feature: str, value: str, empty: bool) -> None:
    group = ItemGroup(feature=feature, value=value, share=0.1)
    log = MemoryLog()
    assert list(group_doubts(log, [group])) == []  # nothing is known of an empty log
    log.append(encode_events([ItemUpdate(5, "a", {"maker": "small", "tags": ["new", "red"]}), ItemUpdate(6, "b", {})]))
    doubts = list(group_doubts(log, [group]))
    assert len(doubts) == empty
    assert all(feature in doubt for doubt in doubts)
