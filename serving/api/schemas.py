"""What goes over HTTP, as types. The OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from serving.experiments.assignment import Summary
from streaming.events.schema import Features, Id, Millis, Value

Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class RankRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Candidates to be put in order for a user.

    `features` are the request's; they go before the user's latest update. `item_features` holds, by name, one value
    per item; they go before the item's latest update. `count` is how many are shown (default: all). `time` is the
    event time (default: the server's clock). `experiment` names one of the configured ones (default: the first).
    """

    user: Id
    items: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000)]
    features: Features = {}
    item_features: dict[str, list[Value]] = {}
    count: Count | None = None
    time: Millis | None = None
    experiment: str = ""


class RecommendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user for whom items are to be found and put in order. `exclude` are items not to be shown."""

    user: Id
    features: Features = {}
    exclude: Annotated[list[Id], msgspec.Meta(max_length=10_000)] = []
    count: Count = 20
    time: Millis | None = None
    experiment: str = ""


class RankedItem(msgspec.Struct, frozen=True):
    """`score` is the predicted probability of a positive label, or the popularity where `degraded` says so."""

    item: str
    score: float
    propensity: float


class RankResponse(msgspec.Struct, frozen=True):
    """A list to be shown. Interactions with it name `impression`.

    `degraded` says why this is not what the arm's model would have answered; empty when it is. Ranked by popularity:
    `no_model` (none published yet), `scorer` (the graph failed), `deadline` (no time was left). Ranked by the model
    with `rows` missing (Redis is gone, ids not cached count as unknown) or `features` missing (the same for features;
    ranked by popularity when one is of the wrong kind). `no_items`: nothing to recommend. `log`: the list may not have
    been logged.
    """

    impression: str
    items: list[RankedItem]
    experiment: str
    arm: str
    model: str
    degraded: list[str]


class ErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong with a request. `field` is a path such as `items[3]`, empty when the whole is meant."""

    field: str
    message: str


class ErrorResponse(msgspec.Struct, frozen=True):
    error: ErrorDetail


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event: `accepted` (stored, and will survive a crash) or `rejected`."""

    status: str
    id: str = ""
    field: str = ""
    message: str = ""


class EventsResponse(msgspec.Struct, frozen=True):
    """One result an event, in the order of the request."""

    accepted: int
    rejected: int
    results: list[EventResult]
    error: ErrorDetail | None = None
    """The first thing that was wrong."""


class ExperimentsResponse(msgspec.Struct, frozen=True):
    """What the experiments show; with `redis` in `degraded` it is what they showed when Redis last answered."""

    experiments: list[Summary]
    degraded: list[str]
