"""Tables of what users did, without the lists that they saw: purchases, ratings, plays.

Shape suffixes: N rows of a chunk, P pairs of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np

from streaming.ingest.formats.sources import Block, Position
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.block_builder import BlockBuilder, Fields, RecordPlace, RowFields
from streaming.ingest.shapes.pairs import draw_pairs
from streaming.ingest.shapes.rules import interactions

CHUNK: Final = 16_384
"""Rows among which pairs are searched."""
_NEEDED: Final = ("time", "user", "item")
_ALONE: Final = "no row of another user with another item is near enough in time (negatives_within)"


class FeedbackRows:
    """Pairs of rows become lists of two items, one of them not chosen; see `draw_pairs`."""

    def __init__(self, mapping: Mapping, source: str) -> None:
        self._window, self._seed = mapping.negatives_within, mapping.seed
        self._fields = RowFields(mapping, source)

    def blocks(self, table: Iterator[Rows]) -> Iterator[Block]:
        """The rows of a table as blocks of events."""
        places = (RecordPlace(rows, i) for rows in table for i in range(len(rows)))
        while chunk := list(islice(places, CHUNK)):
            last = chunk[-1]
            whole = last.index + 1 == len(last.rows)
            end = last.rows.end if whole else last.rows.position(last.index + 1)
            yield self._block(chunk, chunk[0].position, end, last.rows.ended or not whole)

    def _block(self, chunk: list[RecordPlace], start: Position, end: Position, ended: bool) -> Block:
        found = BlockBuilder()
        rows = sorted(self._readable(chunk, found), key=lambda row: row[1]["time"])
        times_N = np.array([fields["time"] for _, fields in rows], np.int64)
        users_N, items_N = (
            np.unique([fields[name] for _, fields in rows], return_inverse=True)[1] for name in ("user", "item")
        )
        pairs_P2 = draw_pairs(times_N, users_N, items_N, self._window, [self._seed, start.line])
        pairs_P2 = pairs_P2[np.argsort(pairs_P2[:, 0])]
        first_P = np.random.default_rng([self._seed, start.line, 1]).random(len(pairs_P2)) < 0.5
        for (used, lent), first in zip(pairs_P2.tolist(), first_P.tolist(), strict=True):
            place, fields = rows[used]
            found.add(place, *self._events(place, fields, rows[lent][1], first))
        for alone in np.setdiff1d(np.arange(len(rows)), pairs_P2).tolist():
            found.refuse(rows[alone][0], _ALONE)
        return found.block(start, end, ended, divisible=False)

    def _readable(self, chunk: list[RecordPlace], found: BlockBuilder) -> Iterator[tuple[RecordPlace, Fields]]:
        for place in chunk:
            for _, fields in self._fields.at(place, found.refuse):
                if lacks := _lacks(fields):
                    found.refuse(place, lacks)
                else:
                    yield place, fields

    def _events(self, place: RecordPlace, used: Fields, lent: Fields, first: bool) -> list[Fields]:
        shown = [used, lent] if first else [lent, used]
        impression = {
            "type": "impression",
            "id": used.get("id") or self._fields.id(place),
            "time": used["time"],
            "user": used["user"],
            "items": [one["item"] for one in shown],
        }
        if "features" in used:
            impression["features"] = used["features"]
        if "item_features" in used:
            names = used["item_features"]
            impression["item_features"] = {name: [one["item_features"][name] for one in shown] for name in names}
        done = {action: [used["item"]] for action in _done(used)}
        return [impression, *interactions(impression["id"], used["time"], done, used.get("value"))]


def _lacks(fields: Fields) -> str:
    """Why the fields are no feedback; empty if they are."""
    if missing := [name for name in _NEEDED if fields.get(name) in (None, "")]:
        return f"{missing[0]}: missing"
    if not 0 <= fields["time"] < 1 << 63:
        return "time: before 1970 or too large"
    return "" if _done(fields) else "actions: none happened in this row"


def _done(fields: Fields) -> list[str]:
    """The actions of a row."""
    if "actions" in fields:
        return [action for action, happened in fields["actions"].items() if happened]
    return [fields.get("action", "click")]
