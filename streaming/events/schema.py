"""The kinds of event, as JSON at the edge and as Arrow in the log.

Times are milliseconds since the Unix epoch, in event time: when it happened, not when it was read.
The contract for people is `docs/events.md`; the JSON Schema there is generated from these types.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import pyarrow as pa

LARGEST = 1e15
"""Largest feature value: float32 still holds its square, with 8 digits to spare."""
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Value = str | Int64 | float | bool | list[str | Int64] | None
"""One feature's value: a category (str, int or bool), a number, a set of categories, or missing."""

Features = dict[str, Value]
LONGEST_ID = 512
"""Most characters of an id."""
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

# The edge checks these two with clearer messages (`streaming.ingest.validation`); here they are for the JSON Schema.
Items = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000, extra_json_schema={"uniqueItems": True})]
Outcome = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Latency = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
Reason = Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,64}$")]
Propensity = Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1})]


class Impression(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="impression"):
    """A list of items that was shown to a user.

    `features` holds the request's and user's features as used; `item_features` holds, by name, one value per item.
    `scores` and `propensities` (the probability that this item stood at this position) have one entry per item, or
    are empty when the log does not know them. `latency` is how long it took to make the list, in ms, and `degraded` has
    reasons why it is not what the model would have shown, as the server's answer has them.
    """

    id: Id
    time: Millis
    user: Id
    items: Items
    features: Features = {}
    item_features: dict[str, list[Value]] = {}
    scores: list[float] = []
    propensities: list[Propensity] = []
    experiment: str = ""
    arm: str = ""
    model: str = ""
    latency: Latency | None = None
    degraded: Annotated[list[Reason], msgspec.Meta(max_length=16)] = []


class Interaction(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="interaction"):
    """Something a user did with one item of an impression. An empty `id` is filled from the content."""

    time: Millis
    impression: Id
    item: Id
    action: Id = "click"
    value: Outcome = 1.0
    id: str = ""


class UserUpdate(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="user"):
    """Features of a user from this time on; names not given keep their value."""

    time: Millis
    user: Id
    features: Features
    id: str = ""


class ItemUpdate(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="item"):
    """Features of an item from this time on; names not given keep their value.

    With `available` false the item is withdrawn: nobody is recommended it until an update says true.
    """

    time: Millis
    item: Id
    features: Features = {}
    available: bool | msgspec.UnsetType = msgspec.UNSET
    id: str = ""


class Erasure(msgspec.Struct, frozen=True, gc=False, tag="erasure"):
    """All that came before of a user is to be forgotten. Only the platform writes it, so the edge does not take it.

    `time` is that of the newest event before it: it moves no clock. Without a user it is the place of an event that
    was removed (see `streaming.log.erasure`).
    """

    time: int
    user: str = ""
    id: str = ""


class ShadowScores(msgspec.Struct, frozen=True, gc=False, tag="shadow"):
    """What a model that did not rank an impression scores its items, in their order. Only the platform writes it."""

    time: int
    """That of the impression."""
    impression: str
    user: str
    model: str
    scores: list[float]
    id: str = ""


ClientEvent = Impression | Interaction | UserUpdate | ItemUpdate
"""What files, clients and other producers may send."""
Event = ClientEvent | Erasure | ShadowScores
"""What the log has."""

EVENT_SCHEMA = pa.schema(
    [
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("user", pa.string()),
        pa.field("item", pa.string()),
        pa.field("impression", pa.string()),
        pa.field("action", pa.string()),  # of an impression: `degraded`, with commas
        pa.field("value", pa.float64()),  # of an item: 1 if available, 0 if withdrawn; of an impression: `latency`
        pa.field("items", pa.list_(pa.string())),
        pa.field("features", pa.binary()),  # JSON object, names sorted
        pa.field("item_features", pa.binary()),  # JSON object of arrays, names sorted
        pa.field("scores", pa.list_(pa.float64())),
        pa.field("propensities", pa.list_(pa.float64())),
        pa.field("experiment", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("model", pa.string()),
    ]
)
"""One row per event of any kind; columns that a kind does not have are null."""
