"""What the beginning of a log shows about the features that the model's fields read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.log_survey import EXAMPLES, beginning, looked_at
from streaming.encode.feature_spec import Field
from streaming.events.columns import IMPRESSION, ITEM, USER, kinds
from streaming.log.event_log import EventLog

_IN_UPDATES: Final = "updates"
_IN_LISTS: Final = "lists"


def feature_doubts(log: EventLog, fields: Sequence[Field]) -> Iterator[str]:
    """A warning for features that no event has, and one for features of items that only lists have."""
    read = [field for field in fields if field.feature and field.streamed is None]
    found: dict[str, set[str]] = {field.name: set() for field in read}
    shown = False
    for events in beginning(log, EXAMPLES) if read else ():
        shown = shown or bool((kinds(events) == IMPRESSION).any())
        for field in read:
            found[field.name] |= _places(events, field)
    if not shown:
        return
    where = looked_at(log, EXAMPLES)
    if missing := [field for field in read if not found[field.name]]:
        named = ", ".join(f"{field.name} ({field.source})" for field in missing)
        yield (
            f"No event in {where} has the feature that these fields read: {named}. Compare the source of each in "
            "[[features.fields]] with the names of features in the events."
        )
    if lists_only := [field for field in read if field.of_item and found[field.name] == {_IN_LISTS}]:
        named = ", ".join(field.feature for field in lists_only)
        yield (
            f"In {where}, features of items came with lists only: {named}. A server knows them of no item unless a "
            'request has them: ingest a file of the items (kind = "item"), send item updates, or give item_features to '
            "/v1/rank."
        )


def _has(events: pa.RecordBatch, of_N: npt.NDArray[np.bool_], column: str, key: str) -> bool:
    """Whether the JSON of a column has the key in one of those rows."""
    cells = events.column(column).filter(pa.array(of_N))
    return bool(pc.any(pc.match_substring(cells, key)).as_py())


def _places(events: pa.RecordBatch, field: Field) -> set[str]:
    """Where events have the feature: in updates, in lists."""
    kinds_N, key = kinds(events), json.dumps(field.feature)
    if key != f'"{field.feature}"':  # which may be written in several ways
        return {_IN_LISTS, _IN_UPDATES}
    entity, column = (ITEM, "item_features") if field.of_item else (USER, "features")
    lists = _has(events, kinds_N == IMPRESSION, column, key)
    updates = _has(events, kinds_N == entity, "features", key)
    return {place for place, there in ((_IN_LISTS, lists), (_IN_UPDATES, updates)) if there}
