"""What each field reads of a request or of labelled impressions, before it is encoded.

Shape suffix: I labelled impressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Field
from streaming.events.schema import Features, Value
from streaming.join.label_columns import LabelColumns

HOUR, DAY = 3_600_000, 86_400_000


class Request(NamedTuple):
    """What the fields of a request read."""

    user: str
    time: int
    features: Features
    latest_user: Features = {}  # noqa: RUF012


def request_values(field: Field, requests: Sequence[Request]) -> Sequence[Value]:
    """One value per request."""
    if name := field.feature:
        return _feature(name, [r.features for r in requests], [r.latest_user for r in requests])
    if field.source == "user":
        return [r.user for r in requests]
    return _calendar(field, np.array([r.time for r in requests], np.int64))


def field_values(field: Field, labels: LabelColumns) -> Sequence[Value]:
    """One value per label, if the field is of the item, else per labelled impression."""
    if field.of_item:
        return _item_values(field, labels)
    if name := field.feature:
        features = labels.records.features_R
        return _feature(name, [features[r] for r in labels.record_I.tolist()], labels.latest_users_I)
    return labels.users_I if field.source == "user" else _calendar(field, labels.records.times_R[labels.record_I])


def _feature(name: str, features: Sequence[Features], latest: Sequence[Features] | None) -> Sequence[Value]:
    """Of the impression, else of the user's updates."""
    if latest is None or not any(latest):
        return [each.get(name) for each in features]
    return [each[name] if name in each else other.get(name) for each, other in zip(features, latest, strict=True)]


def _calendar(field: Field, times_I: npt.NDArray[np.int64]) -> list[Value]:
    match field.source:
        case "time.hour":
            return list(map(int, times_I // HOUR % 24))
        case "time.weekday":
            return list(map(int, (times_I // DAY + 3) % 7))  # the epoch was a Thursday
    raise InvalidValueError(f"field {field.name!r}: source {field.source!r} is not read from requests")


def _item_values(field: Field, labels: LabelColumns) -> Sequence[Value]:
    name, at = field.feature, 0
    if not name:
        return labels.items_B
    values: list[Value] = []
    positions, latest, features = labels.positions_B.tolist(), labels.latest_items_B, labels.records.item_features_R
    for record, count in zip(labels.record_I.tolist(), labels.counts_I.tolist(), strict=True):
        column, end = features[record].get(name), at + count
        if column is not None:  # positions are in the order of the clicks, even where they are all
            values += map(column.__getitem__, positions[at:end])
        else:
            values += [None] * count if latest is None else [each.get(name) for each in latest[at:end]]
        at = end
    return values
