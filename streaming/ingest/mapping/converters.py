"""From the cell of a column to the value of the field that it is mapped to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa

from recsys.errors import InvalidValueError
from streaming.events.schema import EVENT_SCHEMA
from streaming.ingest.mapping import values
from streaming.ingest.mapping.column_mapping import TIME_OF_DAY, Mapping
from streaming.ingest.mapping.event_time import millis_reader
from streaming.ingest.mapping.time_of_day import time_of_day_reader

Convert = Callable[[Any], Any]


def converter(mapping: Mapping, field: str) -> Convert:
    """From a cell to the field's value; None when it is missing."""
    parent, dot, child = field.partition(".")
    nulls = frozenset(mapping.null_values)
    if field == "time":
        return _unless_null(millis_reader(mapping.time_unit, mapping.time_format, mapping.origin or 0), nulls)
    if field == TIME_OF_DAY:
        return _unless_null(time_of_day_reader(mapping.time_of_day_format), nulls)
    if parent == "actions":
        return _done(mapping, nulls)
    if field == "available":
        yes = frozenset(mapping.positive_values)
        return _unless_null(lambda cell: values.happened(cell, yes, nulls), nulls)
    if dot:
        return _feature(mapping, child, nulls, listed=parent == "item_features" and not mapping.row_per_item)
    type_ = EVENT_SCHEMA.field(field).type
    listed = pa.types.is_list(type_)
    convert = values.identifier if pa.types.is_string(type_.value_type if listed else type_) else _number(mapping)
    if not listed or mapping.row_per_item:
        return _identifier(nulls) if convert is values.identifier else lambda cell: convert(cell, nulls)
    cut = mapping.separator

    def elements(cell: Any) -> list[Any]:
        found = _ended(cell, cut) if field == "items" else values.elements(cell, cut)
        if field == "items" and mapping.label_separator:
            found = [item for item, _ in _labeled(found, mapping.label_separator)]
        return [_present(convert(one, nulls)) for one in found]

    return _unless_null(elements, nulls)


def _identifier(nulls: Collection[str]) -> Convert:
    def convert(cell: Any) -> Any:
        if type(cell) is str and cell not in nulls and cell[-2:] != ".0":  # nearly all cells
            return cell
        return values.identifier(cell, nulls)

    return convert


def _feature(mapping: Mapping, name: str, nulls: Collection[str], listed: bool) -> Convert:
    kind, separator = mapping.kinds.get(name), mapping.separator
    commas = mapping.decimal == "," and kind == "numeric"

    def value(cell: Any) -> Any:
        return values.feature(values.with_point(cell) if commas else cell, kind, separator, nulls)

    if listed:
        return lambda cell: [value(one) for one in values.elements(cell, separator)]
    return value


def _number(mapping: Mapping) -> Callable[[Any, Collection[str]], Any]:
    if mapping.decimal == ".":
        return values.number
    return lambda cell, nulls: values.number(values.with_point(cell), nulls)


def _done(mapping: Mapping, nulls: Collection[str]) -> Convert:
    """Whether an action happened; of a list the items with which it did."""
    yes = frozenset(mapping.positive_values)
    if mapping.kind != "impression":
        return lambda cell: values.happened(cell, yes, nulls)

    def items(cell: Any) -> list[Any]:
        if cell is None or (isinstance(cell, str) and cell in nulls):
            return []
        found = _ended(cell, mapping.separator)
        if mapping.label_separator:
            labeled = _labeled(found, mapping.label_separator)
            found = [item for item, label in labeled if values.happened(label, yes, nulls)]
        return [_present(values.identifier(one, nulls)) for one in found]

    return items


def _ended(cell: Any, separator: str) -> list[Any]:
    """The items of a list: a separator behind the last one begins no other."""
    return values.elements(cell.removesuffix(separator) if isinstance(cell, str) else cell, separator)


def _labeled(found: list[Any], separator: str) -> list[tuple[str, str]]:
    pairs = [str(one).rpartition(separator) for one in found]
    if any(not between for _, between, _ in pairs):
        raise InvalidValueError(f"lacks a label after {separator!r} (label_separator)")
    return [(item, label) for item, _, label in pairs]


def _unless_null(convert: Convert, nulls: Collection[str]) -> Convert:
    return lambda cell: None if cell is None or (isinstance(cell, str) and cell in nulls) else convert(cell)


def _present(value: Any) -> Any:
    if value is None:
        raise InvalidValueError("lacks a value in the list")
    return value
