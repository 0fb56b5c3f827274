"""Records that hold several events: a row of the sample for each of them, as `recsys ingest` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.likeness import two_valued
from recsys.proposal.columns.time_columns import ENOUGH, time_reading
from recsys.proposal.columns.vocabulary import CLEARLY, Role, says
from recsys.proposal.files.sample import Sample

_OF_EVENTS: Final[tuple[Role, ...]] = ("time", "action", "rating", "item")


def events_inside(sample: Sample) -> Sample:
    """A row for each event or shown item, if the records hold lists of events with their times, such as sessions, or
    of items with a label beside each; else the sample.
    """
    for name, cells in sample.columns.items():
        if says("time", name) and any(isinstance(cell, list) for cell in cells):
            times = [one for cell in cells if isinstance(cell, list) for one in cell if one is not None]
            if time_reading(times, None, "", ENOUGH) is not None:
                return unrolled(sample, name)
    return _labeled(sample)


def _labeled(sample: Sample) -> Sample:
    for name, cells in sample.columns.items():
        if "." in name and says("label", name) >= CLEARLY and any(isinstance(cell, list) for cell in cells):
            flat = [one for cell in cells if isinstance(cell, list) for one in cell]
            items = [one for one in sample.columns if one != name and _in_objects(one, name) and says("item", one)]
            if two_valued(Column(name, flat)) and items:
                return unrolled(sample, name)
    return sample


def unrolled(sample: Sample, name: str) -> Sample:
    """A row for each element of a list; lists beside it in the same objects, or of what happened and when, as well."""
    beside = [one for one in sample.columns if one == name or _belongs(one, name) or _of_one_list(sample, one, name)]
    rows: list[list[Any]] = []
    for cells in zip(*sample.columns.values(), strict=True):
        row = dict(zip(sample.columns, cells, strict=True))
        count = _length(row[name])
        cut = [one for one in beside if _length(row[one]) == count]
        rows += [[cell[k] if one in cut else cell for one, cell in row.items()] for k in range(count)]
        if not count:
            rows.append(list(row.values()))
    columns: dict[str, Sequence[Any]] = dict(zip(sample.columns, map(list, zip(*rows, strict=True)), strict=True))
    return replace(sample, columns=columns, rows=len(rows))


def _belongs(column: str, name: str) -> bool:
    parent = name.rpartition(".")[0]
    if parent or "." in column:
        return column.rpartition(".")[0] == parent
    return any(says(role, column) for role in _OF_EVENTS)


def _of_one_list(sample: Sample, column: str, name: str) -> bool:
    """Whether columns below one name, such as `slate.content.id` and `slate.tapped`, are as long in each row."""
    if "." not in name or column.partition(".")[0] != name.partition(".")[0]:
        return False
    pairs = zip(sample.columns[column], sample.columns[name], strict=True)
    return all(isinstance(a, list) and _length(a) == _length(b) for a, b in pairs)


def _in_objects(column: str, name: str) -> bool:
    """Whether a column stands in the objects of a list that the other one stands in, or in an object of those."""
    return column.startswith(name.rpartition(".")[0] + ".")


def _length(cell: Any) -> int:
    return len(cell) if isinstance(cell, list | tuple) else 0
