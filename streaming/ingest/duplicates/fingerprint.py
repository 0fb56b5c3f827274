"""Content hashes, which distinguish events with the same id.

Shape suffixes: N events, V those that have a value in a column, I ends of the elements of all lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import IMPRESSION, kinds, times
from streaming.events.schema import EVENT_SCHEMA

Hashes = npt.NDArray[np.uint64]
Hashing = Callable[[pa.Array], Hashes]
Contents = npt.NDArray[np.uint64]
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)
_LOWER: Final = np.uint64(0xFFFFFFFF)


def fingerprints(events: pa.RecordBatch) -> Contents:
    """Hashes [N] of all that an event (`EVENT_SCHEMA`) says except its kind and id; equal content has equal ones.

    The upper half is of what every client knows of an event, and differs for other content but with probability 2^-32.
    The lower half is of what only the server knows of an impression that it answered with (`_OF_ANSWERS`): 0 for an
    event without any of it.
    """
    known_N = _mixed(events, times(events).view(np.uint64), _KNOWN)
    more_N = _mixed(events, np.zeros(events.num_rows, np.uint64), _OF_ANSWERS)
    shown_N = kinds(events) == IMPRESSION
    known_N = _mix(known_N) + np.where(shown_N, np.uint64(0), more_N)
    lower_N = np.where(shown_N & (more_N != _bare()), np.maximum(_mix(more_N) >> _HALF, np.uint64(1)), np.uint64(0))
    contents_N: Contents = (_mix(known_N) & ~_LOWER) | lower_N
    return contents_N


def differ(contents: Contents, known: Contents) -> npt.NDArray[np.bool_]:
    """Whether events contradict what is known under their ids: a client may leave out what it was not told."""
    lower = contents & _LOWER
    found: npt.NDArray[np.bool_] = (contents >> _HALF != known >> _HALF) | ((lower != 0) & (lower != known & _LOWER))
    return found


def _mixed(events: pa.RecordBatch, mixed_N: Hashes, columns: Mapping[str, Hashing]) -> Hashes:
    """Adds to `mixed_N` what each column says; a column without values costs nothing."""
    for number, (name, hashes) in enumerate(columns.items(), 1):
        column = events.column(name)
        salt = np.uint64(number) << np.uint64(56)
        if not column.null_count:
            mixed_N = mixed_N + _mix(_mix(hashes(column) + salt))
        elif column.null_count < events.num_rows:
            present_N = column.is_valid().to_numpy(zero_copy_only=False)
            mixed_N = mixed_N.copy()
            mixed_N[present_N] += _mix(_mix(hashes(column.drop_null()) + salt))
    return mixed_N


def _mix(mixed: Hashes) -> Hashes:
    return (mixed ^ (mixed >> _HALF)) * _MIX


@cache
def _bare() -> np.uint64:
    """The hash of an impression that says nothing of `_OF_ANSWERS`."""
    empty: dict[str, Any] = {
        "features": b"{}",
        "item_features": b"{}",
        "scores": [],
        "propensities": [],
        "action": None,
        "value": None,
    }
    row = {name: empty.get(name, "") for name in _OF_ANSWERS}
    schema = pa.schema([EVENT_SCHEMA.field(name) for name in _OF_ANSWERS])
    return np.uint64(_mixed(pa.RecordBatch.from_pylist([row], schema), np.zeros(1, np.uint64), _OF_ANSWERS)[0])


def _hashed(values: Sequence[Any]) -> Hashes:
    return np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)


def _texts(column: pa.Array) -> Hashes:
    return _hashed(column.to_pylist())


def _names(column: pa.Array) -> Hashes:
    """As `_texts`, for columns in which few different texts occur."""
    encoded = column.dictionary_encode()
    hashes_V: Hashes = _texts(encoded.dictionary)[encoded.indices.to_numpy()]
    return hashes_V


def _numbers(column: pa.Array) -> Hashes:
    values_V = np.asarray(column.to_numpy() + 0.0, np.float64)  # -0.0 is 0.0
    return values_V.view(np.uint64) * _MIX


def _number_lists(column: pa.ListArray) -> Hashes:
    if not len(column.values):
        return np.zeros(len(column), np.uint64)
    data = (column.values.to_numpy() + 0.0).tobytes()
    ends = (8 * column.offsets.to_numpy()).tolist()
    return _hashed([data[begin:end] for begin, end in pairwise(ends)])


def _text_lists(column: pa.ListArray) -> Hashes:
    """A hash of each list: of its texts' bytes and lengths, which stand together in Arrow's buffers."""
    values = column.values
    _, ends, data = values.buffers()
    begins_I = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1]
    text, lengths = data.to_pybytes() if data is not None else b"", np.diff(begins_I).tobytes()
    offsets = column.offsets.to_numpy()
    bytes_at = begins_I[offsets].tolist()
    places = offsets.tolist()
    return _hashed(
        [
            text[begin:end] + lengths[4 * first : 4 * last]
            for begin, end, first, last in zip(bytes_at, bytes_at[1:], places, places[1:], strict=False)
        ]
    )


_FEW: Final = ("action", "experiment", "arm", "model")


def _hashes_of(field: pa.Field) -> Hashing:
    if pa.types.is_list(field.type):
        return _text_lists if pa.types.is_string(field.type.value_type) else _number_lists
    if pa.types.is_floating(field.type):
        return _numbers
    return _names if field.name in _FEW else _texts


_NAMES: Final = ("features", "item_features", "scores", "propensities", "experiment", "arm", "model", "action", "value")
_OF_ANSWERS: Final = {name: _hashes_of(EVENT_SCHEMA.field(name)) for name in _NAMES}
_KNOWN: Final = {
    field.name: _hashes_of(field) for field in EVENT_SCHEMA if field.name not in ("kind", "id", "time", *_NAMES)
}
"""How each column is hashed: a column that is added to the schema counts, too."""
