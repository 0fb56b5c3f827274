"""Values to ids and numbers: the same code for training and for serving, so that they cannot differ.
Shape suffixes: I labelled impressions, B rows (one per position of an impression), N numeric fields, P partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.encoded_rows import EncodedRows
from streaming.encode.entity_state import EntityState
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.field_values import Request, field_values, request_values
from streaming.encode.row_keys import row_keys
from streaming.encode.value_forms import Hashes, Refuse, floats_of, ignore, number_of, refuse_value, text_of
from streaming.events.schema import LARGEST, Features, Value
from streaming.join.label_columns import LabelColumns, label_columns
from streaming.join.labeled_impression import LabeledImpression
from streaming.join.shown_records import Integers
from streaming.log.event_log import Cursor
from streaming.text_hash import xxh3_texts

Numbers = npt.NDArray[np.float32]


class Encoder:
    """Encodes by `spec`. Remembers up to `cache` hashes per table.

    In training a value of the wrong kind (a string for a number, a list for a category) is taken as missing and
    counted in `bad_values` by field: one bad event must not stop the stream. In serving it raises InvalidValueError,
    which names the field.
    """

    def __init__(self, spec: FeatureSpec, cache: int = 1 << 20) -> None:
        self.spec = spec
        self.bad_values = {field.name: 0 for field in spec.fields}
        self._hashes = {field.table: Hashes(field.table, cache) for field in spec.sparse}

    @property
    def reads_entities(self) -> bool:
        """Whether any field may come from a user's or an item's update."""
        return any(field.feature for field in self.spec.fields)

    def encode_impressions(
        self, impressions: Sequence[LabeledImpression], entities: EntityState | None, cursor: Cursor
    ) -> TrainingBatch:
        """One row per position, in order. Raises ValueError when there are none."""
        labels = label_columns(impressions)
        if entities is not None:
            entities.resolve_all(labels)
        cursors_IP = np.tile(np.array(cursor, np.int64), (len(impressions), 1))
        return self.encode_rows(labels, cursors_IP, labels.decided_I).batch()

    def encode_rows(self, labels: LabelColumns, cursors_IP: Integers, clocks_I: Integers) -> EncodedRows:
        """One row per position, of impressions whose entities are resolved; cursors and clocks as of their labels."""
        impression_B, records = labels.impression_B, labels.records
        record_B, rows, tasks_B = labels.record_I[impression_B], len(impression_B), labels.tasks_I[impression_B]
        positions_B = labels.positions_B.astype(np.int32)
        ids: dict[str, Jagged] = {}
        numbers: list[Numbers] = []
        for field in self.spec.fields:
            if field.kind == "numeric":
                numbers_ = self._numbers(field, field_values(field, labels), self._count)
                numbers.append(numbers_ if field.of_item else numbers_[impression_B])
            else:
                jagged = self._label_ids(field, labels)
                ids[field.name] = jagged if field.of_item else jagged.take(impression_B)
        return EncodedRows(
            ids=ids,
            numeric_BN=_columns(numbers, rows),
            labels_B=labels.labels_B.astype(np.float32),
            counted_B=1 - labels.learned_I.astype(np.float32)[impression_B],
            keys_B=row_keys(tasks_B, records.numbers_R[record_B], positions_B),
            tasks_B=tasks_B,
            weights_B=np.ones(rows, np.float32),
            propensities_B=records.propensities(record_B, labels.positions_B),
            positions_B=positions_B,
            times_B=records.times_R[record_B],
            decided_B=labels.decided_I[impression_B],
            cursors_BP=cursors_IP[impression_B],
            clocks_B=clocks_I[impression_B],
        )

    def _label_ids(self, field: Field, labels: LabelColumns) -> Jagged:
        """Of each label, if the field is of the item, else of each labelled impression."""
        if field.kind == "multi" or field.source not in ("user", "item"):
            return self._ids(field, field_values(field, labels), self._count)
        texts = labels.items() if field.source == "item" else labels.users()
        ids = xxh3_texts(texts.data, texts.starts, texts.stops, self._hashes[field.table].seed)
        return Jagged(ids, np.ones(len(ids), np.int32))

    def missing(self, field: Field, rows: int) -> Jagged:
        """Ids of a field that no row has a value of."""
        return self._ids(field, [None] * rows, self._count)

    def encode_request(self, user: str, time: int, features: Features) -> tuple[dict[str, Jagged], Numbers]:
        """The fields of the request: ids of 1 row by field, numbers [1, N]."""
        request = (Request(user, time, features),)
        fields = [field for field in self.spec.fields if not field.of_item]
        return self._encoded(((field, request_values(field, request)) for field in fields), 1, refuse_value)

    def encode_items(
        self, items: Sequence[str], item_features: Sequence[Features]
    ) -> tuple[dict[str, Jagged], Numbers]:
        """The fields of the items: ids of one row per item by field, numbers [items, N]."""
        if len(items) != len(item_features):
            raise InvalidValueError(f"{len(items)} items, but features of {len(item_features)}; give one set per item")
        return self.encode_columns(items, self._item_columns(item_features))

    def encode_known_items(
        self, items: Sequence[str], item_features: Sequence[Features]
    ) -> tuple[dict[str, Jagged], Numbers]:
        """As `encode_items`, with values of the wrong kind taken as missing, as in training; they are not counted."""
        return self._encode_columns(items, self._item_columns(item_features), ignore)

    def encode_columns(
        self, items: Sequence[str], columns: Mapping[str, Sequence[Value]]
    ) -> tuple[dict[str, Jagged], Numbers]:
        """As `encode_items`, from one value per item by the name of the feature, for all features that fields read."""
        return self._encode_columns(items, columns, refuse_value)

    def _encode_columns(
        self, items: Sequence[str], columns: Mapping[str, Sequence[Value]], refuse: Refuse
    ) -> tuple[dict[str, Jagged], Numbers]:
        fields = [field for field in self.spec.fields if field.of_item]
        values = ((field, columns[field.feature] if field.feature else items) for field in fields)
        return self._encoded(values, len(items), refuse)

    def _item_columns(self, item_features: Sequence[Features]) -> dict[str, list[Value]]:
        names = {field.feature for field in self.spec.fields if field.of_item and field.feature}
        return {name: [features.get(name) for features in item_features] for name in names}

    def _encoded(
        self, columns: Iterable[tuple[Field, Sequence[Value]]], rows: int, refuse: Refuse
    ) -> tuple[dict[str, Jagged], Numbers]:
        ids: dict[str, Jagged] = {}
        numbers: list[Numbers] = []
        for field, values in columns:
            if field.kind == "numeric":
                numbers.append(self._numbers(field, values, refuse))
            else:
                ids[field.name] = self._ids(field, values, refuse)
        return ids, _columns(numbers, rows)

    def _ids(self, field: Field, values: Sequence[Value], refuse: Refuse) -> Jagged:
        if field.kind == "multi":
            lists: list[Sequence[Any]] = [v if type(v) is list else () if v is None else (v,) for v in values]
            if (most := field.most) is not None:  # a request may give more than the stream keeps
                lists = [each[:most] for each in lists]
            lengths_B = np.fromiter(map(len, lists), np.int32, len(lists))
            return Jagged(self._hash(field, list(chain.from_iterable(lists)), refuse), lengths_B)
        return Jagged(self._hash(field, values, refuse), np.ones(len(values), np.int32))

    def _hash(self, field: Field, values: Sequence[Any], refuse: Refuse) -> npt.NDArray[np.uint64]:
        texts: Iterable[str] = values
        if (types := set(map(type, values))) == {int}:
            texts = map(str, values)
        elif not types <= {str}:
            texts = [v if type(v) is str else text_of(field, v, refuse) for v in values]
        return np.fromiter(map(self._hashes[field.table].__getitem__, texts), np.uint64, len(values))

    def _numbers(self, field: Field, values: Sequence[Value], refuse: Refuse) -> Numbers:
        x_B = floats_of(values)
        if x_B is None or not np.isfinite(x_B).all():
            x_B = np.array([number_of(field, value, refuse) for value in values], np.float64)
        x_B = np.clip(x_B, -LARGEST, LARGEST)  # logs from before the edge had this bound have larger ones
        if field.transform == "log":
            large = x_B > 2
            x_B[large] = np.log(x_B[large]) ** 2
        elif field.transform == "log1p":
            x_B = np.sign(x_B) * np.log1p(np.abs(x_B))
        return (np.nan_to_num(x_B, nan=0.0) if field.scale == "none" else x_B).astype(np.float32)

    def _count(self, field: Field, _value: object) -> None:
        self.bad_values[field.name] += 1


def _columns(columns: Sequence[Numbers], rows: int) -> Numbers:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), np.float32)
