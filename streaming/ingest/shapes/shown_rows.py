"""Tables with one row per shown item, with the interactions with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from streaming.ingest.formats.sources import Block
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.block_builder import BlockBuilder, Fields, RecordPlace, RowFields
from streaming.ingest.shapes.rules import complete, interactions, keep_once, name_user

_PER_ITEM: Final = ("scores", "propensities")


@dataclass(slots=True)
class _List:
    """The rows of one list so far."""

    place: RecordPlace
    impression: Fields
    clicks: list[Fields] = field(default_factory=list)


class ShownRows:
    """Neighbouring rows with the same `id` are a list; without such a column each row is a list.

    User, time and request features are those of the first row.
    """

    def __init__(self, mapping: Mapping, source: str) -> None:
        self._mapping = mapping
        self._fields = RowFields(mapping, source)
        self._grouped = "id" in mapping.columns

    def blocks(self, table: Iterator[Rows]) -> Iterator[Block]:
        """The rows of a table as blocks of events. A block ends before a list that may continue."""
        open_: _List | None = None
        rows: Rows | None = None
        for rows in table:
            found = BlockBuilder()
            start = rows.start if open_ is None else open_.place.position
            for place, fields in self._fields.of(rows, found.refuse):
                if fields.get("item"):
                    open_ = self._take(found, open_, place, fields)
                else:
                    found.refuse(place, "item: missing")
            if open_ is not None and not self._grouped:
                self._close(found, open_)
                open_ = None
            end = rows.end if open_ is None else open_.place.position
            yield found.block(start, end, rows.ended or open_ is not None)
        if open_ is not None and rows is not None:
            found = BlockBuilder()
            self._close(found, open_)
            yield found.block(open_.place.position, rows.end, rows.ended)

    def _take(self, found: BlockBuilder, open_: _List | None, place: RecordPlace, fields: Fields) -> _List:
        """Adds a row to the open list, or begins another one."""
        if not self._grouped:
            fields["id"] = self._fields.id(place)
        if open_ is not None and (fields.get("id") is None or open_.impression.get("id") != fields["id"]):
            self._close(found, open_)
            open_ = None
        one = _impression(fields)
        if open_ is None:
            open_ = _List(place, one)
        else:
            _extend(open_.impression, one)
        done = {name: [fields["item"]] for name, happened in fields["actions"].items() if happened}
        if {"id", "time"} <= fields.keys():
            open_.clicks += interactions(fields["id"], fields["time"], done, fields.get("value"))
        return open_

    def _close(self, found: BlockBuilder, one: _List) -> None:
        keep_once(one.impression, self._mapping.repeated_items)
        if self._mapping.anonymous == "request":
            name_user(one.impression)
        found.add(one.place, one.impression, *(one.clicks if complete(one.impression) else ()))


def _impression(fields: Fields) -> Fields:
    """A list of the one item of a row."""
    one: dict[str, Any] = {
        name: value for name, value in fields.items() if name not in ("item", "value", "actions", "item_features")
    }
    one["type"] = "impression"
    one["items"] = [fields["item"]]
    for name in _PER_ITEM:
        if name in one:
            one[name] = [one[name]]
    if "item_features" in fields:
        one["item_features"] = {name: [value] for name, value in fields["item_features"].items()}
    return one


def _extend(impression: Fields, one: Fields) -> None:
    for name in ("items", *_PER_ITEM):
        if name in one:
            impression.setdefault(name, []).extend(one[name])
    for name, values in one.get("item_features", {}).items():
        impression["item_features"][name] += values
