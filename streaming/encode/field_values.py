"""What each field reads of a request or of labelled impressions, before it is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Field
from streaming.events.schema import Features, Value
from streaming.join.labeled_impression import LabeledImpression

HOUR, DAY = 3_600_000, 86_400_000


class Request(NamedTuple):
    """What the fields of a request read."""

    user: str
    time: int
    features: Features
    latest_user: Features = {}  # noqa: RUF012


def request_values(field: Field, requests: Sequence[LabeledImpression | Request]) -> Sequence[Value]:
    """One value per request."""
    if name := field.feature:
        features = [r.features for r in requests]
        if not any(map(attrgetter("latest_user"), requests)):
            return [each.get(name) for each in features]
        return [
            each[name] if name in each else r.latest_user.get(name) for each, r in zip(features, requests, strict=True)
        ]
    match field.source:
        case "time.hour":
            return [r.time // HOUR % 24 for r in requests]
        case "time.weekday":
            return [(r.time // DAY + 3) % 7 for r in requests]  # the epoch was a Thursday
        case "user":
            return [r.user for r in requests]
    raise InvalidValueError(f"field {field.name!r}: source {field.source!r} is not read from requests")


def item_values(field: Field, impressions: Sequence[LabeledImpression]) -> Sequence[Value]:
    """One value per position of each impression."""
    values: list[Value] = []
    for impression in impressions:
        name, positions = field.feature, impression.positions
        column: Sequence[Value] | None = impression.item_features.get(name) if name else impression.items
        if column is None:
            values += [latest.get(name) for latest in impression.latest_items] or [None] * len(positions)
        else:  # positions are in the order of the clicks, even where they are all
            values += map(column.__getitem__, positions)
    return values
