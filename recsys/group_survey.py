"""Groups of items in `[serving] minimums` that no item at the beginning of a log is in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from recsys.log_survey import EXAMPLES, beginning, looked_at
from serving.retrieval.item_group import ItemGroup
from streaming.events.columns import ITEM, kinds
from streaming.events.schema import Features
from streaming.log.event_log import EventLog

_features = msgspec.json.Decoder(Features).decode


def group_doubts(log: EventLog, groups: Sequence[ItemGroup]) -> Iterator[str]:
    """A sentence for each group without an item, if the log has an event."""
    left, seen = list(groups), False
    for events in beginning(log, EXAMPLES) if groups else ():
        seen = seen or events.num_rows > 0
        updates = events.column("features").filter(pa.array(kinds(events) == ITEM))
        left = [group for group in left if not _occurs(updates, group)]
    for group in left if seen else ():
        yield (
            f"serving.minimums: no update of an item in {looked_at(log, EXAMPLES)} has {group.feature} = "
            f"{json.dumps(group.value)}, so that this group has no items. Compare feature and value with the item "
            "updates; features that items have in lists do not count."
        )


def _occurs(updates: pa.Array, group: ItemGroup) -> bool:
    cells = updates.filter(pc.match_substring(updates, json.dumps(group.name)))
    return any(group.has(_features(cell)) for cell in cells.to_pylist())
