"""Training batches as an Arrow file: a record batch each, with the step that learned from it and its place in the log.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.user_rows import without_users
from streaming.log.event_log import Cursor

_ORIGIN, _PLACE = b"origin", b"place"
_TYPES = {
    "labels_B": pa.float32(),
    "counted_B": pa.float32(),
    "keys_B": pa.int64(),
    "tasks_B": pa.int64(),
    "weights_B": pa.float32(),
    "propensities_B": pa.float32(),
    "positions_B": pa.int32(),
    "times_B": pa.int64(),
}


class BatchOrigin(msgspec.Struct, frozen=True):
    """What batches are made by: the features, as JSON, and settings of labels and batches, by name."""

    features: str
    settings: dict[str, Any]

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.from_json(self.features.encode())

    def differences(self, other: BatchOrigin) -> list[str]:
        """The names of what differs."""
        names = sorted(self.settings.keys() | other.settings.keys())
        differing = [name for name in names if self.settings.get(name) != other.settings.get(name)]
        return [*(["features"] if self.spec != other.spec else []), *differing]


class KeptBatch(NamedTuple):
    """A batch, and when it was learned from."""

    step: int
    """The number of the step that learned from it, from 1."""
    batch: TrainingBatch
    erased: tuple[str, ...] = ()
    """Users who were forgotten before that step."""

    def without(self, users: Sequence[str], spec: FeatureSpec) -> KeptBatch:
        """Without the rows of these users, which may leave none."""
        return self._replace(batch=without_users(self.batch, spec, users))


class _Place(msgspec.Struct):
    """What a record batch says beside its rows."""

    step: int
    now: int
    clock: int
    cursor: Cursor
    erased: tuple[str, ...]


class BatchFileWriter:
    """A file of batches, in memory and compressed."""

    def __init__(self, origin: BatchOrigin) -> None:
        self._spec = origin.spec
        self._schema = _schema(self._spec).with_metadata({_ORIGIN: msgspec.json.encode(origin)})
        self._data = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._file = pa.ipc.new_file(self._data, self._schema, options=options)

    def add(self, kept: KeptBatch) -> None:
        batch = kept.batch
        place = _Place(kept.step, batch.now, batch.clock, batch.cursor, kept.erased)
        rows = pa.RecordBatch.from_arrays(list(_columns(batch, self._spec)), schema=self._schema)
        self._file.write_batch(rows, custom_metadata={_PLACE: msgspec.json.encode(place)})

    def finish(self) -> pa.Buffer:
        """The whole file; nothing can be added any more."""
        self._file.close()
        return self._data.getvalue()


def origin_of(data: pa.Buffer) -> BatchOrigin:
    """What the batches of a file were made by."""
    with pa.ipc.open_file(data) as file:
        return msgspec.json.decode(file.schema.metadata[_ORIGIN], type=BatchOrigin)


def read_batches(data: pa.Buffer) -> Iterator[KeptBatch]:
    """The batches of a file, to the bit as they were added."""
    spec = origin_of(data).spec
    with pa.ipc.open_file(data) as file:
        for number in range(file.num_record_batches):
            rows, known = file.get_batch_with_custom_metadata(number)
            place = msgspec.json.decode(known[_PLACE], type=_Place)
            yield KeptBatch(place.step, _batch(rows, spec, place), place.erased)


def _schema(spec: FeatureSpec) -> pa.Schema:
    columns = [pa.field(f"id.{field.name}", _type(field)) for field in spec.sparse]
    columns += [pa.field(_name(column), type_) for column, type_ in _TYPES.items()]
    if spec.numeric:
        columns.append(pa.field("numeric", pa.list_(pa.float32(), len(spec.numeric))))
    return pa.schema(columns)


def _type(field: Field) -> pa.DataType:
    return pa.list_(pa.uint64()) if field.kind == "multi" else pa.uint64()


def _name(column: str) -> str:
    return column.removesuffix("_B")


def _columns(batch: TrainingBatch, spec: FeatureSpec) -> Iterator[pa.Array]:
    """In the order of the schema."""
    for field in spec.sparse:
        jagged = batch.ids[field.name]
        if field.kind == "multi":
            offsets = np.concatenate([[0], np.cumsum(jagged.lengths_B)]).astype(np.int32)
            yield pa.ListArray.from_arrays(pa.array(offsets), pa.array(jagged.values))
        else:
            yield pa.array(jagged.values)
    for column in _TYPES:
        yield pa.array(getattr(batch, column))
    if spec.numeric:
        yield pa.FixedSizeListArray.from_arrays(pa.array(batch.numeric_BN.ravel()), len(spec.numeric))


def _batch(rows: pa.RecordBatch, spec: FeatureSpec, place: _Place) -> TrainingBatch:
    ids = {field.name: _jagged(rows.column(f"id.{field.name}"), field) for field in spec.sparse}
    columns: dict[str, Any] = {column: _array(rows.column(_name(column))) for column in _TYPES}
    numbers = _array(rows.column("numeric").values) if spec.numeric else np.empty(0, np.float32)
    numeric_BN = numbers.reshape(rows.num_rows, len(spec.numeric))
    return TrainingBatch(
        ids=ids, numeric_BN=numeric_BN, **columns, now=place.now, clock=place.clock, cursor=place.cursor
    )


def _jagged(column: pa.Array, field: Field) -> Jagged:
    if field.kind == "multi":
        return Jagged(_array(column.values), np.diff(column.offsets.to_numpy()))
    return Jagged(_array(column), np.ones(len(column), np.int32))


def _array(column: pa.Array) -> npt.NDArray[Any]:
    """A copy, because PyTorch takes no read-only arrays."""
    return np.array(column.to_numpy())
