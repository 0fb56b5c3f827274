"""Arrow columns of events as Python rows, one kind at a time: the cheapest way from a batch into a loop.

Shape suffixes: N events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import IMPRESSION, INTERACTION, ITEM, USER, kinds
from streaming.join.open_impression import OpenImpression


class InteractionRow(msgspec.Struct, gc=False, array_like=True):
    """An interaction."""

    time: int
    impression: str
    item: str
    action: str
    value: float


class EntityUpdateRow(NamedTuple):
    """A user's or an item's update. `row` is its place in the batch.

    `available` is whether an item is so from now on, None when the update does not say.
    """

    row: int
    kind: int
    time: int
    key: str
    features: bytes | None
    available: bool | None = None


def impressions(events: pa.RecordBatch) -> Iterator[OpenImpression]:
    at = _places(kinds(events) == IMPRESSION)
    items, propensities = (events.column(name).take(at) for name in ("items", "propensities"))
    return map(
        OpenImpression,
        _list(events, "id", at),
        _list(events, "time", at),
        _list(events, "user", at),
        _slices(tuple(_shared(items.flatten())), items),
        _objects(events, "features", at),
        _objects(events, "item_features", at),
        _slices(tuple(propensities.flatten().to_pylist()), propensities),
        _shared(events.column("experiment").take(at)),
        _shared(events.column("arm").take(at)),
        _shared(events.column("model").take(at)),
    )


def interactions(events: pa.RecordBatch) -> Iterator[InteractionRow]:
    at = _places(kinds(events) == INTERACTION)
    names = (_list(events, name, at) for name in ("time", "impression", "item"))
    values = pc.fill_null(events.column("value").take(at), 1.0).to_pylist()
    return map(InteractionRow, *names, _shared(events.column("action").take(at)), values)


def updates(events: pa.RecordBatch) -> Iterator[EntityUpdateRow]:
    """Updates of users and items, in the order of the batch."""
    kinds_N = kinds(events)
    at = _places((kinds_N == USER) | (kinds_N == ITEM))
    keys = pc.coalesce(events.column("user").take(at), events.column("item").take(at)).to_pylist()
    codes = kinds_N[at.to_numpy()].tolist()
    available = pc.not_equal(events.column("value").take(at), 0).to_pylist()
    times, features = (_list(events, name, at) for name in ("time", "features"))
    return map(EntityUpdateRow, at.to_pylist(), codes, times, keys, features, available)


def _places(chosen_N: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.flatnonzero(chosen_N))


def _list(events: pa.RecordBatch, name: str, at: pa.Array) -> list[Any]:
    return cast("list[Any]", events.column(name).take(at).to_pylist())


def _objects(events: pa.RecordBatch, name: str, at: pa.Array) -> list[bytes | None]:
    """A column of JSON objects; None for those without members, which are many."""
    column = events.column(name).take(at)
    return cast("list[bytes | None]", pc.if_else(pc.equal(column, b"{}"), None, column).to_pylist())


def _shared(column: pa.Array) -> Iterator[Any]:
    """Values of a column of strings that repeat: one Python object for each distinct value."""
    encoded = column.dictionary_encode(null_encoding="encode")
    return map(encoded.dictionary.to_pylist().__getitem__, encoded.indices.to_pylist())


def _slices(values: tuple[Any, ...], column: pa.ListArray) -> list[tuple[Any, ...]]:
    """`values` of all rows cut into rows; null is empty.

    Tuples of atoms, unlike lists, cost the garbage collector nothing while they wait.
    """
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)).tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]
